import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { decodeImage, encodePng } from '../io/images.ts';
import { openCifarSheets } from './cifar.ts';
import { openImages } from './open.ts';

const folder = fileURLToPath(new URL('../../../shared/data/cifar10', import.meta.url));

test('CIFAR-10 sheets: images cut from their place, labels beside them', {
  skip: !existsSync(folder) && 'no ../shared/data/cifar10',
}, async () => {
  const set = await openCifarSheets(folder, { split: 'test', limit: 2600 });
  assert.deepEqual([set.size, set.shape, set.classes.length, set.classes[0]], [2600, [32, 32, 3], 10, 'airplane']);
  const labels = await readFile(join(folder, 'test-labels.u8'));
  const sheet = await decodeImage(join(folder, 'test-01.webp'));
  // Image 2557 is the 57th of the second sheet: row 1, column 7.
  const { pixels, label } = await set.read(2557);
  assert.equal(label, labels[2557]);
  for (const [y, x] of [
    [0, 0],
    [5, 31],
    [31, 9],
  ] as const) {
    const at = ((32 + y) * sheet.width + 7 * 32 + x) * 3;
    assert.deepEqual([...pixels.subarray((y * 32 + x) * 3, (y * 32 + x) * 3 + 3)], [...sheet.pixels.subarray(at, at + 3)]);
  }
  assert.equal((await openImages(folder, { split: 'test' })).size, 10_000);
});

test('every image is cut from its place in its sheet', async (t) => {
  const small = mkdtempSync(join(tmpdir(), 'thimble-cifar-'));
  t.after(() => rmSync(small, { recursive: true }));
  writeFileSync(join(small, 'classes.txt'), 'cat dog');
  const images = 2500 + 53; // a whole sheet, and two rows of another
  writeFileSync(
    join(small, 'train-labels.u8'),
    Uint8Array.from({ length: images }, (_, i) => i % 2),
  );
  const width = 50 * 32;
  const shade = (image: number, y: number, x: number, c: number): number => (image * 7 + (y >> 3) * 5 + (x >> 3) * 3 + c) % 256;
  for (const [sheet, height] of [width, 64].entries()) {
    const pixels = new Uint8Array(width * height * 3);
    for (let at = 0; at < pixels.length; at++) {
      const [y, x, c] = [Math.floor(at / 3 / width), Math.floor(at / 3) % width, at % 3];
      pixels[at] = shade(sheet * 2500 + Math.floor(y / 32) * 50 + Math.floor(x / 32), y % 32, x % 32, c);
    }
    writeFileSync(join(small, `train-0${sheet}.webp`), await encodePng({ width, height, channels: 3, pixels }));
  }
  const set = await openCifarSheets(small);
  assert.equal(set.size, images);
  for (const i of [0, 1, 50, 2499, 2500, 2551, 2552]) {
    const { pixels, label } = await set.read(i);
    assert.equal(label, i % 2);
    const expected = Array.from({ length: 3072 }, (_, at) => shade(i, Math.floor(at / 96), Math.floor(at / 3) % 32, at % 3));
    assert.deepEqual([...pixels], expected, `image ${i}`);
  }
  await assert.rejects(openCifarSheets(small, { split: 'test' }), { code: 'ENOENT' });
});

test('sheets are labelled in the classes of a model, and refused where it has not all of them', async (t) => {
  const small = mkdtempSync(join(tmpdir(), 'thimble-cifar-'));
  t.after(() => rmSync(small, { recursive: true }));
  writeFileSync(join(small, 'classes.txt'), 'cat\ndog\n');
  writeFileSync(join(small, 'test-labels.u8'), Uint8Array.of(0, 1, 1));
  const [width, height] = [50 * 32, 32];
  writeFileSync(
    join(small, 'test-00.webp'),
    await encodePng({ width, height, channels: 3, pixels: new Uint8Array(width * height * 3).fill(7) }),
  );
  const set = await openImages(small, { split: 'test', classes: ['bird', 'dog', 'cat'] });
  assert.deepEqual(
    [[...set.labels], set.classes],
    [
      [2, 1, 1],
      ['bird', 'dog', 'cat'],
    ],
  );
  const others = Array.from({ length: 256 }, (_, i) => `other ${i}`);
  assert.deepEqual([...(await openImages(small, { split: 'test', classes: [...others, 'cat', 'dog'] })).labels], [256, 257, 257]);
  await assert.rejects(openImages(small, { split: 'test', classes: ['cat', 'bird'] }), /class "dog" is not one of cat, bird/);
});
