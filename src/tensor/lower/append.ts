/**
 * Attention over a cache takes in what comes right before it in a decoder: the expression that makes queries and new entries (where positions
 * are put in), and the write of the entries into the cache. A step is then bound by reading the keys, not by two more launches.
 */
import type { Target } from '../device.ts';
import { is, type Node, type Value } from '../graph.ts';
import { stridesOf } from '../shape.ts';
import { type Fusion, isPointwise, isView, storedUnder, type Unit } from './cluster.ts';
import { type Emitter, flopsOf } from './emit.ts';
import { COPY, expressionOf } from './expression.ts';
import type { View } from './program.ts';
import { UnitGraph } from './unit-graph.ts';
import { permuteView, viewOf } from './views.ts';

/** What a decodeAttention takes in. */
export interface Append {
  update: Node<'updateAt'>;
  /** The value that queries and new entries are parts of. */
  made: Value;
  /** Where in it they lie, [B, T, H, E]. */
  query: View;
  entries: View;
}

/** Where the elements of `v` lie in `base`, of which it is a view; undefined where no strides say it. */
function seenIn(base: Value, v: Value): View | undefined {
  const { node, type } = v;
  if (v === base) return { buffer: -1, offset: 0, shape: type.shape, strides: stridesOf(type.shape), dtype: type.dtype };
  if (node.op === 'broadcast' || node.op === 'barrier') return undefined; // entries that repeat, and another expression
  const x = seenIn(base, node.inputs[0]!);
  return x && viewOf(node, x);
}

/** The value of one number that `v`, of one number too, is under another shape. */
function numberUnder(v: Value): Value {
  let value = v;
  while (isView(value.node) && value.node.inputs[0]!.type.size === 1) value = value.node.inputs[0]!;
  return value;
}

/** Whether `total` is `start` and `count` more. */
function isSum(total: Value, start: Value, count: number): boolean {
  const { node } = numberUnder(total);
  const constant = (v: Value): boolean => {
    const { node: n } = numberUnder(v);
    return is(n, 'full') && n.attrs.value === count;
  };
  return node.op === 'add' && node.inputs.some((v, i) => numberUnder(v) === numberUnder(start) && constant(node.inputs[1 - i]!));
}

function appendOf(node: Node<'decodeAttention'>): Append | undefined {
  const [q, k, v, length] = node.inputs as [Value, Value, Value, Value];
  const { node: update } = storedUnder(k);
  if (!is(update, 'updateAt') || update.attrs.axis !== 2 || storedUnder(v) !== update.outputs[0]) return undefined;
  const [cache, rows, start] = update.inputs as [Value, Value, Value];
  const made = storedUnder(q);
  const [query, written] = [seenIn(made, q), storedUnder(rows) === made ? seenIn(made, rows) : undefined];
  const heads = (x: Value): boolean => {
    const view = seenIn(update.outputs[0]!, x);
    const [B, H, C, E] = cache.type.shape as [number, number, number, number];
    return !!view && view.shape.join() === [B, C, view.shape[2], E].join() && view.strides.join() === [H * C * E, E, C * E, 1].join();
  };
  const fits = cache.type.shape.length === 4 && cache.type.dtype === made.type.dtype && heads(k) && heads(v);
  if (!query || !written || !fits || !isSum(length, start, rows.type.shape[2]!)) return undefined;
  return { update, made, query, entries: permuteView(written, [0, 2, 1, 3]) };
}

/** Gives each attention over a cache what it takes in. */
export function fuseAppends(fusion: Fusion, wanted: ReadonlySet<Value>, target: Target): Fusion {
  if (!target.appends) return fusion;
  const graph = new UnitGraph(fusion);
  const { stored, unitOf } = graph;
  for (const unit of fusion.units) {
    const append = unit.node && is(unit.node, 'decodeAttention') ? appendOf(unit.node) : undefined;
    if (!append || !target.appends(append.entries.shape[1]!)) continue;
    const { update, made } = append;
    const written = update.outputs[0]!;
    const writer = unitOf.get(written);
    if (!writer || graph.waitsFor(unit, writer, written)) continue;
    unit.append = append;
    graph.makes(unit, [written]);
    graph.takeIn(writer, unit, written);
    const maker = unitOf.get(made);
    const others = [...graph.readersOf(made)].some((u) => u !== unit);
    if (!maker || maker.node || maker.roots.length !== 1 || wanted.has(made) || others) continue;
    stored.delete(made);
    graph.takeIn(maker, unit, made);
  }
  return graph.fusion;
}

export function emitAppend(e: Emitter, unit: Unit, { stored }: Fusion): void {
  const node = unit.node as Node<'decodeAttention'>;
  const { update, made, query, entries } = unit.append!;
  const [, k, v, length] = node.inputs as [Value, Value, Value, Value];
  const inline = isPointwise(made.node) && !stored.has(made);
  const { expression, loads } = inline ? expressionOf([made], stored) : { expression: COPY, loads: [made] };
  const reads = e.loads(loads, made.type.shape);
  const to = e.takeOver(update.inputs[0]!, update.outputs[0]!);
  e.call(
    'appendAttention',
    { ...node.attrs, dims: made.type.shape, expression, query, entries },
    [e.view(k), e.view(v), e.contiguous(e.view(length), node.op), ...reads],
    [...node.outputs.map((o) => e.allocate(o)), to],
    `${inline ? `${made.node.op}+` : ''}updateAt+decodeAttention`,
    flopsOf(node),
  );
}
