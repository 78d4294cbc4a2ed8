import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NullDevice } from '../device/index.ts';
import { defaultDevice, treeBytes, withDevice } from '../tensor/index.ts';
import { estimateTraining, timeTraining } from './estimate.ts';
import { train } from './loop.ts';
import { calibrate, secondsOf } from './speed.ts';
import { bitsOf, toyBatch, toyItems, toyRun, toyState } from './toy-run.ts';

test('the planned peak is that of the run, also from the null device, and what was given stays', async () => {
  const { step } = toyRun(20);
  const state = toyState();
  const batch = toyBatch(toyItems(undefined).next().value!);
  const before = [bitsOf(state), bitsOf(batch)];
  const timed = estimateTraining({ step, state, batch, steps: 20 });
  const secondsPerStep = await timeTraining({ step, state, batch, steps: 5 });
  assert.deepEqual([bitsOf(state), bitsOf(batch)], before);
  const { plannedPeakBytes } = await train(toyRun(20));
  assert.equal(timed.peakBytes, plannedPeakBytes);
  assert.equal(timed.stateBytes, treeBytes(state));
  assert.ok(timed.seconds === 20 * timed.secondsPerStep && timed.secondsPerStep > 0);
  assert.ok(secondsPerStep > 0 && secondsPerStep < 0.1);

  const held = defaultDevice().allocatedBytes;
  const planned = withDevice(new NullDevice(defaultDevice()), () => {
    const nothing = { state: toyState(), batch: toyBatch({ indices: new Uint32Array(16) }) };
    return estimateTraining({
      step: toyRun(20).step,
      ...nothing,
      steps: 20,
      speed: { flopsPerSecond: 1e9, bytesPerSecond: 1e9, secondsPerCall: 1e-6 },
    });
  });
  assert.equal(planned.peakBytes, plannedPeakBytes);
  assert.ok(planned.secondsPerStep > planned.flopsPerStep / 1e9);
  assert.equal(defaultDevice().allocatedBytes, held);
});

test('FLOPs count the work: twice the batch, about twice the FLOPs', () => {
  const { step } = toyRun(1);
  const speed = { flopsPerSecond: 1, bytesPerSecond: 1, secondsPerCall: 0 };
  const flops = (n: number): number =>
    estimateTraining({ step, state: toyState(), batch: toyBatch({ indices: new Uint32Array(n) }), steps: 1, speed }).flopsPerStep;
  const [few, many] = [flops(2048), flops(4096)];
  assert.ok(many / few > 1.8 && many / few < 2.1, `${many / few}`);
});

test('a calibrated speed is a plausible one, and the same when asked again', () => {
  const speed = calibrate();
  const { flopsPerSecond, bytesPerSecond, secondsPerCall } = speed;
  assert.ok(flopsPerSecond > 1e8 && flopsPerSecond < 1e13, `${flopsPerSecond}`);
  assert.ok(bytesPerSecond > 1e8 && bytesPerSecond < 1e12, `${bytesPerSecond}`);
  assert.ok(secondsPerCall > 1e-9 && secondsPerCall < 1e-3, `${secondsPerCall}`);
  assert.equal(calibrate(), speed);
});

test('a call takes as long as the slower of its FLOPs and its bytes', () => {
  const work = [
    { flops: 8, bytes: 1 },
    { flops: 2, bytes: 9 },
  ];
  assert.equal(secondsOf({ work }, { flopsPerSecond: 2, bytesPerSecond: 3, secondsPerCall: 0.5 }), 4 + 3 + 1);
});
