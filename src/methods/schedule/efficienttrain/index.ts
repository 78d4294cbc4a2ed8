/**
 * EfficientTrain: a model sees low frequencies and weak augmentation first. Small images hold the low frequencies exactly, and cost less: the same
 * epochs, at about two thirds of the compute.
 *
 * `v1` (ICCV 2023) shares the epochs out equally over five stages; the Fourier-domain crop makes the images small. `plusplus` (TPAMI 2024) shares the
 * compute out equally over ten, so that small images are passed over more often (`stepsForCompute` gives the steps of a run); Lanczos makes
 * them small. The batch stays the same throughout, so learning rate and weight decay are those of the plain recipe.
 *
 * For long training from scratch, with crops at every scale (`Recipe.resizedCrop`), as published. A patch of a smaller image holds more of the scene, so a
 * change of side is a change of scale: a model that has only seen whole images unlearns it for some hundred steps. Even so a run of a few epochs over a small
 * set loses accuracy in equal steps; one of forty epochs did not (bench.json). Not for fine-tuning, nor where fine detail decides early.
 */
import { BudgetError } from '../../../bytes/index.ts';
import type { ScheduleTarget } from '../../contracts/schedule.ts';
import { defineMethod } from '../../method.ts';
import { Config, createSchedule, type EfficientTrainConfig, sidesOf } from './config.ts';
import { candidateSides } from './presets.ts';
import { stagesOf } from './stages.ts';

function totalBytes(config: EfficientTrainConfig, target: ScheduleTarget): number {
  const pixels = stagesOf(sidesOf(config), config.version, target).reduce(
    (sum, { side, start, end }) => sum + (end - start) * side * side,
    0,
  );
  return pixels * target.batch * target.channels * target.itemBytes;
}

/** Sequences of candidates that never shrink, end at full size, and stay at or under `most` in every stage; the largest first. */
function* dominated(most: readonly number[], stage = most.length - 1, next = 1): Generator<number[]> {
  if (stage < 0) yield [];
  else
    for (const share of candidateSides.filter((one) => one <= Math.min(most[stage]!, next)).reverse()) {
      if (stage === most.length - 1 && share < 1) return;
      for (const before of dominated(most, stage - 1, share)) yield [...before, share];
    }
}

export default defineMethod({
  id: 'efficienttrain',
  contract: 'schedule',
  title: 'Low frequencies and weak augmentation first',
  paper: {
    title: 'EfficientTrain: Exploring Generalized Curriculum Learning for Training Visual Backbones',
    authors: 'Wang et al.',
    year: 2023,
    arxiv: '2211.09703',
    venue: 'ICCV 2023',
  },
  saves: ['time'],
  config: Config,
  /** The published sides where they fit, for they are published as equal in accuracy to full size; else the most pixels that do, of stages at or under the published ones. */
  fit(budget, target) {
    const config = Config.parse({});
    if (totalBytes(config, target) <= budget) return config;
    let best: { sides: number[]; bytes: number } | undefined;
    let needed = Number.POSITIVE_INFINITY;
    for (const sides of dominated(sidesOf(config))) {
      const bytes = totalBytes({ ...config, sides }, target);
      needed = Math.min(needed, bytes);
      if (bytes <= budget && bytes > (best?.bytes ?? -1)) best = { sides, bytes };
    }
    if (best) return { ...config, sides: best.sides };
    const because = `${target.steps} steps of ${target.batch} images, the last stage at full size`;
    throw new BudgetError({
      who: 'efficienttrain',
      budget,
      needed,
      because,
      wayOut: 'raise the budget, take fewer steps or smaller images',
    });
  },
  bytes: totalBytes,
  create: createSchedule,
});

export { type EfficientTrainConfig, sidesOf } from './config.ts';
export { lowFrequencyCrop } from './frequency.ts';
export { maskedTargets } from './masked.ts';
export { regrid, resizeRelativeBias, type TrainState } from './positions.ts';
export { candidateSides, experiments, imagenetRecipe, publishedSides, type Recipe, strongestMagnitude } from './presets.ts';
export { type ProxyOptions, proxyAccuracy } from './proxy.ts';
export { publishedReplay, type Replay, ReplayBuffer } from './replay.ts';
export { lanczosResize, nearestResize } from './resample.ts';
export { type Found, type SearchOptions, searchSides, type Trial } from './search.ts';
export { learningRate, type Stage, stagesOf, stepsForCompute } from './stages.ts';
export { accuracyOf, type TrainedVit, trainVit, type VitTraining } from './train.ts';
