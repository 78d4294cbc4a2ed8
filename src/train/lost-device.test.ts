/** A device that stops working in the middle of a run: the error is the device's, and the last checkpoint stands and can be gone on from. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import '../device/index.ts';
import { type Device, defaultDevice, random } from '../tensor/index.ts';
import { loadCheckpoint } from './checkpoint.ts';
import { train } from './loop.ts';
import { bitsOf, toyRun, toyState } from './toy-run.ts';

/** Makes every run of what `device` prepares meanwhile fail while `lost()`, as a GPU's do after an illegal address. */
function fragile(device: Device, lost: () => boolean): Disposable {
  const { prepare } = device;
  const check = (): void => {
    if (lost()) throw new Error('[fragile] the device is lost');
  };
  device.prepare = (program) => {
    const executable = prepare.call(device, program);
    return {
      run(buffers) {
        check();
        executable.run(buffers);
      },
      async runAsync(buffers) {
        check();
        await executable.runAsync(buffers);
      },
      enqueue(buffers) {
        check();
        if (executable.enqueue) executable.enqueue(buffers);
        else executable.run(buffers);
      },
      findNonFinite: (buffers) => executable.findNonFinite(buffers),
    };
  };
  return {
    [Symbol.dispose]() {
      device.prepare = prepare;
    },
  };
}

test('a device that is lost in a run ends it with its own error and leaves the last checkpoint', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'thimble-lost-'));
  const path = join(folder, 'run.checkpoint');
  const checkpoint = { path, everySeconds: 0, config: {} };
  try {
    let lost = false;
    {
      using _ = fragile(defaultDevice(), () => lost);
      await assert.rejects(
        train({
          ...toyRun(40),
          checkpoint,
          onProgress: ({ step }) => {
            lost = step === 20;
          },
        }),
        /^Error: \[fragile\] the device is lost$/,
      );
      lost = false;
    }
    const { step } = await loadCheckpoint(path, { key: random.key(7), state: toyState() });
    assert.ok(step === 19 || step === 20, `the checkpoint stands at step ${step}`);
    const resumed = await train({ ...toyRun(40), checkpoint });
    assert.equal(bitsOf(resumed.state), bitsOf((await train(toyRun(40))).state));
  } finally {
    rmSync(folder, { recursive: true });
  }
});
