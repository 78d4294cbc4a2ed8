import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PackedImages } from '../../data/index.ts';
import { pixelBatch, pixelScale } from './pixel-batches.ts';

const images = new PackedImages({ pixels: Uint8Array.of(0, 10, 20, 30, 40, 50), labels: [0], shape: [2, 3, 1], classes: ['a'] });
const plain = { mean: 0, deviation: 1 };

test('mean and deviation are those of the pixels', () => {
  const { mean, deviation } = pixelScale(images);
  assert.equal(mean, 25);
  assert.ok(Math.abs(deviation - 17.078251) < 1e-5);
  assert.deepEqual([...pixelBatch(images, [0], { mean: 20, deviation: 10 })], [-2, -1, 0, 1, 2, 3]);
});

test('mirrored images have their rows reversed; both kinds occur, and a seed decides', () => {
  const batch = (seed: number): number[] => [...pixelBatch(images, [0], plain, { shift: 0, flip: true, seed: [seed] })];
  const seen = new Set(Array.from({ length: 20 }, (_, seed) => batch(seed).join()));
  assert.deepEqual([...seen].sort(), ['0,10,20,30,40,50', '20,10,0,50,40,30']);
  assert.deepEqual(batch(3), batch(3));
});

test('moved images repeat their edges', () => {
  const seen = new Set(
    Array.from({ length: 200 }, (_, seed) => [...pixelBatch(images, [0], plain, { shift: 1, flip: false, seed: [seed] })].join()),
  );
  assert.equal(seen.size, 9);
  assert.ok(seen.has('0,0,10,0,0,10')); // down and to the right
});

test('channels come apart', () => {
  const colour = new PackedImages({ pixels: Uint8Array.of(1, 2, 3, 4, 5, 6), labels: [0], shape: [1, 2, 3], classes: ['a'] });
  assert.deepEqual([...pixelBatch(colour, [0], plain)], [1, 4, 2, 5, 3, 6]);
});
