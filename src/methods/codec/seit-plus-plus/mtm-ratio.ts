/** How much of a batch is masked: one ratio per batch, of a truncated normal law. */
import { add, cast, full, less, sum, type Tensor, tensor } from '../../../tensor/index.ts';

/** N(mean, sd^2) restricted to [low, high]. */
export interface TruncatedNormal {
  mean: number;
  sd: number;
  low: number;
  high: number;
}

/** SeiT++ masks 45 % of the patches most often, never under 40 % and sometimes all. */
export const publishedRatio: TruncatedNormal = { mean: 0.45, sd: 0.25, low: 0.4, high: 1 };

/** Phi(x), absolute error below 1e-15: the Taylor series of Marsaglia 2004 (doi 10.18637/jss.v011.i04). */
export function normalCdf(x: number): number {
  if (Math.abs(x) > 9) return x > 0 ? 1 : 0;
  let term = x;
  let total = x;
  for (let i = 3; total + term !== total; i += 2) {
    term *= (x * x) / i;
    total += term;
  }
  return 0.5 + total * Math.exp(-0.5 * x * x) * Math.sqrt(0.5 / Math.PI);
}

/** P(X <= x). */
export function truncatedNormalCdf(x: number, { mean, sd, low, high }: TruncatedNormal): number {
  if (!(sd > 0 && low < high))
    throw new RangeError(`[seit-plus-plus] a truncated normal needs sd > 0 and low < high, not sd ${sd} on [${low}, ${high}]`);
  const [at, first, last] = [Math.min(Math.max(x, low), high), low, high].map((y) => normalCdf((y - mean) / sd)) as [
    number,
    number,
    number,
  ];
  return (at - first) / (last - first);
}

/** Patches that every image of every batch drops: ceil(low * n). */
export const droppedPatches = (patches: number, ratio: TruncatedNormal): number => Math.ceil(ratio.low * patches);

/**
 * ceil(m * n) for the ratio m that the law has at probability u: how many of n patches are masked, from `droppedPatches` to all. The count is at
 * most k where m <= k/n, so it is found by comparing u with the law's values at k/n: a tensor, so that no ratio needs a program of its own.
 * @param u f32 [], uniform in [0, 1).
 * @returns i32 [].
 */
export function maskedPatches(u: Tensor, patches: number, ratio: TruncatedNormal): Tensor {
  const least = droppedPatches(patches, ratio);
  const most = Math.ceil(ratio.high * patches);
  if (most === least) return full([], least, 'i32');
  const thresholds = Float32Array.from({ length: most - least }, (_, i) => truncatedNormalCdf((least + i) / patches, ratio));
  return add(sum(cast(less(tensor(thresholds), u), 'i32')), least);
}
