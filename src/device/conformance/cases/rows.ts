/** Norms, softmax and cross-entropy: one kernel for each row. */
import * as t from '../../../tensor/index.ts';
import { apart, type Case, floats, given } from '../inputs.ts';

export const rows: Case[] = apart((): Case[] => [
  {
    name: 'layerNorm',
    ops: ['norm', 'normGrad'],
    inputs: [floats([40, 19]), floats([19]), floats([19])],
    f: (x, g, b) => t.layerNorm(x, g, b),
  },
  { name: 'layerNorm without parameters', ops: ['norm', 'normGrad'], inputs: [floats([2, 3, 19])], f: (x) => t.mul(t.layerNorm(x), x) },
  { name: 'rmsNorm', ops: ['norm', 'normGrad'], inputs: [floats([5, 19]), floats([19])], f: (x, g) => t.rmsNorm(x, g) },
  { name: 'softmax', ops: ['softmax', 'softmaxGrad'], inputs: [floats([5, 33], -6, 6)], f: (x) => t.softmax(x) },
  { name: 'softmax over the first axis', ops: ['softmax', 'softmaxGrad'], inputs: [floats([5, 33], -6, 6)], f: (x) => t.softmax(x, 0) },
  {
    name: 'crossEntropy',
    ops: ['crossEntropy', 'crossEntropyGrad'],
    inputs: [floats([7, 11], -5, 5), given([0, 10, -1, 3, 11, 5, 5], [7])],
    f: (x, y) => t.crossEntropy(x, y),
  },
]);
