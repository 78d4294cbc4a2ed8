/** Chooses among algorithms for one product by timing them once on scratch memory; the choice is kept on disk, so that it stays the same. */
import { readCache, writeCache } from './cache.ts';

/** What timing needs of a device. */
export interface Bench {
  /** The GPU and its driver: what a choice depends on. */
  readonly machine: string;
  /** Milliseconds on the GPU of what `body` submits to `stream`. */
  elapsed(body: () => void): number;
  readonly stream: number;
  /** Runs `body` on scratch memory of these sizes, filled with ordinary numbers; undefined where there is too little. */
  scratch<T>(bytes: readonly number[], body: (addresses: readonly number[]) => T): T | undefined;
}

type Run = (operands: readonly number[], stream: number) => void;

export interface Choice {
  /** Name of the choice in the cache. */
  entry: string;
  /** Algorithms, the library's own first choice first. */
  candidates(): Uint8Array[];
  usable(algorithm: Uint8Array): boolean;
  /** Bytes of the operands. */
  operands: readonly number[];
  runner(algorithm: Uint8Array): Run;
}

/** Milliseconds spent on each candidate in the first round, and in each of the rounds among the best. */
const FIRST_MS = 1;
const ROUND_MS = 1;
const ROUNDS = 7;
const FINALISTS = 4;
/** A later candidate replaces the first only for more than the noise of a measurement. */
const MARGIN = 0.985;
/** Bytes of operands to take in turn, so that none is in the second-level cache, as in a program. */
const COLD = 150e6;

/**
 * The algorithm to use from now on. It is timed only where the choice can be kept: sums of different algorithms round differently, and the same program
 * must give the same bits in the next process. THIMBLE_TUNING=0 takes the library's first choice.
 */
export function choose(bench: Bench, { entry, candidates, usable, operands, runner }: Choice): Uint8Array {
  if (process.env.THIMBLE_TUNING === '0') return candidates()[0]!;
  const known = readCache(entry);
  if (known && usable(known)) return known;
  const list = candidates().filter((algorithm, i) => i === 0 || usable(algorithm));
  if (list.length === 1) return list[0]!;
  const sets = Math.min(4, Math.ceil(COLD / operands.reduce((n, b) => n + b, 0)));
  const best = bench.scratch(new Array<readonly number[]>(sets).fill(operands).flat(), (addresses) => {
    const runs = list.map(runner);
    let turn = 0;
    const time = (i: number, ms: number): number => {
      const once = (): void => {
        const from = (turn++ % sets) * operands.length;
        runs[i]!(addresses.slice(from, from + operands.length), bench.stream);
      };
      try {
        const reps = Math.min(50, Math.max(2, Math.ceil(ms / Math.max(1e-3, bench.elapsed(once)))));
        return (
          bench.elapsed(() => {
            for (let r = 0; r < reps; r++) once();
          }) / reps
        );
      } catch {
        return Infinity;
      }
    };
    for (const i of runs.keys()) time(i, 0); // the first launch loads the kernel
    const first = list.map((_, i) => time(i, FIRST_MS));
    const finalists = new Set([0, ...[...list.keys()].sort((i, j) => first[i]! - first[j]! || i - j).slice(0, FINALISTS)]);
    const rounds = Array.from({ length: ROUNDS }, () => new Map([...finalists].map((i) => [i, time(i, ROUND_MS)])));
    const typical = (i: number): number => rounds.map((r) => r.get(i)!).sort((x, y) => x - y)[ROUNDS >> 1]!;
    const winner = [...finalists].reduce((x, y) => (typical(y) < typical(x) ? y : x));
    return typical(winner) < MARGIN * typical(0) ? winner : 0;
  });
  if (best === undefined) return list[0]!;
  return writeCache(entry, list[best]!) ? list[best]! : list[0]!;
}
