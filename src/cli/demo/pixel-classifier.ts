/** The classifier of the pixel arms: the transformer that reads tokens, with a stem of square patches of pixels instead. */
import { rm } from 'node:fs/promises';
import { type DataPosition, EpochSampler, type PackedImages } from '../../data/index.ts';
import {
  AdamW,
  type AdamWState,
  classificationLoss,
  decayMatricesOnly,
  initialize,
  Vit,
  type VitConfig,
  warmupCosine,
} from '../../nn/index.ts';
import { argmax, compile, countParameters, disposeTree, random, type Tensor, tensor, valueAndGrad } from '../../tensor/index.ts';
import { loadModel, saveModel, type TrainStep, timeTraining, train } from '../../train/index.ts';
import { type Jitter, type PixelScale, pixelBatch, pixelScale } from './pixel-batches.ts';

export interface PixelRecipe extends Pick<VitConfig, 'features' | 'layers' | 'heads' | 'positions'> {
  stem: VitConfig['patch'];
  batch: number;
  /** Peak learning rate; from a warm-up over a twentieth of the steps, then half a cosine to 0. */
  lr: number;
  weightDecay: number;
  smoothing: number;
  jitter: Jitter;
}

interface TrainState {
  model: Vit;
  optimizer: AdamWState<Vit>;
}

interface PixelTensors {
  /** f32 [B, C, H, W] */
  x: Tensor;
  /** i32 [B] */
  labels: Tensor;
}

function newState(images: PackedImages, recipe: PixelRecipe, seed: number): TrainState {
  const [height, width, channels] = images.shape;
  const { features, layers, heads, positions, stem } = recipe;
  const config: VitConfig = { features, layers, heads, positions, patch: stem, channels, height, width, classes: images.classes.length };
  const model = initialize((key) => Vit.init(key, config), seed);
  return { model, optimizer: new AdamW().init(model) };
}

function stepOf({ weightDecay, smoothing }: PixelRecipe): TrainStep<TrainState, PixelTensors> {
  const optimizer = new AdamW({ beta2: 0.98, group: decayMatricesOnly(weightDecay) });
  const lossOf = (model: Vit, { x, labels }: PixelTensors): Tensor => classificationLoss(model.forward(x), labels, smoothing);
  return compile(
    (state: TrainState, batch: PixelTensors, _key: random.Key, lr: Tensor) => {
      const [loss, gradients] = valueAndGrad(lossOf)(state.model, batch);
      const { model, state: optimizerState } = optimizer.update(state.model, gradients, state.optimizer, lr);
      return { state: { model, optimizer: optimizerState }, loss };
    },
    { donate: [0], name: 'train on pixels' },
  );
}

/** Seconds of one step on this machine: the median of a few real steps of a model that is thrown away. */
export async function pixelStepSeconds(images: PackedImages, recipe: PixelRecipe): Promise<number> {
  const indices = Uint32Array.from({ length: Math.min(recipe.batch, images.size) }, (_, i) => i);
  const batch = tensors(images, indices, pixelScale(images));
  const state = newState(images, recipe, 0);
  const secondsPerStep = await timeTraining({ step: stepOf(recipe), state, batch, steps: 12 });
  disposeTree([state, batch]);
  return secondsPerStep;
}

function tensors(
  images: PackedImages,
  indices: Uint32Array,
  scale: PixelScale,
  jitter?: Jitter & { seed: readonly number[] },
): PixelTensors {
  const [height, width, channels] = images.shape;
  return {
    x: tensor(pixelBatch(images, indices, scale, jitter), { shape: [indices.length, channels, height, width] }),
    labels: tensor(Int32Array.from(indices, (i) => images.labels[i]!)),
  };
}

export interface PixelTraining {
  steps: number;
  seed: number;
  /** The file that the classifier is written to; until then a checkpoint lies beside it. */
  path: string;
  signal: AbortSignal;
  onStep: (step: number, loss: number) => void;
}

/** Trains on `images` and writes the classifier. @returns the planned peak of device bytes, and the number of weights */
export async function trainPixels(
  images: PackedImages,
  recipe: PixelRecipe,
  run: PixelTraining,
): Promise<{ plannedPeakBytes: number; parameters: number }> {
  const { steps, seed, path, signal } = run;
  const scale = pixelScale(images);
  function* batches(from: DataPosition | undefined): Generator<{ indices: Uint32Array; position: DataPosition }> {
    const sampler = new EpochSampler(images.size, { batchSize: recipe.batch, seed, ...(from && { position: from }) });
    for (;;) yield { indices: sampler.next(), position: sampler.position };
  }
  const { state, plannedPeakBytes } = await train({
    state: () => newState(images, recipe, seed),
    step: stepOf(recipe),
    steps,
    key: random.key(seed),
    batches,
    prepare: ({ indices, position: { epoch, index } }) => tensors(images, indices, scale, { ...recipe.jitter, seed: [seed, epoch, index] }),
    schedule: warmupCosine({ peak: recipe.lr, steps, warmup: Math.ceil(steps / 20), start: recipe.lr / 100 }),
    checkpoint: { path: `${path}.checkpoint`, config: { recipe, steps, seed, source: images.source }, everySeconds: 15 },
    signal,
    onProgress: ({ step, loss }) => run.onStep(step, loss),
  });
  await saveModel(path, state.model, { config: { recipe, scale } });
  await rm(`${path}.checkpoint`, { force: true });
  const parameters = countParameters(state.model);
  disposeTree(state);
  return { plannedPeakBytes, parameters };
}

/** Share of `images` whose class the classifier of `path` names. `images` have the shape of the training images. */
export async function pixelAccuracy(images: PackedImages, path: string, recipe: PixelRecipe, scale: PixelScale): Promise<number> {
  const template = newState(images, recipe, 0).model;
  const model = await loadModel(path, template);
  const classify = compile((vit: Vit, x: Tensor) => argmax(vit.forward(x)), { name: 'classify pixels' });
  let right = 0;
  for (let at = 0; at < images.size; at += 250) {
    const indices = Uint32Array.from({ length: Math.min(250, images.size - at) }, (_, i) => at + i);
    const { x, labels } = tensors(images, indices, scale);
    using found = await classify.async(model, x);
    const classes = found.data();
    right += indices.reduce((count, image, i) => count + Number(classes[i] === images.labels[image]), 0);
    disposeTree([x, labels]);
  }
  disposeTree([template, model]);
  return right / images.size;
}
