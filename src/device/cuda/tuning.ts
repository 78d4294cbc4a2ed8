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

/** Milliseconds spent on each candidate in the first round, and on each of the best in the second. */
const FIRST_MS = 1;
const SECOND_MS = 5;
const FINALISTS = 4;
/** A later candidate replaces the first only for more than the noise of a measurement. */
const MARGIN = 0.985;

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
  const best = bench.scratch(operands, (at) => {
    const runs = list.map(runner);
    const time = (i: number, ms: number): number => {
      const once = (): void => runs[i]!(at, bench.stream);
      try {
        once(); // the first launch loads the kernel
        const reps = Math.min(100, Math.max(2, Math.ceil(ms / Math.max(1e-3, bench.elapsed(once)))));
        return (
          bench.elapsed(() => {
            for (let r = 0; r < reps; r++) once();
          }) / reps
        );
      } catch {
        return Infinity;
      }
    };
    const first = list.map((_, i) => time(i, FIRST_MS));
    const finalists = [...list.keys()].sort((i, j) => first[i]! - first[j]! || i - j).slice(0, FINALISTS);
    const second = new Map([...new Set([0, ...finalists])].map((i) => [i, time(i, SECOND_MS)]));
    const [winner] = [...second].reduce((x, y) => (y[1] < x[1] ? y : x));
    return second.get(winner)! < MARGIN * second.get(0)! ? winner : 0;
  });
  if (best === undefined) return list[0]!;
  return writeCache(entry, list[best]!) ? list[best]! : list[0]!;
}
