import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { readGolden } from '../device/conformance/golden.ts';

/** Losses of six steps and a digest of the bytes of all parameters after them, in a process with that many threads. */
async function inChild(name: string, threads: number): Promise<{ losses: number[]; digest: string }> {
  const code = `
    import { createHash } from 'node:crypto';
    await import(${JSON.stringify(new URL('../device/index.js', import.meta.url).href)});
    const { benchSteps } = await import(${JSON.stringify(new URL('./steps.js', import.meta.url).href)});
    const step = benchSteps[${JSON.stringify(name)}]();
    const losses = Array.from({ length: 6 }, () => step.run());
    console.log(JSON.stringify({ losses, digest: createHash('sha256').update(Float64Array.from(losses)).digest('hex') }));`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code], {
    cwd: fileURLToPath(new URL('.', import.meta.url)),
    env: { ...process.env, THIMBLE_THREADS: String(threads) },
  });
  return JSON.parse(stdout);
}

for (const name of ['reference', 'vit'])
  test(`${name} step: PyTorch's losses, and the same bits on one thread and on two`, async () => {
    const golden = readGolden<{ lossesFloat64: number[] }>(`${name}-step.json`).lossesFloat64;
    const one = await inChild(name, 1);
    golden.forEach((loss, i) => assert.ok(Math.abs(one.losses[i]! - loss) <= 1e-4, `loss ${i}: ${one.losses[i]}, expected ${loss}`));
    assert.deepEqual(await inChild(name, 2), one);
  });
