import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import sharp, { type Colour, type SharpOptions } from 'sharp';
import { decodeImage, encodePng, type Image, ImageError, probeImage, resizeImage } from './images.ts';

const golden = new URL('../../tests/golden/images/', import.meta.url);

const solid = (width: number, height: number, background: Colour) => sharp({ create: { width, height, channels: 3, background } });
const grey = (width: number, height: number, ...pixels: number[]): Image => ({
  width,
  height,
  channels: 1,
  pixels: Uint8Array.from(pixels),
});

test('PNG round trip, grey and RGB', async () => {
  for (const channels of [1, 3] as const) {
    const pixels = Uint8Array.from({ length: 5 * 4 * channels }, (_, i) => (i * 37) % 256);
    const image: Image = { width: 5, height: 4, channels, pixels };
    const png = await encodePng(image);
    assert.deepEqual(await decodeImage(png), image);
    assert.deepEqual(await probeImage(png), { width: 5, height: 4, channels });
  }
});

test('JPEG and WebP decode; grey to RGB and back', async () => {
  for (const file of [await solid(6, 5, '#6496c8').jpeg().toBuffer(), await solid(6, 5, '#6496c8').webp().toBuffer()]) {
    const { width, height, channels, pixels } = await decodeImage(file);
    assert.deepEqual([width, height, channels], [6, 5, 3]);
    [100, 150, 200].forEach((value, c) => assert.ok(Math.abs(pixels[c]! - value) <= 4, `${pixels.subarray(0, 3)}`));
  }
  const png = await encodePng(grey(2, 1, 10, 200));
  const rgb = await decodeImage(png, { channels: 3 });
  assert.deepEqual(rgb.pixels, Uint8Array.of(10, 10, 10, 200, 200, 200));
  assert.deepEqual(await decodeImage(await encodePng(rgb), { channels: 1 }), grey(2, 1, 10, 200));
});

test('transparency is laid on white', async () => {
  const png = await sharp(new Uint8Array([0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 128]), { raw: { width: 3, height: 1, channels: 4 } })
    .png()
    .toBuffer();
  assert.deepEqual((await decodeImage(png)).pixels, Uint8Array.of(255, 255, 255, 0, 0, 0, 255, 127, 127));
});

test('EXIF rotation is applied', async () => {
  const raw = { raw: { width: 3, height: 2, channels: 1 } } as const;
  const png = await sharp(Uint8Array.of(1, 2, 3, 4, 5, 6), raw)
    .toColourspace('b-w')
    .withMetadata({ orientation: 6 })
    .png()
    .toBuffer();
  assert.deepEqual(await decodeImage(png, { channels: 1 }), grey(2, 3, 4, 1, 5, 2, 6, 3));
  assert.deepEqual(await probeImage(png, { channels: 1 }), { width: 2, height: 3, channels: 1 });
});

test('16 bits become 8, CMYK becomes RGB, of an animation the first frame', async () => {
  const deep = { raw: { width: 2, height: 2, channels: 1, depth: 'ushort' } } as unknown as SharpOptions;
  const png = await sharp(Uint16Array.of(0, 0x8000, 0xffff, 0x1234), deep)
    .toColourspace('grey16')
    .png()
    .toBuffer();
  assert.deepEqual(await decodeImage(png), grey(2, 2, 0, 0x80, 0xff, 0x12));

  const cmyk = await decodeImage(new URL('cmyk.jpg', golden).pathname);
  assert.equal(cmyk.channels, 3);
  const [r, g, b] = cmyk.pixels;
  assert.ok(r! > 150 && g! < 100 && b! < 100, `a dark red, got ${[r, g, b]}`);

  const frames = await Promise.all([solid(4, 4, '#ff0000'), solid(4, 4, '#00ff00')].map((s) => s.png().toBuffer()));
  const animated = await sharp(frames, { join: { animated: true } })
    .webp({ lossless: true })
    .toBuffer();
  const first = await decodeImage(animated);
  assert.deepEqual([first.height, ...first.pixels.subarray(0, 3)], [4, 255, 0, 0]);
});

test('resizes as exact means (area) and as Pillow does (bicubic)', async () => {
  const { height, width, pixels, cases } = JSON.parse(await readFile(new URL('golden.json', golden), 'utf8'));
  const image: Image = { height, width, channels: 3, pixels: Uint8Array.from(pixels) };
  for (const { filter, height, width, pixels: expected } of cases) {
    const resized = resizeImage(image, { height, width, filter });
    assert.deepEqual([resized.height, resized.width, resized.pixels.length], [height, width, expected.length]);
    const worst = Math.max(...expected.map((v: number, i: number) => Math.abs(v - resized.pixels[i]!)));
    const tolerance = filter === 'area' ? 0 : 1; // Pillow rounds between its two passes
    assert.ok(worst <= tolerance, `${filter} ${height} x ${width}: off by ${worst}`);
  }
});

test('fits: stretch keeps all, cover crops, contain pads', async () => {
  const wide = grey(4, 2, 10, 20, 30, 40, 10, 20, 30, 40);
  const area = { height: 2, width: 2, filter: 'area' } as const;
  assert.deepEqual(resizeImage(wide, area), grey(2, 2, 15, 35, 15, 35));
  assert.deepEqual(resizeImage(wide, { ...area, fit: 'cover' }), grey(2, 2, 20, 30, 20, 30));
  assert.deepEqual(
    resizeImage(wide, { height: 4, width: 4, filter: 'area', fit: 'contain' }),
    grey(4, 4, 0, 0, 0, 0, ...wide.pixels, 0, 0, 0, 0),
  );
  for (const fit of ['stretch', 'cover', 'contain'] as const) {
    const { height, width, pixels } = resizeImage(
      { width: 8, height: 4, channels: 1, pixels: new Uint8Array(32).fill(90) },
      { height: 4, width: 4, fit },
    );
    assert.deepEqual([height, width, pixels[0], pixels[8]], [4, 4, fit === 'contain' ? 0 : 90, 90], fit);
  }
});

test('decoding at a size equals decoding, then resizing', async () => {
  const { height, width, pixels } = JSON.parse(await readFile(new URL('golden.json', golden), 'utf8'));
  const image: Image = { height, width, channels: 3, pixels: Uint8Array.from(pixels) };
  const png = await encodePng(image);
  for (const filter of ['bicubic', 'area'] as const) {
    const resize = { height: 9, width: 13, filter, fit: 'cover' } as const;
    assert.deepEqual(await decodeImage(png, { resize }), resizeImage(image, resize));
  }
});

test('a source much larger than the size is reduced by the decoder first, to about the same pixels', async () => {
  const { height, width, pixels } = JSON.parse(await readFile(new URL('golden.json', golden), 'utf8'));
  const large = resizeImage({ height, width, channels: 3, pixels: Uint8Array.from(pixels) }, { height: 240, width: 300 });
  const resize = { height: 24, width: 30 };
  const [reduced, direct] = [await decodeImage(await encodePng(large), { resize }), resizeImage(large, resize)];
  const worst = Math.max(...direct.pixels.map((v, i) => Math.abs(v - reduced.pixels[i]!)));
  assert.ok(worst <= 6, `off by ${worst}`);
});

test('what cannot be read is an ImageError that names the file', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'thimble-images-'));
  try {
    const jpeg = await solid(64, 64, '#123456').jpeg().toBuffer();
    const webp = await solid(64, 64, '#123456').webp().toBuffer();
    const png = await encodePng({ width: 64, height: 64, channels: 1, pixels: Uint8Array.from({ length: 4096 }, (_, i) => (i * i) % 251) });
    const cases: [string, Uint8Array, RegExp][] = [
      ['empty.jpg', new Uint8Array(0), /the file is empty/],
      ['text.png', Buffer.from('hello'), /not a JPEG, PNG or WebP image/],
      ['vector.png', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"/>'), /not a JPEG/],
      ['cut.jpg', jpeg.subarray(0, jpeg.length - 40), /premature end|corrupt/],
      ['cut.webp', webp.subarray(0, webp.length - 20), /./],
      ['cut.png', png.subarray(0, png.length / 2), /./],
      ['head.png', png.subarray(0, 10), /head\.png: Input buffer has corrupt header$/],
    ];
    for (const [name, bytes, message] of cases) {
      const path = join(folder, name);
      await writeFile(path, bytes);
      await assert.rejects(decodeImage(path), (error: Error) => {
        assert.ok(error instanceof ImageError && error.path === path, String(error));
        assert.match(error.message, message);
        assert.ok(error.message.includes(name));
        return true;
      });
    }
    await symlink('/dev/zero', join(folder, 'endless.png'));
    await assert.rejects(decodeImage(join(folder, 'endless.png')), /endless\.png: it is no file but a pipe, a socket or a device/);
    await assert.rejects(decodeImage(join(folder, 'none.png')), /none\.png: no such file/);
    await assert.rejects(decodeImage(Uint8Array.of(1), { name: 'upload 7' }), /upload 7: not a JPEG/);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test('a small file that decodes to too many pixels is refused before decoding', async () => {
  const bomb = await solid(3000, 2000, '#000').png().toBuffer();
  for (const read of [decodeImage, probeImage]) {
    await assert.rejects(read(bomb, { maxPixels: 1e6 }), /3000 x 2000 pixels, the limit is 1000000; raise maxPixels/);
  }
});
