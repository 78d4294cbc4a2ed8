/** Products of a few rows: which ones have a kernel, and its source with the neighbours' expressions in it. */
import { itemSize, laneOf } from '../../tensor/dtype.ts';
import type { Device } from '../../tensor/index.ts';
import type { Call, Expression, View } from '../../tensor/lower/program.ts';
import { resultLane } from '../../tensor/lower/program.ts';
import { constant, statements, storageType } from './codegen.ts';
import { offsetOf, pointers } from './packs.ts';

const MAX_ROWS = 8;
/** Of the left operand, which every block keeps whole. */
const MAX_SHARED_BYTES = 40 << 10;
const THREADS = 256;

const pack = (v: Pick<View, 'dtype'>): number => 16 / itemSize[v.dtype];

export const skinny: NonNullable<Device['skinny']> = {
  fits(a) {
    const [m, k] = a.shape as [number, number];
    return m >= 1 && m <= MAX_ROWS && k > 0 && k % pack(a) === 0 && a.bytes <= MAX_SHARED_BYTES;
  },
  reads: (w) => w.strides[0] === 1 && w.strides[1]! % pack(w) === 0 && w.offset % pack(w) === 0,
};

/**
 * How a warp walks: neighbouring columns that it owns of each part, packs of each column in flight. One column with eight packs (4 KiB a warp) is
 * the fastest for one row; more rows need more columns to share what is loaded of the operand.
 */
function walk(m: number, parts: number): { columns: number; unroll: number } {
  if (m <= 2) return { columns: 1, unroll: parts === 1 ? 8 : 2 };
  return { columns: parts === 1 ? 2 : 1, unroll: m <= 4 ? 4 : 2 };
}

export function gemvKernel(name: string, { attrs, reads, writes }: Call<'gemv'>): { source: string; grid: number; block: number } {
  const { m, n, k, parts, operand, norm, result } = attrs;
  const { columns, unroll } = walk(m, parts);
  const width = n / parts;
  const [w] = reads as [View];
  const left = reads.slice(1, 1 + operand.loads);
  const gain = norm?.affine ? 1 + operand.loads : -1;
  const right = reads.slice(1 + operand.loads + (norm?.affine ? 1 : 0));
  const load = (views: readonly View[], prefix: string) => (i: number) => ({
    code: `load(${prefix}${i}[${offsetOf(views[i]!)}])`,
    lane: laneOf[views[i]!.dtype],
  });
  const loadRight = (i: number) => (i < right.length ? load(right, 'right')(i) : { code: `sum${i - right.length}`, lane: 'f32' as const });
  const a = `[&](u32 c0, u32 c1) -> float { ${statements(operand, 'a', load(left, 'left'), `(c0 * ${k}ull + c1)`)} return ${asFloat(operand, 'a')}; }`;
  const stores = writes.map((v, i) => `store(out${i}[${offsetOf(v)}], y${result.results[i]});`).join(' ');
  const sums = Array.from({ length: parts }, (_, i) => `float sum${i}`);
  const out = `[&](u32 c0, u32 c1, ${sums.join(', ')}) { ${statements(result, 'y', loadRight, `(c0 * ${width}ull + c1)`)} ${stores} }`;
  const parameters = [
    ...pointers([w], 'weights'),
    ...pointers(left, 'left'),
    ...(gain < 0 ? [] : ['float *gain']),
    ...pointers(right, 'right'),
    ...pointers(writes, 'out'),
  ];
  const source = `extern "C" __global__ void __launch_bounds__(${THREADS}, 4) ${name}(${parameters.join(', ')}) {
  gemv<${storageType[w.dtype]}, ${m}, ${k}, ${columns}, ${parts}, ${unroll}, ${THREADS}, ${!!norm}>(weights0, ${w.strides[1]}ull, ${width}u,
    ${a}, ${gain < 0 ? '(const float *)nullptr' : 'gain'}, ${constant(norm?.eps ?? 0, 'f32')},
    ${out});
}`;
  return { source, grid: Math.ceil(width / (columns * (THREADS / 32))), block: THREADS };
}

/** The result of an expression as f32. */
function asFloat(e: Expression, prefix: string): string {
  const [id] = e.results as [number];
  const lane = id < e.loads ? 'f32' : resultLane(e.steps[id - e.loads]!);
  return lane === 'f32' ? `${prefix}${id}` : `(float)${prefix}${id}`;
}
