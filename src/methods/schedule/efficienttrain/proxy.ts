/** What the greedy search asks of a set of sides: the accuracy of a model trained with them on a proxy budget. */
import type { ImageSet } from '../../../data/index.ts';
import { disposeTree } from '../../../tensor/index.ts';
import { Config, createSchedule } from './config.ts';
import { stepsForCompute, type Version } from './stages.ts';
import { accuracyOf, trainVit, type VitTraining } from './train.ts';

export interface ProxyOptions extends Omit<VitTraining, 'schedule' | 'steps' | 'checkpoint' | 'measure' | 'onProgress'> {
  validation: ImageSet;
  /** Compute of a trial, in steps at full size. */
  fullSteps: number;
  /** `plusplus`: every trial takes this compute; `v1`: as many steps, and the less compute the smaller its sides. Default plusplus. */
  version?: Version;
}

/**
 * The `evaluate` of `searchSides`.
 *
 * @example
 * const { train, validation } = splitImages(images, { validation: 0.1 });
 * const found = await searchSides({ stages: 5, candidates: candidateSides, tolerance: 0.002, evaluate: proxyAccuracy({ images: train, validation, fullSteps: 500, ... }) });
 */
export function proxyAccuracy({
  validation,
  fullSteps,
  version = 'plusplus',
  ...training
}: ProxyOptions): (sides: readonly number[]) => Promise<number> {
  return async (sides) => {
    const full = { size: training.images.shape[0], patch: training.model.patch };
    const steps = version === 'v1' ? fullSteps : stepsForCompute(sides, fullSteps, full);
    const trained = await trainVit({ ...training, schedule: createSchedule(Config.parse({ version, sides })), steps });
    const accuracy = await accuracyOf(trained.model, validation, trained.statistics);
    disposeTree([trained.model, trained.average]);
    return accuracy;
  };
}
