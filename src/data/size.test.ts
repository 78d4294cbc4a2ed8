import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseSize } from './size.ts';

const sizes = (...pairs: [number, number][]): { height: number; width: number }[] => pairs.map(([height, width]) => ({ height, width }));

test('the most common size of more than half, else the medians; capped and rounded', () => {
  assert.deepEqual(chooseSize(sizes([28, 28])), [28, 28]);
  assert.deepEqual(chooseSize(sizes([32, 32], [32, 32], [900, 20])), [32, 32]);
  assert.deepEqual(chooseSize(sizes([100, 50], [40, 60], [60, 90])), [60, 60]);
  // the most common of two in five, or of half, is not most of them
  assert.deepEqual(chooseSize(sizes([12, 12], [12, 12], [20, 28], [40, 52], [60, 72])), [20, 28]);
  assert.deepEqual(chooseSize(sizes([64, 64], [64, 64], [32, 32], [16, 16])), [32, 32]);
  assert.deepEqual(chooseSize(sizes([3000, 4000])), [192, 256]);
  assert.deepEqual(chooseSize(sizes([50, 37]), { multipleOf: 8 }), [48, 40]);
  assert.deepEqual(chooseSize(sizes([1, 2000])), [4, 256]);
  assert.throws(() => chooseSize([]), /no sizes/);
});
