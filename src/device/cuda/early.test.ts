/** Kernels that are resident before their turn see all that was written before it, and write nothing that is still read. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  add,
  cast,
  compile,
  type Device,
  device,
  encode,
  fromBytes,
  less,
  matmul,
  max,
  mul,
  narrow,
  reshape,
  sub,
  type Tensor,
  take,
  tensor,
  transpose,
  typeOf,
  updateAt,
} from '../../tensor/index.ts';
import '../index.ts';
import type { Driver } from './driver.ts';
import { earlyRule } from './early.ts';
import { gpuPresent } from './requirements.ts';

const skip = gpuPresent() ? false : 'there is no NVIDIA GPU';
const pseudo = (n: number, below: number): number[] => Array.from({ length: n }, (_, i) => (Math.imul(i, 2654435761) >>> 8) % below);
const on = (d: Device, numbers: readonly number[], shape: readonly number[], dtype: 'i32' | 'f32' | 'bf16'): Tensor =>
  fromBytes(encode(numbers, dtype), typeOf(shape, dtype), d);

test('blocks that come early fill the GPU, or are one for a multiprocessor and keep each other away', () => {
  const info = { name: '', capability: 90, multiprocessors: 132, sharedBytes: 227 << 10, driverVersion: 0 };
  const program = { calls: [], buffers: [], externals: 0, arenaBytes: 0 };
  const early = (blocks: number, own: number, resident: number) => {
    const get = (name: string): number => (name === 'cuFuncGetAttribute' ? own : resident);
    const rule = earlyRule({ get } as unknown as Driver, info, program, undefined);
    return rule({ kind: 'kernel', name: '', grid: [blocks, 1, 1], block: 256, views: [] }, 0);
  };
  for (const own of [0, 1088, 28 << 10]) {
    const { shared } = early(132, own, 8)!;
    assert.equal(Math.floor((228 << 10) / (shared! + own + 1024)), 1);
  }
  const asked = [133, 264, 928, 1024, 5000].map((blocks) => !!early(blocks, 0, 8));
  assert.deepEqual(asked, [false, false, false, true, true]);
  assert.ok(early(256, 0, 2));
});

// in a decoder all kernels come early, elsewhere those whose blocks lie evenly then
for (const decoder of [true, false])
  test(`kernels that read what all blocks of the one before wrote, and write over what it read, ${decoder ? 'in a decoder' : 'in another program'}`, {
    skip,
  }, () => {
    const n = 1 << 15;
    const chain = compile(
      (x: Tensor, places: Tensor, rows: Tensor, w: Tensor) => {
        let y = x;
        for (let i = 0; i < 60; i++) {
          y = add(take(y, places, 0), i); // from anywhere
          y = updateAt(y, take(rows, tensor(Int32Array.of(i)), 0), tensor(Int32Array.of(i), { shape: [] }), 0);
          y = sub(max(y, 0, { keepDims: true }), y);
          const few = reshape(narrow(y, 0, 0, 64), [1, 64]);
          const product = decoder ? matmul(cast(few, 'f32'), transpose(w)) : few;
          y = add(y, cast(less(reshape(max(product, 1), [1]), 3000), 'i32'));
        }
        return y;
      },
      { donate: [0] },
    );
    for (let run = 0; run < 6; run++) {
      const [gpu, cpu] = ['cuda', 'cpu'].map((name) => {
        const d = device(name);
        const [places, rows] = [on(d, pseudo(n, n), [n], 'i32'), on(d, pseudo(60, 9), [60], 'i32')];
        return chain(on(d, pseudo(n, 100 + run), [n], 'i32'), places, rows, on(d, pseudo(640, 2), [10, 64], 'f32')).data();
      });
      assert.deepEqual(gpu, cpu, `run ${run}`);
    }
  });

test('weights that the program before wrote are not read before it ends', { skip }, () => {
  const [k, n] = [2048, 2048];
  const scale = compile((w: Tensor, by: Tensor) => mul(w, by));
  const products = compile((x: Tensor, w: Tensor) => {
    const y = cast(matmul(x, transpose(w)), 'f32');
    return sub(y, max(y, 1, { keepDims: true }));
  });
  const results = ['cuda', 'cpu'].map((name) => {
    const d = device(name);
    const w = on(d, pseudo(n * k, 2), [n, k], 'bf16');
    const x = on(
      d,
      pseudo(k, 2).map((v, i) => (i % 16 ? 0 : v)), // the sums are whole numbers that bf16 holds
      [1, k],
      'bf16',
    );
    const runs = name === 'cuda' ? 40 : 2;
    return Array.from({ length: runs }, (_, run) => products(x, scale(w, on(d, [1 + (run % 2)], [], 'bf16'))).data());
  });
  const [gpu, cpu] = results as [Float32Array[], Float32Array[]];
  gpu.forEach((y, run) => void assert.deepEqual(y, cpu[run % 2], `run ${run}`));
});
