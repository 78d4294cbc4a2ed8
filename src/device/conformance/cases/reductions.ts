/** Sums, extremes, scans and orders along axes. */
import * as t from '../../../tensor/index.ts';
import { apart, type Case, floats, forward, ints } from '../inputs.ts';

export const reductions: Case[] = apart((): Case[] => [
  { name: 'sum of rows', ops: ['sum'], inputs: [floats([5, 300])], f: (x) => t.sum(t.mul(x, x), 1) },
  { name: 'sum of columns', ops: ['sum'], inputs: [floats([300, 5])], f: (x) => t.sum(t.exp(x), 0) },
  { name: 'sum of columns, in parts', ops: ['sum'], inputs: [floats([1024, 48])], f: (x) => t.sum(t.mul(x, x), 0) },
  { name: 'sum of axes apart', ops: ['sum'], inputs: [floats([3, 4, 5, 6])], f: (x) => t.sum(t.exp(x), [0, 2]) },
  { name: 'mean of everything', ops: ['sum'], inputs: [floats([7, 11])], f: (x) => t.mean(t.mul(x, x)) },
  { name: 'variance', ops: ['sum'], inputs: [floats([4, 9])], f: (x) => t.variance(x, 1, { correction: 1 }) },
  { name: 'max', ops: ['reduceMax'], inputs: [floats([6, 7, 3])], f: (x) => t.max(x, 1) },
  { name: 'min of everything', ops: ['reduceMax'], inputs: [floats([6, 7])], f: (x) => t.min(x) },
  { name: 'logSumExp', ops: ['reduceMax', 'sum'], inputs: [floats([6, 70], -30, 30)], f: (x) => t.logSumExp(x, 1) },
  forward({ name: 'argmax', ops: ['argmax'], inputs: [floats([5, 33])], f: (x) => t.concat([t.argmax(x, 1), t.argmax(x, 0)]) }),
  { name: 'cumsum', ops: ['cumsum'], inputs: [floats([3, 8, 2])], f: (x) => t.cumsum(t.mul(x, x), 1) },
  forward({
    name: 'argsort',
    ops: ['argsort'],
    inputs: [ints([4, 37], 9)],
    f: (x) => t.concat([t.argsort(x), t.argsort(x, { descending: true })]),
  }),
  { name: 'topK', ops: ['argsort', 'takeAlong'], inputs: [floats([4, 37])], f: (x) => t.mul(t.topK(x, 5).values, 2) },
]);
