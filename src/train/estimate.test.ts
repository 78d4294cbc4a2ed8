import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../device/index.ts';
import { defaultDevice, treeBytes, withDevice } from '../tensor/index.ts';
import { estimateTraining } from './estimate.ts';
import { train } from './loop.ts';
import { calibrate, secondsOf } from './speed.ts';
import { bitsOf, toyBatch, toyItems, toyRun, toyState } from './toy-run.ts';

test('the planned peak is that of the run, also from the null device, and what was given stays', async () => {
  const { step } = toyRun(20);
  const state = toyState();
  const batch = toyBatch(toyItems(undefined).next().value!);
  const before = [bitsOf(state), bitsOf(batch)];
  const timed = await estimateTraining({ step, state, batch, steps: 20, timedSteps: 5 });
  assert.deepEqual([bitsOf(state), bitsOf(batch)], before);
  const { plannedPeakBytes } = await train(toyRun(20));
  assert.equal(timed.peakBytes, plannedPeakBytes);
  assert.equal(timed.stateBytes, treeBytes(state));
  assert.ok(timed.seconds === 20 * timed.secondsPerStep && timed.secondsPerStep > 0 && timed.secondsPerStep < 0.1);

  const held = defaultDevice().allocatedBytes;
  const planned = await withDevice('null', async () => {
    const nothing = { state: toyState(), batch: toyBatch({ indices: new Uint32Array(16) }) };
    return estimateTraining({
      step: toyRun(20).step,
      ...nothing,
      steps: 20,
      speed: { flopsPerSecond: 1e9, bytesPerSecond: 1e9, secondsPerCall: 1e-6 },
    });
  });
  // the null device plans as the processor does; others need room that it does not know of
  const slack = defaultDevice().name === 'cpu' ? 0 : 16384;
  assert.ok(Math.abs(planned.peakBytes - plannedPeakBytes) <= slack, `planned ${planned.peakBytes}, then ${plannedPeakBytes}`);
  assert.ok(planned.secondsPerStep > planned.flopsPerStep / 1e9);
  assert.equal(defaultDevice().allocatedBytes, held);
});

test('FLOPs count the work: twice the batch, about twice the FLOPs', async () => {
  const { step } = toyRun(1);
  const speed = { flopsPerSecond: 1, bytesPerSecond: 1, secondsPerCall: 0 };
  const flops = async (n: number): Promise<number> =>
    (await estimateTraining({ step, state: toyState(), batch: toyBatch({ indices: new Uint32Array(n) }), steps: 1, speed })).flopsPerStep;
  const [few, many] = [await flops(2048), await flops(4096)];
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
