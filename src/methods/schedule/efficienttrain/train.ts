/** Trains a vision transformer from pixels under a schedule, stage by stage, on the common training loop. */
import { Augmenter, drawErasing, drawMix, erase, mixImages, mixTargets, smoothTargets } from '../../../data/augment/index.ts';
import { DataRandom, type ImageSet, inOrder, readBatch } from '../../../data/index.ts';
import { AdamW, clipByGlobalNorm, emaUpdate, initialize, mixedPrecision, softTargetLoss, Vit } from '../../../nn/index.ts';
import {
  argmax,
  type Compiled,
  cast,
  compile,
  disposeTree,
  div,
  random as keys,
  permute,
  reshape,
  sub,
  type Tensor,
  tensor,
} from '../../../tensor/index.ts';
import { copyTree, median, type TrainProgress, type TrainStep, train } from '../../../train/index.ts';
import type { Schedule, ScheduleTarget } from '../../contracts/schedule.ts';
import { type Batch, batchesOf, type Part } from './batches.ts';
import { lowFrequencyCrop } from './frequency.ts';
import { regrid, type TrainState } from './positions.ts';
import type { Recipe } from './presets.ts';
import { publishedReplay } from './replay.ts';
import { learningRate } from './stages.ts';

export interface VitTraining {
  images: ImageSet;
  schedule: Schedule;
  steps: number;
  batch: number;
  model: { patch: number; features: number; layers: number; heads: number };
  recipe: Recipe;
  seed: number;
  /** Replays as EfficientTrain++ does, where decoding is slower than training. Default false. */
  replay?: boolean;
  /** Where the run is saved, one file per stage, `<path>.<stage>`; called again it goes on from there. */
  checkpoint?: string;
  /** Runs every step with nothing beside it, and times it. Slower; default false. */
  measure?: boolean;
  /** What the model computes in; parameters stay f32. Default f32. */
  precision?: 'f32' | 'bf16';
  /** Worker threads that augment; the result is the same for any number. Default: as many as the machine has cores to spare. */
  threads?: number;
  signal?: AbortSignal;
  /** Steps counted over the whole run. */
  onProgress?: (progress: TrainProgress) => void;
}

export interface TrainedVit {
  model: Vit;
  /** Averaged weights, where the recipe keeps them. */
  average: Vit | undefined;
  /** Mean and standard deviation of each channel, 0..255: what `accuracyOf` normalises by. */
  statistics: Statistics;
  /** Average over about the last 50 steps. */
  loss: number;
  parts: TrainedPart[];
  seconds: number;
}

export interface TrainedPart {
  side: number;
  steps: number;
  plannedPeakBytes: number;
  /** Where steps were measured: their sum, and their number times their median, which other work on the machine hardly moves. */
  stepSeconds?: { sum: number; typical: number };
}

/** What the device gets of a batch. */
interface DeviceBatch {
  /** u8 [n, h, w, c]. */
  pixels: Tensor;
  labels: Tensor;
  /** f32 [n, 4], f32 [6]: see data/augment/regions.ts. */
  boxes: Tensor;
  mix: Tensor;
  side: number;
}

/** Per channel, 0..255. */
export interface Statistics {
  mean: number[];
  deviation: number[];
}

/** Over at most 2,000 images, evenly spaced. */
async function statisticsOf(images: ImageSet): Promise<Statistics> {
  const count = Math.min(2000, images.size);
  const { pixels } = await readBatch(
    images,
    Uint32Array.from({ length: count }, (_, i) => Math.floor((i * images.size) / count)),
  );
  const channels = images.shape[2];
  const [mean, square] = [Array<number>(channels).fill(0), Array<number>(channels).fill(0)];
  const share = channels / pixels.length;
  pixels.forEach((x, i) => {
    mean[i % channels]! += x * share;
    square[i % channels]! += x * x * share;
  });
  return { mean, deviation: mean.map((m, c) => Math.sqrt(Math.max(1, square[c]! - m * m))) };
}

/** u8 [n, h, w, c] -> f32 [n, c, h, w] of mean 0 and deviation 1. */
function normalise(pixels: Tensor, { mean, deviation }: Statistics): Tensor {
  const channels = mean.length;
  const perChannel = (values: readonly number[]): Tensor => reshape(tensor(Float32Array.from(values)), [1, channels, 1, 1]);
  return div(sub(cast(permute(pixels, [0, 3, 1, 2]), 'f32'), perChannel(mean)), perChannel(deviation));
}

/** The parts of a run at one side each: neighbouring stages of one side are one. */
export function partsOf(schedule: Schedule, target: ScheduleTarget, replay: boolean): Part[] {
  const parts: Part[] = [];
  for (let index = 0; index < target.steps; index++) {
    const { shape, position } = schedule.step(index, target);
    const last = parts.at(-1);
    if (last?.side === shape[2]) last.end = index + 1;
    else
      parts.push({
        side: shape[2],
        start: index,
        end: index + 1,
        replay: replay ? publishedReplay(Math.floor(10 * position), 10) : { times: 1, batches: 0 },
      });
  }
  return parts;
}

/** No decay for vectors and for positions. */
const optimizerOf = ({ weightDecay }: Recipe): AdamW =>
  new AdamW({ group: (path, p) => ({ weightDecay: p.rank > 1 && path[0] !== 'positions' ? weightDecay : 0 }) });

/** One program per side: augmented at full size, then made smaller, as the last thing before the model. */
function stepOf(
  { schedule, recipe, images, precision: compute = 'f32' }: VitTraining,
  statistics: Statistics,
): Compiled<[TrainState, DeviceBatch, keys.Key, Tensor], { state: TrainState; loss: Tensor }> {
  const optimizer = optimizerOf(recipe);
  const classes = images.classes.length;
  const precision = mixedPrecision({ compute });
  return compile(
    ({ model, optimizer: moments, average }: TrainState, { pixels, labels, boxes, mix, side }: DeviceBatch, key: keys.Key, lr: Tensor) => {
      const [eraseKey, dropKey] = keys.splitKey(key) as [keys.Key, keys.Key];
      let x = normalise(pixels, statistics);
      let targets = smoothTargets(labels, classes, recipe.smoothing);
      if (recipe.erasing > 0) x = erase(x, boxes, eraseKey);
      if (recipe.mixup > 0 || recipe.cutmix > 0) [x, targets] = [mixImages(x, mix), mixTargets(targets, mix)];
      const small = precision.cast(schedule.reshape(x, { shape: [x.shape[0]!, x.shape[1]!, side, side] }));
      const lossOf = (vit: Vit): Tensor => softTargetLoss(vit.forward(small, { key: dropKey, dropPath: recipe.dropPath }), targets);
      const [loss, raw] = precision.valueAndGrad(lossOf)(model);
      const gradients = recipe.clip > 0 ? clipByGlobalNorm(raw, recipe.clip).gradients : raw;
      const next = optimizer.update(model, gradients, moments, lr);
      const state: TrainState = {
        model: next.model,
        optimizer: next.state,
        ...(average ? { average: emaUpdate(average, next.model, recipe.ema) } : {}),
      };
      return { state, loss };
    },
    { donate: [0], name: 'efficienttrain step' },
  );
}

/** The step with a clock around it, in seconds: it runs on this thread and to its end, so that nothing but the step is in its time. */
function timed<A extends unknown[], R>(step: Compiled<A, R>, times: number[]): Compiled<A, R> {
  const run = (...args: A): R => {
    const began = performance.now();
    const result = step(...args);
    times.push((performance.now() - began) / 1000);
    return result;
  };
  return Object.assign((...args: A): R => step(...args), step, { async: async (...args: A): Promise<R> => run(...args), enqueue: run });
}

/** The first step also compiles: it counts as the median of all. */
function summary(times: readonly number[]): { sum: number; typical: number } {
  if (times.length === 0) return { sum: 0, typical: 0 };
  const typical = median(times);
  return { sum: times.slice(1).reduce((a, b) => a + b, typical), typical: times.length * typical };
}

/**
 * Trains from scratch. Each part of one side is a run of the training loop; between them positions move to the new grid, with their moments
 * and averages. Same seed, same device: same weights.
 */
export async function trainVit(options: VitTraining): Promise<TrainedVit> {
  const { images, schedule, steps, batch, recipe, seed, checkpoint, measure = false, threads, signal, onProgress } = options;
  const [height, width, channels] = images.shape;
  if (height !== width) throw new RangeError(`[efficienttrain] images of ${height} x ${width} are not square; open them at one side`);
  const target: ScheduleTarget = { steps, batch, channels, size: height, patch: options.model.patch, itemBytes: 4 };
  const began = performance.now();
  await using augmenter = new Augmenter(threads);
  const statistics = await statisticsOf(images);
  const step = stepOf(options, statistics);
  const strength = (index: number): number => schedule.step(index, target).augmentation;
  const parts = partsOf(schedule, target, options.replay ?? false);
  const root = keys.key(seed);
  const prepare = ({ pixels, labels, index }: Batch, side: number): DeviceBatch => {
    const random = new DataRandom(seed, 3, index);
    const n = labels.length;
    return {
      pixels: tensor(pixels, { shape: [n, height, width, channels] }),
      labels: tensor(labels),
      boxes: tensor(drawErasing(n, [height, width], recipe.erasing, random), { shape: [n, 4] }),
      mix: tensor(drawMix(recipe, [height, width], random)),
      side,
    };
  };

  let state = startOf(options, parts[0]!.side);
  let [seen, loss] = [0, Number.NaN];
  const done: TrainedPart[] = [];
  for (const [number, part] of parts.entries()) {
    const grid = part.side / options.model.patch;
    state = regrid(state, [grid, grid]);
    const times: number[] = [];
    const key = keys.foldIn(root, number);
    const from = seen;
    const result = await train({
      state,
      key,
      steps: part.end - part.start,
      step: (measure ? timed(step, times) : step) as TrainStep<TrainState, DeviceBatch>,
      batches: (position) => batchesOf(part, from, position, { set: images, batch, recipe, seed, strength, augmenter }),
      prepare: (item: Batch) => prepare(item, part.side),
      schedule: (index) => learningRate(schedule.step(part.start + index, target).position, recipe),
      ...(checkpoint
        ? {
            checkpoint: {
              path: `${checkpoint}.${number}`,
              config: { part, target, recipe, seed, model: options.model, precision: options.precision ?? 'f32' },
            },
          }
        : {}),
      ...(signal ? { signal } : {}),
      ...(onProgress ? { onProgress: (p: TrainProgress) => onProgress({ ...p, step: part.start + p.step, steps }) } : {}),
    });
    key.dispose();
    ({ state, loss } = result);
    seen += ((part.end - part.start) * batch) / part.replay.times;
    const { plannedPeakBytes } = result;
    done.push({ side: part.side, steps: part.end - part.start, plannedPeakBytes, ...(measure ? { stepSeconds: summary(times) } : {}) });
  }
  root.dispose();
  disposeTree(state.optimizer);
  return { model: state.model, average: state.average, statistics, loss, parts: done, seconds: (performance.now() - began) / 1000 };
}

/** New weights with positions of the first side's grid. */
function startOf({ images, model: { patch, ...size }, recipe, seed }: VitTraining, side: number): TrainState {
  const config = {
    ...size,
    channels: images.shape[2],
    height: side,
    width: side,
    patch: { size: patch, stride: patch, padding: 0 },
    classes: images.classes.length,
    positions: 'learned' as const,
  };
  const model = initialize((key) => Vit.init(key, config), seed);
  const optimizer = optimizerOf(recipe).init(model);
  return { model, optimizer, ...(recipe.ema > 0 ? { average: copyTree(model) } : {}) };
}

/** Share of the images that the model classifies rightly; at full size, or as low-frequency crops of `side` pixels. */
export async function accuracyOf(model: Vit, images: ImageSet, statistics: Statistics, side = images.shape[0]): Promise<number> {
  const classify = compile((vit: Vit, pixels: Tensor) => argmax(vit.forward(lowFrequencyCrop(normalise(pixels, statistics), side))), {
    name: 'classify',
  });
  let right = 0;
  for await (const { pixels, labels } of inOrder(images, 250)) {
    using x = tensor(pixels, { shape: [labels.length, ...images.shape] });
    using classes = classify(model, x);
    classes.data().forEach((c, i) => (right += Number(c === labels[i])));
  }
  return right / images.size;
}
