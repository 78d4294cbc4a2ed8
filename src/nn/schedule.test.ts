import assert from 'node:assert/strict';
import { test } from 'node:test';
import { constant, layerDecay, warmupCosine } from './schedule.ts';

const near = (found: number, expected: number): void => assert.ok(Math.abs(found - expected) < 1e-12, `${found} is not ${expected}`);

test('half a cosine from the peak to nothing, unless other ends are named, and nothing after it', () => {
  const rate = warmupCosine({ peak: 2, steps: 8 });
  for (const [step, expected] of [
    [0, 2],
    [2, 1 + Math.SQRT1_2],
    [4, 1],
    [8, 0],
    [100, 0],
  ] as const)
    near(rate(step), expected);
  const ends = warmupCosine({ peak: 2, steps: 8, warmup: 4, start: 1, final: 0.5 });
  for (const [step, expected] of [
    [0, 1],
    [1, 1.25],
    [4, 2],
    [6, 1.25],
    [8, 0.5],
    [9, 0.5],
  ] as const)
    near(ends(step), expected);
  near(warmupCosine({ peak: 2, steps: 8, warmup: 4 })(1), 0.5);
});

test('a warm-up may take all steps, and no more', () => {
  const rate = warmupCosine({ peak: 3, steps: 3, warmup: 3 });
  [0, 1, 2].forEach((step) => void near(rate(step), step));
  near(warmupCosine({ peak: 3, steps: 1 })(0), 3);
  assert.throws(() => warmupCosine({ peak: 3, steps: 3, warmup: 4 }), /\[schedule\] warm-up of 4 steps is longer than the 3 steps/);
});

test('a constant rate, and the factors of layers from the stem to the head', () => {
  near(constant(0.1)(7), 0.1);
  [0, 1, 2].forEach((layer) => void near(layerDecay(0.5, layer, 2), [0.25, 0.5, 1][layer]!));
});
