import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../device/index.ts';
import { compile, defaultDevice, disposeTree, random, sum, type Tensor, tensor } from '../tensor/index.ts';
import { train } from './loop.ts';
import type { TrainProgress } from './options.ts';
import type { TrainStep } from './stepper.ts';
import { toyBatch, toyItems, toyRun } from './toy-run.ts';

test('an evaluation every no steps is refused', async () => {
  for (const everySteps of [0, -2, 1.5, Number.NaN])
    await assert.rejects(
      train({ ...toyRun(2), evaluate: { everySteps, run: () => ({}) } }),
      /evaluation every .* steps; give a whole number from 1/,
    );
});

test('a step that returns no state or no loss is refused', async () => {
  for (const wrong of [(state: unknown) => ({ state }), () => ({ loss: tensor(1) }), () => undefined])
    await assert.rejects(
      train({ ...toyRun(2), step: compile(wrong as () => unknown) as never }),
      /the step returns no state, or no loss .*; return \{ state, loss \}/,
    );
});

test('progress tells step, rates, smoothed loss and the peak, which the device does not exceed', async () => {
  const told: TrainProgress[] = [];
  const before = defaultDevice().allocatedBytes;
  let most = 0;
  await train({
    ...toyRun(50),
    onProgress(p) {
      told.push(p);
      most = Math.max(most, defaultDevice().allocatedBytes - before);
    },
  });
  assert.deepEqual(
    told.map((p) => p.step),
    Array.from({ length: 50 }, (_, i) => i + 1),
  );
  const last = told.at(-1)!;
  assert.ok(last.samplesPerSecond > 0 && last.etaSeconds === 0 && told[10]!.etaSeconds > 0);
  assert.equal(last.lr, toyRun(50).schedule instanceof Function ? (toyRun(50).schedule as (i: number) => number)(49) : 0);
  assert.equal(last.metrics['lr'], Math.fround(last.lr));
  assert.ok(last.loss < told[0]!.loss);
  assert.ok(last.plannedPeakBytes > 0 && most <= last.plannedPeakBytes + 4096, `${most} over ${last.plannedPeakBytes}`);
});

test('10,000 steps leave device and resident memory where they were', async () => {
  const device = defaultDevice();
  const allocated: number[] = [];
  // What V8 reserves for its heap comes and goes in steps of its own; what it uses and all the rest must not grow.
  const native: number[] = [];
  const heap: number[] = [];
  await train({
    ...toyRun(10_000),
    onProgress: ({ step }) => {
      if (step % 1000) return;
      allocated.push(device.allocatedBytes);
      const { rss, heapTotal, heapUsed } = process.memoryUsage();
      native.push(rss - heapTotal);
      heap.push(heapUsed);
    },
  });
  // losses of steps that are in a device's queue are a few bytes; a leak would be a few bytes of every step
  const queued = device.fetch ? 1024 : 0;
  assert.ok(Math.max(...allocated) <= allocated[0]! + queued, `${allocated}`);
  for (const [what, series] of Object.entries({ native, heap })) {
    const grown = Math.min(...series.slice(-4)) - Math.max(...series.slice(1, 4));
    assert.ok(grown < 16 * 2 ** 20, `${what} memory grew by ${grown}: ${series}`);
  }
});

test('the next batch is prepared while a step runs, and none beyond the last step', async () => {
  const events: string[] = [];
  const { step } = toyRun(4);
  const watchedStep = Object.assign((...args: Parameters<typeof step>) => step(...args), step, {
    async: async (...args: Parameters<typeof step>) => {
      events.push('run');
      const result = await step.async(...args);
      await new Promise((resolve) => setTimeout(resolve, 5));
      events.push('ran');
      return result;
    },
    enqueue: (...args: Parameters<typeof step>) => {
      events.push('run');
      return step.enqueue(...args);
    },
  }) as typeof step;
  await train({
    ...toyRun(4),
    step: watchedStep,
    prepare(item) {
      events.push('prepare');
      return toyBatch(item);
    },
  });
  const waiting = 'prepare run prepare ran run prepare ran run prepare ran run ran';
  assert.equal(events.join(' '), defaultDevice().fetch ? waiting.replaceAll(' ran', '') : waiting);
});

test('timers live during training, so that Ctrl-C is heard', async () => {
  const abort = new AbortController();
  const reason = new Error('Ctrl-C');
  setTimeout(() => abort.abort(reason), 10);
  await assert.rejects(train({ ...toyRun(200_000), signal: abort.signal }), (e) => e === reason);
});

test('a state given as a tree and a step that does not donate leak nothing', async () => {
  const step: TrainStep<{ w: Tensor; fixed: Tensor }, Tensor> = compile((state, _, key) => ({
    state: { w: random.normal(key, [64]), fixed: state.fixed },
    loss: sum(state.w),
  }));
  const device = defaultDevice();
  const key = random.key(1);
  const run = async (steps: number): Promise<number> => {
    const { state } = await train({
      state: { w: tensor(new Float32Array(64)), fixed: tensor([1, 2]) },
      step,
      steps,
      key,
      schedule: 0,
      batches: toyItems,
      prepare: () => tensor([1]),
    });
    const held = device.allocatedBytes;
    disposeTree(state);
    return held;
  };
  assert.equal(await run(3), await run(50));
});
