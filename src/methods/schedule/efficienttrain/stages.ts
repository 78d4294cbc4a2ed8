/** Stages: at what side each step of a run trains, and where it stands in the learning-rate schedule. */
import { warmupCosine } from '../../../nn/index.ts';
import type { ScheduleTarget } from '../../contracts/schedule.ts';

/** How the steps are shared out: equal numbers of them (v1), or equal compute (++). */
export type Version = 'v1' | 'plusplus';

export interface Stage {
  /** Pixels. */
  side: number;
  /** First step, and the first that is no longer of this stage. */
  start: number;
  end: number;
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

/**
 * The side that a share of the full one comes to: a multiple of lcm(2, patch), so that frequencies pair and patches fit; the full side
 * stays what it is.
 *
 * @throws RangeError where the full side is no multiple of the patch
 */
export function sideOf(share: number, { size, patch }: Pick<ScheduleTarget, 'size' | 'patch'>): number {
  if (size % patch !== 0)
    throw new RangeError(`[efficienttrain] side ${size} is no multiple of the patch ${patch}; resize the images or change the patch`);
  const unit = (2 * patch) / gcd(2, patch);
  const side = Math.max(unit, Math.round((share * size) / unit) * unit);
  return share === 1 || side > size ? size : side;
}

/** Relative number of steps of each stage: equal, or such that steps x side^2 is equal. */
const shares = (sides: readonly number[], version: Version): number[] => sides.map((side) => (version === 'v1' ? 1 : side ** -2));

/** The stages of a run, one after another; one that is shorter than half a step is empty. */
export function stagesOf(
  sideShares: readonly number[],
  version: Version,
  target: Pick<ScheduleTarget, 'steps' | 'size' | 'patch'>,
): Stage[] {
  const sides = sideShares.map((share) => sideOf(share, target));
  const weights = shares(sides, version);
  const total = weights.reduce((a, b) => a + b);
  let [start, passed] = [0, 0];
  return sides.map((side, i) => {
    passed += weights[i]!;
    const end = i === sides.length - 1 ? target.steps : Math.round((target.steps * passed) / total);
    const stage = { side, start, end };
    start = end;
    return stage;
  });
}

/**
 * Steps of a ++ run that takes the compute of `fullSteps` steps at full size. Stage i is a tenth of a schedule of
 * fullSteps x (S / B_i)^2 steps: small images buy more passes, not less work.
 */
export function stepsForCompute(sideShares: readonly number[], fullSteps: number, target: Pick<ScheduleTarget, 'size' | 'patch'>): number {
  const factors = sideShares.map((share) => (target.size / sideOf(share, target)) ** 2);
  return Math.round((fullSteps * factors.reduce((a, b) => a + b)) / factors.length);
}

/** The stage of a step, its number, and how far the run is: whole stages passed plus the share of this one, over all. */
export function locate(stages: readonly Stage[], index: number): { stage: Stage; number: number; passed: number } {
  const number = stages.findIndex(({ start, end }) => index >= start && index < end);
  if (number < 0) throw new RangeError(`[efficienttrain] there is no step ${index}, there are ${stages.at(-1)?.end ?? 0}`);
  const stage = stages[number]!;
  return { stage, number, passed: (number + (index - stage.start) / (stage.end - stage.start)) / stages.length };
}

/**
 * Strength of augmentation in stage i of n, of the strongest m = 9: m = 1, 3, 5, 7, 9 (v1), m = 0, 1, ..., 9 (++), and in between for other
 * numbers of stages.
 */
export function stageStrength(number: number, stages: number, version: Version): number {
  if (stages === 1) return 1;
  const first = version === 'v1' ? 1 / 9 : 0;
  return first + ((1 - first) * number) / (stages - 1);
}

/**
 * Learning rate at a position in 0..1: linear warm-up over the share `warmup`, then half a cosine. It knows the position alone, so it is
 * the same on both sides of a stage border.
 */
export function learningRate(position: number, { lr, warmup }: { lr: number; warmup: number }): number {
  // any number of steps gives the same curve
  const steps = 1000;
  return warmupCosine({ peak: lr, steps, warmup: warmup * steps })(position * steps);
}
