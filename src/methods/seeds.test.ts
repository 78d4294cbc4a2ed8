import assert from 'node:assert/strict';
import { test } from 'node:test';
import { figureAt } from './bench.ts';
import { between, figuresOf, joinArms, type SeedRun } from './seeds.ts';

const run = (seed: number, arms: Record<string, number>): SeedRun<{ name: string; accuracy: number }> => ({
  setting: { seed },
  arms: Object.entries(arms).map(([name, accuracy]) => ({ name, accuracy })),
});

test('runs of some arms become runs of a seed, and their figures have the paths of bench.json', () => {
  const joined = joinArms([run(1, { a: 0.5 }), run(0, { a: 0.25 }), run(1, { b: 0.75, a: 1 })]);
  assert.deepEqual(joined, [run(0, { a: 0.25 }), run(1, { b: 0.75, a: 1 })]);
  const { seeds, figures } = figuresOf(joined.map((one) => ({ ...one, gain: null, note: 'words' })));
  assert.deepEqual(seeds, [0, 1]);
  assert.deepEqual(Object.keys(figures), ['arms.a.accuracy', 'arms.b.accuracy']);
  assert.deepEqual(figures['arms.a.accuracy'], { mean: 0.625, deviation: 0.75 / Math.SQRT2, bySeed: [0.25, 1] });
  assert.deepEqual(figures['arms.b.accuracy'], { mean: 0.75, deviation: 0, bySeed: [0.75] });
  assert.equal(figureAt(joined[1], 'arms.b.accuracy'), 0.75);
});

test('runs of different checks are not put together', () => {
  const other = { ...run(2, {}), setting: { seed: 2, epochs: 5 } };
  assert.throws(() => joinArms([run(1, {}), other]), /runs of {"seed":1} and of {"seed":2,"epochs":5} do not go together/);
});

test('two arms are compared where both were run', () => {
  const { arms } = run(0, { a: 0.5, b: 0.25 });
  assert.equal(
    between(arms, 'a', 'b', (x, y) => 100 * (x.accuracy - y.accuracy)),
    25,
  );
  assert.equal(
    between(arms, 'a', 'c', () => 1),
    null,
  );
});
