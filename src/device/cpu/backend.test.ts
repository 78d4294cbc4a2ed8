import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'node:test';
import { residentBytes } from '../../bytes/index.ts';
import { add, compile, matmul, permute, random, reshape, type Tensor, tensor, transpose, withDevice } from '../../tensor/index.ts';
import { nativeBackend, openBackend } from './backend.ts';
import { CpuDevice } from './index.ts';

const backend = openBackend();
const native = { skip: backend.kind !== 'native' && 'no C compiler' };

test('native: a large block that was freed serves the next of its size only', native, () => {
  const bytes = (3 << 20) + 64;
  const first = backend.alloc(bytes);
  backend.free(first, bytes);
  const other = backend.alloc(bytes + 64);
  const again = backend.alloc(bytes);
  const twin = backend.alloc(bytes);
  assert.equal(again, first);
  assert.equal(new Set([first, other, twin]).size, 3);
  backend.free(other, bytes + 64);
  for (const at of [again, twin]) backend.free(at, bytes);
});

test('native: freed blocks go back to the system beyond 32 MiB', native, () => {
  const [MiB, each, count] = [2 ** 20, 5 * 2 ** 20, 40];
  const filled = new Uint8Array(each).fill(1);
  const before = residentBytes();
  const blocks = Array.from({ length: count }, () => backend.alloc(each));
  for (const at of blocks) backend.write(at, filled);
  const full = residentBytes();
  for (const at of blocks) backend.free(at, each);
  const after = residentBytes();
  assert.ok(full - before > 0.9 * count * each, `${(full - before) / MiB} MiB for ${count} blocks`);
  assert.ok(full - after > 0.8 * (count * each - 32 * MiB), `${(full - after) / MiB} MiB went back`);
});

test('eight axes backwards are refused with the way that works', () => {
  withDevice(new CpuDevice(), () => {
    const shape = Array<number>(8).fill(2);
    const x = tensor(
      Float32Array.from({ length: 256 }, (_, i) => i),
      { shape },
    );
    assert.throws(() => add(permute(x, [7, 6, 5, 4, 3, 2, 1, 0]), x), /\[cpu\] .*: 8, and 6 is the most; permute fewer axes at a time/);
    const front = reshape(permute(x, [3, 2, 1, 0, 4, 5, 6, 7]), [16, 2, 2, 2, 2]);
    const all = permute(front, [4, 3, 2, 1, 0]).data();
    for (let i = 0; i < 256; i++) assert.equal(all[i], Number.parseInt(i.toString(2).padStart(8, '0').split('').reverse().join(''), 2));
  });
});

test('native: a product has the same bits on one, two and five threads', native, () => {
  const before = process.env.THIMBLE_THREADS;
  const on = (threads: number): CpuDevice => {
    process.env.THIMBLE_THREADS = String(threads);
    return new CpuDevice(openBackend('native'));
  };
  try {
    const devices = [1, 2, 5].map(on);
    for (const [m, n, k] of [
      [700, 900, 300],
      [97, 130, 6272],
      [2050, 33, 257],
    ] as const) {
      const f = compile((x: Tensor, y: Tensor) => [matmul(x, y), matmul(transpose(y), transpose(x))]);
      const [one, ...more] = devices.map((device) =>
        withDevice(device, () => f(random.normal(random.key(1), [m, k]), random.normal(random.key(2), [k, n])).map((t) => t.data())),
      );
      for (const other of more) assert.deepEqual(other, one);
    }
  } finally {
    if (before === undefined) delete process.env.THIMBLE_THREADS;
    else process.env.THIMBLE_THREADS = before;
  }
});

test('a library that cannot be loaded is named, with the way out', native, () => {
  const folder = mkdtempSync(join(tmpdir(), 'thimble-library-'));
  try {
    const path = join(folder, 'thimble.so');
    writeFileSync(path, 'not a library');
    assert.throws(
      () => nativeBackend(path),
      /kernels in .*thimble\.so cannot be loaded \(.*\); delete that file, and they are compiled anew/,
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});
