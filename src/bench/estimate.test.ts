import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../device/index.ts';
import { defaultDevice } from '../tensor/index.ts';
import { measureSpeed, secondsOf } from '../train/index.ts';
import { benchSteps } from './steps.ts';

/** Planned over measured seconds of a step, the fastest of some. Other work on the machine should meet both. */
function ratio(step: ReturnType<(typeof benchSteps)['light']>): number {
  const planned = secondsOf(step.plan(), measureSpeed(defaultDevice()));
  const times = Array.from({ length: 4 }, () => {
    const began = performance.now();
    step.run();
    return (performance.now() - began) / 1000;
  });
  return planned / Math.min(...times);
}

// on a card that other tests share, nothing can be timed to a factor of two
const skip = defaultDevice().name !== 'cpu' && 'the default device is a GPU';
for (const name of ['reference', 'vit', 'light'] as const)
  test(`the planned time of the ${name} step is within a factor of two of the measured`, { skip }, () => {
    const step = benchSteps[name]();
    step.run();
    const ratios: number[] = [];
    const close = (): boolean => ratios.some((r) => r > 0.5 && r < 2);
    while (ratios.length < 6 && !close()) ratios.push(ratio(step));
    assert.ok(close(), `planned / measured ${ratios.map((r) => r.toFixed(2))}`);
  });
