import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { DeviceBuffer, Executable } from '../../tensor/device.ts';
import { compile, type Device, matmul, mul, random, softmax, sum, type Tensor, tensor, withDevice } from '../../tensor/index.ts';
import type { Program } from '../../tensor/lower/program.ts';
import { assertClose, testDevice } from '../conformance/suite.ts';
import { openBackend } from './backend.ts';
import { CpuDevice } from './index.ts';
import { wasmBackend } from './wasm.ts';

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

  const onThreads = (n: number, memory?: null): CpuDevice => new CpuDevice(wasmBackend(fileURLToPath(artefact), n, memory));
  const chain = compile((x: Tensor) => {
    let y = x;
    for (let i = 0; i < 8; i++) y = softmax(matmul(y, x));
    return y;
  });
  const square = (device: Device): Tensor => withDevice(device, () => random.normal(random.key(3), [257, 257]));

  test('wasm: the same bits on one thread and on three, also asynchronously', async () => {
    const [one, three] = [onThreads(1), onThreads(3)];
    const expected = chain(square(one)).data();
    const x = square(three);
    // the first runs may be over before the threads have come
    for (let i = 0; i < 20; i++) {
      assert.deepEqual(chain(x).data(), expected);
      assert.deepEqual((await chain.async(x)).data(), expected);
    }
  });

  test('wasm: the memory is shown at the start and whenever it has grown', () => {
    const seen: number[] = [];
    const backend = wasmBackend(fileURLToPath(artefact), 1, undefined, (memory) => void seen.push(memory.byteLength));
    assert.equal(seen.length, 1);
    backend.alloc(seen[0]!);
    assert.equal(seen.length, 2);
    assert.ok(seen[1]! > seen[0]!);
  });

  test('wasm: the event loop lives while a program runs, also on one thread', async () => {
    const x = square(onThreads(1));
    let running = true;
    const done = chain.async(x).finally(() => {
      running = false;
    });
    let turns = 0;
    for (; running; turns++) await setImmediate();
    await done;
    assert.ok(turns > 10, `${turns} turns`);
  });

  test('wasm: without shared memory everything runs on one thread', async () => {
    const alone = onThreads(3, null);
    assert.deepEqual([alone.backend.threads, alone.backend.isa], [1, 'wasm']);
    const expected = chain(square(wasm)).data();
    assertClose(chain(square(alone)).data(), expected, 1e-5, 'sync');
    assertClose((await chain.async(square(alone))).data(), expected, 1e-5, 'async');
  });

  test('wasm: a kernel that crashes is an error here and in another thread, and nobody waits for it', async () => {
    class Misled extends CpuDevice {
      override prepare(program: Program): Executable {
        const { run, runAsync, ...rest } = super.prepare(program);
        const beyond = (buffers: readonly DeviceBuffer[]): DeviceBuffer[] => buffers.map((b) => ({ ...b, address: 2 ** 32 - 64 }));
        return { ...rest, run: (buffers) => run(beyond(buffers)), runAsync: (buffers) => runAsync(beyond(buffers)) };
      }
    }
    const misled = (): Tensor => withDevice(new Misled(wasmBackend(fileURLToPath(artefact), 3)), () => tensor(new Float32Array(1e6)));
    const crash = /\[cpu\] a WebAssembly kernel crashed \(.*\) and its threads are lost/;
    const f = compile((x: Tensor) => mul(x, x));
    const x = misled();
    assert.throws(() => f(x), crash);
    assert.throws(() => f(x), crash);
    await assert.rejects(f.async(misled()), crash);
  });

  test('wasm: a file that was cut off, or holds something else, is said to be damaged, with the way out', () => {
    const folder = mkdtempSync(join(tmpdir(), 'thimble-wasm-'));
    const path = join(folder, 'cut.wasm');
    const whole = readFileSync(artefact);
    for (const bytes of [0, 5, 1000, 0.3, 0.6, 0.9].map((n) => (n < 1 ? Math.floor(n * whole.length) : n))) {
      writeFileSync(path, whole.subarray(0, bytes));
      for (const memory of [undefined, null])
        assert.throws(() => wasmBackend(path, 1, memory), /\[cpu\] .*cut\.wasm is damaged \(.*\); reinstall the package, or install a C/);
    }
    rmSync(folder, { recursive: true });
    assert.throws(() => wasmBackend(path, 1), /is missing; reinstall the package, or install a C/);
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
