/** Initial values. All take a key, so that a model is a function of its seed. */
import { abs, clamp, compile, full, less, mul, random, type Shape, type Tensor, where } from '../tensor/index.ts';

/**
 * N(0, std^2) restricted to two standard deviations. What falls outside is drawn again, three times; the last 1e-5 of the numbers that
 * still do are cut.
 */
export function truncatedNormal(key: random.Key, shape: Shape, std = 0.02): Tensor {
  const [first, ...again] = random.splitKey(key, 4) as [random.Key, ...random.Key[]];
  const z = again.reduce((x, k) => where(less(2, abs(x)), random.normal(k, shape), x), random.normal(first, shape));
  return mul(clamp(z, -2, 2), std);
}
/** U(-bound, bound). */
export const uniformParameter = (key: random.Key, shape: Shape, bound: number): Tensor => random.uniform(key, shape, -bound, bound);
/** Xavier/Glorot uniform: bound sqrt(6 / (in + out)). */
export const xavierUniform = (key: random.Key, shape: readonly [number, number]): Tensor =>
  uniformParameter(key, shape, Math.sqrt(6 / (shape[0] + shape[1])));
/** Xavier/Glorot standard deviation, sqrt(2 / (in + out)): what the first vision transformer's weights start from; 0.02 at width 768. */
export const xavierStd = (inFeatures: number, outFeatures: number): number => Math.sqrt(2 / (inFeatures + outFeatures));
export const zerosParameter = (shape: Shape): Tensor => full(shape, 0);
export const onesParameter = (shape: Shape): Tensor => full(shape, 1);

/** Makes a model from a seed in one program: `initialize((key) => Vit.init(key, config), 0)`. */
export function initialize<M>(make: (key: random.Key) => M, seed: number): M {
  return compile((key: Tensor) => make(key), { name: 'initialize' })(random.key(seed));
}
