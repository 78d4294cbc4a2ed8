/** Reads and writes at computed places. */
import * as t from '../../../tensor/index.ts';
import { apart, type Case, floats, given, ints } from '../inputs.ts';

export const indexing: Case[] = apart((): Case[] => [
  { name: 'take rows', ops: ['take', 'scatterAdd'], inputs: [floats([6, 5]), ints([9], 6)], f: (x, i) => t.exp(t.take(x, i)) },
  { name: 'take on a middle axis', ops: ['take'], inputs: [floats([3, 6, 4]), ints([2, 3], 6)], f: (x, i) => t.exp(t.take(x, i, 1)) },
  { name: 'take by i64', ops: ['take'], inputs: [floats([6, 5]), ints([4], 6, 'i64')], f: (x, i) => t.take(x, i) },
  { name: 'scatterAdd', ops: ['scatterAdd', 'take'], inputs: [floats([9, 5]), ints([9], 4)], f: (x, i) => t.exp(t.scatterAdd(x, i, 4)) },
  {
    name: 'takeAlong',
    ops: ['takeAlong', 'scatterAlong'],
    inputs: [floats([3, 6, 4]), ints([3, 5, 4], 6)],
    f: (x, i) => t.exp(t.takeAlong(x, i, 1)),
  },
  {
    name: 'scatterAlong',
    ops: ['scatterAlong', 'takeAlong'],
    inputs: [floats([3, 5]), ints([3, 5], 4)],
    f: (x, i) => t.exp(t.scatterAlong(x, i, 4)),
  },
  {
    name: 'updateAt',
    ops: ['updateAt', 'take'],
    inputs: [floats([7, 5]), floats([3, 5]), given([2], [])],
    f: (x, y, at) => t.exp(t.updateAt(x, y, at)),
  },
  {
    name: 'updateAt on a middle axis, over a value of the program, twice',
    ops: ['updateAt'],
    inputs: [floats([2, 6, 3]), floats([2, 2, 3]), given([4], [1], 'i64')],
    f: (x, y, at) => t.updateAt(t.updateAt(t.mul(x, 2), y, at, 1), t.exp(y), t.sub(at, 3), 1),
  },
  {
    name: 'updateAt beside a reader of the old value',
    ops: ['updateAt'],
    inputs: [floats([6, 3]), floats([2, 3]), given([1], [1])],
    f: (x, y, at) => {
      const h = t.exp(x);
      return t.mul(t.updateAt(h, y, at), h);
    },
  },
]);
