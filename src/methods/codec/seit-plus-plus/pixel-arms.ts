/** What tokens are compared with at equal bytes: pixels of fewer images, and fewer pixels of all images, read by the same transformer. */
import { Augmenter, type ImageAugment, smoothTargets } from '../../../data/augment/index.ts';
import {
  ahead,
  EpochSampler,
  firstImages,
  type ImageSet,
  imageBytes,
  inOrder,
  PackedImages,
  packImages,
  readBatch,
  splitIndices,
  subset,
} from '../../../data/index.ts';
import { resizeImage } from '../../../io/index.ts';
import {
  AdamW,
  decayMatricesOnly,
  initialize,
  mixedPrecision,
  softTargetLoss,
  Vit,
  type VitConfig,
  warmupCosine,
} from '../../../nn/index.ts';
import { argmax, compile, disposeTree, mul, random, sub, type Tensor, tensor } from '../../../tensor/index.ts';
import { train } from '../../../train/index.ts';
import type { Run } from '../../contracts/run.ts';
import type { Config } from './config.ts';
import { toInput } from './pixels.ts';
import { cutMix } from './targets.ts';
import type { TrainState } from './train.ts';

/** A byte for each pixel and channel, and one for the label: no header, in favour of pixels. */
const bytesOf = (shape: ImageSet['shape']): number => imageBytes(shape) + 1;
export const pixelBytes = ({ size, shape }: ImageSet): number => size * bytesOf(shape);

/** As many whole images as `bytes` hold, of all classes alike. */
export const subsetWithin = (images: ImageSet, bytes: number, seed: number): Promise<PackedImages> =>
  packImages(subset(images, splitIndices(images, Math.floor(bytes / bytesOf(images.shape)) / images.size, seed).validation));

/** The images at `side` x `side`: means over areas. */
export async function reduced(images: ImageSet, side: number): Promise<PackedImages> {
  const [height, width, channels] = images.shape;
  const shape = [side, side, channels] as const;
  const pixels = new Uint8Array(images.size * imageBytes(shape));
  const { labels, classes, source } = images;
  for (let i = 0; i < images.size; i++) {
    const image = { height, width, channels, pixels: (await images.read(i)).pixels };
    pixels.set(resizeImage(image, { height: side, width: side, filter: 'area' }).pixels, i * imageBytes(shape));
  }
  return new PackedImages({ pixels, labels, shape, classes, source });
}

/** The largest side at which all images take at most `bytes`. */
export function sideWithin({ size, shape: [height, , channels] }: ImageSet, bytes: number): number {
  let side = height;
  while (side > 1 && size * bytesOf([side, side, channels]) > bytes) side--;
  return side;
}

export interface PixelArm {
  images: PackedImages;
  /** As they are stored: the same reduction as the training images. */
  test: ImageSet;
  patch: number;
  augment: ImageAugment;
  /** Width, depth, optimiser and CutMix are those of the token arms. */
  config: Pick<Config, 'model' | 'train' | 'precision'> & { augment: Pick<Config['augment'], 'cutmix'> };
  steps: number;
}

/** Trains on pixels alone. @returns shares that are named rightly: of the test images, and of the first images that it learnt from, as many */
export async function pixelAccuracy(
  { images, test, patch, augment, config, steps }: PixelArm,
  run: Run,
): Promise<{ accuracy: number; trainAccuracy: number }> {
  const { train: recipe, model: size } = config;
  const [side, , channels] = images.shape;
  const classes = images.classes.length;
  const batchSize = Math.min(recipe.batch, images.size);
  const vit: VitConfig = {
    ...size,
    patch: { size: patch, stride: patch, padding: 0 },
    channels,
    height: side,
    width: side,
    classes,
  };
  const optimizer = new AdamW({ beta2: recipe.beta2, group: decayMatricesOnly(recipe.weightDecay) });
  const precision = mixedPrecision({ compute: config.precision });
  // centred: pixels are all positive, code vectors are not
  const input = (pixels: Tensor): Tensor => toInput(pixels, side, channels);
  interface Batch {
    pixels: Tensor;
    labels: Tensor;
  }
  const step = compile(
    (state: TrainState, { pixels, labels }: Batch, key: random.Key, lr: Tensor) => {
      const { x, targets } = cutMix(key, centred(input(pixels)), smoothTargets(labels, classes, recipe.smoothing), config.augment.cutmix);
      const lossOf = (model: Vit): Tensor => softTargetLoss(model.forward(precision.cast(x)), targets);
      const [loss, gradients] = precision.valueAndGrad(lossOf)(state.model);
      const { model, state: moments } = optimizer.update(state.model, gradients, state.optimizer, lr);
      return { state: { model, optimizer: moments }, loss };
    },
    { donate: [0], name: 'train on pixels' },
  );
  await using augmenter = new Augmenter(1);
  const sampler = new EpochSampler(images.size, { batchSize, seed: run.seed });
  const next = async () => {
    const indices = sampler.next();
    const { position } = sampler;
    const { pixels, labels } = await readBatch(images, indices);
    const seeds = [run.seed, position.epoch];
    return { pixels: await augmenter.run({ pixels, shape: images.shape, augment, seeds, indices }), labels, position };
  };
  const { state } = await train({
    state: () => {
      const model = initialize((key) => Vit.init(key, vit), run.seed);
      return { model, optimizer: optimizer.init(model) };
    },
    step,
    steps,
    key: random.key(run.seed),
    batches: () => ahead(next, augmenter.width),
    prepare: ({ pixels, labels }) => ({ pixels: tensor(pixels, { shape: [labels.length, ...images.shape] }), labels: tensor(labels) }),
    schedule: warmupCosine({ peak: (recipe.lr * batchSize) / 512, final: recipe.minLr, steps, warmup: Math.ceil(steps / 20) }),
    ...(run.signal && { signal: run.signal }),
    onProgress: ({ step: at, loss }) => run.onStep?.('pixels', at, { loss }),
  });
  const classify = compile((model: Vit, pixels: Tensor) => argmax(model.forward(centred(input(pixels)))), { name: 'classify' });
  const accuracyOn = async (set: ImageSet): Promise<number> => {
    let right = 0;
    for await (const { pixels, labels } of inOrder(set, 250)) {
      using x = tensor(pixels, { shape: [labels.length, ...set.shape] });
      using found = classify(state.model, x);
      found.data().forEach((c, i) => (right += Number(c === labels[i])));
    }
    return right / set.size;
  };
  const measured = { accuracy: await accuracyOn(test), trainAccuracy: await accuracyOn(firstImages(images, test.size)) };
  disposeTree(state);
  return measured;
}

/** 0..1 -> about zero mean and unit deviation. */
const centred = (x: Tensor): Tensor => mul(sub(x, 0.5), 4);
