/** Pointwise calls wait for their kind only while nothing in between touches their memory. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AnyCall, BufferSpec, Expression, View } from '../../tensor/lower/program.ts';
import { groupCalls } from './group.ts';

const negate: Expression = { loads: 1, steps: [{ op: 'neg', lane: 'f32', args: [0] }], results: [1] };
const double: Expression = { loads: 1, steps: [{ op: 'add', lane: 'f32', args: [0, 0] }], results: [1] };

/** Eight arena buffers of 64 bytes one after the other, and two external ones. */
const buffers: BufferSpec[] = [
  ...Array.from({ length: 8 }, (_, i) => ({ bytes: 64, external: -1, offset: 64 * i })),
  { bytes: 64, external: 0, offset: 0 },
  { bytes: 64, external: 1, offset: 0 },
];
const view = (buffer: number, n = 16): View => ({ buffer, offset: 0, shape: [n], strides: [1], dtype: 'f32' });
const map = (from: number, to: number, expression = negate, n = 16): AnyCall => ({
  kernel: 'map',
  attrs: { dims: [n], expression },
  reads: [view(from, n)],
  writes: [view(to, n)],
  label: 'map',
  flops: 0,
});
const groups = (...calls: AnyCall[]): number[][][] => groupCalls({ calls, buffers });

test('calls of one kind run together, whatever their sizes, at the place of the last', () => {
  assert.deepEqual(groups(map(0, 1), map(2, 3, double), map(4, 5, negate, 7), map(8, 9)), [[], [], [], [[0, 2, 3], [1]]]);
});

test('a call that reads what a waiting one writes comes after it, and so does one that overwrites what a waiting one reads', () => {
  assert.deepEqual(groups(map(0, 1), map(1, 2)), [[[0]], [[1]]]);
  assert.deepEqual(groups(map(0, 1), map(2, 0, double), map(3, 4)), [[[0]], [], [[1], [2]]]);
  assert.deepEqual(groups(map(0, 8), map(8, 2, double)), [[[0]], [[1]]]);
});

test('buffers that lie over each other in the arena are one place', () => {
  const over: BufferSpec[] = [...buffers, { bytes: 128, external: -1, offset: 32 }]; // covers ends of 0 and 2, and all of 1
  assert.deepEqual(groupCalls({ calls: [map(0, 3), map(4, 10, double), map(5, 6)], buffers: over }), [[[0]], [], [[1], [2]]]);
});

test('what is no flat map or small reduction stays where it is', () => {
  const reduce = {
    ...map(2, 3),
    kernel: 'reduce',
    attrs: { dims: [16], expression: negate, op: 'sum', outer: 1, count: 2 ** 20, inner: 1 },
  } as AnyCall;
  assert.deepEqual(groups(map(0, 1), reduce, map(4, 5)), [[], [[1]], [[0, 2]]]);
});
