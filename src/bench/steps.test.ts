import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { readGolden } from '../device/conformance/golden.ts';

/** Losses of six steps in a process with that many threads. */
async function inChild(name: string, threads: number): Promise<number[]> {
  const at = (file: string): string => JSON.stringify(new URL(file, import.meta.url).href);
  const code = `
    await import(${at('../device/index.js')});
    const step = (await import(${at('./steps.js')})).benchSteps.${name}();
    console.log(JSON.stringify(Array.from({ length: 6 }, () => step.run())));`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code], {
    env: { ...process.env, THIMBLE_THREADS: String(threads) },
  });
  return JSON.parse(stdout) as number[];
}

for (const name of ['reference', 'vit', 'light'])
  test(`${name} step: PyTorch's losses, and the same bits on one thread and on two`, async () => {
    const golden = readGolden<{ lossesFloat64: number[] }>(`${name}-step.json`).lossesFloat64;
    const one = await inChild(name, 1);
    golden.forEach((loss, i) => assert.ok(Math.abs(one[i]! - loss) <= 1e-5, `loss ${i}: ${one[i]}, expected ${loss}`));
    assert.deepEqual(await inChild(name, 2), one);
  });
