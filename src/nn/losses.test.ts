import assert from 'node:assert/strict';
import { test } from 'node:test';
import { goldenCases, testGolden } from '../device/conformance/golden.ts';
import { add, crossEntropy, mul, sum, tensor } from '../tensor/index.ts';
import { classificationLoss, softTargetLoss } from './losses.ts';

for (const c of goldenCases<{ reduction: string; labelSmoothing?: number }>('loss'))
  testGolden(c, ({ x, labels, targets }, { reduction, labelSmoothing: e = 0 }) => {
    if (targets) return { y: softTargetLoss(x!, add(mul(targets, 1 - e), e / x!.shape[1]!)) };
    if (reduction === 'mean') return { y: classificationLoss(x!, labels!, e) };
    const losses = crossEntropy(x!, labels!);
    return { y: reduction === 'sum' ? sum(losses) : losses };
  });

test('the mean is of the rows that have a label, without smoothing unless asked for', () => {
  const logits = tensor([
    [2, 0, -1],
    [0.5, 1, 3],
  ]);
  const [first, second] = [
    [2, 0, -1],
    [0.5, 1, 3],
  ].map(
    (row) =>
      (c: number): number =>
        Math.log(row.reduce((s, x) => s + Math.exp(x), 0)) - row[c]!,
  ) as [(c: number) => number, (c: number) => number];
  const loss = (a: number, b: number, smoothing?: number): number =>
    classificationLoss(logits, tensor(Int32Array.of(a, b)), smoothing).item();
  const near = (found: number, expected: number): void => assert.ok(Math.abs(found - expected) < 1e-5, `${found} is not ${expected}`);
  near(loss(1, 2), (first(1) + second(2)) / 2);
  near(loss(1, -1), first(1));
  near(loss(3, 0), second(0));
  near(loss(-100, 3), 0);
  near(loss(-1, 0, 0.3), 0.7 * second(0) + 0.1 * (second(0) + second(1) + second(2)));
  near(loss(-1, 0, 1), (second(0) + second(1) + second(2)) / 3);
});
