import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Watched, watch } from '../../device/conformance/watched.ts';
import * as t from '../index.ts';
import type { AnyCall } from './program.ts';

type Tensor = t.Tensor;

const nameOf = ({ kernel, attrs }: AnyCall): string =>
  kernel === 'gemm' ? `gemm${attrs.bias ? '+bias' : ''}${attrs.residual ? '+residual' : ''}` : kernel;

const X = [2, 5, 6];
const W = [6, 4];
const cases: [string, (...xs: Tensor[]) => Tensor | Tensor[], (readonly number[])[], string[]][] = [
  ['a bias', (x, w, b) => t.add(t.matmul(x!, w!), b!), [X, W, [4]], ['gemm+bias']],
  ['a residual', (x, w, r) => t.add(r!, t.matmul(x!, w!)), [X, W, [2, 5, 4]], ['gemm+residual']],
  ['a bias and a residual', (x, w, b, r) => t.add(r!, t.add(t.matmul(x!, w!), b!)), [X, W, [4], [2, 5, 4]], ['gemm+bias+residual']],
  ['two products: one adds the other', (x, w, v) => t.add(t.matmul(x!, w!), t.matmul(x!, v!)), [X, W, W], ['gemm', 'gemm+residual']],
  [
    'a product that is a result too',
    (x, w, b) => {
      const y = t.matmul(x!, w!);
      return [y, t.add(y, b!)];
    },
    [X, W, [4]],
    ['gemm', 'map'],
  ],
  [
    'a product that is added to itself',
    (x, w) => {
      const y = t.matmul(x!, w!);
      return t.add(y, y);
    },
    [X, W],
    ['gemm', 'map'],
  ],
  ['more than a sum', (x, w, b) => t.mul(t.add(t.matmul(x!, w!), b!), 2), [X, W, [4]], ['gemm', 'map']],
  ['a bias of rows', (x, w, b) => t.add(t.matmul(x!, w!), b!), [[5, 6], W, [5, 1]], ['gemm', 'map']],
  ['a scalar', (x, w, b) => t.add(t.matmul(x!, w!), b!), [[5, 6], W, []], ['gemm', 'map']],
  ['two biases', (x, w, b, c) => t.add(t.add(t.matmul(x!, w!), b!), c!), [X, W, [4], [4]], ['gemm', 'map']],
  ['a batch of products', (x, w, b) => t.add(t.matmul(x!, w!), b!), [X, [2, 6, 4], [4]], ['gemm', 'map']],
  [
    'a sum written into a concat',
    (x, w, b) => t.concat([t.add(t.matmul(x!, w!), b!), t.zeros([5, 2])], 1),
    [[5, 6], W, [4]],
    ['gemm+bias', 'map'],
  ],
  ['a transposed product', (x, w, r) => t.add(t.transpose(t.matmul(x!, w!)), r!), [[5, 6], W, [4, 5]], ['gemm+residual']],
];
test('a bias of another type is cast first, where there are rows enough to pay for it', () => {
  for (const [rows, expected] of [
    [100, ['map', 'gemm+bias']],
    [10, ['gemm', 'map']],
  ] as const) {
    const device = new Watched();
    const f = t.compile((x: Tensor, w: Tensor, b: Tensor) => t.add(t.matmul(x, w), t.cast(t.broadcastTo(b, [rows, 4]), 'bf16')), {
      device,
    });
    const of = (shape: number[], dtype: t.DType): Tensor =>
      t.cast(t.tensor(new Float32Array(t.sizeOf(shape)).fill(2), { shape, device }), dtype);
    const args = [of([rows, 6], 'bf16'), of([6, 4], 'bf16'), of([4], 'f32')] as const;
    device.calls.length = 0;
    assert.deepEqual([...(f(...args).data() as Float32Array)], new Array(rows * 4).fill(26));
    assert.deepEqual(device.calls.map(nameOf), expected);
  }
});

for (const [what, f, shapes, expected] of cases)
  test(`sums at the end of a product: ${what}`, () => {
    const { calls, worst } = watch(f, shapes);
    assert.deepEqual(calls.map(nameOf), expected);
    assert.ok(worst < 1e-5, `differs by ${worst}`);
  });
