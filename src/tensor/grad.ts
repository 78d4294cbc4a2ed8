/** Reverse-mode differentiation: a walk back over the traced graph that adds gradient nodes to the same graph. */
import { compile } from './compile.ts';
import { isFloat } from './dtype.ts';
import { isFused, references } from './functions/fused.ts';
import { concat } from './functions/layout.ts';
import { add, full } from './functions/pointwise.ts';
import { type CustomVjp, type GradientRule, gradients } from './gradients.ts';
import { is, type Node, type Value } from './graph.ts';
import { ShapeError, show } from './shape.ts';
import { Tensor } from './tensor.ts';
import { apply, applyAll, currentTrace, type Trace } from './trace.ts';
import { mapTree } from './tree.ts';

type LossOf<M, R extends unknown[], Out> = (model: M, ...rest: R) => Out;

/**
 * The loss and its gradient with respect to the first argument (a tree; gradients have its structure, `undefined` at integer
 * tensors). `lossOf` returns one f32 number, or `[loss, aux]` with any further tensors.
 */
export function valueAndGrad<M, R extends unknown[], Out extends Tensor | readonly [Tensor, unknown]>(
  lossOf: LossOf<M, R, Out>,
): (model: M, ...rest: R) => [Out, M] {
  const differentiate = (model: M, ...rest: R): [Out, M] => {
    const trace = currentTrace()!;
    const marks: Tensor[] = [];
    const marked = mapTree(model, (t) => {
      if (!isFloat(t.dtype)) return t;
      marks.push(apply('identity', {}, [t]));
      return marks.at(-1);
    });
    const result = lossOf(marked, ...rest);
    const loss = (Array.isArray(result) ? result[0] : result) as Tensor;
    if (!(loss instanceof Tensor) || loss.size !== 1 || !isFloat(loss.dtype))
      throw new ShapeError(
        `[grad] the loss must be one float number, not ${loss instanceof Tensor ? loss.type.key : typeof loss}; take its mean() or sum()`,
      );
    const found = backward(trace, loss, marks);
    let i = 0;
    return [result, mapTree(model, (t) => (isFloat(t.dtype) ? found[i++] : undefined))];
  };
  const compiled = compile(differentiate);
  return (model, ...rest) => (currentTrace() ? differentiate(model, ...rest) : compiled(model, ...rest));
}

/** Only the gradient. */
export function grad<M, R extends unknown[]>(lossOf: LossOf<M, R, Tensor>): (model: M, ...rest: R) => M {
  const both = valueAndGrad(lossOf);
  return (model, ...rest) => both(model, ...rest)[1];
}

/**
 * A function with a gradient of its own: `forward(...inputs)` gives the values, `vjp(cotangents, inputs, outputs)` the cotangents of the
 * inputs. What `forward` does inside is not differentiated.
 */
export function customVjp(forward: (...inputs: Tensor[]) => Tensor[], vjp: CustomVjp): (...inputs: Tensor[]) => Tensor[] {
  return (...inputs) => {
    const values = forward(...inputs);
    return applyAll('custom', { outputs: values.length, vjp }, [...values, ...inputs]);
  };
}

/** Cotangents of `wrt` (traced tensors) for one at `loss`, by default 1. */
export function backward(trace: Trace, loss: Tensor, wrt: readonly Tensor[], cotangent = full(loss.shape, 1, loss.dtype)): Tensor[] {
  const targets = wrt.map((t) => trace.valueOf(t));
  const from = trace.valueOf(loss);
  const active = new Set<Node>(targets.map((v) => v.node));
  const last = from.node.id;
  const first = targets.reduce((n, v) => Math.min(n, v.node.id), last);
  const region = trace.graph.nodes.slice(first, last + 1);
  for (const node of region) if (node.inputs.some((v) => active.has(v.node))) active.add(node);

  const parts = new Map<Value, Tensor[]>([[from, [cotangent]]]);
  const total = (v: Value): Tensor | undefined => {
    const list = parts.get(v);
    if (!list || list.length < 2) return list?.[0];
    const sum = accumulate(trace, list);
    parts.set(v, [sum]);
    return sum;
  };
  const isTarget = new Set(targets.map((v) => v.node));
  for (const node of region.reverse()) {
    if (!active.has(node) || isTarget.has(node) || !node.outputs.some((v) => parts.has(v))) continue;
    const gs = node.outputs.map(total);
    const inputs = node.inputs.map((v) => trace.wrap(v));
    const back = pullback(trace, node, gs, inputs);
    back.forEach((g, i) => {
      const to = node.inputs[i]!;
      if (!g || !active.has(to.node) || !isFloat(to.type.dtype)) return;
      if (g.type !== to.type)
        throw new ShapeError(
          `[grad] the gradient of ${node.op} has ${g.type.key} for an operand of ${show(to.type.shape)} ${to.type.dtype}`,
        );
      const list = parts.get(to);
      if (list) list.push(g);
      else parts.set(to, [g]);
    });
  }
  return targets.map((v) => total(v) ?? full(v.type.shape, 0, v.type.dtype));
}

function pullback(trace: Trace, node: Node, gs: (Tensor | undefined)[], inputs: Tensor[]): readonly (Tensor | undefined)[] {
  const rule = gradients[node.op] as GradientRule<unknown>;
  if (rule === null) return [];
  const own =
    rule === 'reference' ? rule : rule(gs[0] as Tensor, { attrs: node.attrs, inputs, outputs: node.outputs.map((v) => trace.wrap(v)), gs });
  if (own !== 'reference') return own;
  if (!isFused(node.op)) throw new Error(`[grad] ${node.op} has no reference to differentiate`);
  const marks = inputs.map((t) => apply('identity', {}, [t]));
  const outs = (references[node.op] as (a: unknown, i: Tensor[]) => Tensor[])(node.attrs, marks);
  const dots = gs.flatMap((g, i) => (g ? [apply('sum', { axes: g.shape.map((_, a) => a) }, [apply('mul', {}, [g, outs[i]!])])] : []));
  const loss = dots.map((d) => apply('reshape', { shape: [] }, [d])).reduce((a, b) => add(a, b));
  return backward(trace, loss, marks);
}

/**
 * The sum of cotangents. Pieces that are slices of one axis (the gradients of `split`) are joined instead of padded and added: no
 * zeros are written, and the kernels that make the pieces can write into place.
 */
function accumulate(trace: Trace, list: readonly Tensor[]): Tensor {
  const pads = list.map((t) => trace.valueOf(t).node);
  if (pads.every((n): n is Node<'pad'> => is(n, 'pad') && n.attrs.value === 0)) {
    const shape = list[0]!.shape;
    const axis = shape.findIndex((d, i) => pads[0]!.inputs[0]!.type.shape[i] !== d);
    const along = [...pads].sort((a, b) => a.attrs.before[axis]! - b.attrs.before[axis]!);
    let at = 0;
    const tiles = along.every((n) => {
      const fits = n.attrs.before[axis] === at && shape.every((_, i) => i === axis || (n.attrs.before[i] === 0 && n.attrs.after[i] === 0));
      at += n.inputs[0]!.type.shape[axis]!;
      return fits;
    });
    if (tiles && at === shape[axis])
      return concat(
        along.map((n) => trace.wrap(n.inputs[0]!)),
        axis,
      );
  }
  return list.reduce((a, b) => add(a, b));
}
