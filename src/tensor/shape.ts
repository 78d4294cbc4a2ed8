import { type DType, dtypes, itemSize } from './dtype.ts';

export type Shape = readonly number[];

export const sizeOf = (shape: Shape): number => shape.reduce((n, d) => n * d, 1);
export const show = (shape: Shape): string => `[${shape.join(', ')}]`;
export const sameShape = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((d, i) => d === b[i]);

/** Row-major strides in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= shape[i]!;
  }
  return strides;
}

/**
 * A tensor's type. Equal types are one object (interned), so a compiled program recognises its arguments by identity.
 */
export interface TensorType {
  readonly shape: Shape;
  readonly dtype: DType;
  readonly size: number;
  readonly bytes: number;
  readonly key: string;
}

const interned = new Map<string, TensorType>();

const noShape = (x: unknown): ShapeError =>
  new ShapeError(`[tensor] ${String(x)} is no shape; give an array of whole numbers, such as [2, 3]`);

export function typeOf(shape: Shape, dtype: DType): TensorType {
  if (!Array.isArray(shape)) throw noShape(shape);
  const key = `${dtype}[${shape.join(',')}]`;
  let type = interned.get(key);
  if (!type) {
    for (const d of shape)
      if (!Number.isSafeInteger(d) || d < 0)
        throw new ShapeError(`[tensor] ${show(shape)} is no shape: dimension ${d} must be a whole number >= 0`);
    if (!Object.hasOwn(itemSize, dtype)) throw new ShapeError(`[tensor] ${String(dtype)} is no dtype; use ${dtypes.join(', ')}`);
    const size = sizeOf(shape);
    if (!Number.isSafeInteger(size * itemSize[dtype])) throw new ShapeError(`[tensor] ${key} has more bytes than can be counted (2^53)`);
    type = Object.freeze({ shape: Object.freeze([...shape]), dtype, size, bytes: size * itemSize[dtype], key });
    interned.set(key, type);
  }
  return type;
}

/** A mistake in shapes, axes or dtypes: found before anything runs. */
export class ShapeError extends Error {
  override name = 'ShapeError';
}

/** The shape that both broadcast to, aligned at the right as in NumPy. */
export function broadcastShapes(op: string, a: Shape, b: Shape): number[] {
  const rank = Math.max(a.length, b.length);
  const out = new Array<number>(rank);
  for (let i = 0; i < rank; i++) {
    const x = a[i - rank + a.length] ?? 1;
    const y = b[i - rank + b.length] ?? 1;
    if (x !== y && x !== 1 && y !== 1)
      throw new ShapeError(
        `[${op}] shapes ${show(a)} and ${show(b)} do not broadcast: ${x} and ${y} meet at axis ${i - rank}; reshape one, or make one of them 1`,
      );
    out[i] = x === 1 ? y : x;
  }
  return out;
}

/** Fills in one -1 and checks the element count. */
export function resolveReshape(from: Shape, to: readonly number[]): number[] {
  if (!Array.isArray(to)) throw noShape(to);
  const size = sizeOf(from);
  const holes = to.filter((d) => d === -1).length;
  const known = to.reduce((n, d) => (d === -1 ? n : n * d), 1);
  if (holes === 1 && known === 0) throw new ShapeError(`[reshape] -1 beside a 0 in ${show(to)} could be any size; give it`);
  const out = to.map((d) => (d === -1 ? size / known : d));
  if (holes > 1 || sizeOf(out) !== size || out.some((d) => !Number.isInteger(d) || d < 0))
    throw new ShapeError(
      `[reshape] ${show(from)} has ${size} elements, ${show(to)} has ${holes ? `${known} x -1` : known}; the counts must be equal`,
    );
  return out;
}
