/** Units and who reads what, while passes take some of them into others. Questions cost what lies between two units, not the whole program. */
import type { Value } from '../graph.ts';
import type { Fusion, Unit } from './cluster.ts';

export class UnitGraph {
  readonly units: Set<Unit>;
  readonly stored: Set<Value>;
  readonly unitOf: Map<Value, Unit>;
  readonly #readers = new Map<Value, Set<Unit>>();
  /** A number for each unit, above those of all that it waits for. */
  #rank: Map<Unit, number>;

  constructor({ units, stored, unitOf }: Fusion) {
    this.units = new Set(units);
    this.stored = new Set(stored);
    this.unitOf = new Map(unitOf);
    for (const u of units) for (const v of u.reads) this.#readersOf(v).add(u);
    this.#rank = this.#ranks();
  }

  get fusion(): Fusion {
    return { units: [...this.units], stored: this.stored, unitOf: this.unitOf };
  }

  #readersOf(v: Value): Set<Unit> {
    let set = this.#readers.get(v);
    if (!set) this.#readers.set(v, (set = new Set()));
    return set;
  }
  readersOf(v: Value): ReadonlySet<Unit> {
    return this.#readersOf(v);
  }

  /** Depth first, without recursion: programs are thousands of units deep. */
  #ranks(): Map<Unit, number> {
    const rank = new Map<Unit, number>();
    const stack = [...this.units].reverse();
    for (let u = stack.at(-1); u; u = stack.at(-1)) {
      const before = rank.has(u) ? [] : [...u.reads].flatMap((v) => this.unitOf.get(v) ?? []).filter((w) => w !== u && !rank.has(w));
      if (before.length) stack.push(...before);
      else {
        if (!rank.has(u)) rank.set(u, rank.size);
        stack.pop();
      }
    }
    return rank;
  }

  /** `into` does what `from` did as well; `through`, which one made for the other, stays inside. */
  takeIn(from: Unit, into: Unit, through: Value): void {
    this.units.delete(from);
    for (const v of from.reads) {
      into.reads.add(v);
      this.#readersOf(v).delete(from);
      this.#readersOf(v).add(into);
    }
    into.reads.delete(through);
    this.#readersOf(through).delete(into);
  }
  /** `unit` makes these values as well, instead of the units that do. */
  makes(unit: Unit, values: readonly Value[]): void {
    for (const v of values) {
      this.#rank.set(unit, Math.max(this.#rank.get(unit)!, this.#rank.get(this.unitOf.get(v)!)!));
      this.unitOf.set(v, unit);
    }
    const rank = this.#rank.get(unit)!;
    if (values.some((v) => [...this.readersOf(v)].some((u) => u !== unit && this.#rank.get(u)! <= rank))) this.#rank = this.#ranks();
  }

  /** Whether `later` also needs something else than `direct` that is computed from `first`, so that the two cannot be one. */
  waitsFor(later: Unit, first: Unit, direct: Value): boolean {
    const from = this.#rank.get(first)!;
    const seen = new Set<Unit>();
    const stack = [...later.reads].filter((v) => v !== direct).flatMap((v) => this.unitOf.get(v) ?? []);
    for (let u = stack.pop(); u; u = stack.pop()) {
      if (u === first) return true;
      if (seen.has(u) || !this.units.has(u) || this.#rank.get(u)! < from) continue;
      seen.add(u);
      for (const v of u.reads) stack.push(...(this.unitOf.has(v) ? [this.unitOf.get(v)!] : []));
    }
    return false;
  }
}
