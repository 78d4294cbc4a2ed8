/**
 * Random numbers from explicit keys (Philox-4x32-10, Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): the same key and
 * shape give the same numbers on every device, and nothing is remembered between calls.
 */
import { checkTensors } from '../arguments.ts';
import type { Shape } from '../shape.ts';
import { Tensor, tensor } from '../tensor.ts';
import { apply } from '../trace.ts';
import { narrow, reshape } from './layout.ts';
import { add, bitAnd, bitXor, cast, cos, less, log, mul, shiftRight, sqrt, sub } from './pointwise.ts';
import { argsort } from './reduce.ts';

/** A key: i32 [2]. */
export type Key = Tensor;

/** The key of a seed (a whole number below 2^53). */
export function key(seed: number): Key {
  if (!Number.isSafeInteger(seed) || seed < 0) throw new Error(`[random] seed ${seed} must be a whole number from 0 to 2^53 - 1`);
  return tensor(Int32Array.of(seed | 0, Math.floor(seed / 2 ** 32) | 0));
}

function words(k: Key): [Tensor, Tensor] {
  checkTensors('random', [k]);
  return [reshape(narrow(k, 0, 0, 1), []), reshape(narrow(k, 0, 1, 1), [])];
}

/** i32 of uniform bits. */
export function bits(k: Key, shape: Shape): Tensor {
  return apply('randomBits', { shape }, words(k));
}

/** n independent keys. Never use a key for numbers after splitting it. */
export function splitKey(k: Key, n = 2): Key[] {
  const all = bits(foldIn(k, 0x5eed), [n, 2]);
  return Array.from({ length: n }, (_, i) => reshape(narrow(all, 0, i, 1), [2]));
}

/** The key of (k, number): for a step counter or a layer index; `data` may be a tensor of one i32. */
export function foldIn(k: Key, data: number | Tensor): Key {
  const word =
    data instanceof Tensor
      ? reshape(cast(data, 'i32'), [1])
      : reshape(apply('full', { shape: [], value: data | 0, dtype: 'i32' }, []), [1]);
  const [a, b] = words(k);
  const mixed = bitXor(apply('randomBits', { shape: [2] }, [reshape(bitXor(reshape(a, [1]), word), []), b]), 0x3c6ef372);
  return mixed;
}

/** Uniform in [low, high), with 24 random bits; where low is not 0, rounding can give high itself. */
export function uniform(k: Key, shape: Shape, low = 0, high = 1): Tensor {
  const unit = mul(cast(shiftRight(bits(k, shape), 8), 'f32'), 2 ** -24);
  return low === 0 && high === 1 ? unit : add(mul(unit, high - low), low);
}

/** Normal by Box and Muller: one pair of uniforms per number, so that element i depends on i alone. */
export function normal(k: Key, shape: Shape, mean = 0, std = 1): Tensor {
  const [a, b] = splitKey(k) as [Key, Key];
  const radius = sqrt(mul(log(sub(1, uniform(a, shape))), -2));
  const z = mul(radius, cos(mul(uniform(b, shape), 2 * Math.PI)));
  return mean === 0 && std === 1 ? z : add(mul(z, std), mean);
}

/** 1 with probability p, else 0 (bool). */
export const bernoulli = (k: Key, shape: Shape, p: number | Tensor): Tensor => less(uniform(k, shape), p);

/** Whole numbers in [low, high), i32. The bias of at most (high - low) / 2^31 is below what 24-bit uniforms show. */
export function randint(k: Key, shape: Shape, low: number, high: number): Tensor {
  if (![low, high].every(Number.isInteger) || low >= high || high - low >= 2 ** 31 || low < -(2 ** 31) || high > 2 ** 31)
    throw new RangeError(`[randint] ${low} and ${high} must be whole numbers that an i32 holds, with 0 < high - low < 2^31`);
  const positive = bitAnd(bits(k, shape), 0x7fffffff);
  return add(
    apply('mod', {}, [positive, apply('broadcast', { shape }, [apply('full', { shape: [], value: high - low, dtype: 'i32' }, [])])]),
    low,
  );
}

/** A random order of 0..n-1 (i32). */
export const permutation = (k: Key, n: number): Tensor => argsort(uniform(k, [n]));

/** x with each element zeroed with probability p and the rest scaled by 1/(1-p). Recomputed in the backward pass, never stored. */
export function dropout(k: Key, x: Tensor, p: number): Tensor {
  checkTensors('dropout', [x]);
  if (!(p >= 0 && p < 1)) throw new RangeError(`[dropout] p is ${p}; it must be at least 0 and below 1`);
  if (p === 0) return x;
  const keep = cast(less(uniform(k, x.shape), 1 - p), x.dtype);
  return mul(mul(x, keep), 1 / (1 - p));
}
