/** A device that stops working in the middle of a run: the error is the device's, and the last checkpoint stands and can be gone on from. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { CpuDevice } from '../device/index.ts';
import { random, withDevice } from '../tensor/index.ts';
import { loadCheckpoint } from './checkpoint.ts';
import { train } from './loop.ts';
import { bitsOf, toyRun, toyState } from './toy-run.ts';

/** Fails every run from a moment on, as a GPU does after an illegal address. */
class Fragile extends CpuDevice {
  broken = false;
  override prepare(program: Parameters<CpuDevice['prepare']>[0]): ReturnType<CpuDevice['prepare']> {
    const executable = super.prepare(program);
    const check = (): void => {
      if (this.broken) throw new Error('[fragile] the device is lost');
    };
    return {
      ...executable,
      run(buffers) {
        check();
        executable.run(buffers);
      },
      async runAsync(buffers) {
        check();
        await executable.runAsync(buffers);
      },
    };
  }
}

test('a device that is lost in a run ends it with its own error and leaves the last checkpoint', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'thimble-lost-'));
  const path = join(folder, 'run.checkpoint');
  try {
    const fragile = new Fragile();
    const key = withDevice(fragile, () => random.key(7));
    const checkpoint = { path, everySeconds: 0, config: {} };
    const run = withDevice(fragile, () => toyRun(40));
    await assert.rejects(
      train({
        ...run,
        key,
        state: () => withDevice(fragile, toyState),
        checkpoint,
        onProgress: ({ step }) => {
          fragile.broken = step === 20;
        },
      }),
      /^Error: \[fragile\] the device is lost$/,
    );
    const { step } = await loadCheckpoint(path, { key: random.key(7), state: toyState() });
    assert.ok(step === 19 || step === 20, `the checkpoint stands at step ${step}`);
    const resumed = await train({ ...toyRun(40), checkpoint });
    assert.equal(bitsOf(resumed.state), bitsOf((await train(toyRun(40))).state));
  } finally {
    rmSync(folder, { recursive: true });
  }
});
