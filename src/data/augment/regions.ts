/**
 * Mixup, CutMix and random erasing. The host draws a few numbers, the device touches the pixels: the numbers are tensors, so that one compiled
 * program serves every draw. Boxes are [top, left, bottom, right], the last two excluded; an empty box is all zeros.
 */
import {
  add,
  bitAnd,
  cast,
  flip,
  greaterEqual,
  iota,
  random as keys,
  less,
  mul,
  narrow,
  oneHot,
  reshape,
  sub,
  type Tensor,
  where,
} from '../../tensor/index.ts';
import type { DataRandom } from '../random.ts';
import { beta, uniform } from './distributions.ts';

/** bool [n, 1, h, w]: which pixels lie in their image's box. boxes f32 [n, 4]. */
export function boxMask(boxes: Tensor, height: number, width: number): Tensor {
  const edge = (i: number): Tensor => reshape(narrow(boxes, 1, i, 1), [-1, 1, 1, 1]);
  const y = reshape(iota(height, 'f32'), [1, 1, height, 1]);
  const x = reshape(iota(width, 'f32'), [1, 1, 1, width]);
  const rows = bitAnd(greaterEqual(y, edge(0)), less(y, edge(2)));
  return bitAnd(rows, bitAnd(greaterEqual(x, edge(1)), less(x, edge(3))));
}

/**
 * Boxes of random erasing, f32 [n, 4]: with `probability` an image gets one of 2 % to a third of its area, its sides' ratio between 0.3 and
 * 1/0.3, uniform in the logarithm. Zhong et al. 2020, arXiv 1708.04896, algorithm 1, of which at most ten tries are made.
 */
export function drawErasing(
  images: number,
  [height, width]: readonly [number, number],
  probability: number,
  random: DataRandom,
): Float32Array {
  const boxes = new Float32Array(4 * images);
  for (let i = 0; i < images; i++) {
    if (uniform(random) >= probability) continue;
    for (let tries = 0; tries < 10; tries++) {
      const area = uniform(random, 0.02, 1 / 3) * height * width;
      const ratio = Math.exp(uniform(random, Math.log(0.3), -Math.log(0.3)));
      const [h, w] = [Math.round(Math.sqrt(area * ratio)), Math.round(Math.sqrt(area / ratio))];
      if (h >= height || w >= width) continue;
      const [top, left] = [random.below(height - h + 1), random.below(width - w + 1)];
      boxes.set([top, left, top + h, left + w], 4 * i);
      break;
    }
  }
  return boxes;
}

/** Fills the boxes with N(0, 1). images [n, c, h, w], normalised; boxes f32 [n, 4]. */
export function erase(images: Tensor, boxes: Tensor, key: keys.Key): Tensor {
  const [, , h, w] = images.shape as [number, number, number, number];
  return where(boxMask(boxes, h, w), cast(keys.normal(key, images.shape), images.dtype), images);
}

export interface MixOptions {
  /** Both parameters of the Beta distribution of the share; 0: never. */
  mixup: number;
  cutmix: number;
}

/**
 * How a batch is mixed with itself in reverse order, f32 [6]: the share of the own label, the share of the own pixel outside the box, the box
 * (inside it pixels are the partner's). Mixup: Zhang et al. 2018, arXiv 1710.09412; CutMix: Yun et al. 2019, arXiv 1905.04899, eq. 1-2. With both on,
 * each takes half of the batches.
 */
export function drawMix({ mixup, cutmix }: MixOptions, [height, width]: readonly [number, number], random: DataRandom): Float32Array {
  if (mixup === 0 && cutmix === 0) return Float32Array.of(1, 1, 0, 0, 0, 0);
  const cut = cutmix > 0 && (mixup === 0 || uniform(random) < 0.5);
  if (!cut) {
    const share = beta(random, mixup, mixup);
    return Float32Array.of(share, share, 0, 0, 0, 0);
  }
  const side = Math.sqrt(1 - beta(random, cutmix, cutmix));
  const span = (size: number): [number, number] => {
    const half = Math.floor(Math.trunc(size * side) / 2);
    const centre = random.below(size);
    return [Math.max(0, centre - half), Math.min(size, centre + half)];
  };
  const [[top, bottom], [left, right]] = [span(height), span(width)];
  const cutShare = ((bottom - top) * (right - left)) / (height * width);
  return Float32Array.of(1 - cutShare, 1, top, left, bottom, right);
}

/** images [n, c, h, w] mixed with the batch in reverse order; mix f32 [6] of `drawMix`. */
export function mixImages(images: Tensor, mix: Tensor): Tensor {
  const [, , h, w] = images.shape as [number, number, number, number];
  const inside = boxMask(reshape(narrow(mix, 0, 2, 4), [1, 4]), h, w);
  const own = cast(where(inside, 0, reshape(narrow(mix, 0, 1, 1), [1, 1, 1, 1])), images.dtype);
  return add(mul(images, own), mul(flip(images, 0), sub(1, own)));
}

/** The targets [n, classes] of the mixed images. */
export function mixTargets(targets: Tensor, mix: Tensor): Tensor {
  const own = reshape(narrow(mix, 0, 0, 1), [1, 1]);
  return add(mul(targets, own), mul(flip(targets, 0), sub(1, own)));
}

/** labels [n] -> (1 - e) onehot + e / C, f32 [n, C], e the `smoothing`. Szegedy et al. 2016, arXiv 1512.00567, section 7. */
export const smoothTargets = (labels: Tensor, classes: number, smoothing: number): Tensor =>
  add(mul(oneHot(labels, classes), 1 - smoothing), smoothing / classes);
