/**
 * Schedule: what the next batch looks like. The train loop asks for a step, reshapes the batch as it says, and runs it.
 *
 * The bytes of a schedule are the input bytes that the model reads over the whole run (batch x channels x height x width x bytes of
 * an element, summed over the steps): for a given model, its compute follows them.
 */
import type { Tensor } from '../../tensor/index.ts';

/** The training run that is scheduled. */
export interface ScheduleTarget {
  steps: number;
  /** Images of a step at full size. */
  batch: number;
  channels: number;
  /** Pixels of the full-size, square image. */
  size: number;
  /** Side of a patch in pixels; image sides are multiples of it. 1 for a convolutional model. */
  patch: number;
  /** Bytes of one input element, e.g. 4 for f32. */
  itemBytes: number;
}

export interface Step {
  /** Shape of the batch that the model sees: [batch, channels, height, width]. */
  shape: readonly [number, number, number, number];
  /** Strength of augmentation, 0 (none) to 1 (the strongest that the recipe knows). */
  augmentation: number;
  /** Expected cost, as a share of a full-size step. */
  cost: number;
  /** Where this step stands in the learning-rate schedule, from 0 up to 1: steps of different cost may advance it by different amounts. */
  position: number;
}

export interface Schedule {
  /** What step `index` of 0..steps-1 does. The same index gives the same answer, so that a run resumes anywhere. */
  step(index: number, target: ScheduleTarget): Step;
  /** A full-size, augmented batch [batch, channels, size, size] as `step.shape`; traceable. The identity where the shapes agree. */
  reshape(images: Tensor, step: Pick<Step, 'shape'>): Tensor;
}

/** Input bytes that the model reads over the run. */
export function inputBytes(schedule: Schedule, target: ScheduleTarget): number {
  let elements = 0;
  for (let index = 0; index < target.steps; index++) elements += schedule.step(index, target).shape.reduce((a, b) => a * b);
  return elements * target.itemBytes;
}
