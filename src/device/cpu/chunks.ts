/** How the work of a call is cut into chunks, which the threads take: by its shape alone, so that the bits do not depend on the threads. */
import type { Call } from '../../tensor/lower/program.ts';

export const ceil = (a: number, b: number): number => Math.ceil(a / b);

/** A chunk should take some microseconds, so that handing it out costs nothing, and there should be enough of them to balance. */
export const MAP_GRAIN = 16384;
export const rowGrain = (rows: number, width: number): number => Math.max(1, Math.min(ceil(rows, 4), ceil(8192, Math.max(1, width))));

/** Rows of a product that each micro-kernel keeps in registers: MR of native/microkernel.h. */
export const tileRows: Record<string, number> = { avx512: 12, avx2: 6, sse: 4, neon: 8, wasm: 6, 'wasm-relaxed': 6 };

/**
 * Blocks of a product: a property of its shape alone, so that the bits do not depend on the threads. The largest that still gives 32
 * chunks of at least 2 MFLOP; rows in multiples of the micro-kernel's, columns of 32.
 */
export function gemmBlocks(m: number, n: number, k: number, batches: number, rows: number): { MB: number; NB: number; grain: number } {
  const even = (size: number, block: number, unit: number): number =>
    Math.max(1, Math.min(size, ceil(ceil(size, ceil(size, block)), unit) * unit));
  let best = { MB: Math.max(1, m), NB: Math.max(1, n) };
  for (const [i, [mb, nb]] of (
    [
      [264, 128],
      [120, 128],
      [120, 64],
      [72, 64],
    ] as const
  ).entries()) {
    const MB = even(m, mb, rows);
    const NB = even(n, nb, 32);
    if (i > 0 && 2 * MB * NB * k < 2e6) break;
    best = { MB, NB };
    if (batches * ceil(m, MB) * ceil(n, NB) >= 32) break;
  }
  return { ...best, grain: Math.max(1, Math.round(2e6 / Math.max(1, 2 * best.MB * best.NB * k))) };
}

/** Features that a row of linearCrossEntropy may have: tiles of 12 x 32 of them fill a thread's scratch. */
export const MAX_CLASSIFIER_WIDTH = 6144;

/** Rows and columns of its tiles: the largest that fit the scratch; fewer rows where there would be less than 8 blocks of them. */
export function crossEntropyTile(N: number, D: number): { RB: number; CB: number } {
  const room = 2 ** 20 - 8192; // floats of the scratch, less the slack between its parts
  for (const [rows, CB] of [
    [96, 512],
    [96, 256],
    [72, 128],
    [48, 64],
    [24, 32],
    [12, 32],
  ] as const) {
    const RB = Math.min(rows, Math.max(12, 12 * ceil(N, 96)));
    const width = ceil(D, 16) * 16;
    const floats = (2 * RB + 12 + 2 * CB + 32 + Math.max(RB, CB)) * width + (RB + 12) * (CB + 16);
    if (floats <= room) return { RB, CB };
  }
  throw new Error(
    `[cpu] linearCrossEntropy of ${D} features exceeds ${MAX_CLASSIFIER_WIDTH}, what fits into a thread's scratch; split them`,
  );
}

/** What SORT_BLOCK of thimble.h is: pairs of a key and an index that a thread's scratch holds twice. */
const SORT_BLOCK = 1 << 17;
/** Bytes of two orders of each row, where such pairs are not enough. */
export function argsortScratch({ attrs: { rows, width, first }, reads: [x] }: Call<'argsort'>): number {
  return x!.dtype === 'i64' || (width > SORT_BLOCK && first > SORT_BLOCK / 2) ? 8 * rows * width : 0;
}
