/** Checks that run arm by arm and seed by seed: what such runs print, put together. */
import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';

/** What one run of a check prints as a line of JSON, among other things. */
export interface SeedRun<Arm extends { name: string } = { name: string }> {
  /** What it was asked. Runs that go together differ in the seed alone. */
  setting: { readonly seed: number };
  /** Those that it ran. */
  arms: Arm[];
}

export interface Figure {
  mean: number;
  /** Standard deviation over the seeds, n - 1; 0 for a single one. */
  deviation: number;
  bySeed: number[];
}

/** The runs in files that hold what was printed, other lines among it. */
export const readRuns = <R extends SeedRun>(paths: readonly string[]): R[] =>
  paths
    .flatMap((path) => readFileSync(path, 'utf8').split('\n'))
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as R);

/** One run a seed, in their order, with the arms of all. An arm that was run again counts once, the later. @throws where the settings are not those of one check */
export function joinArms<R extends SeedRun>(runs: readonly R[]): Pick<R, 'setting' | 'arms'>[] {
  const joined = new Map<number, Pick<R, 'setting' | 'arms'>>();
  for (const { setting, arms } of runs) {
    const first = runs[0]!.setting;
    if (!isDeepStrictEqual({ ...setting, seed: 0 }, { ...first, seed: 0 }))
      throw new Error(
        `[check] runs of ${JSON.stringify(first)} and of ${JSON.stringify(setting)} do not go together; merge those of one check`,
      );
    const before = joined.get(setting.seed)?.arms.filter(({ name }) => !arms.some((arm) => arm.name === name)) ?? [];
    joined.set(setting.seed, { setting, arms: [...before, ...arms] });
  }
  return [...joined.values()].toSorted((a, b) => a.setting.seed - b.setting.seed);
}

/** Every number of the runs' JSON by its path (see `figureAt`), over the seeds that have it; lists without names are left out. */
export function figuresOf(runs: readonly SeedRun[]): { seeds: number[]; figures: Record<string, Figure> } {
  const values = new Map<string, number[]>();
  const visit = (at: unknown, path: string): void => {
    if (typeof at === 'number') values.set(path, [...(values.get(path) ?? []), at]);
    else if (Array.isArray(at)) {
      for (const item of at) if (item?.name !== undefined) visit(item, `${path}.${item.name}`);
    } else if (typeof at === 'object' && at !== null)
      for (const [name, value] of Object.entries(at)) visit(value, path ? `${path}.${name}` : name);
  };
  for (const run of runs) visit({ ...run, setting: null }, '');
  const figures = Object.fromEntries(
    [...values].map(([path, bySeed]) => {
      const mean = bySeed.reduce((sum, value) => sum + value, 0) / bySeed.length;
      const squares = bySeed.reduce((sum, value) => sum + (value - mean) ** 2, 0);
      return [path, { mean, deviation: Math.sqrt(squares / Math.max(1, bySeed.length - 1)), bySeed }];
    }),
  );
  return { seeds: runs.map(({ setting }) => setting.seed), figures };
}

/** Points of accuracy between two arms, or another measure of both; null where one was not run. */
export function between<A extends { name: string }>(
  arms: readonly A[],
  a: string,
  b: string,
  measure: (a: A, b: A) => number | null,
): number | null {
  const [x, y] = [a, b].map((name) => arms.find((arm) => arm.name === name));
  return x && y ? measure(x, y) : null;
}
