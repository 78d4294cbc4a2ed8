/** What the rows of the op table are made of: families of rules, and checks that name the operands. */
import { type DType, isFloat } from './dtype.ts';
import type { BinaryName, CompareName, LinearCrossEntropyAttrs, None, Rule, UnaryName, Window2d } from './op-types.ts';
import { type Shape, ShapeError, sameShape, show, type TensorType, typeOf } from './shape.ts';

const total = (types: readonly TensorType[]): number => types.reduce((n, t) => n + t.bytes, 0);
export const traffic = (_: unknown, inputs: readonly TensorType[], outputs: readonly TensorType[]): number =>
  total(inputs) + total(outputs);
export const perOutput =
  (k: number) =>
  (_: unknown, _i: readonly TensorType[], o: readonly TensorType[]): number =>
    k * o[0]!.size;
export const perInput =
  (k: number) =>
  (_: unknown, i: readonly TensorType[]): number =>
    k * i[0]!.size;
export const zero = (): number => 0;
export const like = (_: unknown, [x]: readonly TensorType[]): TensorType[] => [x!];

/** The type of `t` with another length of one axis. */
export const resized = (t: TensorType, axis: number, size: number, dtype: DType = t.dtype): TensorType =>
  typeOf(
    t.shape.map((d, i) => (i === axis ? size : d)),
    dtype,
  );

export function needFloat(op: string, t: TensorType): TensorType {
  if (!isFloat(t.dtype)) throw new ShapeError(`[${op}] needs a float tensor, not ${t.dtype}${show(t.shape)}; cast it with cast(x, 'f32')`);
  return t;
}
export function needInt(op: string, t: TensorType): TensorType {
  if (isFloat(t.dtype))
    throw new ShapeError(`[${op}] needs an integer tensor, not ${t.dtype}${show(t.shape)}; cast it with cast(x, 'i32')`);
  return t;
}

/** Places that an i32 numbers. */
export function countable(op: string, size: number, what: string): void {
  if (size > 2 ** 31) throw new ShapeError(`[${op}] ${what} has ${size} places, an i32 numbers 2^31; split it`);
}

export const unary = (op: UnaryName, flops = 1): Rule<None> => ({
  kind: 'pointwise',
  infer(_, [x]) {
    if (op === 'not') return [typeOf(needInt(op, x!).shape, 'bool')];
    return [op === 'neg' || op === 'abs' ? x! : needFloat(op, x!)];
  },
  flops: perOutput(flops),
  bytes: traffic,
});

/** Primitives take equal shapes; the functions over them broadcast first (functions/pointwise.ts). */
export function equalShapes(op: string, types: readonly TensorType[]): void {
  for (const t of types)
    if (!sameShape(t.shape, types[0]!.shape))
      throw new ShapeError(`[${op}] shapes differ: ${types.map((x) => show(x.shape)).join(', ')}; broadcast them first`);
}

export const bitOps: ReadonlySet<string> = new Set(['and', 'or', 'xor', 'shl', 'shr']);
export const binary = (op: BinaryName | CompareName, compare = false): Rule<None> => ({
  kind: 'pointwise',
  infer(_, [a, b]) {
    if (a!.dtype !== b!.dtype) throw new ShapeError(`[${op}] dtypes ${a!.dtype} and ${b!.dtype} must be equal; cast one`);
    if (bitOps.has(op) && needInt(op, a!).dtype === 'i64')
      throw new ShapeError(`[${op}] takes the bits of at most 32, not of i64${show(a!.shape)}; cast it with cast(x, 'i32')`);
    if (op === 'pow') needFloat(op, a!);
    equalShapes(op, [a!, b!]);
    return [typeOf(a!.shape, compare ? 'bool' : a!.dtype)];
  },
  flops: perOutput(1),
  bytes: traffic,
});

export const reduce = (op: 'sum' | 'reduceMax'): Rule<{ axes: readonly number[] }> => ({
  kind: 'reduce',
  infer({ axes }, [x]) {
    if (op === 'sum' && (x!.dtype === 'bool' || x!.dtype === 'u8' || x!.dtype === 'i8'))
      throw new ShapeError(`[sum] of ${x!.dtype}${show(x!.shape)} would overflow; cast it to i32 or f32 first`);
    if (op === 'reduceMax' && !isFloat(x!.dtype) && axes.some((a) => x!.shape[a] === 0))
      throw new ShapeError(`[max] ${x!.key} has no entries along axes ${axes.join(', ')}, and no ${x!.dtype} is below all others`);
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

export function without(shape: Shape, axis: number): string {
  return shape.filter((_, i) => i !== axis).join();
}

/** How many windows fit along each axis: [rows, columns]. */
export function windows(w: Window2d, height: number, width: number): [number, number] {
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

/** Checks q, k, v and offsets against each other; see AttentionAttrs. */
export function attentionTypes([q, k, v, offsets]: readonly TensorType[]): {
  B: number;
  Tq: number;
  Tk: number;
  Hq: number;
  E: number;
  Ev: number;
} {
  const ok = [q, k, v].every((t) => t!.shape.length === 4 && t!.dtype === q!.dtype && isFloat(t!.dtype));
  const [B, Tq, Hq, E] = q!.shape as [number, number, number, number];
  const [Bk, Tk, Hk, Ek] = k!.shape as [number, number, number, number];
  const [Bv, Tv, Hv, Ev] = v!.shape as [number, number, number, number];
  if (!ok || Bk !== B || Bv !== B || Tv !== Tk || Hv !== Hk || Ek !== E || Hq % Hk !== 0)
    throw new ShapeError(
      `[attention] q ${q!.key}, k ${k!.key}, v ${v!.key} do not fit q [B, Tq, Hq, E], k [B, Tk, Hkv, E], v [B, Tk, Hkv, Ev] with Hq a multiple of Hkv`,
    );
  if (offsets && (offsets.dtype !== 'i32' || offsets.shape.length !== 1 || offsets.shape[0]! < 2 || B !== 1 || Tq !== Tk))
    throw new ShapeError(
      `[attention] offsets ${offsets.key} of q ${q!.key}, k ${k!.key}: packed sequences are one batch of as many queries as keys, with i32 offsets [n + 1]`,
    );
  return { B, Tq, Tk, Hq, E, Ev };
}
export function checkWindow(op: string, window: number): void {
  if (!Number.isInteger(window) || window < 0)
    throw new ShapeError(`[${op}] window ${window} must be a whole number of keys; 0 stands for all of them`);
}
export const attentionFlops = ([q, k, v]: readonly TensorType[]): number => 2 * q!.size * k!.shape[1]! * (1 + v!.shape[3]! / q!.shape[3]!);

/** Checks the operands of linearCrossEntropy against each other. */
export function linearCrossEntropyTypes(
  { bias }: LinearCrossEntropyAttrs,
  [e, c, t, b]: readonly TensorType[],
): { rows: TensorType; columns: TensorType } {
  needFloat('linearCrossEntropy', e!);
  needInt('linearCrossEntropy', t!);
  const [N, D] = e!.shape;
  const fits = e!.shape.length === 2 && c!.shape.length === 2 && c!.shape[1] === D && c!.dtype === e!.dtype && sameShape(t!.shape, [N!]);
  if (!fits)
    throw new ShapeError(
      `[linearCrossEntropy] e ${e!.key}, c ${c!.key} and targets ${t!.key} do not fit e [N, D], c [V, D] of e's dtype, targets [N]`,
    );
  if (c!.shape[0] === 0) throw new ShapeError(`[linearCrossEntropy] a classifier of no rows (c ${c!.key}) has no logits`);
  const columns = typeOf([c!.shape[0]!], 'f32');
  if (bias && b !== columns) throw new ShapeError(`[linearCrossEntropy] the bias of c ${c!.key} is ${columns.key}, not ${b?.key}`);
  return { rows: typeOf([N!], 'f32'), columns };
}
