import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { compile, type Device, random, softmax, sum, type Tensor, tensor, withDevice } from '../../tensor/index.ts';
import { assertClose, testDevice } from '../conformance/suite.ts';
import { openBackend } from './backend.ts';
import { CpuDevice } from './index.ts';

const artefact = new URL('../../../native/thimble.wasm', import.meta.url);

if (!existsSync(artefact)) test('the WebAssembly build', { skip: 'native/thimble.wasm is not built' }, () => {});
else {
  const wasm = new CpuDevice(openBackend('wasm'));
  testDevice(wasm);

  test('wasm: the committed file was made from the sources beside it', async () => {
    const { sourceHash } = (await import(new URL('../../../native/wasm/sources.mjs', import.meta.url).href)) as { sourceHash(): string };
    const [section] = WebAssembly.Module.customSections(new WebAssembly.Module(readFileSync(artefact)), 'thimble.sources');
    assert.equal(Buffer.from(section!).toString(), sourceHash(), 'native/thimble.wasm is stale: npm run build in native/wasm');
  });

  test('wasm: the same keys give the numbers of the native build', () => {
    const f = (k: Tensor): Tensor[] => [
      random.bits(k, [1001]),
      random.randint(k, [101], -5, 50),
      random.uniform(k, [1001]),
      random.permutation(k, 101),
      random.normal(k, [1001]),
    ];
    const on = (device: Device): ArrayLike<number>[] => compile(f)(withDevice(device, () => random.key(11))).map((x) => x.data());
    const [own, native] = [on(wasm), on(new CpuDevice())];
    own.slice(0, 4).forEach((x, i) => assert.deepEqual(x, native[i]));
    assertClose(own[4]!, native[4]!, 1e-6, 'normal');
  });

  test('wasm: memory grows as it is asked for, and goes back', () => {
    const start = wasm.allocatedBytes - wasm.arenaBytes;
    const f = compile((x: Tensor) => sum(softmax(x)));
    for (const rows of [10, 1000, 5000]) {
      using x = tensor(new Float32Array(rows * 1000), { shape: [rows, 1000], device: wasm });
      using y = f(x);
      assert.ok(Math.abs(y.item() - rows) < 1e-3 * rows);
    }
    assert.equal(wasm.allocatedBytes - wasm.arenaBytes, start);
    assert.throws(() => wasm.alloc(5 * 2 ** 30), /WebAssembly memory cannot grow from \d+ by \d+ bytes \(its limit is 4 GiB\)/);
    assert.equal(wasm.allocatedBytes - wasm.arenaBytes, start);
  });
}
