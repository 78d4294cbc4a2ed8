/** Products of matrices, convolutions and poolings. */
import * as t from '../../../tensor/index.ts';
import { apart, type Case, floats, halves } from '../inputs.ts';

export const contractions: Case[] = apart((): Case[] => [
  { name: 'matmul', ops: ['matmul'], inputs: [floats([7, 13]), floats([13, 5])], f: t.matmul },
  {
    name: 'matmul of transposes',
    ops: ['matmul'],
    inputs: [floats([13, 7]), floats([5, 13])],
    f: (a, b) => t.matmul(t.transpose(a), t.transpose(b)),
  },
  { name: 'matmul, one matrix for all', ops: ['matmul'], inputs: [floats([2, 3, 4]), floats([4, 5])], f: t.matmul },
  { name: 'matmul, batches broadcast', ops: ['matmul'], inputs: [floats([2, 1, 3, 4]), floats([3, 4, 5])], f: t.matmul },
  {
    name: 'matmul, one row or column for all',
    ops: ['matmul'],
    inputs: [floats([5, 16]), floats([1, 24]), floats([16, 1])],
    f: (x, row, column) => t.add(t.matmul(x, t.broadcastTo(row, [16, 24])), t.matmul(x, t.broadcastTo(column, [16, 24]))),
  },
  {
    name: 'matmul of heads',
    ops: ['matmul'],
    inputs: [floats([2, 6, 3, 4]), floats([2, 5, 3, 4])],
    f: (q, k) => t.matmul(t.permute(q, [0, 2, 1, 3]), t.permute(k, [0, 2, 3, 1])),
  },
  {
    name: 'matmul of the heads of a longer batch',
    ops: ['matmul'],
    inputs: [floats([7, 6, 3, 4]), floats([7, 5, 3, 4])],
    f: (q, k) => t.matmul(t.permute(q, [0, 2, 1, 3]), t.permute(k, [0, 2, 3, 1])),
  },
  {
    name: 'matmuls in bf16 with GELU between them',
    ops: ['matmul', 'tanh'],
    inputs: [halves([72, 16]), halves([16, 24], 0.5), halves([24]), halves([24, 8], 0.5)],
    f: (x, up, b, down) => t.matmul(t.geluTanh(t.add(t.matmul(x, up), b)), down),
    tolerance: 6e-2,
  },
  {
    name: 'conv2d',
    ops: ['unfold', 'fold'],
    inputs: [floats([2, 3, 7, 6]), floats([4, 3, 3, 3], -1, 1), floats([4])],
    f: (x, w, b) => t.conv2d(x, w, b, { stride: [2, 1], padding: 1, dilation: [1, 2] }),
  },
  {
    name: 'conv2d of patches',
    ops: ['matmul'],
    inputs: [floats([2, 3, 6, 8]), floats([5, 3, 2, 4], -1, 1), floats([5])],
    f: (x, w, b) => t.conv2d(x, w, b, { stride: [2, 4] }),
  },
  {
    name: 'convTranspose2d',
    ops: ['fold', 'unfold'],
    inputs: [floats([2, 3, 4, 5]), floats([3, 2, 3, 3], -1, 1), floats([2])],
    f: (x, w, b) => t.convTranspose2d(x, w, b, { stride: 2, padding: 1, outputPadding: 1 }),
  },
  { name: 'avgPool2d', ops: ['unfold'], inputs: [floats([2, 3, 6, 6])], f: (x) => t.avgPool2d(x, 3, { stride: 2 }) },
]);
