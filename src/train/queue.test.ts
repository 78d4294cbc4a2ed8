/** A device with a queue has later steps in it before an earlier one is reported; what a run gives, tells and saves is the same. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { CpuDevice } from '../device/index.ts';
import { random, withDevice } from '../tensor/index.ts';
import { checkpointInfo } from './checkpoint.ts';
import { train } from './loop.ts';
import { NonFiniteError } from './nonfinite.ts';
import type { TrainOptions } from './options.ts';
import { bitsOf, type ToyBatch, type ToyItem, type ToyState, toyBatch, toyRun, toyState } from './toy-run.ts';

const folder = await mkdtemp(join(tmpdir(), 'thimble-queue-'));
after(() => rm(folder, { recursive: true, force: true }));

type Fetched = Parameters<CpuDevice['read']>;

/** A processor that lets what it has computed be known a little later, in its order. */
class Queued extends CpuDevice {
  pending = 0;
  most = 0;
  /** Reports that fail, from a moment on. */
  lost = false;
  #last: Promise<unknown> = Promise.resolve();
  override prepare(program: Parameters<CpuDevice['prepare']>[0]): ReturnType<CpuDevice['prepare']> {
    const executable = super.prepare(program);
    return { ...executable, enqueue: (buffers: Parameters<typeof executable.run>[0]) => executable.run(buffers) };
  }
  fetch(parts: readonly { buffer: Fetched[0]; bytes: Fetched[1] }[]): Promise<Uint8Array[]> {
    const found = parts.map(({ buffer, bytes }) => Uint8Array.from(this.read(buffer, bytes)));
    this.most = Math.max(this.most, ++this.pending);
    const turn = this.#last.then(() => setTimeout(1));
    this.#last = turn;
    return turn.then(() => {
      this.pending--;
      if (this.lost) throw new Error('[queued] the device is lost');
      return found;
    });
  }
}

/** The toy run on a device. */
function on(device: CpuDevice, steps: number): TrainOptions<ToyState, ToyBatch, ToyItem> {
  const run = withDevice(device, () => ({ ...toyRun(steps), key: random.key(7) }));
  return { ...run, state: () => withDevice(device, toyState), prepare: (item) => withDevice(device, () => toyBatch(item)) };
}

test('the bits, losses, evaluations and reports of a run that waits for every step', async () => {
  const run = async (device: CpuDevice) => {
    const evaluate = { everySteps: 13, run: ({ model }: ToyState) => ({ weight: model.out.weight.data()[0]! }) };
    const told: unknown[] = [];
    const { state, loss, curve, evaluations } = await train({
      ...on(device, 60),
      evaluate,
      onProgress: ({ step, loss, lr, metrics, evaluation }) => void told.push({ step, loss, lr, metrics, evaluation }),
    });
    return { bits: bitsOf(state), loss, curve, evaluations, told };
  };
  const queued = new Queued();
  assert.deepEqual(await run(queued), await run(new CpuDevice()));
  assert.ok(queued.most >= 2 && queued.most <= 8, `${queued.most} steps were under way`);
});

test('stopped, it saves a place whose losses are all known, and goes on from there', async () => {
  const path = join(folder, 'stopped');
  const queued = new Queued();
  const abort = new AbortController();
  const reason = new Error('stop');
  const checkpoint = { path, config: {}, everySeconds: 0.005 };
  const stopped = train({
    ...on(queued, 60),
    checkpoint,
    signal: abort.signal,
    onProgress: ({ step }) => step === 33 && abort.abort(reason),
  });
  await assert.rejects(stopped, (error) => error === reason);
  const { step } = await checkpointInfo(path);
  assert.ok(step >= 33 && step < 41, `the checkpoint stands at step ${step}`);
  const straight = await train(on(new CpuDevice(), 60));
  const resumed = await train({ ...on(queued, 60), checkpoint });
  assert.deepEqual([bitsOf(resumed.state), resumed.curve], [bitsOf(straight.state), straight.curve]);
});

test('a loss that is not finite ends it at its own step, though later ones are under way', async () => {
  const path = join(folder, 'nan');
  const run = on(new Queued(), 60);
  const failed = train({ ...run, checkpoint: { path, config: {} }, schedule: (step) => (step === 20 ? 1e38 : 0.01) });
  await assert.rejects(failed, (error) => {
    assert.ok(error instanceof NonFiniteError);
    assert.match(error.message, /the loss became (NaN|Infinity) at step 22 of 60/);
    assert.ok(error.step === 21 || error.step === 22, `blamed is step ${error.step}`);
    return true;
  });
  assert.equal((await checkpointInfo(path)).step, 0);
});

test('a device that is lost ends it with its own error, and nothing is saved behind it', async () => {
  const path = join(folder, 'lost');
  const queued = new Queued();
  const run = train({
    ...on(queued, 60),
    checkpoint: { path, config: {} },
    onProgress: ({ step }) => {
      queued.lost = step === 10;
    },
  });
  await assert.rejects(run, /^Error: \[queued\] the device is lost$/);
  assert.equal((await checkpointInfo(path)).step, 0);
});
