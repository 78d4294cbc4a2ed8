/** Cases long enough for the wide accesses of a device, for rows in registers and rows too long for them, with rests and odd widths. */
import * as t from '../../../tensor/index.ts';
import { apart, type Case, floats, given, halves, ints } from '../inputs.ts';

export const wide: Case[] = apart((): Case[] => [
  { name: 'a vector with a rest', ops: ['add'], inputs: [floats([2051]), floats([2051])], f: (a, b) => t.mul(t.add(a, b), 0.5) },
  {
    name: 'bf16 rows with a bias and an f32 factor',
    ops: ['add', 'cast'],
    inputs: [halves([33, 64]), halves([64]), floats([33, 64])],
    f: (x, b, w) => t.mul(t.cast(t.add(x, b), 'f32'), w),
    tolerance: 5e-2,
  },
  { name: 'sum of wide columns', ops: ['sum'], inputs: [floats([70, 768])], f: (x) => t.sum(t.mul(x, x), 0) },
  {
    name: 'sums of bf16 rows and columns',
    ops: ['sum'],
    inputs: [halves([40, 264])],
    f: (x) => t.concat([t.sum(t.cast(x, 'f32'), 0), t.sum(t.cast(x, 'f32'), 1)]),
    tolerance: 1e-2,
  },
  { name: 'sum of many', ops: ['sum'], inputs: [floats([300, 1024])], f: (x) => t.sum(t.mul(x, x)), forwardOnly: true },
  {
    name: 'argmax of long rows, of equals and with NaN',
    ops: ['argmax'],
    inputs: [floats([3, 8205], -2, 2)],
    f: (x) => t.concat([x, t.floor(t.mul(x, 3)), t.where(t.greater(x, 1.9), Number.NaN, x)].map((y) => t.argmax(y, 1))),
    forwardOnly: true,
  },
  {
    name: 'layerNorm of a warp',
    ops: ['norm', 'normGrad'],
    inputs: [floats([70, 768]), floats([768]), floats([768])],
    f: (x, g, b) => t.layerNorm(x, g, b),
  },
  { name: 'rmsNorm of a block', ops: ['norm', 'normGrad'], inputs: [floats([5, 1544]), floats([1544])], f: (x, g) => t.rmsNorm(x, g) },
  ...[
    [2500, 72],
    [9, 900],
    [4, 1031],
    [5, 3000],
    [3, 8200],
    [2, 12292],
    [2, 16392],
  ].map(
    ([rows, width]): Case => ({
      name: `layerNorm of [${rows}, ${width}]`,
      ops: ['norm', 'normGrad'],
      inputs: [floats([rows!, width!]), floats([width!]), floats([width!])],
      f: (x, g, b) => t.layerNorm(x, g, b),
    }),
  ),
  ...[
    [1300, 256],
    [3, 4096],
    [2, 12289],
    [3, 16384],
    [2, 16390],
  ].map(
    ([rows, width]): Case => ({
      name: `layerNorm of bf16 [${rows}, ${width}]`,
      ops: ['norm', 'normGrad'],
      inputs: [halves([rows!, width!]), floats([width!]), floats([width!])],
      f: (x, g, b) => t.layerNorm(x, g, b),
      tolerance: 6e-2,
    }),
  ),
  { name: 'rmsNorm of more', ops: ['norm', 'normGrad'], inputs: [floats([3, 12000]), floats([12000])], f: (x, g) => t.rmsNorm(x, g) },
  { name: 'layerNorm of more, plain', ops: ['norm', 'normGrad'], inputs: [floats([3, 16384])], f: (x) => t.layerNorm(x) },
  {
    name: 'layerNorm of bf16',
    ops: ['norm', 'normGrad'],
    inputs: [halves([40, 96]), floats([96]), floats([96])],
    f: (x, g, b) => t.layerNorm(x, g, b),
    tolerance: 6e-2,
  },
  { name: 'softmax of a warp', ops: ['softmax', 'softmaxGrad'], inputs: [floats([9, 1000], -6, 6)], f: (x) => t.softmax(x) },
  { name: 'softmax of a block', ops: ['softmax', 'softmaxGrad'], inputs: [floats([3, 1031], -6, 6)], f: (x) => t.softmax(x) },
  { name: 'softmax of a large block', ops: ['softmax', 'softmaxGrad'], inputs: [floats([2, 8196], -6, 6)], f: (x) => t.softmax(x) },
  { name: 'softmax, long', ops: ['softmax', 'softmaxGrad'], inputs: [floats([2, 16387], -6, 6)], f: (x) => t.softmax(x) },
  {
    name: 'softmax of bf16, long',
    ops: ['softmax', 'softmaxGrad'],
    inputs: [halves([2, 16392], 4)],
    f: (x) => t.mul(t.softmax(x), 16),
    tolerance: 1e-2,
  },
  {
    name: 'crossEntropy of odd bf16 rows',
    ops: ['crossEntropy', 'crossEntropyGrad'],
    inputs: [halves([5, 2055]), given([3, 2054, -1, 77, 0], [5])],
    f: (x, y) => t.crossEntropy(x, y),
    tolerance: 1e-2,
  },
  {
    name: 'scatterAdd, wide',
    ops: ['scatterAdd', 'take'],
    inputs: [floats([300, 40]), ints([300], 700)],
    f: (x, i) => t.exp(t.scatterAdd(x, i, 700)),
  },
  {
    name: 'scatterAdd, many to few',
    ops: ['scatterAdd', 'take'],
    inputs: [floats([9000, 4], -0.01, 0.01), ints([9000], 2)],
    f: (x, i) => t.exp(t.scatterAdd(x, i, 2)),
  },
  {
    name: 'several tensors alike',
    ops: ['concat'],
    inputs: [floats([1028]), floats([8]), floats([2, 6]), floats([2051]), floats([])],
    f: (...xs) => t.concat(xs.slice(0, 4).map((x) => t.reshape(t.tanh(t.mul(x, xs[4]!)), [-1]))),
  },
  {
    name: 'orders of long rows',
    ops: ['argsort'],
    inputs: [ints([2, 9000], 200), floats([2, 4100])],
    f: (a, b) =>
      t.concat([t.argsort(a), t.argsort(b), t.argsort(b, { descending: true }), t.argsort(t.cast(a, 'bf16'), { descending: true })], 1),
    forwardOnly: true,
  },
  {
    name: 'an order of i8',
    ops: ['argsort'],
    inputs: [ints([2, 4200], 90, 'i8', -90)],
    f: (a) => t.argsort(a),
    forwardOnly: true,
  },
  { name: 'cumsum of long rows', ops: ['cumsum'], inputs: [floats([2, 20000])], f: (x) => t.mul(t.cumsum(x, 1), 0.01) },
  { name: 'cumsum of long columns', ops: ['cumsum'], inputs: [floats([70, 5])], f: (x) => t.cumsum(x, 0) },
  { name: 'cumsum of wide columns', ops: ['cumsum'], inputs: [ints([130, 3075], 9)], f: (x) => t.cumsum(x, 0), forwardOnly: true },
  {
    name: 'scatterAdd, uneven',
    ops: ['scatterAdd'],
    inputs: [
      floats([2500, 8], -0.5, 0.5),
      given(
        ints([2500], 68).values.map((i) => Math.floor(i ** 3 / 1024)),
        [2500],
      ),
    ],
    f: (x, i) => t.scatterAdd(x, i, 308),
    forwardOnly: true,
  },
]);
