import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../../../device/index.ts';
import { random, tensor } from '../../../tensor/index.ts';
import { MirrorCounts, mirrorImages } from './mirror.ts';

test('the partner of a code is what stands at the mirrored place most often', () => {
  const counts = new MirrorCounts(5);
  // Rows of 3: 0 1 2 becomes, mirrored, 2' 1' 0' with 0' = 3, 1' = 1, 2' = 0; once 0' = 4.
  counts.add([0, 1, 2], [0, 1, 3], 3);
  counts.add([0, 1, 2, 0, 1, 2], [0, 1, 3, 0, 1, 4], 3);
  assert.deepEqual(Array.from(counts.best()), [3, 1, 0, 3, 4]);
});

test('equal counts give the lowest code', () => {
  const counts = new MirrorCounts(4);
  counts.add([0, 0], [3, 2], 2);
  assert.equal(counts.best()[0], 2);
});

test('mirroring turns rows around and exchanges codes; twice is once where partners are mutual', () => {
  const codes = tensor(Int32Array.of(0, 1, 2, 3, 3, 0), { shape: [1, 2, 3] });
  const mirror = tensor(Int32Array.of(1, 0, 2, 3));
  const once = mirrorImages(random.key(1), codes, mirror, 1);
  assert.deepEqual(once.toArray(), [
    [
      [2, 0, 1],
      [1, 3, 3],
    ],
  ]);
  assert.deepEqual(mirrorImages(random.key(1), once, mirror, 1).toArray(), codes.toArray());
  assert.deepEqual(mirrorImages(random.key(1), codes, mirror, 0).toArray(), codes.toArray());
});
