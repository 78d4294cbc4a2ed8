/** Augmentation of grids of code vectors [B, C, H, W]: Emb-Noise, ColorAdapt, random crops (SeiT++, sections 3 and 4). */
import {
  add,
  bicubicCrop,
  bitAnd,
  cast,
  clamp,
  concat,
  div,
  exp,
  flip,
  floor,
  greaterEqual,
  less,
  mean,
  mul,
  random,
  slice,
  sqrt,
  std,
  sub,
  type Tensor,
  where,
} from '../../../tensor/index.ts';
import { gridToCodes } from './tokens.ts';

/** Keeps constant channels finite. */
const eps = 1e-6;

/** Image i takes the channel means and deviations (unbiased) of `partner` i: adaptive instance normalisation (Huang and Belongie 2017, arXiv 1703.06868, eq. 8). */
export function adain(x: Tensor, partner: Tensor): Tensor {
  const moments = (y: Tensor): [Tensor, Tensor] => [mean(y, [2, 3], { keepDims: true }), std(y, [2, 3], { keepDims: true, correction: 1 })];
  const [mu, sigma] = moments(x);
  const [muOf, sigmaOf] = moments(partner);
  return add(mul(div(sub(x, mu), add(sigma, eps)), sigmaOf), muOf);
}

/** Emb-Noise: one normal number per channel and one per element are added. x has unit scale. */
export function embNoise(key: random.Key, x: Tensor): Tensor {
  const [a, b] = random.splitKey(key) as [random.Key, random.Key];
  return add(add(x, random.normal(a, [...x.shape.slice(0, 2), 1, 1])), random.normal(b, x.shape));
}

export interface Strengths {
  /** Probability that a batch gets Emb-Noise, or ColorAdapt; never both. Their sum is at most 1. */
  noise: number;
  color: number;
}

/** Draws one of Emb-Noise, ColorAdapt (partner: the batch reversed) and nothing for the batch, and gives it to a random half of the images. */
export function noiseOrColor(key: random.Key, x: Tensor, { noise, color }: Strengths): Tensor {
  if (noise + color === 0) return x;
  const [choice, half, k] = random.splitKey(key, 3) as [random.Key, random.Key, random.Key];
  const u = random.uniform(choice, [1, 1, 1, 1]);
  const chosen = random.bernoulli(half, [x.shape[0]!, 1, 1, 1], 0.5);
  const when = (condition: Tensor): Tensor => bitAnd(cast(chosen, 'i32'), cast(condition, 'i32'));
  const noisy = noise > 0 ? where(when(less(u, noise)), embNoise(k, x), x) : x;
  if (color === 0) return noisy;
  const colored = bitAnd(cast(greaterEqual(u, noise), 'i32'), cast(less(u, noise + color), 'i32'));
  return where(when(colored), adain(x, flip(x, 0)), noisy);
}

/**
 * Boxes of random-resized-crop on an H x W grid: area U(scale, 1), aspect log-uniform in 3/4..4/3, uniform place. f32 [B, 4] of top, left,
 * height, width in whole cells; a side that does not fit is cut. Cells are whole because a grid has few: positions between them are made
 * by the resize that follows.
 */
export function cropBoxes(key: random.Key, B: number, [H, W]: readonly [number, number], scale: number): Tensor {
  const [a, r, p] = random.splitKey(key, 3) as [random.Key, random.Key, random.Key];
  const area = mul(random.uniform(a, [B, 1], scale, 1), H * W);
  const ratio = exp(random.uniform(r, [B, 1], Math.log(3 / 4), Math.log(4 / 3)));
  const whole = (x: Tensor, most: number): Tensor => clamp(floor(add(x, 0.5)), 1, most);
  const height = whole(sqrt(div(area, ratio)), H);
  const width = whole(sqrt(mul(area, ratio)), W);
  const u = random.uniform(p, [B, 2]);
  const place = (i: number, n: number, side: Tensor): Tensor => floor(mul(slice(u, null, [i, i + 1]), sub(n + 1, side)));
  return concat([place(0, H, height), place(1, W, width), height, width], 1);
}

/** Random-resized-crop to [crop, crop], bicubic; the result lies between codes: re-quantise it. */
export function randomResizedCrop(key: random.Key, x: Tensor, crop: number, scale: number): Tensor {
  const [B, , H, W] = x.shape as [number, number, number, number];
  return bicubicCrop(x, cropBoxes(key, B, [H, W], scale), [crop, crop]);
}

/** The middle `crop` x `crop` of a grid [..., H, W]. */
export function centreCrop(x: Tensor, crop: number): Tensor {
  const window = (n: number): [number, number] => [(n - crop) >> 1, ((n - crop) >> 1) + crop];
  return slice(x, ...x.shape.map((n, axis) => (axis < x.rank - 2 ? null : window(n))));
}

/** Codes i32 [B, crop, crop] of a crop of code vectors: random-resized, or, where all of the area is to be kept, the middle as it is. */
export function cropToCodes(key: random.Key, vectors: Tensor, codebook: Tensor, crop: number, scale: number): Tensor {
  return gridToCodes(scale < 1 ? randomResizedCrop(key, vectors, crop, scale) : centreCrop(vectors, crop), codebook);
}
