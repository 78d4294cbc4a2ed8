import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Block, canOverwrite, isIdle, lifetimes, liveBytes, place, Sharing } from './memory.ts';
import type { AnyCall, View } from './program.ts';

const ALIGN = 64;
const rounded = (bytes: number): number => Math.ceil(bytes / ALIGN) * ALIGN;

const block: fc.Arbitrary<Block> = fc
  .record({
    bytes: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.constantFrom(64, 128, 4096, 4160, 65536)),
    first: fc.nat(60),
    length: fc.nat(30),
  })
  .map(({ bytes, first, length }) => ({ bytes, first, last: first + (length % 5 ? length % 7 : length) }));
const blocks = fc.array(block, { maxLength: 90, size: 'max' });

/** The arena and its offsets hold every block, none over another that lives at the same time. */
function check(bs: readonly Block[]): number {
  const { offsets, bytes, lowerBound } = place(bs);
  bs.forEach((a, i) => {
    assert.equal(offsets[i]! % ALIGN, 0, `offset ${offsets[i]} is not aligned`);
    assert.ok(offsets[i]! >= 0 && offsets[i]! + a.bytes <= bytes);
    bs.forEach((b, j) => {
      if (j <= i || a.last < b.first || b.last < a.first) return;
      assert.ok(offsets[i]! + a.bytes <= offsets[j]! || offsets[j]! + b.bytes <= offsets[i]!, `blocks ${i} and ${j} overlap`);
    });
  });
  assert.ok(bytes >= lowerBound, `${bytes} bytes are fewer than the ${lowerBound} alive at once`);
  return lowerBound ? bytes / lowerBound - 1 : 0;
}

test('placed blocks do not overlap while they live, and the arena is near its lower bound', () => {
  const gaps: number[] = [];
  fc.assert(
    fc.property(blocks, (bs) => {
      gaps.push(check(bs));
    }),
    { seed: 1, numRuns: 400 },
  );
  const mean = gaps.reduce((n, g) => n + g, 0) / gaps.length;
  assert.ok(mean < 0.02, `mean gap ${mean}`);
  assert.ok(Math.max(...gaps) < 0.25, `largest gap ${Math.max(...gaps)}`);
});

test('the lower bound is the most that is alive at one time', () => {
  fc.assert(
    fc.property(blocks, (bs) => {
      const at = (t: number): number => bs.reduce((n, b) => (b.first <= t && t <= b.last ? n + rounded(b.bytes) : n), 0);
      assert.equal(liveBytes(bs), Math.max(0, ...bs.map((b) => at(b.first))));
    }),
    { seed: 2, numRuns: 300 },
  );
});

test('blocks of a train step (a stack that grows and shrinks) are placed without a gap', () => {
  const n = 40;
  const saved = Array.from({ length: n }, (_, i): Block => ({ bytes: 1000 + 64 * (i % 7), first: i, last: 2 * n - i }));
  const passing = Array.from({ length: 2 * n }, (_, i): Block => ({ bytes: 5000, first: i, last: i + 1 }));
  assert.ok(check([...saved, ...passing]) < 0.01);
});

test('no block, one block, blocks of nothing', () => {
  assert.deepEqual(place([]), { offsets: [], bytes: 0, lowerBound: 0 });
  assert.deepEqual(place([{ bytes: 100, first: 0, last: 0 }]), { offsets: [0], bytes: 128, lowerBound: 128 });
  assert.equal(
    place([
      { bytes: 0, first: 0, last: 3 },
      { bytes: 64, first: 1, last: 2 },
    ]).bytes,
    64,
  );
});

const view = (buffer: number, more: Partial<View> = {}): View => ({
  buffer,
  offset: 0,
  shape: [4, 3],
  strides: [3, 1],
  dtype: 'f32',
  ...more,
});
const map = (reads: View[], writes: View[]): AnyCall => ({
  kernel: 'map',
  attrs: { dims: [4, 3], expression: { loads: reads.length, steps: [], results: [0] } },
  reads,
  writes,
  label: '',
  flops: 0,
});

test('lifetimes run from the first to the last call that touches a buffer', () => {
  const calls = [map([view(0)], [view(1)]), map([view(1)], [view(2)]), map([view(0), view(2)], [view(3)])];
  assert.deepEqual(lifetimes(calls, 5, [0], [3]), [
    { first: -1, last: 2 },
    { first: 0, last: 1 },
    { first: 1, last: 2 },
    { first: 2, last: 3 },
    { first: 3, last: -1 },
  ]);
});

const gradient = { kernel: 'crossEntropyGrad', attrs: { rows: 4, width: 3 } } as const;

test('a pointwise result may lie over an operand that every load walks as the store does', () => {
  const cases: [string, AnyCall, boolean][] = [
    ['the same walk', map([view(0)], [view(1)]), true],
    ['read twice', map([view(0), view(0)], [view(1)]), true],
    ['read under another walk too', map([view(0), view(0, { strides: [1, 4] })], [view(1)]), false],
    ['transposed', map([view(0, { strides: [1, 4] })], [view(1)]), false],
    ['shifted', map([view(0, { offset: 1 })], [view(1)]), false],
    ['another element type', map([view(0, { dtype: 'i32' })], [view(1)]), false],
    ['into a part of a buffer', map([view(0)], [view(1, { strides: [6, 1] })]), false],
    ['from a part into a part', map([view(0, { strides: [6, 1] })], [view(1, { strides: [6, 1] })]), false],
    ['repeated', map([view(0, { strides: [0, 1] })], [view(1)]), false],
    ['another call', { ...map([view(0)], [view(1)]), kernel: 'softmax', attrs: { rows: 4, width: 3 } }, false],
    ['a gradient over its logits', { ...map([view(0), view(2), view(3), view(4)], [view(1)]), ...gradient }, true],
    ['a gradient over what is not its logits', { ...map([view(2), view(3), view(0), view(4)], [view(1)]), ...gradient }, false],
    ['two results in one buffer', map([view(0)], [view(1), view(1, { offset: 12 })]), false],
  ];
  for (const [name, call, expected] of cases) assert.equal(canOverwrite(call, 0, 1), expected, name);
});

test('only a plain copy of an argument to where it lies is idle', () => {
  const shared = new Sharing(3);
  shared.join(1, 0);
  const idle = (call: AnyCall, to = shared): boolean => isIdle(call, to, (b) => b === 0);
  assert.ok(idle(map([view(0)], [view(1)])));
  const busy: [string, AnyCall][] = [
    ['elsewhere', map([view(0)], [view(2)])],
    ['of no argument', map([view(1)], [view(0)])],
    ['of two', map([view(0), view(2)], [view(1)])],
    ['to two', map([view(0)], [view(1), view(2)])],
    ['transposed', map([view(0, { strides: [1, 4] })], [view(1)])],
    ['no map', { ...map([view(0)], [view(1)]), kernel: 'softmax', attrs: { rows: 4, width: 3 } }],
  ];
  for (const [name, call] of busy) assert.ok(!idle(call), name);
  const negated = {
    dims: [4, 3],
    expression: { loads: 1, steps: [{ op: 'neg' as const, lane: 'f32' as const, args: [0] }], results: [1] },
  };
  assert.ok(!idle({ ...map([view(0)], [view(1)]), kernel: 'map', attrs: negated }), 'negated');
  assert.ok(!idle(map([view(0)], [view(1)]), new Sharing(3)), 'where nothing is shared');
});

test('joined buffers find one root', () => {
  const s = new Sharing(5);
  s.join(1, 0);
  s.join(2, 1);
  s.join(4, 3);
  assert.deepEqual(
    [0, 1, 2, 3, 4].map((b) => s.find(b)),
    [0, 0, 0, 3, 3],
  );
});
