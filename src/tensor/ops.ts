/**
 * The op table: every operation that a program may contain, with its attributes, its shape and dtype rule, its
 * arithmetic and its traffic. `OpTable` is a mapped type over the attributes, so an op without one of its rules does not compile; the
 * gradient rules (gradients.ts) and the float64 meanings (device/reference) are mapped over the same names.
 */
import { type DType, isFloat } from './dtype.ts';
import { broadcastShapes, type Shape, ShapeError, sameShape, show, type TensorType, typeOf } from './shape.ts';

type None = Record<never, never>;

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
  argsort: { descending: boolean };
  // gradient control: the identity on values
  stopGradient: None;
  identity: None;
  custom: { outputs: number; vjp: unknown };
  // fused: each means a function of the ops above (functions/fused.ts), which is also what its kernels are tested against
  norm: { eps: number; rms: boolean; affine: 0 | 1 | 2 };
  normGrad: { rms: boolean; affine: 0 | 1 | 2; rows: number };
  softmax: None;
  softmaxGrad: None;
  crossEntropy: None;
  crossEntropyGrad: None;
  attention: AttentionAttrs;
  attentionGrad: AttentionAttrs;
}

/** Sliding windows over [B, C, H, W]: kernel, stride, padding and dilation as [rows, columns]. */
export interface Window2d {
  kernel: readonly [number, number];
  stride: readonly [number, number];
  padding: readonly [number, number];
  dilation: readonly [number, number];
}

/** q [B, Tq, Hq, E], k [B, Tk, Hkv, E], v [B, Tk, Hkv, Ev]; window 0 means unlimited. */
export interface AttentionAttrs {
  scale: number;
  causal: boolean;
  window: number;
}

export type OpName = keyof OpAttrs;
export type OpKind = 'leaf' | 'pointwise' | 'view' | 'copy' | 'reduce' | 'contract' | 'index' | 'fused';

interface Rule<A> {
  kind: OpKind;
  /** Output types, or a ShapeError that names the operands. */
  infer(attrs: A, inputs: readonly TensorType[]): TensorType[];
  /** Floating-point operations. */
  flops(attrs: A, inputs: readonly TensorType[], outputs: readonly TensorType[]): number;
  /** Bytes that must move when nothing is fused. */
  bytes(attrs: A, inputs: readonly TensorType[], outputs: readonly TensorType[]): number;
}
export type OpTable = { [K in OpName]: Rule<OpAttrs[K]> };

const total = (types: readonly TensorType[]): number => types.reduce((n, t) => n + t.bytes, 0);
const traffic = (_: unknown, inputs: readonly TensorType[], outputs: readonly TensorType[]): number => total(inputs) + total(outputs);
const perOutput =
  (k: number) =>
  (_: unknown, _i: readonly TensorType[], o: readonly TensorType[]): number =>
    k * o[0]!.size;
const perInput =
  (k: number) =>
  (_: unknown, i: readonly TensorType[]): number =>
    k * i[0]!.size;
const zero = (): number => 0;
const like = (_: unknown, [x]: readonly TensorType[]): TensorType[] => [x!];

function needFloat(op: string, t: TensorType): TensorType {
  if (!isFloat(t.dtype)) throw new ShapeError(`[${op}] needs a float tensor, not ${t.dtype}${show(t.shape)}; cast it with .cast('f32')`);
  return t;
}
function needInt(op: string, t: TensorType): TensorType {
  if (isFloat(t.dtype)) throw new ShapeError(`[${op}] needs an integer tensor, not ${t.dtype}${show(t.shape)}; cast it with .cast('i32')`);
  return t;
}

const unary = (op: UnaryName, flops = 1): Rule<None> => ({
  kind: 'pointwise',
  infer(_, [x]) {
    if (op === 'not') return [typeOf(needInt(op, x!).shape, 'bool')];
    return [op === 'neg' || op === 'abs' ? x! : needFloat(op, x!)];
  },
  flops: perOutput(flops),
  bytes: traffic,
});

/** Primitives take equal shapes; the functions over them broadcast first (functions/pointwise.ts). */
function equalShapes(op: string, types: readonly TensorType[]): void {
  for (const t of types)
    if (!sameShape(t.shape, types[0]!.shape))
      throw new ShapeError(`[${op}] shapes differ: ${types.map((x) => show(x.shape)).join(', ')}; broadcast them first`);
}

const bitOps = new Set(['and', 'or', 'xor', 'shl', 'shr']);
const binary = (op: BinaryName | CompareName, compare = false): Rule<None> => ({
  kind: 'pointwise',
  infer(_, [a, b]) {
    if (a!.dtype !== b!.dtype) throw new ShapeError(`[${op}] dtypes ${a!.dtype} and ${b!.dtype} must be equal; cast one`);
    if (bitOps.has(op)) needInt(op, a!);
    if (op === 'pow') needFloat(op, a!);
    equalShapes(op, [a!, b!]);
    return [typeOf(a!.shape, compare ? 'bool' : a!.dtype)];
  },
  flops: perOutput(1),
  bytes: traffic,
});

const reduce = (op: 'sum' | 'reduceMax'): Rule<{ axes: readonly number[] }> => ({
  kind: 'reduce',
  infer({ axes }, [x]) {
    if (op === 'sum' && (x!.dtype === 'bool' || x!.dtype === 'u8' || x!.dtype === 'i8'))
      throw new ShapeError(`[sum] of ${x!.dtype}${show(x!.shape)} would overflow; cast it to i32 or f32 first`);
    return [
      typeOf(
        x!.shape.map((d, i) => (axes.includes(i) ? 1 : d)),
        x!.dtype,
      ),
    ];
  },
  flops: perInput(1),
  bytes: traffic,
});

function without(shape: Shape, axis: number): string {
  return shape.filter((_, i) => i !== axis).join();
}

function windows(w: Window2d, height: number, width: number): [number, number] {
  const out = (size: number, i: 0 | 1): number =>
    Math.floor((size + 2 * w.padding[i] - w.dilation[i] * (w.kernel[i] - 1) - 1) / w.stride[i]) + 1;
  return [out(height, 0), out(width, 1)];
}

/** m, k, n of a matmul of [..., m, k] and [..., k, n]; the batch axes are equal. */
export function matmulDims(a: Shape, b: Shape): { m: number; n: number; k: number } {
  if (a.length < 2 || b.length < 2)
    throw new ShapeError(`[matmul] needs at least rank 2, not ${show(a)} and ${show(b)}; reshape a vector to [1, n] or [n, 1]`);
  const [m, k] = a.slice(-2) as [number, number];
  const [kb, n] = b.slice(-2) as [number, number];
  if (k !== kb) throw new ShapeError(`[matmul] inner sizes of ${show(a)} and ${show(b)} differ: ${k} and ${kb}; transpose one of them`);
  return { m, n, k };
}

/** Checks q, k, v against each other; see AttentionAttrs. */
function attentionTypes([q, k, v]: readonly TensorType[]): { B: number; Tq: number; Tk: number; Hq: number; E: number; Ev: number } {
  const ok = [q, k, v].every((t) => t!.shape.length === 4 && t!.dtype === q!.dtype && isFloat(t!.dtype));
  const [B, Tq, Hq, E] = q!.shape as [number, number, number, number];
  const [Bk, Tk, Hk, Ek] = k!.shape as [number, number, number, number];
  const [Bv, Tv, Hv, Ev] = v!.shape as [number, number, number, number];
  if (!ok || Bk !== B || Bv !== B || Tv !== Tk || Hv !== Hk || Ek !== E || Hq % Hk)
    throw new ShapeError(
      `[attention] q ${q!.key}, k ${k!.key}, v ${v!.key} do not fit q [B, Tq, Hq, E], k [B, Tk, Hkv, E], v [B, Tk, Hkv, Ev] with Hq a multiple of Hkv`,
    );
  return { B, Tq, Tk, Hq, E, Ev };
}
const attentionFlops = ([q, k, v]: readonly TensorType[]): number => 2 * q!.size * k!.shape[1]! * (1 + v!.shape[3]! / q!.shape[3]!);

export const ops: OpTable = {
  input: { kind: 'leaf', infer: ({ type }) => [type], flops: zero, bytes: zero },
  full: { kind: 'pointwise', infer: ({ shape, dtype }) => [typeOf(shape, dtype)], flops: zero, bytes: traffic },
  iota: { kind: 'pointwise', infer: ({ size, dtype }) => [typeOf([size], dtype)], flops: zero, bytes: traffic },
  randomBits: {
    kind: 'pointwise',
    infer({ shape }, [k0, k1]) {
      for (const k of [k0!, k1!])
        if (k.dtype !== 'i32' || k.size !== 1)
          throw new ShapeError(`[random] a key is two i32 words, not ${k.key}; make one with random.key(seed)`);
      return [typeOf(shape, 'i32')];
    },
    flops: perOutput(40),
    bytes: traffic,
  },
  neg: unary('neg'),
  abs: unary('abs'),
  exp: unary('exp', 8),
  log: unary('log', 8),
  sqrt: unary('sqrt'),
  rsqrt: unary('rsqrt', 2),
  sin: unary('sin', 12),
  cos: unary('cos', 12),
  tanh: unary('tanh', 12),
  erf: unary('erf', 16),
  floor: unary('floor'),
  not: unary('not'),
  add: binary('add'),
  sub: binary('sub'),
  mul: binary('mul'),
  div: binary('div'),
  max: binary('max'),
  min: binary('min'),
  pow: binary('pow'),
  mod: binary('mod'),
  and: binary('and'),
  or: binary('or'),
  xor: binary('xor'),
  shl: binary('shl'),
  shr: binary('shr'),
  lt: binary('lt', true),
  le: binary('le', true),
  eq: binary('eq', true),
  where: {
    kind: 'pointwise',
    infer(_, [c, a, b]) {
      needInt('where', c!);
      if (a!.dtype !== b!.dtype) throw new ShapeError(`[where] dtypes ${a!.dtype} and ${b!.dtype} must be equal; cast one`);
      equalShapes('where', [c!, a!, b!]);
      return [a!];
    },
    flops: perOutput(1),
    bytes: traffic,
  },
  cast: { kind: 'pointwise', infer: ({ dtype }, [x]) => [typeOf(x!.shape, dtype)], flops: zero, bytes: traffic },

  reshape: { kind: 'view', infer: ({ shape }, [x]) => [typeOf(shape, x!.dtype)], flops: zero, bytes: zero },
  permute: {
    kind: 'view',
    infer: ({ axes }, [x]) => [
      typeOf(
        axes.map((a) => x!.shape[a]!),
        x!.dtype,
      ),
    ],
    flops: zero,
    bytes: zero,
  },
  broadcast: {
    kind: 'view',
    infer({ shape }, [x]) {
      if (!sameShape(broadcastShapes('broadcastTo', x!.shape, shape), shape))
        throw new ShapeError(`[broadcastTo] ${show(x!.shape)} does not fit into ${show(shape)}; only axes of size 1 stretch`);
      return [typeOf(shape, x!.dtype)];
    },
    flops: zero,
    bytes: zero,
  },
  slice: { kind: 'view', infer: ({ size }, [x]) => [typeOf(size, x!.dtype)], flops: zero, bytes: zero },
  flip: { kind: 'view', infer: like, flops: zero, bytes: zero },
  pad: {
    kind: 'copy',
    infer: ({ before, after }, [x]) => [
      typeOf(
        x!.shape.map((d, i) => d + before[i]! + after[i]!),
        x!.dtype,
      ),
    ],
    flops: zero,
    bytes: traffic,
  },
  concat: {
    kind: 'copy',
    infer({ axis }, inputs) {
      const [first] = inputs;
      for (const t of inputs)
        if (t.dtype !== first!.dtype || without(t.shape, axis) !== without(first!.shape, axis) || t.shape.length !== first!.shape.length)
          throw new ShapeError(`[concat] ${first!.key} and ${t.key} must agree in dtype and in all axes but ${axis}`);
      return [
        typeOf(
          first!.shape.map((d, i) => (i === axis ? inputs.reduce((n, t) => n + t.shape[i]!, 0) : d)),
          first!.dtype,
        ),
      ];
    },
    flops: zero,
    bytes: traffic,
  },

  sum: reduce('sum'),
  reduceMax: reduce('reduceMax'),
  argmax: {
    kind: 'reduce',
    infer: ({ axis }, [x]) => [
      typeOf(
        x!.shape.map((d, i) => (i === axis ? 1 : d)),
        'i32',
      ),
    ],
    flops: perInput(1),
    bytes: traffic,
  },
  cumsum: { kind: 'index', infer: like, flops: perInput(1), bytes: traffic },

  matmul: {
    kind: 'contract',
    infer(_, [a, b]) {
      if (a!.dtype !== b!.dtype) throw new ShapeError(`[matmul] dtypes ${a!.dtype} and ${b!.dtype} must be equal; cast one`);
      const { m, n } = matmulDims(needFloat('matmul', a!).shape, b!.shape);
      return [typeOf([...a!.shape.slice(0, -2), m, n], a!.dtype)];
    },
    flops: (_, [a, b], [o]) => 2 * o!.size * matmulDims(a!.shape, b!.shape).k,
    bytes: traffic,
  },
  unfold: {
    kind: 'contract',
    infer(w, [x]) {
      if (x!.shape.length !== 4) throw new ShapeError(`[unfold] needs [B, C, H, W], not ${show(x!.shape)}`);
      const [B, C, H, W] = needFloat('unfold', x!).shape as [number, number, number, number];
      const [oh, ow] = windows(w, H, W);
      if (oh < 1 || ow < 1)
        throw new ShapeError(
          `[unfold] a ${w.kernel.join('x')} window does not fit into ${H}x${W} with padding ${w.padding.join('x')}; pad more or shrink the kernel`,
        );
      return [typeOf([B, C * w.kernel[0] * w.kernel[1], oh * ow], x!.dtype)];
    },
    flops: zero,
    bytes: traffic,
  },
  fold: {
    kind: 'contract',
    infer(w, [x]) {
      const [B, CK, L] = x!.shape as [number, number, number];
      const [oh, ow] = windows(w, w.height, w.width);
      const taps = w.kernel[0] * w.kernel[1];
      if (x!.shape.length !== 3 || CK % taps || L !== oh * ow)
        throw new ShapeError(
          `[fold] ${show(x!.shape)} is not [B, C*${taps}, ${oh * ow}], what ${w.kernel.join('x')} windows over ${w.height}x${w.width} give`,
        );
      return [typeOf([B, CK / taps, w.height, w.width], x!.dtype)];
    },
    flops: perInput(1),
    bytes: traffic,
  },

  take: {
    kind: 'index',
    infer({ axis }, [x, i]) {
      needInt('take', i!);
      if (i!.shape.length !== 1) throw new ShapeError(`[take] needs a vector of indices, not ${i!.key}`);
      return [
        typeOf(
          x!.shape.map((d, a) => (a === axis ? i!.size : d)),
          x!.dtype,
        ),
      ];
    },
    flops: zero,
    bytes: (_, [, i], [o]) => 2 * o!.bytes + i!.bytes,
  },
  scatterAdd: {
    kind: 'index',
    infer: ({ axis, size }, [dy]) => [
      typeOf(
        dy!.shape.map((d, a) => (a === axis ? size : d)),
        dy!.dtype,
      ),
    ],
    flops: perInput(1),
    bytes: traffic,
  },
  takeAlong: {
    kind: 'index',
    infer({ axis }, [x, i]) {
      needInt('takeAlong', i!);
      if (x!.shape.length !== i!.shape.length || without(x!.shape, axis) !== without(i!.shape, axis))
        throw new ShapeError(`[takeAlong] index ${i!.key} must agree with ${x!.key} in all axes but ${axis}`);
      return [typeOf(i!.shape, x!.dtype)];
    },
    flops: zero,
    bytes: (_, [, i], [o]) => 2 * o!.bytes + i!.bytes,
  },
  scatterAlong: {
    kind: 'index',
    infer: ({ axis, size }, [dy]) => [
      typeOf(
        dy!.shape.map((d, a) => (a === axis ? size : d)),
        dy!.dtype,
      ),
    ],
    flops: perInput(1),
    bytes: traffic,
  },
  argsort: {
    kind: 'index',
    // the second output is the merge buffer: scratch that the planner must know about
    infer: (_, [x]) => [typeOf(x!.shape, 'i32'), typeOf(x!.shape, 'i32')],
    flops: (_, [x]) => x!.size * Math.ceil(Math.log2(Math.max(2, x!.shape.at(-1) ?? 1))),
    bytes: traffic,
  },

  stopGradient: { kind: 'view', infer: like, flops: zero, bytes: zero },
  identity: { kind: 'view', infer: like, flops: zero, bytes: zero },
  custom: { kind: 'view', infer: ({ outputs }, inputs) => inputs.slice(0, outputs), flops: zero, bytes: zero },

  norm: {
    kind: 'fused',
    infer({ affine }, [x, ...params]) {
      needFloat('norm', x!);
      const D = x!.shape.at(-1);
      for (const p of params)
        if (p.size !== D || p.shape.length !== 1 || p.dtype !== 'f32')
          throw new ShapeError(`[norm] gain and bias must be f32[${D}] for ${x!.key}, not ${p.key}`);
      if (params.length !== affine) throw new ShapeError(`[norm] expected ${affine} gain and bias tensors, got ${params.length}`);
      const rows = typeOf(x!.shape.slice(0, -1), 'f32');
      return [x!, rows, rows];
    },
    flops: perInput(8),
    bytes: traffic,
  },
  normGrad: {
    kind: 'fused',
    // dy, x, [gain], mean, rstd -> dx, partial dgain, partial dbias ([parts, D] each)
    infer({ rows }, [, x]) {
      const D = x!.shape.at(-1)!;
      const part = typeOf([Math.max(1, Math.ceil(x!.size / D / rows)), D], 'f32');
      return [x!, part, part];
    },
    flops: perInput(14),
    bytes: traffic,
  },
  softmax: { kind: 'fused', infer: (_, [x]) => [needFloat('softmax', x!)], flops: perInput(12), bytes: traffic },
  softmaxGrad: { kind: 'fused', infer: like, flops: perInput(4), bytes: traffic },
  crossEntropy: {
    kind: 'fused',
    infer(_, [x, y]) {
      needFloat('crossEntropy', x!);
      needInt('crossEntropy', y!);
      if (!sameShape(x!.shape.slice(0, -1), y!.shape))
        throw new ShapeError(
          `[crossEntropy] labels ${show(y!.shape)} do not match logits ${show(x!.shape)}; they lack exactly the class axis`,
        );
      const rows = typeOf(y!.shape, 'f32');
      return [rows, rows];
    },
    flops: perInput(12),
    bytes: traffic,
  },
  crossEntropyGrad: { kind: 'fused', infer: like, flops: perInput(11), bytes: traffic },
  attention: {
    kind: 'fused',
    infer(_, inputs) {
      const { B, Tq, Hq, Ev } = attentionTypes(inputs);
      return [typeOf([B, Tq, Hq, Ev], inputs[0]!.dtype), typeOf([B, Hq, Tq], 'f32')];
    },
    flops: (_, inputs) => attentionFlops(inputs),
    bytes: traffic,
  },
  // q, k, v, o, lse, dO -> dq, dk, dv, and sum(o * dO) per query: scratch that the planner must know about
  attentionGrad: {
    kind: 'fused',
    infer: (_, [q, k, v, , lse]) => [q!, k!, v!, lse!],
    flops: (_, inputs) => 2.5 * attentionFlops(inputs),
    bytes: traffic,
  },
};
