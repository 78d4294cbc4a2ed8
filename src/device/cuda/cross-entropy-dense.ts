/**
 * The gradient of linearCrossEntropy where nothing is left out, in blocks of the vocabulary with all rows of e: the gradient g of a block's logits by
 * our kernel, de += g c and dc = g^T e by the library. What is not written yet of dc is room: its last rows hold de's sums in f32, and g stands
 * behind the block. For this the last blocks come twice, first for de, and for dc when the sums have been rounded. Where too little is left of dc, g is
 * in the scratch.
 */
import { itemSize } from '../../tensor/dtype.ts';
import type { Call, View } from '../../tensor/lower/program.ts';
import type { LinearCrossEntropyAttrs } from '../../tensor/ops.ts';

/** Classes of a block: few different numbers, as the library's products are tuned for each. */
const WIDTHS = [16384, 8192, 4096, 2048, 1024, 512, 256];
/** Classes that come twice are 1 in so many at most. */
const TWICE = 4;

export interface DenseBlock {
  first: number;
  columns: number;
  /** Where g begins, in elements of dc; undefined: in the scratch. */
  at: number | undefined;
  /** What it is computed for. */
  de: boolean;
  dc: boolean;
}

/** Columns of g in memory: whole tiles. */
export const pitchOf = (columns: number): number => Math.ceil(columns / 256) * 256;
/** Rows of dc that hold the sums of de [N, D] in f32. */
const sumRows = (N: number): number => 2 * N;
const scratchWidth = (N: number, memory: number): number | undefined => WIDTHS.find((w) => w <= 2048 && 2 * w * N <= memory);

/** Bytes of scratch; undefined where this way is not open. */
export function denseScratch(N: number, V: number, { eps, memory }: Pick<LinearCrossEntropyAttrs, 'eps' | 'memory'>): number | undefined {
  const width = scratchWidth(N, memory);
  return eps === 0 && N >= 128 && V >= TWICE * sumRows(N) && width ? 2 * width * N : undefined;
}

/** The blocks in their order. */
export function denseBlocks(N: number, V: number, D: number, memory: number): DenseBlock[] {
  const least = scratchWidth(N, memory)!;
  const sums = V - sumRows(N);
  const blocks: DenseBlock[] = [];
  /** @param room the free rows of dc when a block of so many classes is written. */
  const over = (begin: number, end: number, what: { de: boolean; dc: boolean }, room: (after: number) => [number, number]): void => {
    for (let first = begin; first < end; ) {
      const fits = (width: number): boolean => {
        const [from, to] = room(first + Math.min(width, end - first));
        return pitchOf(Math.min(width, end - first)) * N + 128 <= (to - from) * D;
      };
      const width = WIDTHS.find((w) => w > least && fits(w));
      const columns = Math.min(width ?? least, end - first);
      const at = width && Math.ceil((room(first + columns)[0] * D) / 128) * 128;
      blocks.push({ first, columns, at, ...what });
      first += columns;
    }
  };
  over(sums, V, { de: true, dc: false }, () => [0, sums]);
  over(0, sums, { de: true, dc: true }, (after) => [after, sums]);
  over(sums, V, { de: false, dc: true }, (after) => [after, V]);
  return blocks;
}

const matrix = (v: View, dtype: View['dtype'], offset: number, shape: [number, number]): View => ({
  ...v,
  dtype,
  offset: (v.offset * itemSize[v.dtype]) / itemSize[dtype] + offset,
  shape: [1, 1, ...shape],
  strides: [0, 0, shape[1], 1],
});

/** de's sums in dc. */
export const sumsOf = (dC: View, N: number, V: number, D: number): View => matrix(dC, 'f32', ((V - sumRows(N)) * D) / 2, [N, D]);
/** A block's g, whole tiles. */
export const gradientOf = ({ columns, at }: DenseBlock, N: number, dC: View, scratch: View): View =>
  at === undefined ? matrix(scratch, dC.dtype, 0, [N, pitchOf(columns)]) : matrix(dC, dC.dtype, at, [N, pitchOf(columns)]);

/** The products of a block. `fresh`: there are no sums yet. */
export function denseProducts(
  { first, columns, de, dc }: DenseBlock,
  g: View,
  { e, c, dC, sums }: { e: View; c: View; dC: View; sums: View },
  fresh: boolean,
): Call<'gemm'>[] {
  const [N, D] = e.shape as [number, number];
  const pitch = g.shape[3]!;
  const rows = (v: View): View => matrix(v, v.dtype, first * D, [columns, D]);
  const product = (m: number, k: number, reads: View[], to: View, residual: boolean): Call<'gemm'> => ({
    kernel: 'gemm',
    label: 'linearCrossEntropyGrad',
    attrs: { m, n: D, k, batch: [1, 1], residual },
    reads,
    writes: [to],
    flops: 2 * m * D * k,
  });
  return [
    ...(de ? [product(N, columns, [{ ...g, shape: [1, 1, N, columns] }, rows(c), ...(fresh ? [] : [sums])], sums, !fresh)] : []),
    ...(dc
      ? [
          product(
            columns,
            N,
            [{ ...g, shape: [1, 1, columns, N], strides: [0, 0, 1, pitch] }, matrix(e, e.dtype, 0, [N, D])],
            rows(dC),
            false,
          ),
        ]
      : []),
  ];
}
