import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../device/index.ts';
import { add, type CallTime, compile, device, matmul, type Tensor, tensor } from '../tensor/index.ts';
import { shares, showShares } from './profile.ts';

const view = (shape: number[], strides: number[], dtype: 'f32' | 'bf16' = 'f32') => ({ buffer: 0, offset: 0, shape, strides, dtype });
const product = (m: number, ms: number): CallTime => ({
  call: {
    kernel: 'gemm',
    attrs: { m, n: 8, k: 4, batch: [1, 1] },
    reads: [view([1, 1, m, 4], [0, 0, 4, 1], 'bf16'), view([1, 1, 4, 8], [0, 0, 8, 1], 'bf16')],
    writes: [view([1, 1, m, 8], [0, 0, 8, 1], 'bf16')],
    label: 'matmul',
    flops: 2 * m * 8 * 4,
  },
  ms,
});

test('calls of one kernel and size are added up, the longest first', () => {
  const list = shares([product(16, 1), product(32, 5), product(16, 3)]);
  assert.deepEqual(
    list.map((s) => [s.label, s.calls, s.ms]),
    [
      ['gemm matmul [1x1 32x8x4] bf16', 1, 5],
      ['gemm matmul [1x1 16x8x4] bf16', 2, 4],
    ],
  );
  const bytes = 2 * (2 * (16 * 4 + 4 * 8 + 16 * 8));
  assert.ok(Math.abs(list[1]!.gigabytesPerSecond - bytes / 4e6) < 1e-12);
  assert.match(showShares(list, 1), /^ {3}9\.000 ms in 3 calls\n {3}5\.000 ms {2}55\.6 % {4}1 x .*\n {3}4\.000 ms in 1 more$/);
});

test('a device that cannot time its calls says so', () => {
  const f = compile((x: Tensor) => add(matmul(x, x), 1), { name: 'f' });
  assert.throws(() => f.profile(tensor([[1]], { device: device('null') })), /cannot time its calls/);
});
