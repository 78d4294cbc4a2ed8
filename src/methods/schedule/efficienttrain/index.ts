/**
 * EfficientTrain: a model sees low frequencies and weak augmentation first. Small images hold the low frequencies exactly, and cost less: the same
 * epochs, at about two thirds of the compute.
 *
 * `v1` (ICCV 2023) shares the epochs out equally over five stages; the Fourier-domain crop makes the images small. `plusplus` (TPAMI 2024) shares the
 * compute out equally over ten, so that small images are passed over more often (`stepsForCompute` gives the steps of a run); Lanczos makes
 * them small. The batch stays the same throughout, so learning rate and weight decay are those of the plain recipe.
 *
 * For training from scratch. Not for fine-tuning of a few epochs, nor where fine detail decides early.
 */
import { z } from 'zod';
import { BudgetError } from '../../../bytes/index.ts';
import type { Tensor } from '../../../tensor/index.ts';
import type { ScheduleTarget, Step } from '../../contracts/schedule.ts';
import { defineMethod } from '../../method.ts';
import { lowFrequencyCrop } from './frequency.ts';
import { candidateSides, publishedSides, publishedSize } from './presets.ts';
import { lanczosResize, nearestResize } from './resample.ts';
import { locate, stagesOf, stageStrength } from './stages.ts';

const Config = z.strictObject({
  version: z.enum(['v1', 'plusplus']).default('v1').describe('stages of equal epochs (v1) or of equal compute (plusplus)'),
  model: z.enum(['deit', 'swin', 'resnet', 'convnext']).default('deit').describe('whose published sides plusplus takes'),
  sides: z.array(z.number().gt(0).max(1)).min(1).optional().describe('side of the images by stage, as a share of the full side; published ones if absent'),
  augmentation: z.enum(['stages', 'continuous', 'constant']).default('stages').describe('strength rises with the stages, with every step, or is full throughout'),
  resize: z.enum(['fourier', 'lanczos', 'nearest']).optional().describe("how images are made smaller; the version's own if absent"),
});
export type EfficientTrainConfig = z.output<typeof Config>;

const resizers: Record<'fourier' | 'lanczos' | 'nearest', (images: Tensor, side: number) => Tensor> = {
  fourier: lowFrequencyCrop,
  lanczos: lanczosResize,
  nearest: nearestResize,
};

/** The sides of a configuration, as shares of the full side. */
export function sidesOf({ version, model, sides }: EfficientTrainConfig): readonly number[] {
  return sides ?? (version === 'v1' ? publishedSides.v1 : publishedSides.plusplus[model]).map((side) => side / publishedSize);
}

function totalBytes(config: EfficientTrainConfig, target: ScheduleTarget): number {
  const pixels = stagesOf(sidesOf(config), config.version, target).reduce((sum, { side, start, end }) => sum + (end - start) * side * side, 0);
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
  /** The published sides where they fit (more would buy no accuracy); else the most pixels that do, of stages at or under the published ones. */
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
    throw new BudgetError({ who: 'efficienttrain', budget, needed, because, wayOut: 'raise the budget, take fewer steps or smaller images' });
  },
  bytes: totalBytes,
  create(config) {
    const shares = sidesOf(config);
    const resize = resizers[config.resize ?? (config.version === 'v1' ? 'fourier' : 'lanczos')];
    const strength = { stages: (number: number) => stageStrength(number, shares.length, config.version), continuous: (_: number, passed: number) => passed, constant: () => 1 };
    return {
      step(index, target): Step {
        const { stage, number, passed } = locate(stagesOf(shares, config.version, target), index);
        return {
          shape: [target.batch, target.channels, stage.side, stage.side],
          augmentation: strength[config.augmentation](number, passed),
          cost: (stage.side / target.size) ** 2,
          position: config.version === 'v1' ? index / target.steps : passed,
        };
      },
      reshape: (images, { shape }) => resize(images, shape[2]),
    };
  },
});

export { lowFrequencyCrop } from './frequency.ts';
export { maskedTargets } from './masked.ts';
export { regrid, resizeRelativeBias, type TrainState } from './positions.ts';
export { candidateSides, experiments, imagenetRecipe, plusplusRecipe, publishedSides, type Recipe, strongestMagnitude } from './presets.ts';
export { publishedReplay, type Replay, ReplayBuffer } from './replay.ts';
export { lanczosResize, nearestResize } from './resample.ts';
export { type Found, searchSides, type SearchOptions, type Trial } from './search.ts';
export { learningRate, type Stage, stagesOf, stepsForCompute } from './stages.ts';
