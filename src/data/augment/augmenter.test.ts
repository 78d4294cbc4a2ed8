import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Augmenter } from './augmenter.ts';
import { type AugmentJob, augmentImages } from './images.ts';

const shape = [8, 8, 3] as const;
const bytes = 192;
const all = Uint8Array.from({ length: 12 * bytes }, (_, i) => (i * 7919) >> 3);

/** Images of a set of twelve, at one place of a run. */
function jobOf(indices: readonly number[], seeds: readonly number[] = [3, 1]): AugmentJob {
  const pixels = new Uint8Array(indices.length * bytes);
  indices.forEach((i, k) => void pixels.set(all.subarray(i * bytes, (i + 1) * bytes), k * bytes));
  return { pixels, shape, augment: { padCrop: 2, flip: 0.5, randAugment: { magnitude: 9 } }, seeds, indices };
}
const images = (pixels: Uint8Array): Uint8Array[] =>
  Array.from({ length: pixels.length / bytes }, (_, k) => pixels.slice(k * bytes, (k + 1) * bytes));

test('an image is augmented the same in any batch and by any number of threads, and otherwise in another epoch', async () => {
  const order = [5, 2, 11, 0, 7, 9];
  const expected = images(augmentImages(jobOf(order)));
  assert.deepEqual(images(augmentImages(jobOf(order.toReversed()))), expected.toReversed());
  assert.notDeepEqual(images(augmentImages(jobOf(order, [3, 2]))), expected);
  for (const threads of [0, 1, 3]) {
    await using augmenter = new Augmenter(threads);
    const jobs = order.flatMap((i) => [augmenter.run(jobOf([i, 4])), augmenter.run(jobOf([4, i]))]);
    const made = (await Promise.all(jobs)).map(images);
    assert.deepEqual(
      made.map(([a, b], k) => (k % 2 ? b : a)),
      order.flatMap((_, k) => [expected[k], expected[k]]),
    );
  }
});

test('an error comes back from a thread, which goes on', async () => {
  await using augmenter = new Augmenter(1);
  const wrong = jobOf([1]);
  await assert.rejects(augmenter.run({ ...wrong, augment: { randAugment: { magnitude: 11 } } }), /magnitude 11 is outside 0 to 10/);
  assert.deepEqual(await augmenter.run(jobOf([1])), augmentImages(jobOf([1])));
});

test('a job that cannot be sent is refused, and the next ones get their own answers', async () => {
  await using augmenter = new Augmenter(1);
  const job = jobOf([1]);
  const first = augmenter.run(job);
  await assert.rejects(augmenter.run(job), /have 192 bytes, not 0/); // its buffer is gone already
  const next = augmenter.run(jobOf([2]));
  assert.deepEqual(await first, augmentImages(jobOf([1])));
  assert.deepEqual(await next, augmentImages(jobOf([2])));
});

test('work that waits for a thread that has ended is refused', async () => {
  const augmenter = new Augmenter(1);
  const waiting = augmenter.run(jobOf([1]));
  const refused = assert.rejects(waiting, /worker thread ended/);
  await augmenter[Symbol.asyncDispose]();
  await refused;
});
