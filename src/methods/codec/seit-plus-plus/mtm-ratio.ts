/** How much of a batch is masked: a truncated normal ratio, drawn on the host, because it decides how much work follows. */
import { DataRandom } from '../../../data/random.ts';

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

/** The x with P(X <= x) = u: the inverse of the distribution function, by halving [low, high] down to adjacent numbers. */
export function truncatedNormalQuantile(u: number, { mean, sd, low, high }: TruncatedNormal): number {
  if (!(sd > 0 && low < high)) throw new RangeError(`[seit-plus-plus] a truncated normal needs sd > 0 and low < high, not sd ${sd} on [${low}, ${high}]`);
  const cdf = (x: number): number => normalCdf((x - mean) / sd);
  const wanted = cdf(low) + u * (cdf(high) - cdf(low));
  let [below, above] = [low, high];
  for (;;) {
    const middle = below + (above - below) / 2;
    if (middle <= below || middle >= above) return u < 0.5 ? below : above;
    if (cdf(middle) < wanted) below = middle;
    else above = middle;
  }
}

/** Patches that every image of every batch drops: ceil(low * n). */
export const droppedPatches = (patches: number, ratio: TruncatedNormal): number => Math.ceil(ratio.low * patches);

/** Patches that batch `step` of the run `seed` masks, from `droppedPatches` to all. The same for the same seed and step: a resumed run goes on alike. */
export function maskedPatches(seed: number, step: number, patches: number, ratio: TruncatedNormal): number {
  const u = new DataRandom(seed, step).nextUint32() / 2 ** 32;
  return Math.ceil(truncatedNormalQuantile(u, ratio) * patches);
}
