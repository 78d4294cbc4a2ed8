import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../../device/index.ts';
import { reachable } from '../graph.ts';
import * as t from '../index.ts';
import { apply, Trace, within } from '../trace.ts';
import { simplify } from './simplify.ts';

type Tensor = t.Tensor;
const X = [4, 6];

/** The ops that are left, in order; x and y are inputs of shape [4, 6]. */
function left(f: (x: Tensor, y: Tensor) => Tensor | Tensor[]): string[] {
  const trace = new Trace();
  const [x, y] = [trace.input(t.typeOf(X, 'f32')), trace.input(t.typeOf(X, 'f32'))];
  const results = t.leaves(within(trace, () => f(x, y))).map((r) => trace.valueOf(r));
  return reachable(simplify(results).results)
    .map((n) => n.op)
    .filter((op) => op !== 'input' && op !== 'full');
}

const rules: [string, (x: Tensor, y: Tensor) => Tensor | Tensor[], string[]][] = [
  [
    'what no result needs',
    (x, y) => {
      t.exp(y);
      return t.neg(x);
    },
    ['neg'],
  ],
  ['what is computed twice', (x, y) => [t.mul(t.exp(x), y), t.mul(t.exp(x), y), t.exp(x)], ['exp', 'mul']],
  ['attributes tell nodes apart', (x) => [t.sum(x, 0), t.sum(x, 1)], ['sum', 'reshape', 'sum', 'reshape']],
  [
    '0 and -0 and NaN are different constants',
    (x) => [t.mul(x, -0), t.mul(x, 0), t.mul(x, Number.NaN), t.mul(x, Number.POSITIVE_INFINITY)],
    ['mul', 'mul', 'mul', 'mul'],
  ],
  ['x + 0, 0 + x, x - 0', (x) => [t.add(x, 0), t.add(0, x), t.sub(x, 0)], []],
  ['0 - x stays', (x) => t.sub(0, x), ['sub']],
  ['x * 1, 1 * x, x / 1', (x) => [t.mul(x, 1), t.mul(1, x), t.div(x, 1)], []],
  ['1 / x stays', (x) => t.div(1, x), ['div']],
  ['identities', (x) => t.stopGradient(apply('identity', {}, [x])), []],
  ['a cast to the same type', (x) => t.cast(t.cast(x, 'f32'), 'f32'), []],
  ['a cast there and back', (x) => t.cast(t.cast(x, 'bf16'), 'f32'), ['cast', 'cast']],
  ['permutations that cancel', (x) => t.transpose(t.transpose(x)), []],
  [
    'permutations in a row',
    (x) => {
      const y = t.reshape(x, [2, 2, 6]);
      return t.permute(t.permute(y, [1, 2, 0]), [1, 2, 0]);
    },
    ['reshape', 'permute'],
  ],
  ['reshapes in a row', (x) => t.reshape(t.reshape(x, [24]), [2, 12]), ['reshape']],
  ['reshapes back', (x) => t.exp(t.reshape(t.reshape(x, [24]), [4, 6])), ['exp']],
  ['views of constants', () => t.reshape(t.transpose(t.broadcastTo(t.full([1, 3], 2), [2, 3])), [6]), []],
  ['broadcasts in a row', (x) => t.broadcastTo(t.broadcastTo(t.slice(x, [0, 1]), [4, 6]), [3, 4, 6]), ['slice', 'broadcast']],
  ['sums over axes of one', (x) => t.max(t.sum(t.reshape(x, [4, 1, 6]), 1, { keepDims: true }), 1, { keepDims: true }), ['reshape']],
  ['neighbouring slices, joined again', (x) => t.exp(t.concat([t.slice(x, [0, 1]), t.slice(x, [1, 4])], 0)), ['exp']],
  ['neighbouring slices of a part', (x) => t.concat([t.slice(x, null, [1, 3]), t.slice(x, null, [3, 5])], 1), ['slice']],
  ['slices in another order', (x) => t.concat([t.slice(x, [2, 4]), t.slice(x, [0, 2])], 0), ['slice', 'slice', 'concat']],
  ['slices that overlap', (x) => t.concat([t.slice(x, [0, 2]), t.slice(x, [1, 4])], 0), ['slice', 'slice', 'concat']],
  ['slices of other columns', (x) => t.concat([t.slice(x, [0, 2], [0, 3]), t.slice(x, [2, 4], [3, 6])], 0), ['slice', 'slice', 'concat']],
  ['every second row', (x) => t.concat([t.slice(x, [0, 2, 2]), t.slice(x, [1, 2])], 0), ['slice', 'slice', 'concat']],
  ['slices of two', (x, y) => t.concat([t.slice(x, [0, 2]), t.slice(y, [2, 4])], 0), ['slice', 'slice', 'concat']],
  ['a choice between equals', (x, y) => t.where(t.less(x, y), x, x), []],
  [
    'the same random bits',
    () => {
      const k = t.random.key(1);
      return [t.random.bits(k, [8]), t.random.bits(k, [8])];
    },
    ['slice', 'reshape', 'slice', 'reshape', 'randomBits'],
  ],
];

test('each rule leaves what it should', () => {
  for (const [name, f, ops] of rules) assert.deepEqual(left(f), ops, name);
});

test('simplified programs keep their numbers, signs of zero and NaN among them', () => {
  const f = (x: Tensor): Tensor[] => [
    t.add(x, 0),
    t.mul(x, 1),
    t.sub(x, 0),
    t.mul(x, 0),
    t.div(x, 1),
    t.where(t.less(x, 0), x, x),
    t.neg(t.neg(x)),
  ];
  const values = [1, -2, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0];
  for (const [i, y] of t.compile(f)(t.tensor(values)).entries())
    assert.deepEqual([...y.data()], i === 3 ? [0, -0, Number.NaN, Number.NaN, Number.NaN, 0] : values, `result ${i}`);
});
