/** What a conformance case is, and the numbers that cases are made of. */
import * as t from '../../tensor/index.ts';
import type { OpName } from '../../tensor/ops.ts';

type Tensor = t.Tensor;

export interface Case {
  name: string;
  /** Ops that it is there for. */
  ops: OpName[];
  inputs: Input[];
  f(...xs: Tensor[]): Tensor;
  /** Of half-precision arithmetic; the reference computes in float64. */
  tolerance?: number;
  /** No derivative (integers, comparisons), or one that finite differences cannot see. */
  forwardOnly?: boolean;
}
/** A case without derivatives. */
export const forward = (c: Case): Case => ({ ...c, forwardOnly: true });

export interface Input {
  shape: readonly number[];
  dtype: t.DType;
  /** Distinct, well-separated numbers: no ties and no kinks within a finite difference. */
  values: number[];
}

let seed = 1;
function random(): number {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return seed / 2 ** 32;
}
/** Makes cases with random numbers of their own: a case that is added to one family changes the numbers of no other. */
export function apart<T>(make: () => T): T {
  const before = seed;
  seed = 12345;
  try {
    return make();
  } finally {
    seed = before;
  }
}
/** Floats in [low, high], shuffled from an even spacing. */
export function floats(shape: readonly number[], low = -2, high = 2): Input {
  const n = t.sizeOf(shape);
  const values = Array.from({ length: n }, (_, i) => low + ((high - low) * (i + 0.5)) / n);
  for (let i = n - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [values[i], values[j]] = [values[j]!, values[i]!];
  }
  return { shape, dtype: 'f32', values: values.map(Math.fround) };
}
/** Numbers in [-scale, scale) that bf16 holds exactly; `scale` is a power of two. */
export const halves = (shape: readonly number[], scale = 1): Input => ({
  shape,
  dtype: 'bf16',
  values: Array.from({ length: t.sizeOf(shape) }, () => (scale * Math.floor(random() * 128 - 64)) / 64),
});
export const ints = (shape: readonly number[], below: number, dtype: t.DType = 'i32', from = 0): Input => ({
  shape,
  dtype,
  values: Array.from({ length: t.sizeOf(shape) }, () => from + Math.floor(random() * (below - from))),
});
export const given = (values: number[], shape: readonly number[], dtype: t.DType = 'i32'): Input => ({ shape, dtype, values });
