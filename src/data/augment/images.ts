/** What happens to images on the host before they become a tensor, as plain data: a worker thread does what this one would. */
import { type ImageShape, imageBytes } from '../image-set.ts';
import { DataRandom } from '../random.ts';
import { uniform } from './distributions.ts';
import { flipRows, padCrop, resizedCrop } from './geometry.ts';
import { type RandAugment, randAugment } from './rand-augment.ts';

/** In this order; what is absent is left out. */
export interface ImageAugment {
  /** Least share of the area, above 0, that a random box keeps before it is enlarged to the image's size. */
  resizedCrop?: number;
  /** Pixels of zeros around the image before a random crop. */
  padCrop?: number;
  /** Probability of a mirrored image. */
  flip?: number;
  randAugment?: RandAugment;
}

/** Images, and what their random numbers are made from: the same numbers wherever and in whatever company an image is augmented. */
export interface AugmentJob {
  /** [n, h, w, c], written over. */
  pixels: Uint8Array;
  shape: ImageShape;
  augment: ImageAugment;
  /** Of all images: seed of the run, epoch ... */
  seeds: readonly number[];
  /** Of each image, [n]: its place in the set. */
  indices: ArrayLike<number>;
}

/** @throws RangeError as `randAugment` */
export function augmentImages({ pixels, shape, augment, seeds, indices }: AugmentJob): Uint8Array {
  const { resizedCrop: least = 0, padCrop: pad = 0, flip = 0, randAugment: ops } = augment;
  if (!(least > 0 || pad > 0 || flip > 0 || ops)) return pixels;
  const bytes = imageBytes(shape);
  for (let i = 0; i < indices.length; i++) {
    const random = new DataRandom(...seeds, indices[i]!);
    const image = pixels.subarray(i * bytes, (i + 1) * bytes);
    let out: Uint8Array = image;
    if (least > 0) out = resizedCrop(out, shape, least, random);
    if (pad > 0) out = padCrop(out, shape, pad, random);
    if (flip > 0 && uniform(random) < flip) out = flipRows(out, shape);
    if (ops) out = randAugment(out, shape, ops, random);
    if (out !== image) image.set(out);
  }
  return pixels;
}
