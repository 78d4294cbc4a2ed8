/** The names of the ops and what each carries besides its operands. */
import type { DType } from './dtype.ts';
import type { Shape, TensorType } from './shape.ts';

export type None = Record<never, never>;

export type UnaryName = 'neg' | 'abs' | 'exp' | 'log' | 'sqrt' | 'rsqrt' | 'sin' | 'cos' | 'tanh' | 'erf' | 'floor' | 'not';
export type BinaryName = 'add' | 'sub' | 'mul' | 'div' | 'max' | 'min' | 'pow' | 'mod' | 'and' | 'or' | 'xor' | 'shl' | 'shr';
export type CompareName = 'lt' | 'le' | 'eq';

/** What each op carries besides its operands. */
export interface OpAttrs extends Record<UnaryName | BinaryName | CompareName, None> {
  // leaves
  input: { index: number; type: TensorType };
  full: { value: number; shape: Shape; dtype: DType };
  iota: { size: number; dtype: 'i32' | 'i64' | 'f32' };
  randomBits: { shape: Shape };
  // pointwise
  where: None;
  cast: { dtype: DType };
  // the same numbers under another index
  reshape: { shape: Shape };
  permute: { axes: readonly number[] };
  broadcast: { shape: Shape };
  slice: { start: readonly number[]; size: readonly number[]; step: readonly number[] };
  flip: { axes: readonly number[] };
  pad: { before: readonly number[]; after: readonly number[]; value: number };
  concat: { axis: number };
  // reductions and scans; reduced axes are kept as 1
  sum: { axes: readonly number[] };
  reduceMax: { axes: readonly number[] };
  argmax: { axis: number };
  cumsum: { axis: number };
  // contractions
  matmul: None;
  unfold: Window2d;
  fold: Window2d & { height: number; width: number };
  // indexing
  take: { axis: number };
  scatterAdd: { axis: number; size: number };
  takeAlong: { axis: number };
  scatterAlong: { axis: number; size: number };
  updateAt: { axis: number };
  argsort: { descending: boolean /** Entries of the order that are wanted, from its beginning. */; first: number };
  // gradient control: the identity on values
  stopGradient: None;
  barrier: None;
  identity: None;
  custom: { outputs: number; vjp: unknown };
  // fused: each means a function of the ops above (functions/fused.ts), which is also what its kernels are tested against
  norm: { eps: number; rms: boolean; affine: 0 | 1 | 2 };
  normGrad: { rms: boolean; affine: 0 | 1 | 2 };
  softmax: None;
  softmaxGrad: None;
  crossEntropy: None;
  crossEntropyGrad: None;
  attention: AttentionAttrs;
  attentionGrad: AttentionAttrs;
  decodeAttention: DecodeAttentionAttrs;
  linearCrossEntropy: LinearCrossEntropyAttrs;
  linearCrossEntropyGrad: LinearCrossEntropyAttrs;
}

/** Sliding windows over [B, C, H, W]: kernel, stride, padding and dilation as [rows, columns]. */
export interface Window2d {
  kernel: readonly [number, number];
  stride: readonly [number, number];
  padding: readonly [number, number];
  dilation: readonly [number, number];
}

/** q [B, Tq, Hq, E], k [B, Tk, Hkv, E], v [B, Tk, Hkv, Ev]; window 0 means unlimited. An operand more, i32 [n + 1]: offsets of packed sequences. */
export interface AttentionAttrs {
  scale: number;
  causal: boolean;
  window: number;
}

/** q [B, Tq, Hq, E], k [B, C, Hkv, E], v [B, C, Hkv, Ev], length i32 of one element; window 0 means unlimited. */
export interface DecodeAttentionAttrs {
  scale: number;
  window: number;
}

/** Rows e [N, D] against classifier rows c [V, D], which are rows first..first+V-1 of one of `total` rows. */
export interface LinearCrossEntropyAttrs {
  /** Rows with this target count for nothing. */
  ignore: number;
  first: number;
  total: number;
  /** Logits a become softCap * tanh(a / softCap); 0: they stay. */
  softCap: number;
  /** Whether f32 [V] is added to the logits. */
  bias: boolean;
  /** Tiles of the logits' gradient whose elements are all below this, before scaling, may be left out; 0: none. */
  eps: number;
  /** Whose gradient they are left out of. */
  filter: { e: boolean; c: boolean };
  /** Classifier rows enter the tiles in the order of their mean logits. */
  sort: boolean;
  /** Bytes that a device may take for blocks of logits. */
  memory: number;
}

export type OpName = keyof OpAttrs;
export type OpKind = 'leaf' | 'pointwise' | 'view' | 'copy' | 'reduce' | 'contract' | 'index' | 'fused';

export interface Rule<A> {
  kind: OpKind;
  /** Output types, or a ShapeError that names the operands. */
  infer(attrs: A, inputs: readonly TensorType[]): TensorType[];
  /** Floating-point operations. */
  flops(attrs: A, inputs: readonly TensorType[], outputs: readonly TensorType[]): number;
  /** Bytes that must move when nothing is fused. */
  bytes(attrs: A, inputs: readonly TensorType[], outputs: readonly TensorType[]): number;
}
export type OpTable = { [K in OpName]: Rule<OpAttrs[K]> };
