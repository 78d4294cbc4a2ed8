/**
 * Pointwise fusion. Decides which pointwise values are stored and which live only in registers, and which stored ones are computed by
 * one call. A value in registers is recomputed by every call that wants it, so activation memory is spent only on
 * what a cheap expression of one stored tensor cannot give back (x, not gelu(x)'s pieces; no dropout mask).
 */
import type { Node, Value } from '../graph.ts';
import { is } from '../graph.ts';
import { ops } from '../ops.ts';
import type { Append } from './append.ts';

/** What runs as one unit: some stored pointwise values, or one node of another kind. */
export interface Unit {
  id: number;
  /** Stored pointwise values (a map call), in topological order; empty for other nodes. */
  roots: Value[];
  node: Node | undefined;
  /** Values that must be in memory before it runs, views resolved to what they look at. */
  reads: Set<Value>;
  /** A product of a few rows: its roots, if any, are expressions of its result, its norm makes its left operand (skinny.ts). */
  skinny?: boolean;
  norm?: Node<'norm'>;
  /** What an attention over a cache takes in (append.ts). */
  append?: Append;
}

/** What a unit leaves in memory. */
export const outputsOf = (u: Unit): readonly Value[] =>
  u.append ? [...u.node!.outputs, ...u.append.update.outputs] : u.roots.length || !u.node ? u.roots : u.node.outputs;

const MAX_LOADS = 16;
const MAX_STEPS = 40;
/** Of the expressions that one call computes together: more would not fit the registers of a device. */
const MAX_MERGED_STEPS = 64;
/** A value read by several calls is recomputed by each while its expression is at most this long and reads at most one full tensor. */
const RECOMPUTE_STEPS = 16;

export const isPointwise = (node: Node): boolean => ops[node.op].kind === 'pointwise';
export const isView = (node: Node): boolean => ops[node.op].kind === 'view';

/** The value whose memory a chain of views looks at. */
export function storedUnder(v: Value): Value {
  let value = v;
  while (isView(value.node)) value = value.node.inputs[0]!;
  return value;
}

/** Pointwise operands that are computed in the same iteration space; randomBits reads its key as two scalars instead. */
const inlineOperands = (node: Node): readonly Value[] => (node.op === 'randomBits' ? [] : node.inputs);
const dependsOnIndex = (node: Node): boolean => node.op === 'randomBits' || node.op === 'iota';

interface Cone {
  /** What it computes; shared parts once. */
  steps: ReadonlySet<Node>;
  loads: Set<Value>;
  indexed: boolean;
}

const NOTHING: ReadonlySet<Node> = new Set();

export interface Fusion {
  units: Unit[];
  /** Pointwise values that live in memory. */
  stored: ReadonlySet<Value>;
  unitOf: ReadonlyMap<Value, Unit>;
}

export function fuse(nodes: readonly Node[], results: readonly Value[]): Fusion {
  const consumers = new Map<Value, Set<Node>>();
  for (const node of nodes)
    for (const v of node.inputs) {
      const set = consumers.get(v);
      if (set) set.add(node);
      else consumers.set(v, new Set([node]));
    }
  const wanted = new Set(results.map(storedUnder));
  const stored = new Set<Value>();
  const cones = new Map<Value, Cone>();

  const coneOf = (v: Value): Cone =>
    isPointwise(v.node) && !stored.has(v) ? cones.get(v)! : { steps: NOTHING, loads: new Set([v]), indexed: false };
  const join = (node: Node): Cone => {
    const operands = inlineOperands(node).map(coneOf);
    const loads = new Set(operands.flatMap((c) => [...c.loads]));
    if (node.op === 'randomBits') for (const v of node.inputs) loads.add(v);
    return {
      steps: new Set([...operands.flatMap((c) => [...c.steps]), node]),
      loads,
      indexed: dependsOnIndex(node) || operands.some((c) => c.indexed),
    };
  };
  const fullLoads = (c: Cone, size: number): number => [...c.loads].filter((l) => storedUnder(l).type.size >= size).length;

  for (const node of nodes) {
    if (!isPointwise(node)) continue;
    const v = node.outputs[0]!;
    // operands whose expressions together exceed what a call can hold are stored, longest first
    let cone = join(node);
    while (cone.loads.size > MAX_LOADS || cone.steps.size > MAX_STEPS) {
      const big = inlineOperands(node)
        .filter((o) => isPointwise(o.node) && !stored.has(o) && o.node.op !== 'full')
        .sort((a, b) => cones.get(b)!.steps.size - cones.get(a)!.steps.size)[0];
      if (!big) break;
      stored.add(big);
      cone = join(node);
    }
    cones.set(v, cone);
    const users = [...(consumers.get(v) ?? [])];
    // a constant costs nothing to repeat; a consumer that is no expression needs it in memory
    const asExpression = (user: Node): boolean =>
      (isPointwise(user) && user.op !== 'randomBits') ||
      ((user.op === 'sum' || user.op === 'reduceMax' || user.op === 'argmax') && !cone.indexed && cone.steps.size <= MAX_STEPS);
    const free = is(node, 'full') && users.every((u) => isPointwise(u) && u.op !== 'randomBits');
    if (wanted.has(v) || !users.every(asExpression)) stored.add(v);
    else if (!free && users.length > 1 && (cone.steps.size > RECOMPUTE_STEPS || fullLoads(cone, v.type.size) > 1)) stored.add(v);
  }

  // what was stored for the sake of a later consumer is read by the earlier ones too
  for (const node of nodes) if (isPointwise(node)) cones.set(node.outputs[0]!, join(node));

  const units: Unit[] = [];
  const unitOf = new Map<Value, Unit>();
  const loadsOf = (v: Value): Set<Value> => new Set([...(cones.get(v)?.loads ?? [])].map(storedUnder));
  for (const node of nodes) {
    if (node.op === 'input' || isView(node)) continue;
    if (isPointwise(node) && !stored.has(node.outputs[0]!)) continue;
    const unit: Unit = { id: node.id, roots: [], node: undefined, reads: new Set() };
    if (isPointwise(node)) {
      unit.roots = [node.outputs[0]!];
      unit.reads = loadsOf(node.outputs[0]!);
    } else {
      unit.node = node;
      for (const v of node.inputs) {
        const under = storedUnder(v);
        if (isPointwise(under.node) && !stored.has(under)) for (const l of loadsOf(under)) unit.reads.add(l);
        else unit.reads.add(under);
      }
    }
    units.push(unit);
    for (const v of node.outputs) unitOf.set(v, unit);
  }
  const steps = (u: Unit): number => u.roots.reduce((n, r) => n + cones.get(r)!.steps.size, 0);
  return { units: merge(units, steps, unitOf, stored, consumers, wanted), stored, unitOf };
}

/** Joins map units that feed each other in the same space, where no third unit lies between them. */
function merge(
  units: Unit[],
  steps: (u: Unit) => number,
  unitOf: Map<Value, Unit>,
  stored: Set<Value>,
  consumers: Map<Value, Set<Node>>,
  wanted: ReadonlySet<Value>,
): Unit[] {
  const readers = new Map<Unit, Set<Unit>>(units.map((u) => [u, new Set()]));
  for (const u of units) for (const v of u.reads) if (unitOf.has(v)) readers.get(unitOf.get(v)!)!.add(u);
  const alive = new Set(units);

  const reaches = (from: Unit, to: Unit, direct: boolean): boolean => {
    const seen = new Set<Unit>();
    const stack = [...readers.get(from)!].filter((u) => direct || u !== to);
    for (let u = stack.pop(); u; u = stack.pop()) {
      if (u === to) return true;
      if (seen.has(u)) continue;
      seen.add(u);
      for (const next of readers.get(u)!) stack.push(next);
    }
    return false;
  };

  for (const later of units) {
    if (!later.roots.length) continue;
    for (const v of [...later.reads]) {
      const earlier = unitOf.get(v);
      if (!earlier || earlier === later || !earlier.roots.length || !alive.has(earlier) || !alive.has(later)) continue;
      if (earlier.roots[0]!.type.shape.join() !== later.roots[0]!.type.shape.join()) continue;
      if (!earlier.roots.every((v) => later.roots.every((r) => readsUnviewed(r, v, stored)))) continue;
      if (new Set([...earlier.reads, ...later.reads]).size > MAX_LOADS || earlier.roots.length + later.roots.length > 8) continue;
      if (steps(earlier) + steps(later) > MAX_MERGED_STEPS) continue;
      // what others read too must not wait for operands of the later unit that come after it
      const others = [...readers.get(earlier)!].some((u) => u !== later && alive.has(u));
      if (others && [...later.reads].some((r) => (unitOf.get(r)?.id ?? 0) > earlier.id)) continue;
      if (reaches(earlier, later, false)) continue;
      later.roots = [...earlier.roots, ...later.roots].sort((a, b) => a.node.id - b.node.id);
      for (const r of earlier.reads) later.reads.add(r);
      for (const r of earlier.roots) {
        unitOf.set(r, later);
        later.reads.delete(r);
      }
      for (const u of readers.get(earlier)!) if (u !== later) readers.get(later)!.add(u);
      for (const r of earlier.reads) {
        const set = unitOf.has(r) ? readers.get(unitOf.get(r)!)! : undefined;
        if (set?.delete(earlier)) set.add(later);
      }
      readers.get(later)!.delete(later);
      alive.delete(earlier);
      later.id = Math.min(later.id, earlier.id);
    }
  }
  // what only its own unit reads need not reach memory
  for (const u of alive) {
    if (u.roots.length < 2) continue;
    u.roots = u.roots.filter((r) => {
      const inside =
        !wanted.has(r) &&
        [...(consumers.get(r) ?? [])].every((c) => isPointwise(c) && c.op !== 'randomBits' && onlyFor(c, u, stored, unitOf, consumers));
      if (inside) {
        stored.delete(r);
        unitOf.delete(r);
      }
      return !inside;
    });
  }
  return [...alive];
}

/** Whether the pointwise node `c` is computed by unit `u` alone. */
function onlyFor(
  c: Node,
  u: Unit,
  stored: ReadonlySet<Value>,
  unitOf: ReadonlyMap<Value, Unit>,
  consumers: ReadonlyMap<Value, Set<Node>>,
): boolean {
  const v = c.outputs[0]!;
  if (stored.has(v)) return unitOf.get(v) === u;
  return [...(consumers.get(v) ?? [])].every((n) => isPointwise(n) && n.op !== 'randomBits' && onlyFor(n, u, stored, unitOf, consumers));
}

/** Whether every use of `v` inside the expression of `root` is direct, not through a view (which would read other elements). */
function readsUnviewed(root: Value, v: Value, stored: ReadonlySet<Value>): boolean {
  const stack: Value[] = [root];
  const seen = new Set<Value>();
  for (let x = stack.pop(); x; x = stack.pop()) {
    if (seen.has(x)) continue;
    seen.add(x);
    if (x !== root && (x === v || stored.has(x) || !isPointwise(x.node))) {
      if (x !== v && storedUnder(x) === v) return false;
      continue;
    }
    if (x.node.op === 'randomBits' && x.node.inputs.some((i) => storedUnder(i) === v)) return false;
    for (const i of inlineOperands(x.node)) stack.push(i);
  }
  return true;
}
