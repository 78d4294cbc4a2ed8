/** Chooses among algorithms for one product by timing them once on scratch memory; the choice is kept on disk, so that it stays the same. */
import { readCache, settleCache, writeCache } from './cache.ts';

/** Submitted work that can be launched again and again. */
export interface CapturedWork {
  launch(): void;
  free(): void;
}

/** What timing needs of a device. */
export interface Bench {
  /** The GPU and its driver: what a choice depends on. */
  readonly machine: string;
  readonly stream: number;
  /** What `work` puts on `stream`, as one graph. */
  captured(work: () => void): CapturedWork;
  /** Milliseconds on the GPU of what each of `bodies` submits, one after the other without a wait between them. */
  timed(bodies: readonly (() => void)[]): number[];
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

/**
 * Who is timed in each heat: the fastest so many of the heat before, and the library's first; for how many milliseconds at a time, and how
 * often. In a heat all take turns without a pause, forth and back: what a GPU at work does to its clocks meets all of them.
 */
const HEATS = [
  { entrants: Infinity, ms: 0, turns: 3 },
  { entrants: 6, ms: 1, turns: 4 },
  { entrants: 3, ms: 2, turns: 8 },
] as const;
/** The last are timed from rest as well, with clocks as high as a product finds them between kernels that need less power: so often, after so long. */
const FROM_REST = { turns: 5, pause: 6, ms: 1 };
/** A later candidate replaces the first only for more than the noise of a measurement. */
const MARGIN = 0.985;
/** Bytes of operands to take in turn, so that none is in the second-level cache, as in a program. */
const COLD = 150e6;

/** Lets the GPU rest. Blocks. */
export const pause = (ms: number): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
const middle = (xs: readonly number[]): number => [...xs].sort((x, y) => x - y)[xs.length >> 1]!;

/**
 * Which of `works` to take: undefined ones do not take part, the first must be there. Algorithms change places as clocks fall, so that each counts
 * for the worse of its two times beside the first's.
 */
function fastest(bench: Bench, works: readonly (CapturedWork | undefined)[]): number {
  let ranking = [...works.keys()].filter((i) => works[i]);
  const atWork = new Map<number, number>();
  const launches = (i: number, ms: number): number => Math.max(1, Math.ceil(ms / (atWork.get(i) ?? Infinity)));
  const run = (i: number, n: number) => () => {
    for (let k = 0; k < n; k++) works[i]!.launch();
  };
  for (const { entrants, ms, turns } of HEATS) {
    const field = ranking.filter((i, rank) => i === 0 || rank < entrants);
    const counts = new Map(field.map((i) => [i, launches(i, ms)]));
    const order = Array.from({ length: turns }, (_, t) => (t % 2 ? [...field].reverse() : field)).flat();
    const times = bench.timed(order.map((i) => run(i, counts.get(i)!)));
    for (const i of field) atWork.set(i, middle(times.filter((_, t) => order[t] === i)) / counts.get(i)!);
    ranking = field.sort((i, j) => atWork.get(i)! - atWork.get(j)! || i - j);
  }
  if (ranking[0] === 0) return 0;
  const fromRest = new Map<number, number[]>(ranking.map((i) => [i, []]));
  for (let t = 0; t < FROM_REST.turns; t++)
    for (const i of t % 2 ? [...ranking].reverse() : ranking) {
      pause(FROM_REST.pause);
      fromRest.get(i)!.push(bench.timed([run(i, 1), run(i, launches(i, FROM_REST.ms))])[1]! / launches(i, FROM_REST.ms));
    }
  const beside = (i: number): number => Math.max(atWork.get(i)! / atWork.get(0)!, middle(fromRest.get(i)!) / middle(fromRest.get(0)!));
  const winner = ranking.reduce((best, i) => (beside(i) < beside(best) ? i : best), 0);
  return beside(winner) < MARGIN ? winner : 0;
}

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
    const works = list.map((algorithm) => {
      const run = runner(algorithm);
      const all = (): void => {
        for (let at = 0; at < addresses.length; at += operands.length) run(addresses.slice(at, at + operands.length), bench.stream);
      };
      try {
        all(); // loads the kernel, which a graph cannot
        return bench.captured(all);
      } catch {
        return undefined;
      }
    });
    const winner = works[0] ? fastest(bench, works) : 0;
    for (const work of works) work?.free();
    return winner;
  });
  if (best === undefined) return list[0]!;
  if (known) return writeCache(entry, list[best]!) ? list[best]! : list[0]!;
  const settled = settleCache(entry, list[best]!); // another process may have been faster: both shall give the same bits
  return settled && usable(settled) ? settled : list[0]!;
}
