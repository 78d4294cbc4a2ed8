/** What the check compares, and what it says of several arms and seeds. */
import { between, type SeedRun } from '../../seeds.ts';
import type { EfficientTrainConfig } from './config.ts';
import { publishedSides, publishedSize } from './presets.ts';
import { sideOf } from './stages.ts';
import type { TrainedVit } from './train.ts';

/** A configuration of the method, and for how many steps. */
export interface Arm {
  config: Partial<EfficientTrainConfig>;
  steps: number;
  /** Share of the full side that it is judged at; default 1. */
  judgedAt?: number;
}

/** The arms of the check on square images of `size` pixels, for a baseline of `steps` steps. */
export function armsOf(sides: readonly number[], size: number, patch: number, steps: number): Record<string, Arm> {
  const shares = sides.map((side) => side / size);
  const published = publishedSides.v1.map((side) => side / publishedSize);
  const cost = (some: readonly number[]): number =>
    some.reduce((sum, share) => sum + (sideOf(share, { size, patch }) / size) ** 2, 0) / some.length;
  return {
    baseline: { config: { sides: [1], augmentation: 'constant' }, steps },
    efficienttrain: { config: { sides: shares }, steps },
    // the same pixels chosen without a filter: frequencies alias
    nearest: { config: { sides: shares, resize: 'nearest' }, steps },
    // filtered, and sharper than by frequencies: no ringing, and no shift of the pixels' centres
    lanczos: { config: { sides: shares, resize: 'lanczos' }, steps },
    // rising augmentation alone
    'full-size': { config: { sides: shares.map(() => 1) }, steps },
    // small sides alone
    'small-sides': { config: { sides: shares, augmentation: 'constant' }, steps },
    // as many pixels as the baseline sees
    'equal-cost': { config: { sides: shares }, steps: Math.round(steps / cost(shares)) },
    // images of the middle stage from first to last, and in the test: what they lack in themselves
    'small-throughout': {
      config: { sides: [shares[shares.length >> 1]!], augmentation: 'constant' },
      steps,
      judgedAt: shares[shares.length >> 1]!,
    },
    // one change of side, with most of the steps after it
    'early-change': { config: { sides: shares.map((_, i) => (i === 0 ? shares[shares.length >> 1]! : 1)) }, steps },
    // the published shares of the full side, which are milder
    published: { config: { sides: [...published] }, steps },
    'published-equal-cost': { config: { sides: [...published] }, steps: Math.round(steps / cost(published)) },
  };
}

export interface ArmResult extends Pick<TrainedVit, 'loss' | 'seconds' | 'parts'> {
  name: string;
  accuracy: number;
  steps: number;
  /** Sum over the steps, and their number times the median: null where arms ran side by side. */
  stepSeconds: number | null;
  typicalSeconds: number | null;
  plannedPeakBytes: number;
}

export interface Setting {
  data: string;
  seed: number;
  epochs: number;
  batch: number;
  /** Least share of an image that is seen; 0: whole images. */
  resizedCrop: number;
  precision: string;
  images: number;
  testImages: number;
  /** Of the baseline. */
  steps: number;
}

/** Two arms compared, null where one was not run: ratios of time, points of accuracy. */
export interface CheckReport extends SeedRun<ArmResult> {
  setting: Setting;
  stepTimeRatio: number | null;
  typicalTimeRatio: number | null;
  gain: number | null;
  gainOverNearest: number | null;
  gainOverLanczos: number | null;
  gainOverRisingAugmentation: number | null;
  gainAtEqualCost: number | null;
  smallSidesGain: number | null;
  publishedGain: number | null;
  publishedStepTimeRatio: number | null;
  publishedGainAtEqualCost: number | null;
  smallThroughoutGain: number | null;
  earlyChangeGain: number | null;
}

export function reportOf({ setting, arms }: Pick<CheckReport, 'setting' | 'arms'>): CheckReport {
  const gain = (a: string, b: string): number | null => between(arms, a, b, (x, y) => 100 * (x.accuracy - y.accuracy));
  const time = (a: string, of: 'stepSeconds' | 'typicalSeconds'): number | null =>
    between(arms, a, 'baseline', (x, y) => (x[of] === null || y[of] === null ? null : x[of] / y[of]));
  return {
    setting,
    arms,
    stepTimeRatio: time('efficienttrain', 'stepSeconds'),
    typicalTimeRatio: time('efficienttrain', 'typicalSeconds'),
    gain: gain('efficienttrain', 'baseline'),
    gainOverNearest: gain('efficienttrain', 'nearest'),
    gainOverLanczos: gain('efficienttrain', 'lanczos'),
    gainOverRisingAugmentation: gain('efficienttrain', 'full-size'),
    gainAtEqualCost: gain('equal-cost', 'baseline'),
    smallSidesGain: gain('small-sides', 'baseline'),
    publishedGain: gain('published', 'baseline'),
    publishedStepTimeRatio: time('published', 'stepSeconds'),
    publishedGainAtEqualCost: gain('published-equal-cost', 'baseline'),
    smallThroughoutGain: gain('small-throughout', 'baseline'),
    earlyChangeGain: gain('early-change', 'baseline'),
  };
}
