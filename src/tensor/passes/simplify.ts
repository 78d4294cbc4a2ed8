/**
 * Rebuilds a graph without what need not be there: dead nodes, common subexpressions, views that cancel, arithmetic with 0 and 1.
 * One walk in topological order; every rule looks only at a node and its (already simplified) inputs.
 */
import { asKept } from '../dtype.ts';
import { Graph, is, type Node, reachable, type Value } from '../graph.ts';
import type { OpAttrs, OpName } from '../ops.ts';
import { sameShape } from '../shape.ts';

/** Results in the new graph for the results in the old one; inputs keep their order and their attributes. */
export function simplify(results: readonly Value[]): { graph: Graph; results: Value[] } {
  const graph = new Graph();
  const known = new Map<string, Node>();
  const renamed = new Map<Value, Value>();

  const emit = (op: OpName, attrs: OpAttrs[OpName], inputs: readonly Value[]): Value[] => {
    const short = shortcut(op, attrs, inputs, emit);
    if (short) return short;
    const key = op === 'custom' ? '' : `${op}|${inputs.map((v) => `${v.node.id}.${v.index}`).join()}|${keyOf(op, attrs)}`;
    let node = key ? known.get(key) : undefined;
    if (!node) {
      node = graph.add(op, attrs as never, inputs) as Node;
      if (key) known.set(key, node);
    }
    return [...node.outputs];
  };

  for (const node of reachable(results)) {
    const outputs = emit(
      node.op,
      node.attrs,
      node.inputs.map((v) => renamed.get(v)!),
    );
    node.outputs.forEach((v, i) => {
      renamed.set(v, outputs[i]!);
    });
  }
  return { graph, results: results.map((v) => renamed.get(v)!) };
}

function keyOf(op: OpName, attrs: OpAttrs[OpName]): string {
  if (op === 'input') return String((attrs as OpAttrs['input']).index);
  // JSON turns -0, NaN and infinities into something else
  return JSON.stringify(attrs, (_, v: unknown) =>
    typeof v === 'number' && (!Number.isFinite(v) || Object.is(v, -0)) ? `#${Object.is(v, -0) ? '-0' : v}` : v,
  );
}

type Emit = (op: OpName, attrs: OpAttrs[OpName], inputs: readonly Value[]) => Value[];

const constant = (v: Value): number | undefined => (is(v.node, 'full') ? v.node.attrs.value : undefined);
const viewsOfConstant = new Set<OpName>(['reshape', 'permute', 'broadcast', 'slice', 'flip']);

function shortcut(op: OpName, attrs: OpAttrs[OpName], inputs: readonly Value[], emit: Emit): Value[] | undefined {
  const [x, y] = inputs;
  switch (op) {
    case 'identity':
    case 'stopGradient':
      return [x!];
    case 'custom':
      return inputs.slice(0, (attrs as OpAttrs['custom']).outputs);
    case 'cast': {
      const { dtype } = attrs as OpAttrs['cast'];
      if (dtype === x!.type.dtype) return [x!];
      if (is(x!.node, 'full') && dtype === 'f32') {
        const { attrs: kept } = x!.node;
        return emit('full', { ...kept, value: asKept(kept.value, kept.dtype), dtype }, []);
      }
      return undefined;
    }
    case 'add':
      if (constant(x!) === 0) return [y!];
      if (constant(y!) === 0) return [x!];
      return undefined;
    case 'sub':
      return constant(y!) === 0 ? [x!] : undefined;
    case 'mul':
      if (constant(x!) === 1) return [y!];
      if (constant(y!) === 1) return [x!];
      return undefined;
    case 'div':
      return constant(y!) === 1 ? [x!] : undefined;
    case 'concat':
      return joined(inputs, (attrs as OpAttrs['concat']).axis, emit);
    case 'where':
      return inputs[1] === inputs[2] ? [inputs[1]!] : undefined;
    case 'sum': {
      const { axes } = attrs as OpAttrs['sum'];
      return axes.every((a) => x!.type.shape[a] === 1) ? [x!] : undefined;
    }
    case 'reduceMax':
      return (attrs as OpAttrs['reduceMax']).axes.every((a) => x!.type.shape[a] === 1) ? [x!] : undefined;
  }
  if (!viewsOfConstant.has(op)) return undefined;
  return viewShortcut(op, attrs, x!, emit);
}

/** Neighbouring slices of one value, joined again, are one slice of it. */
function joined(pieces: readonly Value[], axis: number, emit: Emit): Value[] | undefined {
  const [first] = pieces as [Value];
  if (!is(first.node, 'slice')) return undefined;
  const { start, step } = first.node.attrs;
  const [whole] = first.node.inputs as [Value];
  let end = start[axis]!;
  for (const { node, type } of pieces) {
    if (!is(node, 'slice') || node.inputs[0] !== whole || node.attrs.step.some((s) => s !== 1)) return undefined;
    if (node.attrs.start.some((s, i) => s !== (i === axis ? end : start[i]))) return undefined;
    end += type.shape[axis]!;
  }
  const size = first.type.shape.map((d, i) => (i === axis ? end - start[axis]! : d));
  return sameShape(size, whole.type.shape) ? [whole] : emit('slice', { start, size, step }, [whole]);
}

function viewShortcut(op: OpName, attrs: OpAttrs[OpName], x: Value, emit: Emit): Value[] | undefined {
  const inner = x.node;
  if (is(inner, 'full')) {
    const a = attrs as Partial<OpAttrs['reshape'] & OpAttrs['slice'] & OpAttrs['permute']>;
    const shape = op === 'flip' ? x.type.shape : op === 'permute' ? a.axes!.map((i) => x.type.shape[i]!) : (a.shape ?? a.size)!;
    return emit('full', { ...inner.attrs, shape }, []);
  }
  if (op === 'reshape') {
    const { shape } = attrs as OpAttrs['reshape'];
    if (sameShape(shape, x.type.shape)) return [x];
    if (inner.op === 'reshape') return emit('reshape', attrs, inner.inputs);
  }
  if (op === 'permute') {
    const { axes } = attrs as OpAttrs['permute'];
    if (axes.every((a, i) => a === i)) return [x];
    if (is(inner, 'permute')) return emit('permute', { axes: axes.map((a) => inner.attrs.axes[a]!) }, inner.inputs);
  }
  if (op === 'broadcast') {
    const { shape } = attrs as OpAttrs['broadcast'];
    if (sameShape(shape, x.type.shape)) return [x];
    if (is(inner, 'broadcast')) return emit('broadcast', attrs, inner.inputs);
  }
  return undefined;
}
