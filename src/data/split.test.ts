import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { PackedImages } from './packed.ts';
import { splitImages, splitIndices } from './split.ts';

test('a split is a partition, repeats by seed, and leaves every class an image to train on', () =>
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 8 }),
      fc.double({ min: 0, max: 0.95, noNaN: true }),
      fc.integer(),
      (counts, share, seed) => {
        const labels = Int32Array.from(counts.flatMap((n, c) => Array<number>(n).fill(c)));
        const set = { labels, classes: counts.map(String) };
        const { train, validation } = splitIndices(set, share, seed);
        assert.deepEqual(
          [...train, ...validation].sort((a, b) => a - b),
          [...labels.keys()],
        );
        assert.deepEqual(new Set(Array.from(train, (i) => labels[i])).size, counts.length);
        assert.deepEqual(splitIndices(set, share, seed), { train, validation });
        counts.forEach((n, c) => {
          const held = validation.filter((i) => labels[i] === c).length;
          assert.ok(held <= n * share + 1 + 1e-9, `class ${c}: ${held} of ${n} at ${share}`);
        });
      },
    ),
  ));

test('shares of small classes add up; seeds differ', () => {
  const labels = Int32Array.from({ length: 30 }, (_, i) => Math.floor(i / 3));
  const set = { labels, classes: Array.from({ length: 10 }, (_, c) => String(c)) };
  const a = splitIndices(set, 0.1, 1).validation;
  assert.equal(a.length, 3);
  assert.notDeepEqual(splitIndices(set, 0.3, 1).validation, splitIndices(set, 0.3, 2).validation);
  assert.throws(() => splitIndices(set, 1, 0), /validation share 1/);
});

test('the two parts are sets', async () => {
  const set = new PackedImages({ pixels: Uint8Array.of(0, 10, 20, 30), labels: [0, 0, 1, 1], shape: [1, 1, 1], classes: ['a', 'b'] });
  const { train, validation } = splitImages(set, { validation: 0.5, seed: 5 });
  assert.deepEqual([train.size, validation.size], [2, 2]);
  const all = await Promise.all([train, validation].flatMap((part) => [part.read(0), part.read(1)]));
  assert.deepEqual(all.map((s) => s.pixels[0]).sort(), [0, 10, 20, 30]);
  for (const { pixels, label } of all) assert.equal(label, pixels[0]! < 15 ? 0 : 1);
  await assert.rejects(train.read(2), /no image 2, there are 2/);
});
