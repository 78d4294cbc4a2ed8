/** What the check compares, and what it says of several arms and seeds. */
import type { EfficientTrainConfig } from './config.ts';
import { publishedSides, publishedSize } from './presets.ts';
import { sideOf } from './stages.ts';
import type { TrainedVit } from './train.ts';

/** A configuration of the method, and for how many steps. */
export interface Arm {
  config: Partial<EfficientTrainConfig>;
  steps: number;
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
    // rising augmentation alone
    'full-size': { config: { sides: shares.map(() => 1) }, steps },
    // small sides alone
    'small-sides': { config: { sides: shares, augmentation: 'constant' }, steps },
    // as many pixels as the baseline sees
    'equal-cost': { config: { sides: shares }, steps: Math.round(steps / cost(shares)) },
    // the published shares of the full side, which are milder
    published: { config: { sides: [...published] }, steps },
    'published-equal-cost': { config: { sides: [...published] }, steps: Math.round(steps / cost(published)) },
  };
}

export interface ArmResult extends Pick<TrainedVit, 'loss' | 'seconds' | 'parts'> {
  name: string;
  accuracy: number;
  steps: number;
  stepSeconds: number;
  typicalSeconds: number;
  plannedPeakBytes: number;
}

/** One seed's run. */
export interface CheckRun {
  data: string;
  seed: number;
  epochs: number;
  images: number;
  testImages: number;
  /** Of the baseline. */
  steps: number;
}

/** Of two arms, where both were run: ratios of time, points of accuracy. */
export interface CheckReport extends CheckRun {
  arms: ArmResult[];
  stepTimeRatio: number | null;
  typicalTimeRatio: number | null;
  gain: number | null;
  gainOverNearest: number | null;
  gainOverRisingAugmentation: number | null;
  gainAtEqualCost: number | null;
  publishedGain: number | null;
  publishedStepTimeRatio: number | null;
  publishedGainAtEqualCost: number | null;
}

export function reportOf(run: CheckRun, arms: ArmResult[]): CheckReport {
  const compare = (a: string, b: string, measure: (a: ArmResult, b: ArmResult) => number): number | null => {
    const [x, y] = [a, b].map((name) => arms.find((arm) => arm.name === name));
    return x && y ? measure(x, y) : null;
  };
  const gain = (a: string, b: string): number | null => compare(a, b, (x, y) => 100 * (x.accuracy - y.accuracy));
  const time = (a: string, of: 'stepSeconds' | 'typicalSeconds'): number | null => compare(a, 'baseline', (x, y) => x[of] / y[of]);
  return {
    ...run,
    arms,
    stepTimeRatio: time('efficienttrain', 'stepSeconds'),
    typicalTimeRatio: time('efficienttrain', 'typicalSeconds'),
    gain: gain('efficienttrain', 'baseline'),
    gainOverNearest: gain('efficienttrain', 'nearest'),
    gainOverRisingAugmentation: gain('efficienttrain', 'full-size'),
    gainAtEqualCost: gain('equal-cost', 'baseline'),
    publishedGain: gain('published', 'baseline'),
    publishedStepTimeRatio: time('published', 'stepSeconds'),
    publishedGainAtEqualCost: gain('published-equal-cost', 'baseline'),
  };
}

/** Reports of the same check, some arms and one seed each -> one report a seed. @throws where they are of different checks */
export function mergeReports(reports: readonly CheckReport[]): CheckReport[] {
  const seeds = [...new Set(reports.map(({ seed }) => seed))].toSorted((a, b) => a - b);
  return seeds.map((seed) => {
    const [first, ...others] = reports.filter((report) => report.seed === seed);
    const { arms: _, ...run } = first!;
    for (const other of others)
      for (const field of ['data', 'epochs', 'images', 'testImages', 'steps'] as const)
        if (other[field] !== run[field])
          throw new Error(`[efficienttrain] reports of different checks: ${field} ${run[field]} and ${other[field]}; merge those of one`);
    return reportOf(
      run,
      [first!, ...others].flatMap(({ arms }) => arms),
    );
  });
}

/** Figures of all seeds: mean and, over two or more, standard deviation (n - 1). */
export function meansOf(reports: readonly CheckReport[]): {
  seeds: number[];
  figures: Record<string, { mean: number; deviation: number; bySeed: number[] }>;
} {
  const figures: Record<string, { mean: number; deviation: number; bySeed: number[] }> = {};
  const add = (name: string, values: readonly (number | null | undefined)[]): void => {
    const bySeed = values.filter((value) => typeof value === 'number');
    if (bySeed.length === 0) return;
    const mean = bySeed.reduce((sum, value) => sum + value, 0) / bySeed.length;
    const square = bySeed.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    figures[name] = { mean, deviation: Math.sqrt(square / Math.max(1, bySeed.length - 1)), bySeed };
  };
  for (const name of new Set(reports.flatMap(({ arms }) => arms.map((arm) => arm.name))))
    for (const field of ['accuracy', 'stepSeconds', 'typicalSeconds', 'seconds', 'loss'] as const)
      add(
        `arms.${name}.${field}`,
        reports.map(({ arms }) => arms.find((arm) => arm.name === name)?.[field]),
      );
  for (const [field, value] of Object.entries(reports[0] ?? {}))
    if (field !== 'arms' && typeof value !== 'string')
      add(
        field,
        reports.map((report) => report[field as keyof CheckReport] as number | null),
      );
  return { seeds: reports.map(({ seed }) => seed), figures };
}
