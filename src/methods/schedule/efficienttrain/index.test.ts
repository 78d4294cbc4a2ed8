import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import '../../../device/index.ts';
import { BudgetError } from '../../../bytes/index.ts';
import { warmupCosine } from '../../../nn/index.ts';
import { inputBytes, type ScheduleTarget, type Step } from '../../contracts/schedule.ts';
import method, { type EfficientTrainConfig, publishedSides, sidesOf } from './index.ts';
import { searchSides } from './search.ts';
import { learningRate, sideOf, stagesOf, stepsForCompute } from './stages.ts';

const target: ScheduleTarget = { steps: 300, batch: 8, channels: 3, size: 224, patch: 16, itemBytes: 4 };
const config = (fields: Partial<EfficientTrainConfig> = {}): EfficientTrainConfig => method.config.parse(fields);
const stepsOf = (fields: Partial<EfficientTrainConfig>, on = target): Step[] => {
  const schedule = method.create(config(fields));
  return Array.from({ length: on.steps }, (_, index) => schedule.step(index, on));
};
/** Lengths of the runs of equal values. */
const runs = <T>(values: readonly T[]): [T, number][] => {
  const out: [T, number][] = [];
  for (const value of values) {
    const last = out.at(-1);
    if (last?.[0] === value) last[1]++;
    else out.push([value, 1]);
  }
  return out;
};

test('the first version: five stages of equal epochs, m = 1, 3, 5, 7, 9, at 0.653 of the cost', () => {
  const steps = stepsOf({});
  assert.deepEqual(runs(steps.map(({ shape }) => shape[2])), [
    [160, 180],
    [192, 60],
    [224, 60],
  ]);
  assert.deepEqual(
    runs(steps.map(({ augmentation }) => Math.round(9 * augmentation * 1e9) / 1e9)),
    [1, 3, 5, 7, 9].map((m) => [m, 60]),
  );
  const cost = steps.reduce((sum, step) => sum + step.cost, 0) / steps.length;
  assert.ok(Math.abs(cost - 0.653) < 5e-4, `cost ${cost}`);
  steps.forEach(({ position }, index) => assert.equal(position, index / 300));
});

test('the second version: ten stages of equal compute, m = 0..9', () => {
  const on = { ...target, steps: stepsForCompute(sidesOf(config({ version: 'plusplus' })), 10_000, target) };
  const steps = stepsOf({ version: 'plusplus' }, on);
  const stages = stagesOf(sidesOf(config({ version: 'plusplus' })), 'plusplus', on);
  assert.deepEqual(
    stages.map(({ side }) => side),
    [...publishedSides.plusplus.deit],
  );
  for (const [i, { start, end }] of stages.entries()) {
    const compute = steps.slice(start, end).reduce((sum, step) => sum + step.cost, 0);
    assert.ok(Math.abs(compute - 1000) < 2, `stage ${i} takes ${compute} of 1000`);
    assert.ok(Math.abs(9 * steps[start]!.augmentation - i) < 1e-9);
    assert.ok(Math.abs(steps[start]!.position - i / 10) < 1e-12);
    // a tenth of T (S / B)^2 steps
    assert.ok(Math.abs(end - start - 1000 * (224 / stages[i]!.side) ** 2) <= 1);
  }
});

test('(5) the learning rate does not jump at stage borders, and is that of the schedule each stage is cut from', () => {
  const peak = 4e-3;
  for (const version of ['v1', 'plusplus'] as const) {
    const on = { ...target, steps: 50_000 };
    const warmup = version === 'v1' ? 20 / 300 : 0.2;
    const steps = stepsOf({ version }, on);
    const stages = stagesOf(sidesOf(config({ version })), version, on);
    const rate = (index: number) => learningRate(steps[index]!.position, { lr: peak, warmup });
    for (const [i, { start, side }] of stages.entries()) {
      if (start > 0) assert.ok(Math.abs(rate(start) - rate(start - 1)) < peak * 1e-3, `jump at stage ${i}`);
      // the schedule of this stage alone: over all steps (v1), over T_i = T (S / B_i)^2 (++)
      const whole = version === 'v1' ? on.steps : Math.round(10_000 * (224 / side) ** 2);
      const unstaged = warmupCosine({ peak, steps: whole, warmup: warmup * whole });
      assert.ok(Math.abs(rate(start) - unstaged((i * whole) / stages.length)) < 1e-9, `rate at stage ${i}`);
    }
  }
});

test('sides fit patches and pairs of frequencies, whatever the image', () => {
  const sizes = fc.tuple(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 16 }), fc.double({ min: 0.05, max: 1, noNaN: true }));
  fc.assert(
    fc.property(sizes, ([patch, patches, share]) => {
      const size = patch * patches;
      const side = sideOf(share, { size, patch });
      assert.ok(
        side > 0 && side <= size && side % patch === 0 && (side === size || side % 2 === 0),
        `${share} of ${size} by ${patch}: ${side}`,
      );
    }),
  );
  assert.throws(() => sideOf(0.5, { size: 30, patch: 4 }), /side 30 is no multiple of the patch 4/);
  const fashion = { ...target, size: 28, patch: 4, steps: 5 };
  assert.deepEqual(
    stepsOf({ sides: [16, 16, 20, 24, 28].map((side) => side / 28) }, fashion).map(({ shape }) => shape[2]),
    [16, 16, 20, 24, 28],
  );
});

test('augmentation rises with every step, or stays, where that is asked for', () => {
  assert.deepEqual(new Set(stepsOf({ augmentation: 'constant' }).map(({ augmentation }) => augmentation)), new Set([1]));
  stepsOf({ augmentation: 'continuous' }).forEach(({ augmentation }, index) => assert.ok(Math.abs(augmentation - index / 300) < 1e-12));
  assert.equal(stepsOf({ sides: [1] })[0]!.augmentation, 1);
});

test('a budget between takes as many pixels as it buys, under the published sides', () => {
  const published = method.bytes(config(), target);
  assert.deepEqual(method.fit(published, target), config());
  const fitted = method.fit(published * 0.9, target);
  const sides = sidesOf(fitted);
  sides.forEach((share, i) => assert.ok(share <= sidesOf(config())[i]! && share >= (sides[i - 1] ?? 0)));
  assert.equal(sides.at(-1), 1);
  const bytes = method.bytes(fitted, target);
  assert.ok(bytes <= published * 0.9 && bytes > published * 0.85);
  assert.equal(inputBytes(method.create(fitted), target), bytes);
  assert.throws(
    () => method.fit(1000, target),
    (error) => {
      assert.ok(error instanceof BudgetError && /raise the budget, take fewer steps/.test(error.message));
      assert.equal(method.bytes(method.fit(error.needed, target), target), error.needed);
      assert.throws(() => method.fit(error.needed - 1, target), BudgetError);
      return true;
    },
  );
});

test('steps outside the run are refused', () => {
  const schedule = method.create(config());
  for (const index of [-1, 300]) assert.throws(() => schedule.step(index, target), /there is no step -?\d+, there are 300/);
});

test('the search takes the smallest side that keeps the accuracy, stage by stage', async () => {
  // what each stage needs: a side below it costs a point
  const needs = [0.4, 0.5, 0.7, 0.9, 1];
  const evaluate = (sides: readonly number[]): number => 0.8 - 0.01 * sides.filter((side, i) => side < needs[i]!).length;
  const found = await searchSides({ stages: 5, candidates: [0.3, 0.4, 0.6, 0.8, 1], evaluate });
  assert.deepEqual(found.sides, [0.4, 0.6, 0.8, 1, 1]);
  assert.equal(found.accuracy, found.baseline);
  assert.deepEqual(found.trials.map(({ sides }) => sides[0]).slice(0, 3), [1, 0.3, 0.4]);
  const loose = await searchSides({ stages: 5, candidates: [0.3, 0.4, 0.6, 0.8, 1], tolerance: 0.011, evaluate });
  assert.deepEqual(loose.sides, [0.3, 0.6, 0.8, 1, 1]);
  await assert.rejects(searchSides({ stages: 0, candidates: [0.5], evaluate }), /0 stages/);
});
