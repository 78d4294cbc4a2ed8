/** Replaces fused ops that a device has no kernel for by what they mean in primitives. */
import type { Target } from '../device.ts';
import { type FusedName, isFused, references } from '../functions/fused.ts';
import { type Node, reachable, type Value } from '../graph.ts';
import type { Tensor } from '../tensor.ts';
import { applyAll, Trace, within } from '../trace.ts';

export function expandFused(results: readonly Value[], target: Target): readonly Value[] {
  const expands = (n: Node): boolean =>
    isFused(n.op) &&
    !target.fused(
      n.op,
      n.inputs.map((v) => v.type),
    );
  const nodes = reachable(results);
  if (!nodes.some(expands)) return results;
  const trace = new Trace();
  const made = new Map<Value, Tensor>();
  within(trace, () => {
    for (const node of nodes) {
      const inputs = node.inputs.map((v) => made.get(v)!);
      const outputs = expands(node)
        ? (references[node.op as FusedName] as (attrs: unknown, inputs: Tensor[]) => Tensor[])(node.attrs, inputs)
        : node.op === 'input'
          ? trace.graph.add('input', node.attrs as never, []).outputs.map((v) => trace.wrap(v))
          : applyAll(node.op, node.attrs as never, inputs);
      node.outputs.forEach((v, i) => {
        made.set(v, outputs[i]!);
      });
    }
  });
  return results.map((v) => trace.valueOf(made.get(v)!));
}
