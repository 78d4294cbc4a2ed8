/** Numbers of other distributions from `DataRandom`, for what is drawn on the host. */
import type { DataRandom } from '../random.ts';

/** Uniform in [low, high), with 32 random bits. */
export const uniform = (random: DataRandom, low = 0, high = 1): number => low + ((high - low) * random.nextUint32()) / 2 ** 32;

/** Normal, by Box and Muller: two uniforms a number. */
export function normal(random: DataRandom, mean = 0, std = 1): number {
  const radius = Math.sqrt(-2 * Math.log(1 - uniform(random)));
  return mean + std * radius * Math.cos(2 * Math.PI * uniform(random));
}

/** Gamma of scale 1 for any shape a > 0 (Marsaglia and Tsang 2000; a below 1 through a + 1 and a power of a uniform). */
function gamma(random: DataRandom, a: number): number {
  if (a < 1) return gamma(random, a + 1) * (1 - uniform(random)) ** (1 / a);
  const d = a - 1 / 3;
  for (;;) {
    const x = normal(random);
    const v = (1 + x / Math.sqrt(9 * d)) ** 3;
    if (v > 0 && Math.log(1 - uniform(random)) < 0.5 * x * x + d * (1 - v + Math.log(v))) return d * v;
  }
}

/** Beta(a, b), as the share of one gamma in two. */
export function beta(random: DataRandom, a: number, b: number): number {
  const x = gamma(random, a);
  return x / (x + gamma(random, b));
}
