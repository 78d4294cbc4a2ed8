/**
 * Products of a few rows, as a decoder has them, take their neighbours in: an RMS norm or a pointwise expression that makes their left operand, and
 * a pointwise expression of the result. Each such product reads its weights once and everything else in passing; apart, the neighbours
 * would cost a launch each.
 */
import type { Target } from '../device.ts';
import { is, type Node, type Value } from '../graph.ts';
import { type Fusion, isPointwise, storedUnder, type Unit } from './cluster.ts';
import { type Emitter, flopsOf } from './emit.ts';
import { COPY, expressionOf } from './expression.ts';
import { emitNode } from './kernels.ts';
import type { Expression, View } from './program.ts';
import { UnitGraph } from './unit-graph.ts';
import { broadcastView, reshapeView } from './views.ts';

type Product = Node<'matmul'>;
/** The value that a chain of reshapes looks at: the same numbers in the same order. */
function unshaped(v: Value): Value {
  let value = v;
  while (value.node.op === 'reshape') value = value.node.inputs[0]!;
  return value;
}

/** Marks the skinny products of a program and gives them what they take in. */
export function fuseSkinny(fusion: Fusion, nodes: readonly Node[], wanted: ReadonlySet<Value>, target: Target): Fusion {
  const { skinny } = target;
  if (!skinny) return fusion;
  const consumers = new Map<Value, Node[]>();
  for (const n of nodes) for (const v of n.inputs) consumers.set(v, [...(consumers.get(v) ?? []), n]);
  /** What reads a value, whatever shape it sees it in. */
  const readersOf = (v: Value): Node[] => (consumers.get(v) ?? []).flatMap((n) => (n.op === 'reshape' ? readersOf(n.outputs[0]!) : [n]));
  const graph = new UnitGraph(fusion);
  const { units, stored, unitOf } = graph;

  const takeOperand = (unit: Unit, node: Product): void => {
    const x = unshaped(node.inputs[0]!);
    const from = unitOf.get(x);
    if (!from || wanted.has(x) || readersOf(x).some((n) => n !== node) || storedUnder(node.inputs[1]!) === x) return;
    if (from.node && is(from.node, 'norm')) {
      const { rms, affine } = from.node.attrs;
      if (!rms || affine > 1 || from.node.outputs.some((v) => v !== x && (wanted.has(v) || consumers.has(v)))) return;
      unit.norm = from.node;
    } else if (from.node || from.roots.length !== 1) return;
    else stored.delete(x);
    graph.takeIn(from, unit, x);
  };
  const takeResult = (unit: Unit, node: Product): void => {
    const y = node.outputs[0]!;
    const [later, ...more] = graph.readersOf(y);
    if (!later || more.length || later.node || wanted.has(y)) return;
    const parts = y.type.size / later.roots[0]!.type.size;
    if (parts > MAX_PARTS || later.roots.some((r) => r.type.size * parts !== y.type.size)) return;
    if (expressionOf(later.roots, stored).loads.some((v) => storedUnder(v) === y && partOf(v, y, parts) === undefined)) return;
    if (graph.waitsFor(later, unit, y)) return;
    unit.roots = later.roots;
    graph.makes(unit, later.roots);
    graph.takeIn(later, unit, y);
  };

  for (const unit of fusion.units) {
    const { node } = unit;
    if (!node || !units.has(unit) || !is(node, 'matmul')) continue;
    const [a, w] = node.inputs as [Value, Value];
    if (a.type.shape.length !== 2 || !skinny.fits(a.type, w.type)) continue;
    unit.skinny = true;
    takeOperand(unit, node);
    takeResult(unit, node);
  }
  return graph.fusion;
}

/** Parts of a row, of equal width, that an expression may read side by side: a gate and what it opens. */
const MAX_PARTS = 2;
/** Which of `parts` equal parts of the rows of `y` [m, n] a value is; undefined when it is none. */
function partOf(v: Value, y: Value, parts: number): number | undefined {
  const { node } = unshaped(v);
  if (unshaped(v) === y) return parts === 1 ? 0 : undefined;
  if (!is(node, 'slice') || unshaped(node.inputs[0]!) !== y) return undefined;
  const { attrs } = node;
  const { shape } = node.inputs[0]!.type;
  const last = shape.length - 1;
  const width = shape[last]! / parts;
  const whole = attrs.size.every((d, i) => (i === last ? d === width && attrs.step[i] === 1 : d === shape[i]));
  return whole && shape[last] === y.type.shape[1] && attrs.start[last]! % width === 0 ? attrs.start[last]! / width : undefined;
}

/** The call of a skinny product; apart from its neighbours where the device cannot read an operand as it lies. */
export function emitSkinny(e: Emitter, unit: Unit, fusion: Fusion): void {
  const node = unit.node as Product;
  const [a, w] = node.inputs as [Value, Value];
  const [m, k] = a.type.shape as [number, number];
  const n = w.type.shape[1]!;
  const weights = e.view(w);
  const x = unshaped(a);
  const seen = (v: Value, shape: readonly number[], as: readonly [number, number]): View | undefined =>
    reshapeView(broadcastView(e.view(v), shape), as);

  const inline = !unit.norm && isPointwise(x.node) && !fusion.stored.has(x);
  const left = inline ? expressionOf([x], fusion.stored) : { expression: COPY, loads: [unit.norm ? unit.norm.inputs[0]! : a] };
  const leftViews = left.loads.map((v) => seen(v, inline ? x.type.shape : v.type.shape, [m, k]));
  const gain = unit.norm?.inputs[1];

  const y = node.outputs[0]!;
  const roots = unit.roots.length ? unit.roots : [y];
  const right = unit.roots.length ? expressionOf(unit.roots, fusion.stored) : { expression: COPY, loads: [y] };
  const parts = y.type.size / roots[0]!.type.size;
  const others = right.loads.filter((v) => storedUnder(v) !== y);
  const rightViews = others.map((v) => seen(v, roots[0]!.type.shape, [m, n / parts]));

  const ready = e.target.skinny!.reads(weights, m) && [...leftViews, ...rightViews].every((v) => v);
  const writes = ready ? roots.map((r) => reshapeView(e.allocate(r, { strided: true }), [m, n / parts])) : [];
  if (!ready || !writes.every((v) => v)) {
    if (unit.norm) emitNode(e, unit.norm, fusion);
    if (inline) e.expression([x], fusion);
    emitNode(e, node, fusion);
    if (unit.roots.length) e.expression(unit.roots, fusion);
    return;
  }
  // the parts of the product are the last loads of the expression of the results
  const place = right.loads.map((v) => (storedUnder(v) === y ? others.length + partOf(v, y, parts)! : others.indexOf(v)));
  e.call(
    'gemv',
    {
      m,
      n,
      k,
      parts,
      operand: left.expression,
      ...(unit.norm ? { norm: { eps: unit.norm.attrs.eps, affine: gain !== undefined } } : {}),
      result: reordered(right.expression, place, others.length + parts),
    },
    [weights, ...(leftViews as View[]), ...(gain ? [e.contiguous(e.view(gain), 'gemv')] : []), ...(rightViews as View[])],
    writes as View[],
    [...(unit.norm ? ['norm'] : inline ? [x.node.op] : []), 'matmul', ...unit.roots.map((r) => r.node.op)].join('+'),
    flopsOf(node),
  );
}

/** The expression with load i as load to[i] of `loads`. */
function reordered(e: Expression, to: readonly number[], loads: number): Expression {
  const id = (i: number): number => (i < e.loads ? to[i]! : i - e.loads + loads);
  const steps = e.steps.map((s) => ('args' in s ? { ...s, args: s.args.map(id) } : s)) as Expression['steps'];
  return { loads, steps, results: e.results.map(id) };
}
