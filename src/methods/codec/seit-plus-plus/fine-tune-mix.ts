/** Batches of fine-tuning: augmented, mixed with each other, as codes. */
import {
  add,
  argmax,
  cast,
  concat,
  div,
  flip,
  lerp,
  less,
  lessEqual,
  pow,
  random,
  reshape,
  slice,
  squeeze,
  type Tensor,
  take,
  unsqueeze,
  where,
} from '../../../tensor/index.ts';
import { noiseOrColor, type Strengths } from './augment.ts';
import { cutMix } from './targets.ts';
import { adaptBatch, type TokenAdapt } from './token-adapt.ts';
import type { GeometryConfig } from './token-adapt-params.ts';

const TRIES = 16;

/** One number of the law Beta(a, a), a <= 1, f32 []: Jöhnk 1964, of whose trials (accepted by 50 to 100 %) the first success of 16 is taken. */
export function symmetricBeta(key: random.Key, a: number): Tensor {
  if (!(a > 0 && a <= 1)) throw new RangeError(`[seit-plus-plus] Beta(a, a) is drawn for 0 < a <= 1, not ${a}`);
  const u = pow(random.uniform(key, [2, TRIES]), 1 / a);
  const [x, y] = [slice(u, [0, 1]), slice(u, [1, 2])].map((t) => reshape(t, [TRIES])) as [Tensor, Tensor];
  const total = add(x, y);
  const first = argmax(cast(lessEqual(total, 1), 'f32'));
  return take(div(x, add(total, 1e-30)), first);
}

/** Mixup (Zhang et al. 2018, arXiv 1710.09412) with lambda ~ Beta(a, a), the partner is the batch reversed. x [B, ...], targets [B, classes]. */
export function mixup(key: random.Key, x: Tensor, targets: Tensor, a: number): { x: Tensor; targets: Tensor } {
  const lambda = symmetricBeta(key, a);
  return { x: lerp(flip(x, 0), x, lambda), targets: lerp(flip(targets, 0), targets, lambda) };
}

export interface FineTuneAugment extends Strengths {
  geometry: GeometryConfig;
  /** Probability that a half is mixed: by CutMix; in the TokenAdapt half, as often by Mixup. */
  mix: number;
  /** Parameter of the Beta law of Mixup. */
  mixup: number;
}

/** Of the published fine-tuning. */
export const publishedFineTuneAugment = { noise: 0.75, color: 0.25, mix: 1, mixup: 0.8 } as const;

/**
 * A batch as the model sees it. The first half: random-resized-crop, nearest code, CutMix of the codes. The second: TokenAdapt, with CutMix or
 * Mixup of the features between f and g. Images mix within their half.
 * @param vectors f32 [B, d_c, h, w] of the stored codes, B even; @param targets f32 [B, classes].
 * @returns codes i32 [B, h', w'] and mixed targets.
 */
export function fineTuneBatch(
  key: random.Key,
  adapt: TokenAdapt,
  vectors: Tensor,
  targets: Tensor,
  codebook: Tensor,
  c: FineTuneAugment,
): { codes: Tensor; targets: Tensor } {
  const [noise, batch, cut, mix] = random.splitKey(key, 4) as [random.Key, random.Key, random.Key, random.Key];
  const half = (t: Tensor, i: number): Tensor => slice(t, [(i * t.shape[0]!) / 2, ((i + 1) * t.shape[0]!) / 2]);
  let second = half(targets, 1);
  const all = adaptBatch(batch, adapt, noiseOrColor(noise, vectors, c), codebook, c.geometry, (features) => {
    const mixed = cutMixOrMixup(mix, features, second, c);
    second = mixed.targets;
    return mixed.x;
  });
  const first = cutMix(cut, unsqueeze(half(all, 0), 1), half(targets, 0), c.mix);
  return { codes: concat([squeeze(first.x, 1), half(all, 1)], 0), targets: concat([first.targets, second], 0) };
}

function cutMixOrMixup(key: random.Key, x: Tensor, targets: Tensor, { mix, mixup: a }: FineTuneAugment): { x: Tensor; targets: Tensor } {
  if (a === 0 || mix === 0) return cutMix(key, x, targets, mix);
  const [which, first, second] = random.splitKey(key, 3) as [random.Key, random.Key, random.Key];
  const [cut, blend] = [cutMix(first, x, targets, 1), mixup(second, x, targets, a)];
  const u = random.uniform(which, []);
  const choose = (plain: Tensor, c: Tensor, b: Tensor): Tensor => where(less(u, mix / 2), b, where(less(u, mix), c, plain));
  return { x: choose(x, cut.x, blend.x), targets: choose(targets, cut.targets, blend.targets) };
}
