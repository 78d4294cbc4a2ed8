/** The order of the units: the program's own, except that what frees more memory than it takes runs as soon as it can. */
import type { Value } from '../graph.ts';
import { outputsOf, type Unit } from './cluster.ts';

/**
 * @param donated inputs whose memory may be taken over by a result of the same type: their other readers go first.
 * @param wanted results of the program.
 */
export function schedule(
  units: readonly Unit[],
  unitOf: ReadonlyMap<Value, Unit>,
  donated: ReadonlySet<Value>,
  wanted: ReadonlySet<Value>,
): Unit[] {
  const after = new Map<Unit, Set<Unit>>(units.map((u) => [u, new Set()])); // unit -> those that wait for it
  const waits = new Map<Unit, number>(units.map((u) => [u, 0]));
  const edge = (a: Unit, b: Unit): void => {
    if (a === b || after.get(a)!.has(b)) return;
    after.get(a)!.add(b);
    waits.set(b, waits.get(b)! + 1);
  };
  const readers = new Map<Value, Set<Unit>>();
  for (const u of units)
    for (const v of u.reads) {
      if (unitOf.has(v)) edge(unitOf.get(v)!, u);
      const set = readers.get(v);
      if (set) set.add(u);
      else readers.set(v, new Set([u]));
    }
  const reaches = (from: Unit, to: Unit): boolean => {
    const seen = new Set<Unit>([from]);
    const stack = [from];
    for (let u = stack.pop(); u; u = stack.pop()) {
      if (u === to) return true;
      for (const n of after.get(u)!)
        if (!seen.has(n)) {
          seen.add(n);
          stack.push(n);
        }
    }
    return false;
  };
  for (const v of donated)
    for (const writer of readers.get(v) ?? []) {
      const inPlace = writer.node
        ? writer.append || writer.node.op === 'updateAt'
          ? outputsOf(writer)
          : []
        : writer.roots.filter((r) => wanted.has(r));
      if (!inPlace.some((r) => r.type === v.type)) continue;
      for (const reader of readers.get(v)!) if (reader !== writer && !reaches(writer, reader)) edge(reader, writer);
    }

  const left = new Map<Value, number>([...readers].map(([v, set]) => [v, set.size]));
  /** Bytes that running `u` now would add (negative: frees). Results that replace a donated input of their type cost nothing. */
  const cost = (u: Unit): number => {
    const takeOver = [...u.reads].filter((v) => donated.has(v) && left.get(v) === 1).map((v) => v.type);
    let bytes = 0;
    for (const v of outputsOf(u)) {
      const i = wanted.has(v) ? takeOver.indexOf(v.type) : -1;
      if (i >= 0) takeOver.splice(i, 1);
      else bytes += v.type.bytes;
    }
    for (const v of u.reads) if (unitOf.has(v) && !wanted.has(v) && left.get(v) === 1) bytes -= v.type.bytes;
    return bytes;
  };

  const order: Unit[] = [];
  const ready = units.filter((u) => waits.get(u) === 0).sort((a, b) => a.id - b.id);
  const insert = (u: Unit): void => {
    let i = ready.length;
    while (i > 0 && ready[i - 1]!.id > u.id) i--;
    ready.splice(i, 0, u);
  };
  const emit = (first: Unit): void => {
    for (let u: Unit | undefined = first; u; ) {
      order.push(u);
      for (const v of u.reads) left.set(v, left.get(v)! - 1);
      for (const n of after.get(u)!) {
        waits.set(n, waits.get(n)! - 1);
        if (waits.get(n) === 0) insert(n);
      }
      const i = ready.findIndex((r) => cost(r) < 0);
      u = i >= 0 ? ready.splice(i, 1)[0] : undefined;
    }
  };
  for (let u = ready.shift(); u; u = ready.shift()) emit(u);
  if (order.length !== units.length)
    throw new Error(`[lower] ${units.length - order.length} of ${units.length} units wait for each other; please report this program`);
  return order;
}
