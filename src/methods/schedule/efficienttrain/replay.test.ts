import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DataRandom } from '../../../data/index.ts';
import { publishedReplay, ReplayBuffer, type Samples } from './replay.ts';

const bytes = 3;
/** `n` samples whose pixels and label all say who they are. */
const samples = (first: number, n: number): Samples => ({
  labels: Int32Array.from({ length: n }, (_, i) => first + i),
  pixels: Uint8Array.from({ length: n * bytes }, (_, i) => first + Math.floor(i / bytes)),
});

test('every batch is one part fresh, the rest from the last batches, each sample whole', () => {
  const buffer = new ReplayBuffer({ times: 4, batches: 3 }, new DataRandom(1), 4);
  const fresh = buffer.fresh(32);
  assert.equal(fresh, 8);
  const seen = new Set<number>();
  for (let step = 0; step < 20; step++) {
    const batch = buffer.deal(samples(step * 8, 8));
    assert.equal(batch.labels.length, 32);
    assert.deepEqual(batch.labels.slice(0, 8), samples(step * 8, 8).labels);
    batch.labels.forEach((label, i) => {
      assert.ok(label < (step + 1) * 8 && label >= (step - 2) * 8, `sample ${label} at step ${step} is too old`);
      for (let k = 0; k < bytes; k++) assert.equal(batch.pixels[i * bytes + k], label);
      if (i >= 8) seen.add(label);
    });
    assert.ok(buffer.bytes <= buffer.maxBytes(8, bytes));
  }
  assert.equal(buffer.bytes, buffer.maxBytes(8, bytes));
  assert.ok(seen.size > 60, 'old samples are drawn from all of the buffer');
});

test('pieces are drawn on their own, and batches that 32 does not divide are filled', () => {
  const buffer = new ReplayBuffer({ times: 3, batches: 5 }, new DataRandom(2));
  for (let step = 0; step < 8; step++) assert.equal(buffer.deal(samples(step, 37)).labels.length, 111);
  const draws = (seed: number): number[] =>
    Array.from(new ReplayBuffer({ times: 2, batches: 2 }, new DataRandom(seed)).deal(samples(0, 64)).labels);
  assert.deepEqual(draws(3), draws(3));
  assert.notDeepEqual(draws(3), draws(4));
});

test('without replay a batch passes through, and nothing is kept', () => {
  const buffer = new ReplayBuffer({ times: 1, batches: 0 }, new DataRandom(1));
  const batch = samples(0, 8);
  assert.equal(buffer.deal(batch), batch);
  assert.equal(buffer.bytes, 0);
});

test('the published phases, and what does not divide', () => {
  assert.deepEqual(
    Array.from({ length: 10 }, (_, i) => publishedReplay(i, 10).times),
    [4, 4, 2, 2, 2, 2, 1, 1, 1, 1],
  );
  assert.throws(() => new ReplayBuffer({ times: 4, batches: 2 }, new DataRandom(1)).fresh(30), /batch of 30 does not divide by 4/);
  assert.throws(() => new ReplayBuffer({ times: 2, batches: 0 }, new DataRandom(1)), /2 times from 0 batches/);
});
