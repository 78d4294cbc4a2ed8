import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EpochSampler } from './sampler.ts';

const counted = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const take = (sampler: EpochSampler, n: number): number[][] => counted(n).map(() => [...sampler.next()]);

test('an epoch holds every image once, in a new order each time', () => {
  const sampler = new EpochSampler(10, { batchSize: 4, dropLast: false, seed: 3 });
  assert.equal(sampler.batchesPerEpoch, 3);
  const epochs = [take(sampler, 3), take(sampler, 3)].map((batches) => batches.flat());
  for (const epoch of epochs)
    assert.deepEqual(
      [...epoch].sort((a, b) => a - b),
      counted(10),
    );
  assert.notDeepEqual(epochs[0], epochs[1]);
  assert.deepEqual(sampler.position, { seed: 3, epoch: 1, index: 10 });
});

test('dropLast leaves out the remainder; a batch is never larger than the set', () => {
  const sampler = new EpochSampler(10, { batchSize: 4, shuffle: false });
  assert.equal(sampler.batchesPerEpoch, 2);
  assert.deepEqual(take(sampler, 3), [
    [0, 1, 2, 3],
    [4, 5, 6, 7],
    [0, 1, 2, 3],
  ]);
  for (const dropLast of [true, false]) {
    const even = new EpochSampler(8, { batchSize: 4, dropLast });
    assert.deepEqual(take(even, even.batchesPerEpoch).flat().sort(), counted(8));
    assert.deepEqual(even.position, { seed: 0, epoch: 0, index: 8 });
    const odd = new EpochSampler(9, { batchSize: 4, dropLast, shuffle: false });
    assert.deepEqual(take(odd, 3)[2], dropLast ? [0, 1, 2, 3] : [8]);
  }
  assert.deepEqual(take(new EpochSampler(3, { batchSize: 64, shuffle: false }), 2), [
    [0, 1, 2],
    [0, 1, 2],
  ]);
});

test('a saved position, through JSON, continues exactly', () =>
  fc.assert(
    fc.property(
      fc.record({
        size: fc.integer({ min: 1, max: 40 }),
        batchSize: fc.integer({ min: 1, max: 12 }),
        seed: fc.integer(),
        before: fc.nat(20),
      }),
      fc.record({ shuffle: fc.boolean(), dropLast: fc.boolean() }),
      ({ size, batchSize, seed, before }, how) => {
        const straight = new EpochSampler(size, { batchSize, seed, ...how });
        take(straight, before);
        const position = JSON.parse(JSON.stringify(straight.position));
        const resumed = new EpochSampler(size, { batchSize, ...how, position });
        assert.deepEqual(take(resumed, 15), take(straight, 15));
      },
    ),
  ));

test('a position that does not fit is refused', () => {
  for (const position of [
    { seed: 0, epoch: 0, index: 11 },
    { seed: 0, epoch: -1, index: 0 },
    { seed: 0, epoch: 0, index: 0.5 },
  ]) {
    assert.throws(() => new EpochSampler(10, { batchSize: 2, position }), /does not fit 10 images/);
  }
  assert.throws(() => new EpochSampler(0, { batchSize: 2 }), /from 0 images/);
  assert.throws(() => new EpochSampler(5, { batchSize: 0 }), /batch size 0/);
});
