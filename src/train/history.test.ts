import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LossCurve, parseHistory } from './history.ts';

const lossOf = (i: number): number => 3 + Math.sin(i * 1.7) - i * 1e-3;
const near = (found: number, expected: number, what: string): void =>
  assert.ok(Math.abs(found - expected) <= 1e-9 * Math.abs(expected), `${what}: ${found} is not ${expected}`);

test('a curve has the means of at most 256 equal spans, whatever its length, and goes on through JSON', () => {
  const curve = new LossCurve();
  let resumed = new LossCurve();
  assert.deepEqual([curve.points, curve.smoothed], [[], Number.NaN]);
  for (let n = 1; n <= 2200; n++) {
    curve.add(lossOf(n - 1));
    resumed.add(lossOf(n - 1));
    if (n % 137 && ![1, 2, 255, 256, 257, 511, 512, 513, 1024].includes(n)) continue;
    resumed = LossCurve.fromJSON(JSON.parse(JSON.stringify(resumed)))!;
    assert.deepEqual([resumed.count, resumed.points, resumed.smoothed], [n, curve.points, curve.smoothed]);
    let width = 1;
    while (n >= 256 * width) width *= 2;
    assert.equal(curve.points.length, Math.ceil(n / width));
    for (const [i, { step, loss }] of curve.points.entries()) {
      assert.equal(step, Math.min(n, (i + 1) * width));
      let sum = 0;
      for (let k = i * width; k < step; k++) sum += lossOf(k);
      near(loss, sum / (step - i * width), `span ${i} of ${n}`);
    }
    let [weighted, weights] = [0, 0];
    for (let k = 0; k < n; k++) {
      weighted += 0.98 ** (n - 1 - k) * lossOf(k);
      weights += 0.98 ** (n - 1 - k);
    }
    near(curve.smoothed, weighted / weights, `average of ${n}`);
  }
});

test('JSON that is no history is none', () => {
  const losses = { count: 3, average: 0.1, width: 1, sums: [1, 2, 3] };
  const evaluation = { step: 2, metrics: { accuracy: 0.5, loss: null } };
  const good = { losses, evaluations: [evaluation] };
  assert.deepEqual(parseHistory(good)!.evaluations, [{ step: 2, metrics: { accuracy: 0.5, loss: Number.NaN } }]);
  const bad: unknown[] = [
    ...[null, 3, [], {}, { losses }, { evaluations: [] }, { losses: [], evaluations: [] }, { losses, evaluations: {} }],
    ...[{ count: -1 }, { count: 2.5 }, { average: null }, { width: 0 }, { width: 0.5 }, { width: '1' }, { sums: 3 }].map((wrong) => ({
      ...good,
      losses: { ...losses, ...wrong },
    })),
    ...[{ sums: [1, 2] }, { sums: [1, 2, 3, 4] }, { sums: [1, null, 3] }, { count: 256, sums: new Array(256).fill(0) }].map((wrong) => ({
      ...good,
      losses: { ...losses, ...wrong },
    })),
    ...[null, {}, { step: 1 }, { ...evaluation, step: -1 }, { ...evaluation, metrics: { a: 'x' } }].map((wrong) => ({
      losses,
      evaluations: [evaluation, wrong],
    })),
  ];
  for (const json of bad) assert.equal(parseHistory(json), undefined, JSON.stringify(json)?.slice(0, 120));
});
