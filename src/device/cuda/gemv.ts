/** Products of a few rows: which ones have a kernel, and its source with the neighbours' expressions in it. */
import { itemSize, laneOf } from '../../tensor/dtype.ts';
import type { Device } from '../../tensor/index.ts';
import type { Call, Expression, View } from '../../tensor/lower/program.ts';
import { resultLane } from '../../tensor/lower/program.ts';
import { constant, laneType, statements, storageType } from './codegen.ts';
import { offsetOf, pointers } from './packs.ts';
import { type Shared, TICKETS, WORKSPACE_FLOATS } from './shared.ts';

const MAX_ROWS = 8;
const MAX_COLUMN_ROWS = 4;
const THREADS = 256;
/** Of the left operand, which every block keeps whole, where shared memory is not asked for at launch. */
const MAX_STATIC_BYTES = 40 << 10;

/** What the kernels depend on beside the call. */
export interface GemvTarget {
  /** Compute capability x 10. */
  capability: number;
  multiprocessors: number;
  /** Shared memory that a block may have. */
  sharedBytes: number;
}

const pack = (v: Pick<View, 'dtype'>): number => 16 / itemSize[v.dtype];

/** Several rows of halves are multiplied in tiles on tensor cores (cuda/gemv-tiles.cuh). */
const TILE_THREADS = 512;
const STAGE_BYTES = 32 * TILE_THREADS;
const MOST_STAGES = 6;
const tiled = (m: number, v: Pick<View, 'dtype'>, capability: number): boolean => m > 1 && capability >= 80 && itemSize[v.dtype] === 2;
const operandBytes = (m: number, k: number): number => 2 * m * (k + 32);
/** Bytes of shared memory that are no operand and no stage: sums of all warps, twice. */
const sumBytes = (m: number): number => m * (TILE_THREADS / 32) * (2 * 16 + 1) * 4;

/** Stages of weights that a block has in flight: two blocks share a processor, unless the operand is too large for that. None: it does not fit. */
function stagesOf(m: number, k: number, sharedBytes: number): number {
  const rest = operandBytes(m, k) + sumBytes(m);
  const stages = (bytes: number): number => Math.floor((bytes - 1024 - rest) / STAGE_BYTES);
  const beside = stages((sharedBytes + 1024) / 2);
  return Math.min(MOST_STAGES, beside >= 2 ? beside : stages(sharedBytes + 1024));
}

export const skinnyOn = ({ capability, sharedBytes }: GemvTarget): NonNullable<Device['skinny']> => ({
  fits(a) {
    const [m, k] = a.shape as [number, number];
    if (m < 1 || m > MAX_ROWS || k < 1 || k % pack(a)) return false;
    return tiled(m, a, capability) ? stagesOf(m, k, sharedBytes) >= 1 : a.bytes <= MAX_STATIC_BYTES;
  },
  reads(w, m) {
    const [byK, byN] = w.strides as [number, number];
    const [k, n] = w.shape as [number, number];
    const aligned = (...places: number[]): boolean => [...places, w.offset].every((x) => x % pack(w) === 0);
    if (byK === 1) return aligned(byN);
    // columns keep a sum for each number of a pack, and the halves of a gated row must both begin with one
    return byN === 1 && m <= MAX_COLUMN_ROWS && m * k * itemSize[w.dtype] <= MAX_STATIC_BYTES && aligned(byK, n / 2);
  },
});

/**
 * How a warp walks where a thread's packs lie in registers: neighbouring columns that it owns of each part, packs of each column in flight, and the
 * blocks that a processor should hold. For one row, four packs a lane and many blocks; more rows need more columns to share what is
 * loaded of the operand.
 */
function walk(m: number, parts: number): { columns: number; unroll: number; resident: number } {
  if (m <= 2) return { columns: 1, unroll: 4 / parts, resident: 6 };
  return { columns: 2 / parts, unroll: m <= 4 ? 4 : 2, resident: 2 };
}

export interface GemvKernel {
  source: string;
  grid: readonly [number, number, number];
  block: number;
  /** Of dynamic shared memory. */
  sharedBytes: number;
  /** What it is given besides the operands of the call. */
  shared: readonly Shared[];
}

/** @param isSteady whether nothing in the program writes what a view looks at, so that it may be read before the kernel's turn. */
export function gemvKernel(
  name: string,
  { attrs, reads, writes }: Call<'gemv'>,
  target: GemvTarget,
  isSteady: (v: View) => boolean,
): GemvKernel {
  const { m, n, k, parts, operand, norm, result } = attrs;
  const width = n / parts;
  const [w] = reads as [View];
  const left = reads.slice(1, 1 + operand.loads);
  const gain = norm?.affine ? 1 + operand.loads : -1;
  const right = reads.slice(1 + operand.loads + (norm?.affine ? 1 : 0));
  const steady = isSteady(w) && (gain < 0 || isSteady(reads[gain]!));
  const load = (views: readonly View[], prefix: string) => (i: number) => ({
    code: `load(${prefix}${i}[${offsetOf(views[i]!)}])`,
    lane: laneOf[views[i]!.dtype],
  });
  const a = `[&](u32 c0, u32 c1) -> float { ${statements(operand, 'a', load(left, 'left'), `(c0 * ${k}ull + c1)`)} return ${asFloat(operand, 'a')}; }`;
  const stores = writes.map((v, i) => `store(out${i}[${offsetOf(v)}], y${result.results[i]});`).join(' ');
  const sums = Array.from({ length: parts }, (_, i) => `float sum${i}`);
  const finish = (more: readonly string[], loadRight: ReturnType<typeof load>): string => {
    const loads = (i: number) => (i < right.length ? loadRight(i) : { code: `sum${i - right.length}`, lane: 'f32' as const });
    return `[&](${['u32 c0, u32 c1', ...sums, ...more].join(', ')}) { ${statements(result, 'y', loads, `(c0 * ${width}ull + c1)`)} ${stores} }`;
  };
  const parameters = [
    ...pointers([w], 'weights'),
    ...pointers(left, 'left'),
    ...(gain < 0 ? [] : ['float *gain']),
    ...pointers(right, 'right'),
    ...pointers(writes, 'out'),
  ];
  const given = `${a}, ${gain < 0 ? '(const float *)nullptr' : 'gain'}, ${constant(norm?.eps ?? 0, 'f32')}`;
  const type = storageType[w.dtype];
  const kernel = (block: number, resident: number, more: readonly string[], call: string): string =>
    `extern "C" __global__ void __launch_bounds__(${block}, ${resident}) ${name}(${[...parameters, ...more].join(', ')}) {\n  ${call}\n}`;
  if (w.strides[0] === 1 && tiled(m, w, target.capability)) {
    const stages = stagesOf(m, k, target.sharedBytes);
    const loads = right.map((_, i) => load(right, 'right')(i));
    const fields = loads.map(({ lane }, i) => `${laneType[lane]} v${i};`).join(' ');
    const beside = `[&](u32 c0, u32 c1) -> ${name}_beside { ${name}_beside r; ${loads.map(({ code }, i) => `r.v${i} = ${code};`).join(' ')} return r; }`;
    const out = finish([`${name}_beside beside`], (i) => ({ code: `beside.v${i}`, lane: loads[i]!.lane }));
    const body = `gemv_tiles<${type}, ${m}, ${k}, ${parts}, ${stages}, ${TILE_THREADS}, ${!!norm}, ${steady}>(weights0, ${w.strides[1]}ull, ${width}u, ${given}, ${beside}, ${out});`;
    return {
      source: `struct ${name}_beside { ${fields || 'u32 nothing;'} };\n${kernel(TILE_THREADS, 2, [], body)}`,
      grid: [Math.min(target.multiprocessors, Math.ceil(n / 16)), 1, 1],
      block: TILE_THREADS,
      sharedBytes: operandBytes(m, k) + stages * STAGE_BYTES,
      shared: [],
    };
  }
  const out = finish([], load(right, 'right'));
  if (w.strides[0] === 1) {
    const { columns, unroll, resident } = walk(m, parts);
    const body = `gemv<${type}, ${m}, ${k}, ${columns}, ${parts}, ${unroll}, ${THREADS}, ${!!norm}, ${steady}>(weights0, ${w.strides[1]}ull, ${width}u, ${given}, ${out});`;
    return {
      source: kernel(THREADS, resident, [], body),
      grid: [Math.ceil(width / (columns * (THREADS / 32))), 1, 1],
      block: THREADS,
      sharedBytes: 0,
      shared: [],
    };
  }
  const tiles = Math.ceil(width / (8 * pack(w)));
  // two blocks for each processor of a large GPU, none with less than 128 of k
  const splits =
    tiles > TICKETS ? 1 : Math.max(1, Math.min(Math.ceil(264 / tiles), Math.floor(k / 128), Math.floor(WORKSPACE_FLOATS / (m * n))));
  const body = `gemv_columns<${type}, ${m}, ${k}, ${parts}, ${m * parts <= 2 ? 4 : 2}, ${!!norm}, ${steady}>(weights0, ${w.strides[0]}ull, ${width}u, ${given}, partial, tickets, ${out});`;
  return {
    source: kernel(THREADS, 2, ['float *partial', 'u32 *tickets'], body),
    grid: [tiles, splits, 1],
    block: THREADS,
    sharedBytes: 0,
    shared: ['workspace', 'tickets'],
  };
}

/** The result of an expression as f32. */
function asFloat(e: Expression, prefix: string): string {
  const [id] = e.results as [number];
  const lane = id < e.loads ? 'f32' : resultLane(e.steps[id - e.loads]!);
  return lane === 'f32' ? `${prefix}${id}` : `(float)${prefix}${id}`;
}
