import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { PackedImages } from '../../data/index.ts';
import { imagesWithin, pixelFileBytes, readPixelFile, writePixelFile } from './pixel-file.ts';
import { downsample, largestSize } from './pixels-arm.ts';

const shapes = fc.record({
  images: fc.integer({ min: 0, max: 40 }),
  height: fc.integer({ min: 1, max: 9 }),
  width: fc.integer({ min: 1, max: 9 }),
  channels: fc.constantFrom(1 as const, 3 as const),
  classes: fc.integer({ min: 1, max: 70 }),
});

function made({
  images,
  height,
  width,
  channels,
  classes,
}: {
  images: number;
  height: number;
  width: number;
  channels: 1 | 3;
  classes: number;
}): PackedImages {
  return new PackedImages({
    pixels: Uint8Array.from({ length: images * height * width * channels }, (_, i) => (i * 37) & 255),
    labels: Array.from({ length: images }, (_, i) => (i * 5) % classes),
    shape: [height, width, channels],
    classes: Array.from({ length: classes }, (_, c) => `c${c}`),
  });
}

test('what is written is read back, and takes the bytes that were said', () => {
  const folder = mkdtempSync(join(tmpdir(), 'thimble-pixels-'));
  const path = join(folder, 'some.pixels');
  try {
    fc.assert(
      fc.property(shapes, (shape) => {
        const images = made(shape);
        writePixelFile(path, images);
        assert.equal(statSync(path).size, pixelFileBytes(shape));
        const back = readPixelFile(path, images.classes);
        assert.deepEqual([back.pixels, back.labels, back.shape], [images.pixels, images.labels, images.shape]);
        truncateSync(path, pixelFileBytes(shape) - 1);
        assert.throws(() => readPixelFile(path, images.classes), /its header says|is not a pixel file/);
      }),
      { numRuns: 40 },
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('as many images as fit, and not one more', () => {
  fc.assert(
    fc.property(shapes, fc.integer({ min: 16, max: 5000 }), (shape, bytes) => {
      const images = imagesWithin(bytes, shape);
      assert.ok(pixelFileBytes({ ...shape, images }) <= bytes);
      assert.ok(pixelFileBytes({ ...shape, images: images + 1 }) > bytes);
    }),
  );
});

test('the largest size that fits the budget, one row more where it does', () => {
  const images = made({ images: 10, height: 8, width: 8, channels: 1, classes: 2 });
  // 16 bytes of header, 10 labels of one bit, 10 images of 25 bytes.
  assert.deepEqual(largestSize(images, 16 + 2 + 250), [5, 5]);
  assert.deepEqual(largestSize(images, 16 + 2 + 249), [5, 4]);
  assert.deepEqual(largestSize(images, 16 + 2 + 199), [4, 4]);
  assert.throws(() => largestSize(images, 20), { name: 'BudgetError', needed: 28 });
});

test('downsampled pixels are means of the pixels that they cover', () => {
  const images = new PackedImages({ pixels: Uint8Array.of(0, 10, 20, 30, 40, 50, 60, 70), labels: [0], shape: [2, 4, 1], classes: ['a'] });
  assert.deepEqual([...downsample(images, 1, 2).pixels], [25, 45]);
});
