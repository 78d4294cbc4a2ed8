/** How each op that is not pointwise becomes a call. */
import { itemSize, type Lane, laneOf } from '../dtype.ts';
import { is, type Node, type Value } from '../graph.ts';
import type { OpName } from '../ops.ts';
import { type Shape, sizeOf } from '../shape.ts';
import { type Fusion, isPointwise } from './cluster.ts';
import { type Emitter, flopsOf, transposed } from './emit.ts';
import { expressionOf } from './expression.ts';
import type { Expression, View } from './program.ts';
import { collapse, permuteView, sliceView } from './views.ts';

const filled = (value: number, lane: Lane): Expression => ({
  loads: 0,
  steps: [{ op: 'const', lane, value }],
  results: [0],
});

/** Which operand says places. Kernels read it as i32 or i64; labels and small tables come as bytes. */
const placesAt: { [K in OpName]?: number } = {
  take: 1,
  takeAlong: 1,
  scatterAdd: 1,
  scatterAlong: 1,
  crossEntropy: 1,
  crossEntropyGrad: 1,
  linearCrossEntropy: 2,
  linearCrossEntropyGrad: 2,
  updateAt: 2,
  decodeAttention: 3,
};
function widened(e: Emitter, v: View): View {
  if (itemSize[v.dtype] > 1) return v;
  const wide = e.fresh(v.shape, 'i32');
  e.copy(v, wide, 'cast');
  return wide;
}

/** What adds up gives 0 of nothing; kernels, whose work is counted in operands, would leave the result as it was. */
const sums = new Set<OpName>(['sum', 'matmul', 'normGrad', 'attentionGrad', 'scatterAdd', 'scatterAlong', 'fold']);

const outerOf = (shape: Shape, axis: number): number => sizeOf(shape.slice(0, axis));
const innerOf = (shape: Shape, axis: number): number => sizeOf(shape.slice(axis + 1));
function rowsOf(shape: Shape): { rows: number; width: number } {
  const width = shape.at(-1) ?? 1;
  return { rows: sizeOf(shape.slice(0, -1)), width };
}

export function emitNode(e: Emitter, node: Node, fusion: Fusion): void {
  const out = node.outputs[0]!;
  const dense = (i: number): View => {
    const v = e.contiguous(e.view(node.inputs[i]!), node.op);
    return i === placesAt[node.op] ? widened(e, v) : v;
  };
  const all = (): View[] => node.inputs.map((_, i) => dense(i));
  const writes = (): View[] => node.outputs.map((v) => e.allocate(v));
  const flops = flopsOf(node);

  if (sums.has(node.op) && node.inputs.some((v) => v.type.size === 0)) {
    for (const v of node.outputs) e.map(filled(0, laneOf[v.type.dtype]), [], [e.allocate(v)], node.op);
    return;
  }
  if (is(node, 'sum') || is(node, 'reduceMax') || is(node, 'argmax')) return emitReduce(e, node, fusion);
  if (is(node, 'matmul')) return emitMatmul(e, node);
  if (is(node, 'concat')) return emitConcat(e, node);
  if (is(node, 'pad')) {
    const to = e.allocate(out);
    const { before, value } = node.attrs;
    const size = node.inputs[0]!.type.shape;
    e.map(filled(value, laneOf[out.type.dtype]), [], [to], 'pad');
    if (sizeOf(size)) e.copy(e.view(node.inputs[0]!), sliceView(to, { start: before, size, step: size.map(() => 1) }), 'pad');
    return;
  }
  if (is(node, 'norm')) {
    const { eps, rms, affine } = node.attrs;
    return e.call('norm', { ...rowsOf(out.type.shape), eps, rms, affine }, all(), writes(), node.op, flops);
  }
  if (is(node, 'normGrad')) {
    const { rms, affine } = node.attrs;
    const { rows, width } = rowsOf(out.type.shape);
    const parts = e.target.normGradParts?.(out.type) ?? fewNormGradParts(rows);
    const [dx, ...whole] = writes() as [View, ...View[]];
    const partial = whole.slice(0, affine).map((to) => (parts === 1 ? to : e.fresh([parts, width], to.dtype)));
    e.call('normGrad', { rows, width, rms, affine, parts }, all(), [dx, ...partial], node.op, flops);
    if (parts > 1) partial.forEach((from, i) => void joinParts(e, from, whole[i]!, 'sum', [1, parts, width], node.op));
    return;
  }
  if (is(node, 'softmax') || is(node, 'softmaxGrad') || is(node, 'crossEntropy') || is(node, 'crossEntropyGrad'))
    return e.call(node.op, rowsOf(node.inputs[0]!.type.shape), all(), writes(), node.op, flops);
  if (is(node, 'attention') || is(node, 'attentionGrad')) {
    const unitStride = (i: number): View => {
      const v = e.view(node.inputs[i]!);
      return v.strides[3] === 1 || v.shape[3] === 1 ? v : e.contiguous(v, node.op);
    };
    const reads = node.inputs.map((_, i) => (i < 3 ? unitStride(i) : dense(i)));
    const to = node.outputs.map((v) => e.allocate(v, { strided: node.op === 'attentionGrad' }));
    return e.call(node.op, node.attrs, reads, to, node.op, flops);
  }
  if (is(node, 'linearCrossEntropy') || is(node, 'linearCrossEntropyGrad'))
    return e.call(node.op, node.attrs, all(), writes(), node.op, flops);
  if (is(node, 'take') || is(node, 'takeAlong') || is(node, 'scatterAdd') || is(node, 'scatterAlong')) {
    const { axis } = node.attrs;
    const gathers = node.op === 'take' || node.op === 'takeAlong';
    const whole = gathers ? node.inputs[0]!.type.shape : out.type.shape;
    const picked = gathers ? out.type.shape : node.inputs[0]!.type.shape;
    return e.call(
      node.op,
      { outer: outerOf(whole, axis), axis: whole[axis]!, inner: innerOf(whole, axis), picks: picked[axis]! },
      all(),
      writes(),
      node.op,
      flops,
    );
  }
  if (is(node, 'decodeAttention')) {
    const unitStride = (i: number): View => {
      const v = e.view(node.inputs[i]!);
      return v.strides[3] === 1 || v.shape[3] === 1 ? v : e.contiguous(v, node.op);
    };
    return e.call(node.op, node.attrs, [unitStride(0), unitStride(1), unitStride(2), dense(3)], writes(), node.op, flops);
  }
  if (is(node, 'updateAt')) {
    const { axis } = node.attrs;
    const { shape } = out.type;
    const to = e.takeOver(node.inputs[0]!, out);
    return e.call(
      node.op,
      { outer: outerOf(shape, axis), axis: shape[axis]!, inner: innerOf(shape, axis), picks: node.inputs[1]!.type.shape[axis]! },
      [dense(1), dense(2)],
      [to],
      node.op,
    );
  }
  if (is(node, 'argsort'))
    return e.call('argsort', { ...rowsOf(node.inputs[0]!.type.shape), ...node.attrs }, all(), writes(), node.op, flops);
  if (is(node, 'cumsum')) {
    const { axis } = node.attrs;
    const { shape } = out.type;
    return e.call(
      'cumsum',
      { outer: outerOf(shape, axis), axis: shape[axis] ?? 1, inner: innerOf(shape, axis) },
      all(),
      writes(),
      node.op,
      flops,
    );
  }
  if (is(node, 'unfold'))
    return e.call(
      'unfold',
      { ...node.attrs, height: node.inputs[0]!.type.shape[2]!, width: node.inputs[0]!.type.shape[3]! },
      all(),
      writes(),
      node.op,
      flops,
    );
  if (is(node, 'fold')) return e.call('fold', node.attrs, all(), writes(), node.op, flops);
  throw new Error(`[lower] no kernel for '${node.op}'; please report this program`);
}

function emitConcat(e: Emitter, node: Node<'concat'>): void {
  const to = e.allocate(node.outputs[0]!);
  let at = 0;
  for (const v of node.inputs) {
    const piece = sliceView(to, {
      start: to.shape.map((_, i) => (i === node.attrs.axis ? at : 0)),
      size: v.type.shape,
      step: to.shape.map(() => 1),
    });
    at += v.type.shape[node.attrs.axis]!;
    if (v.type.size && !e.isAt(v, piece)) e.copy(e.view(v), piece, 'concat');
  }
}

/** Parts of a reduction that has few results and much to add: they are reduced again. */
const fewParts = (outer: number, count: number, inner: number): number =>
  outer * Math.ceil(inner / 256) < 8 && outer * count * inner >= 1 << 14 ? 16 : 1;

function emitReduce(e: Emitter, node: Node<'sum'> | Node<'reduceMax'> | Node<'argmax'>, fusion: Fusion): void {
  const [x] = node.inputs as [Value];
  const { shape } = x.type;
  const axes = is(node, 'argmax') ? [node.attrs.axis] : (node.attrs as { axes: readonly number[] }).axes;
  const first = axes[0]!;
  const adjacent = axes.at(-1)! - first === axes.length - 1;
  // reduced axes that are apart move to the end; kept axes keep their order either way
  const perm = adjacent ? shape.map((_, i) => i) : [...shape.keys()].filter((i) => !axes.includes(i)).concat(axes);
  const space = perm.map((i) => shape[i]!);
  const count = sizeOf(axes.map((a) => shape[a]!));
  const outer = adjacent ? outerOf(shape, first) : sizeOf(shape.filter((_, i) => !axes.includes(i)));
  const inner = adjacent ? innerOf(shape, axes.at(-1)!) : 1;

  const inlined = isPointwise(x.node) && !fusion.stored.has(x);
  const { expression, loads } = inlined
    ? expressionOf([x], fusion.stored)
    : { expression: { loads: 1, steps: [], results: [0] }, loads: [x] };
  const views = e.loads(loads, shape).map((v) => permuteView(v, perm));
  const { dims, strides } = collapse(
    space,
    views.map((v) => v.strides),
  );
  const reads = views.map((v, i) => ({ ...v, shape: dims, strides: strides[i]! }));
  const to = e.allocate(node.outputs[0]!);
  const op = node.op === 'sum' ? 'sum' : 'max';
  const flops = flopsOf(node);
  if (is(node, 'argmax')) return e.call('argreduce', { dims, expression, op: 'max', outer, count, inner }, reads, [to], node.op, flops);

  const parts = divisorNear(count, e.target.reduceParts?.(outer, count, inner) ?? fewParts(outer, count, inner));
  if (parts === 1) return e.call('reduce', { dims, expression, op, outer, count, inner }, reads, [to], node.op, flops);
  const partial = e.fresh([outer, parts, inner], to.dtype);
  e.call('reduce', { dims, expression, op, outer: outer * parts, count: count / parts, inner }, reads, [partial], node.op, flops);
  joinParts(e, partial, to, op, [outer, parts, inner], node.op);
}

/** What was reduced in parts, reduced again: [outer, parts, inner]. */
function joinParts(
  e: Emitter,
  partial: View,
  to: View,
  op: 'sum' | 'max',
  [outer, count, inner]: readonly [number, number, number],
  label: string,
): void {
  const { dims, strides } = collapse(partial.shape, [partial.strides]);
  const expression: Expression = { loads: 1, steps: [], results: [0] };
  e.call('reduce', { dims, expression, op, outer, count, inner }, [{ ...partial, shape: dims, strides: strides[0]! }], [to], label);
}

/** Parts of the sums over the rows of a norm's gradient: 16 to 256, whatever the machine, so that any has enough to share out; none is empty. */
function fewNormGradParts(rows: number): number {
  const perPart = Math.ceil(rows / Math.min(256, Math.max(16, Math.ceil(rows / 64))));
  return Math.ceil(rows / perPart);
}

/** A divisor of n: the largest in [2, wish], else the smallest up to 4 * wish; 1 if there is none, or no wish. */
function divisorNear(n: number, wish: number): number {
  if (wish < 2) return 1;
  for (let d = wish; d > 1; d--) if (n % d === 0) return d;
  for (let d = wish + 1; d <= 4 * wish; d++) if (n % d === 0) return d;
  return 1;
}

function emitMatmul(e: Emitter, node: Node<'matmul'>): void {
  const [a, b] = node.inputs.map((v) => {
    const view = e.view(v);
    return e.target.gemmReads?.(view) === false ? e.contiguous(view, 'matmul') : view;
  }) as [View, View];
  const to = e.allocate(node.outputs[0]!, { strided: true });
  const isRows = (v: View): boolean => v.strides.at(-1) === 1 || v.shape.at(-1) === 1;
  // where columns are together, C^T = B^T A^T is written
  if (!isRows(to) && isRows(transposed(to))) return emitProduct(e, node, [transposed(b), transposed(a)], transposed(to));
  const c = isRows(to) ? to : e.fresh(to.shape, to.dtype);
  emitProduct(e, node, [a, b], c);
  if (c !== to) e.copy(c, to, 'matmul');
}

function emitProduct(e: Emitter, node: Node<'matmul'>, [a, b]: readonly [View, View], c: View): void {
  const rank = c.shape.length;
  const batchShape = c.shape.slice(0, rank - 2);
  const strides = (v: View): readonly number[] => v.strides.slice(0, rank - 2);
  let [x, y] = [a, b];
  let batch = collapse(batchShape, [strides(x), strides(y), strides(c)]);
  if (batch.dims.length > 2) {
    [x, y] = [e.contiguous(x, 'matmul'), e.contiguous(y, 'matmul')];
    batch = collapse(batchShape, [strides(x), strides(y), strides(c)]);
  }
  while (batch.dims.length < 2) {
    batch.dims.unshift(1);
    for (const s of batch.strides) s.unshift(0);
  }
  const [m, n] = c.shape.slice(-2) as [number, number];
  const k = a.shape.at(-1)!;
  const operand = (v: View, i: number): View => ({
    ...v,
    shape: [...batch.dims, ...v.shape.slice(-2)],
    strides: [...batch.strides[i]!, ...v.strides.slice(-2)],
  });
  e.call(
    'gemm',
    { m, n, k, batch: batch.dims as [number, number] },
    [operand(x, 0), operand(y, 1)],
    [operand(c, 2)],
    'matmul',
    flopsOf(node),
  );
}
