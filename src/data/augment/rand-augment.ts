/** RandAugment: a few operations drawn at random, all of one strength. Cubuk et al. 2020, arXiv 1909.13719. */
import type { ImageShape } from '../image-set.ts';
import type { DataRandom } from '../random.ts';
import { normal, uniform } from './distributions.ts';
import { affine, rotation } from './geometry.ts';
import * as pixels from './pixels.ts';

export interface RandAugment {
  /** Strength m, 0 to 10. */
  magnitude: number;
  /** Standard deviation of the strength of one operation around m. Default 0.5. */
  deviation?: number;
  /** Operations that are drawn, with replacement. Default 2. */
  count?: number;
  /** Probability that a drawn operation is applied. Default 0.5. */
  probability?: number;
  /** Value of what comes from outside the image. Default 128. */
  fill?: number;
}

/** Applies an operation at strength 0 to 1; `sign` is 1 or -1 with equal chance. May write over the image. */
type Op = (image: Uint8Array, shape: ImageShape, strength: number, sign: number, fill: number) => Uint8Array;

const enhance = (strength: number, sign: number): number => Math.max(0.1, 1 + sign * 0.9 * strength);

/** The operations in the 'increasing' form: every one grows more severe with its strength. The extents are those of the `inc1` recipes. */
export const randAugmentOps: Readonly<Record<string, Op>> = {
  autoContrast: (image, shape) => pixels.autoContrast(image, shape),
  equalize: (image, shape) => pixels.equalize(image, shape),
  invert: (image) => pixels.invert(image),
  rotate: (image, shape, s, sign, fill) => affine(image, shape, rotation(shape, sign * 30 * s), fill),
  posterize: (image, _, s) => pixels.posterize(image, 4 - Math.trunc(4 * s)),
  solarize: (image, _, s) => pixels.solarize(image, 256 - Math.trunc(256 * s)),
  solarizeAdd: (image, _, s) => pixels.solarizeAdd(image, Math.trunc(110 * s)),
  color: (image, shape, s, sign) => pixels.color(image, shape, enhance(s, sign)),
  contrast: (image, shape, s, sign) => pixels.contrast(image, shape, enhance(s, sign)),
  brightness: (image, _, s, sign) => pixels.brightness(image, enhance(s, sign)),
  sharpness: (image, shape, s, sign) => pixels.sharpness(image, shape, enhance(s, sign)),
  shearX: (image, shape, s, sign, fill) => affine(image, shape, [1, sign * 0.3 * s, 0, 0, 1, 0], fill),
  shearY: (image, shape, s, sign, fill) => affine(image, shape, [1, 0, 0, sign * 0.3 * s, 1, 0], fill),
  translateX: (image, shape, s, sign, fill) => affine(image, shape, [1, 0, sign * 0.45 * s * shape[1], 0, 1, 0], fill),
  translateY: (image, shape, s, sign, fill) => affine(image, shape, [1, 0, 0, 0, 1, sign * 0.45 * s * shape[0]], fill),
};
const names = Object.keys(randAugmentOps);

/**
 * One image [h, w, c] under `rand-m{magnitude}-mstd{deviation}-inc1`. The result may be `image` itself, written over.
 *
 * @throws RangeError where the magnitude is outside 0 to 10
 */
export function randAugment(image: Uint8Array, shape: ImageShape, options: RandAugment, random: DataRandom): Uint8Array {
  const { magnitude, deviation = 0.5, count = 2, probability = 0.5, fill = 128 } = options;
  if (!(magnitude >= 0 && magnitude <= 10)) throw new RangeError(`[randAugment] magnitude ${magnitude} is outside 0 to 10`);
  let out = image;
  for (let k = 0; k < count; k++) {
    const name = names[random.below(names.length)]!;
    if (uniform(random) >= probability) continue;
    const strength = Math.min(10, Math.max(0, normal(random, magnitude, deviation))) / 10;
    const sign = random.below(2) === 0 ? 1 : -1;
    out = randAugmentOps[name]!(out, shape, strength, sign, fill);
  }
  return out;
}
