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
/** Two blocks of these take all registers of a processor: of fewer, those that come early would share one and leave another idle. */
const STREAM_THREADS = 512;
const STREAM_BLOCKS = 2;
const MAX_SUM_BYTES = 6 << 10;
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
 * How a block's warps share k where a thread's packs lie in registers: `share` of them a column, so that one has at most three packs a lane of it,
 * and eight packs a lane in flight; and the columns that a block may have, whose sums lie in shared memory.
 */
function walk(m: number, parts: number, packs: number): { share: number; depth: number; most: number } {
  const strides = Math.ceil(packs / 32);
  let share = 1;
  while (share < STREAM_THREADS / 32 && strides > 3 * share) share *= 2;
  const depth = Math.max(1, Math.floor(8 / (parts * Math.ceil(strides / share))));
  return { share, depth, most: Math.floor(MAX_SUM_BYTES / (4 * m * parts * share)) };
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

/** The source of what a kernel is given of its call. */
interface Given {
  type: string;
  /** Whether nothing in the program writes the weights and the gain: they may be read before the kernel's turn. */
  steady: boolean;
  /** a(m, k), the gain or none, and the norm's epsilon. */
  expression: string;
  /** The operand as so many threads make it. */
  operand(threads: number): string;
  /** right(m, n), and out(m, n, sums..., beside). */
  results: string;
  kernel(block: number, resident: number, body: string, more?: readonly string[]): string;
}

function givenOf(name: string, { attrs, reads, writes }: Call<'gemv'>, isSteady: (v: View) => boolean): Given {
  const { m, n, k, parts, operand, norm, result } = attrs;
  const width = n / parts;
  const [w] = reads as [View];
  const left = reads.slice(1, 1 + operand.loads);
  const gain = norm?.affine ? reads[1 + operand.loads]! : undefined;
  const right = reads.slice(1 + operand.loads + (gain ? 1 : 0));
  const load = (views: readonly View[], prefix: string) => (i: number) => ({
    code: `load(${prefix}${i}[${offsetOf(views[i]!)}])`,
    lane: laneOf[views[i]!.dtype],
  });
  const type = storageType[w.dtype];
  const given = [gain ? 'gain' : '(const float *)nullptr', constant(norm?.eps ?? 0, 'f32')].join(', ');
  const a = `[&](u32 c0, u32 c1) -> float { ${statements(operand, 'a', load(left, 'left'), `(c0 * ${k}ull + c1)`)} return ${asFloat(operand, 'a')}; }`;

  const loads = right.map((_, i) => load(right, 'right')(i));
  const fields = loads.map(({ lane }, i) => `${laneType[lane]} v${i};`).join(' ') || 'u32 nothing;';
  const beside = `${name}_beside r; ${loads.map(({ code }, i) => `r.v${i} = ${code};`).join(' ')} return r;`;
  const sums = Array.from({ length: parts }, (_, i) => `float sum${i}`);
  const loaded = (i: number) =>
    i < right.length ? { code: `beside.v${i}`, lane: loads[i]!.lane } : { code: `sum${i - right.length}`, lane: 'f32' as const };
  const stores = writes.map((v, i) => `store(out${i}[${offsetOf(v)}], y${result.results[i]});`).join(' ');
  const finish = `${statements(result, 'y', loaded, `(c0 * ${width}ull + c1)`)} ${stores}`;

  const parameters = [
    ...pointers([w], 'weights'),
    ...pointers(left, 'left'),
    ...(gain ? ['float *gain'] : []),
    ...pointers(right, 'right'),
    ...pointers(writes, 'out'),
  ];
  // rows that lie in memory as they are, and a norm of a single one, are copied in packs
  const packed = (v: View): boolean =>
    v.dtype === w.dtype && v.strides[1] === 1 && [v.strides[0]!, v.offset].every((x) => x % pack(w) === 0);
  const normed = !norm || (m === 1 && !(gain && gain.offset % 4) && k * (itemSize[w.dtype] + 4) <= MAX_STATIC_BYTES);
  const plain = left.length === 1 && operand.steps.length === 0 && packed(left[0]!) && normed;
  return {
    type,
    steady: isSteady(w) && (!gain || isSteady(gain)),
    expression: `${a}, ${given}`,
    operand(threads) {
      const shape = `${type}, ${m}, ${k}, ${threads}, ${!!norm}`;
      const few = (m * k) / pack(w) <= 4 * threads; // what a thread holds of them
      return plain && few ? `Copied<${shape}>{left0, ${left[0]!.strides[0]}ull, ${given}}` : `expressed<${shape}>(${a}, ${given})`;
    },
    results: `[&](u32 c0, u32 c1) -> ${name}_beside { ${beside} }, [&](${['u32 c0, u32 c1', ...sums, `${name}_beside beside`].join(', ')}) { ${finish} }`,
    kernel: (block, resident, body, more = []) =>
      `struct ${name}_beside { ${fields} };\nextern "C" __global__ void __launch_bounds__(${block}, ${resident}) ${name}(${[...parameters, ...more].join(', ')}) {\n  ${body}\n}`,
  };
}

/** @param isSteady whether nothing in the program writes what a view looks at, so that it may be read before the kernel's turn. */
export function gemvKernel(name: string, call: Call<'gemv'>, target: GemvTarget, isSteady: (v: View) => boolean): GemvKernel {
  const { m, n, k, parts, norm } = call.attrs;
  const [w] = call.reads as [View];
  const width = n / parts;
  const { type, steady, expression, operand, results, kernel } = givenOf(name, call, isSteady);
  if (w.strides[0] === 1 && tiled(m, w, target.capability)) {
    const stages = stagesOf(m, k, target.sharedBytes);
    const body = `gemv_tiles<${type}, ${m}, ${k}, ${parts}, ${stages}, ${TILE_THREADS}, ${!!norm}, ${steady}>(weights0, ${w.strides[1]}ull, ${width}u, ${expression}, ${results});`;
    return {
      source: kernel(TILE_THREADS, 2, body),
      grid: [Math.min(target.multiprocessors, Math.ceil(n / 16)), 1, 1],
      block: TILE_THREADS,
      sharedBytes: operandBytes(m, k) + stages * STAGE_BYTES,
      shared: [],
    };
  }
  if (w.strides[0] === 1) {
    const { share, depth, most } = walk(m, parts, k / pack(w));
    const body = `gemv<${type}, ${m}, ${k}, ${parts}, ${share}, ${depth}, ${most}, ${STREAM_THREADS}, ${steady}>(weights0, ${w.strides[1]}ull, ${width}u, ${operand(STREAM_THREADS)}, ${results});`;
    const blocks = Math.min(width, STREAM_BLOCKS * target.multiprocessors);
    return {
      source: kernel(STREAM_THREADS, STREAM_BLOCKS, body),
      grid: [blocks * Math.ceil(Math.ceil(width / blocks) / most), 1, 1],
      block: STREAM_THREADS,
      sharedBytes: 0,
      shared: [],
    };
  }
  const tiles = Math.ceil(width / (8 * pack(w)));
  // two blocks for each processor of a large GPU, none with less than 128 of k
  const splits =
    tiles > TICKETS ? 1 : Math.max(1, Math.min(Math.ceil(264 / tiles), Math.floor(k / 128), Math.floor(WORKSPACE_FLOATS / (m * n))));
  const body = `gemv_columns<${type}, ${m}, ${k}, ${parts}, ${m * parts <= 2 ? 4 : 2}, ${steady}>(weights0, ${w.strides[0]}ull, ${width}u, ${operand(THREADS)}, partial, tickets, ${results});`;
  return {
    source: kernel(THREADS, 2, body, ['float *partial', 'u32 *tickets']),
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
