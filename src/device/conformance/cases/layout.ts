/** Views and copies: where the elements of a tensor lie. */
import * as t from '../../../tensor/index.ts';
import { apart, type Case, floats } from '../inputs.ts';

type Tensor = t.Tensor;

export const layout: Case[] = apart((): Case[] => [
  {
    name: 'reshape of a transpose',
    ops: ['reshape', 'permute'],
    inputs: [floats([3, 4, 5])],
    f: (x) => t.mul(t.reshape(t.permute(x, [2, 0, 1]), [5, 12]), t.reshape(x, [5, 12])),
  },
  { name: 'slice', ops: ['slice'], inputs: [floats([6, 7])], f: (x) => t.mul(t.slice(x, [1, 5], [2, -1]), t.slice(x, [0, 4], [3])) },
  { name: 'slice with steps', ops: ['slice', 'scatterAdd'], inputs: [floats([7, 9])], f: (x) => t.exp(t.slice(x, [1, 7, 3], [0, 9, 2])) },
  {
    name: 'split',
    ops: ['slice', 'concat', 'pad'],
    inputs: [floats([3, 12])],
    f: (x) => {
      const [a, b, c] = t.split(x, 3) as [Tensor, Tensor, Tensor];
      return t.add(t.mul(a, b), t.exp(c));
    },
  },
  {
    name: 'transpose of a wide matrix',
    ops: ['permute'],
    inputs: [floats([70, 96]), floats([96, 70]), floats([70])],
    f: (x, y, b) => t.mul(t.add(t.transpose(x), b), y),
  },
  { name: 'flip', ops: ['flip'], inputs: [floats([4, 5])], f: (x) => t.mul(t.flip(x, [0, 1]), x) },
  { name: 'pad', ops: ['pad'], inputs: [floats([3, 4])], f: (x) => t.exp(t.pad(x, [1, 0], [2, 3], 0.5)) },
  {
    name: 'concat of views',
    ops: ['concat'],
    inputs: [floats([3, 4]), floats([4, 3])],
    f: (a, b) => t.tanh(t.concat([t.exp(a), t.transpose(b), a], 1)),
  },
  {
    name: 'stack and broadcast',
    ops: ['concat', 'broadcast'],
    inputs: [floats([5]), floats([5])],
    f: (a, b) => t.mul(t.broadcastTo(t.stack([a, b]), [3, 2, 5]), 1.5),
  },
]);
