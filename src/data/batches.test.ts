import assert from 'node:assert/strict';
import { test } from 'node:test';
import { batches, inOrder, readBatch } from './batches.ts';
import { describeImages, type ImageSet, subset } from './image-set.ts';
import { PackedImages, packImages } from './packed.ts';

/** Image i is two pixels of value i, class i % 3. */
const numbers = (size: number): PackedImages =>
  new PackedImages({
    pixels: Uint8Array.from({ length: size * 2 }, (_, i) => i >> 1),
    labels: Array.from({ length: size }, (_, i) => i % 3),
    shape: [1, 2, 1],
    classes: ['a', 'b', 'c'],
  });

test('a batch holds pixels and labels in the order asked for', async () => {
  const { pixels, labels } = await readBatch(numbers(10), [7, 2, 7]);
  assert.deepEqual(pixels, Uint8Array.of(7, 7, 2, 2, 7, 7));
  assert.deepEqual(labels, Int32Array.of(1, 2, 1));
});

test('training continues from the position of the last batch that was used', async () => {
  const set = numbers(10);
  const seen: number[][] = [];
  const positions = [];
  for await (const { indices, position, pixels, labels } of batches(set, { batchSize: 3, seed: 9, epochs: 3 })) {
    seen.push([...indices]);
    positions.push(position);
    assert.deepEqual(
      [...pixels],
      [...indices].flatMap((i) => [i, i]),
    );
    assert.deepEqual(
      [...labels],
      [...indices].map((i) => i % 3),
    );
  }
  assert.equal(seen.length, 9);
  for (const [k, position] of positions.entries()) {
    const rest: number[][] = [];
    for await (const { indices } of batches(set, { batchSize: 3, epochs: 3, position })) rest.push([...indices]);
    assert.deepEqual(rest, seen.slice(k + 1));
  }
});

test('in order, with the last smaller batch', async () => {
  const all: number[] = [];
  for await (const { indices } of inOrder(numbers(10), 4)) all.push(...indices);
  assert.deepEqual(
    all,
    Array.from({ length: 10 }, (_, i) => i),
  );
});

test('an error of a later batch comes when its turn does; a signal stops', async () => {
  const { at: _, ...coded } = view(numbers(6));
  const set: ImageSet = { ...coded, read: async (i) => (i === 4 ? Promise.reject(new Error('broken 4')) : numbers(6).read(i)) };
  let good = 0;
  await assert.rejects(async () => {
    for await (const _ of inOrder(set, 2)) good++;
  }, /broken 4/);
  assert.equal(good, 2);
  await assert.rejects(batches(numbers(4), { batchSize: 2, signal: AbortSignal.abort() }).next(), { name: 'AbortError' });
});

test('packing, views and descriptions', async () => {
  const picked = subset(numbers(9), [8, 1, 1]);
  const packed = await packImages(picked);
  assert.deepEqual(packed.pixels, Uint8Array.of(8, 8, 1, 1, 1, 1));
  assert.deepEqual(packed.at(1), Uint8Array.of(1, 1));
  assert.deepEqual(describeImages(packed), {
    source: 'memory',
    size: 3,
    shape: [1, 2, 1],
    classes: { a: 0, b: 2, c: 1 },
    pixelBytes: 6,
    residentBytes: 6,
    skipped: [],
  });
  const content = { labels: [0], shape: [1, 2, 1], classes: ['a'] } as const;
  assert.throws(() => new PackedImages({ ...content, pixels: new Uint8Array(3) }), /1 images of \[1,2,1\] take 2 bytes, got 3/);
  assert.throws(() => new PackedImages({ ...content, labels: [1], pixels: new Uint8Array(2) }), /image 0 has label 1, there are 1 classes/);
  await assert.rejects(packed.read(0, new Uint8Array(1)), /takes 2 bytes, the buffer has 1/);
});

const view = (set: ImageSet): ImageSet =>
  subset(
    set,
    Array.from({ length: set.size }, (_, i) => i),
  );
