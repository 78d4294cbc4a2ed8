/** Lowered programs: kernel calls over planned memory. Devices translate these; nothing here is specific to one. */
import { type DType, itemSize, type Lane } from '../dtype.ts';
import type {
  AttentionAttrs,
  BinaryName,
  CompareName,
  DecodeAttentionAttrs,
  LinearCrossEntropyAttrs,
  UnaryName,
  Window2d,
} from '../ops.ts';

/** Elements of a buffer under strides (in elements; 0 repeats, negative walks back). */
export interface View {
  readonly buffer: number;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly dtype: DType;
}

/** One step of a pointwise expression. Arguments are ids: loads first, then steps in order. */
export type Step =
  | { op: 'const'; lane: Lane; value: number }
  | { op: 'index' } // flat index in the iteration space, i64
  | { op: 'philox'; args: [number, number] } // i32 bits of (key word, key word, flat index)
  | { op: 'convert'; from: Lane; to: Lane; args: [number] }
  | { op: 'round'; lane: 'f32'; to: 'bf16' | 'f16'; args: [number] } // what storing a half and loading it back would do
  | { op: UnaryName | BinaryName | CompareName | 'where'; lane: Lane; args: number[] };

/** The type of a step's value. */
export function resultLane(step: Step): Lane {
  if (step.op === 'index') return 'i64';
  if (step.op === 'convert') return step.to;
  if (step.op === 'philox' || step.op === 'lt' || step.op === 'le' || step.op === 'eq' || step.op === 'not') return 'i32';
  return step.lane;
}

export interface Expression {
  /** Number of loads: operands of the call, as ids 0..loads-1. */
  loads: number;
  steps: Step[];
  /** Ids of the results. */
  results: number[];
}

export interface CallAttrs {
  /** reads: loads; writes: results, all over `dims`. */
  map: { dims: readonly number[]; expression: Expression };
  /** The space is [outer, count, inner]; the one result of the expression is reduced over `count`. */
  reduce: { dims: readonly number[]; expression: Expression; op: 'sum' | 'max'; outer: number; count: number; inner: number };
  argreduce: CallAttrs['reduce'];
  /**
   * Operand strides are those of [batch0, batch1, row, column]. Only devices with an `epilogue` are given these: with `bias` and `residual`, a vector of n
   * and a matrix like the result follow the two operands, and are added. `gelu` forward (of the sum, without a residual; tanh form): a second result, where
   * there is one, is the sum; backward: the result is the product times gelu'(h), h being the last operand, a matrix like the result.
   */
  gemm: {
    m: number;
    n: number;
    k: number;
    batch: readonly [number, number];
    bias?: boolean;
    residual?: boolean;
    gelu?: 'forward' | 'backward';
  };
  /**
   * A product of a few rows. reads: weights [k, n]; the loads of `operand`, over [m, k]; with a norm that is affine, its gain f32 [k]; the loads
   * of `result` but the last `parts`, over [m, n / parts]. The operand (after an RMS norm over k, where there is one) times the weights gives
   * rows whose equal parts are those last loads.
   */
  gemv: {
    m: number;
    n: number;
    k: number;
    parts: number;
    operand: Expression;
    norm?: { eps: number; affine: boolean };
    result: Expression;
  };
  norm: { rows: number; width: number; eps: number; rms: boolean; affine: number };
  /** writes: dx, and [parts, width] of each of the first `affine` of dgain and dbias. */
  normGrad: { rows: number; width: number; rms: boolean; affine: number; parts: number };
  softmax: { rows: number; width: number };
  softmaxGrad: { rows: number; width: number };
  crossEntropy: { rows: number; width: number };
  crossEntropyGrad: { rows: number; width: number };
  attention: AttentionAttrs;
  attentionGrad: AttentionAttrs;
  decodeAttention: DecodeAttentionAttrs;
  /**
   * decodeAttention that first writes new entries into the cache. reads: keys and values, which are parts of the cache, length (the new ones
   * among them: they are the last), the loads of `expression` over `dims`; writes: the result, lse, the cache [B, C, heads, E]. Queries and new entries
   * are elements of what the expression makes: where `query` [B, T, Hq, E] and `entries` [B, T, heads, E] say.
   */
  appendAttention: DecodeAttentionAttrs & { dims: readonly number[]; expression: Expression; query: View; entries: View };
  linearCrossEntropy: LinearCrossEntropyAttrs;
  linearCrossEntropyGrad: LinearCrossEntropyAttrs;
  take: Indexed & { picks: number };
  scatterAdd: Indexed & { picks: number };
  takeAlong: Indexed & { picks: number };
  scatterAlong: Indexed & { picks: number };
  updateAt: Indexed & { picks: number };
  argsort: { rows: number; width: number; first: number; descending: boolean };
  cumsum: Indexed;
  unfold: Window2d & { height: number; width: number };
  fold: Window2d & { height: number; width: number };
}
/** A tensor seen as [outer, axis, inner]. */
interface Indexed {
  outer: number;
  axis: number;
  inner: number;
}

export type KernelName = keyof CallAttrs;
export interface Call<K extends KernelName = KernelName> {
  readonly kernel: K;
  readonly attrs: CallAttrs[K];
  readonly reads: readonly View[];
  readonly writes: readonly View[];
  /** The ops it computes, for error messages and profiles. */
  readonly label: string;
  readonly flops: number;
}

export type AnyCall = { [K in KernelName]: Call<K> }[KernelName];

/** Bytes that a call moves: every element of its operands and results once. Of a table that rows are picked from, as much as is picked. */
export function callBytes({ kernel, reads, writes }: AnyCall): number {
  const bytes = (v: View): number => v.shape.reduce((n, d, i) => n * (v.strides[i] === 0 ? 1 : d), itemSize[v.dtype]);
  const written = writes.reduce((n, w) => n + bytes(w), 0);
  const picks = kernel === 'take' || kernel === 'takeAlong';
  return reads.reduce((n, r, i) => n + (picks && i === 0 ? Math.min(bytes(r), written) : bytes(r)), written);
}

/** Where a buffer lives: an external one is given at each call, a temporary has its place in the arena. */
export interface BufferSpec {
  readonly bytes: number;
  /** Index among the buffers given at each call, or -1 for a temporary. */
  external: number;
  /** Byte offset in the arena (temporaries). */
  offset: number;
}

export interface Program {
  readonly calls: readonly AnyCall[];
  readonly buffers: readonly BufferSpec[];
  /** Number of external buffers. */
  readonly externals: number;
  readonly arenaBytes: number;
}
