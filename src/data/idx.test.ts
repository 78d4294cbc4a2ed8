import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { FormatError } from '../io/errors.ts';
import { openFashion } from './fashion.ts';
import { guessLabelsPath, openIdx, readIdx } from './idx.ts';
import { countLabels } from './image-set.ts';
import { openImages } from './open.ts';
import type { PackedImages } from './packed.ts';

let folder = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'thimble-idx-'));
});
after(() => rm(folder, { recursive: true, force: true }));

const header = (...dims: number[]): number[] => [
  0,
  0,
  8,
  dims.length,
  ...dims.flatMap((d) => [d >>> 24, (d >>> 16) & 255, (d >>> 8) & 255, d & 255]),
];
const images = Uint8Array.from([...header(2, 1, 3), 1, 2, 3, 4, 5, 6]);
const labels = Uint8Array.from([...header(2), 1, 0]);

async function put(name: string, bytes: Uint8Array): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, bytes);
  return path;
}

test('plain, gzip and Brotli; labels beside the images', async () => {
  const pack = { '': (b: Uint8Array) => b, '.gz': gzipSync, '.br': brotliCompressSync };
  for (const [ending, f] of Object.entries(pack)) {
    const path = await put(`train-images-idx3-ubyte${ending}`, f(images));
    await put(`train-labels-idx1-ubyte${ending}`, f(labels));
    const set = await openImages(path);
    assert.deepEqual([set.size, set.shape, set.classes, [...set.labels]], [2, [1, 3, 1], ['0', '1'], [1, 0]]);
    assert.deepEqual((await set.read(1)).pixels, Uint8Array.of(4, 5, 6));
  }
  assert.equal((await openImages(folder)).size, 2);
  await assert.rejects(openImages(folder, { split: 'test' }), /no IDX images of the test split/);
  assert.throws(() => guessLabelsPath('x/pictures.idx'), /cannot guess the labels/);
});

test('files of many chunks keep the order of their bytes', async () => {
  const [n, side] = [5, 1000];
  const pixels = Uint8Array.from({ length: n * side * side }, (_, i) => (Math.imul(i, 2654435761) >>> 24) ^ (i >>> 20));
  const file = Buffer.concat([Uint8Array.from(header(n, side, side)), pixels]);
  for (const [ending, bytes] of [
    ['', file],
    ['.gz', gzipSync(file, { level: 1 })],
  ] as const) {
    const { dims, data } = await readIdx(await put(`large${ending}`, bytes));
    assert.deepEqual(dims, [n, side, side]);
    assert.ok(Buffer.compare(data, pixels) === 0, ending);
  }
});

test('labels are the classes of their numbers, in the order and the size that a model asks for', async () => {
  const path = await put('pair-images-idx3-ubyte', images);
  await put('pair-labels-idx1-ubyte', labels);
  const set = await openImages(path, { classes: ['1', '2', '0'], size: [2, 6] });
  assert.deepEqual(
    [[...set.labels], set.classes, set.shape],
    [
      [0, 2],
      ['1', '2', '0'],
      [2, 6, 1],
    ],
  );
  const { pixels } = await set.read(0);
  assert.deepEqual([pixels[0], pixels[5]], [1, 3]);
  for (const size of [
    [0, 4],
    [4, 1.5],
  ] as const)
    await assert.rejects(openImages(path, { size }), /pair-images-idx3-ubyte: images of .* pixels; give whole numbers above 0/);
  await assert.rejects(openImages(path, { classes: ['cat', 'dog'] }), /pair-images-idx3-ubyte: class "1" is not one of cat, dog/);
});

test('every truncation is an error, plain and packed', async () => {
  for (const [ending, bytes] of [
    ['', images],
    ['.gz', gzipSync(images)],
    ['.br', brotliCompressSync(images)],
  ] as const) {
    for (let length = 0; length < bytes.length; length++) {
      await assert.rejects(readIdx(await put(`cut${ending}`, bytes.subarray(0, length))), FormatError, `${ending} ${length}`);
    }
  }
});

test('a damaged header is an error or another array, never a large allocation', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(15), fc.nat(255), async (at, value) => {
      const copy = Uint8Array.from(images);
      copy[at] = value;
      const path = await put('damaged', copy);
      await readIdx(path).then(
        ({ dims, data }) =>
          assert.equal(
            dims.reduce((a, b) => a * b, 1),
            data.length,
          ),
        (error) => assert.ok(error instanceof FormatError, String(error)),
      );
    }),
    { numRuns: 200 },
  );
  const vast = await put('vast', Uint8Array.from([...header(0xffffffff, 0xffffffff), 1]));
  await assert.rejects(readIdx(vast), /takes .* PiB, the limit is 4\.0 GiB/);
});

test('a small packed file that unpacks to more than its header says is stopped', async () => {
  const bomb = gzipSync(Buffer.concat([images, Buffer.alloc(64 << 20)]));
  await assert.rejects(readIdx(await put('bomb.gz', bomb)), /more bytes than its header \[2,1,3\] says \(22\)/);
});

test('pairs that do not fit', async () => {
  const path = await put('a-images-idx3', images);
  const three = await put('three', Uint8Array.from([...header(3), 0, 1, 2]));
  await assert.rejects(openIdx(path, three), /has 2 images, .* has 3 labels; are they a pair/);
  const good = await put('good', labels);
  await assert.rejects(openIdx(path, good, { classes: ['one'] }), /label 1, there are 1 classes/);
  await assert.rejects(openIdx(good, good), /dimensions \[2\] are not images/);
  await assert.rejects(openIdx(path, path), /are not labels/);
  for (const dims of [
    [0, 2, 3],
    [2, 0, 3],
    [2, 3, 0],
    [2, 1, 3, 2],
  ]) {
    const none = await put('none', Uint8Array.from([...header(...dims), ...new Uint8Array(dims.reduce((a, b) => a * b))]));
    await assert.rejects(openIdx(none, good), /are not images; expected \[n, h, w\] or \[n, h, w, 3\]/, String(dims));
  }
  const floats = await put('floats', Uint8Array.from([0, 0, 13, 1, 0, 0, 0, 1, 0, 0, 0, 0]));
  await assert.rejects(readIdx(floats), /begins with 00000d01, not an IDX file of unsigned bytes/);
  await assert.rejects(openIdx(path), /a-labels-idx1: no such file/);
});

test('the Fashion-MNIST subset of the package is balanced', async () => {
  for (const [split, size] of [
    ['train', 20_000],
    ['test', 5_000],
  ] as const) {
    const set = await openFashion(split);
    assert.deepEqual([set.size, set.shape], [size, [28, 28, 1]]);
    assert.deepEqual([...countLabels(set)], Array(10).fill(size / 10));
  }
});

const original = fileURLToPath(new URL('../../../shared/data/fashion-mnist/', import.meta.url));
test('every image of the subset is one of the original, under its label', {
  skip: !existsSync(original) && 'no ../shared/data/fashion-mnist',
}, async () => {
  const [ours, theirs] = await Promise.all([openFashion('test'), openImages(original, { split: 'test' })]);
  const key = (set: PackedImages, i: number): string => `${set.labels[i]} ${Buffer.from(set.at(i)).toString('latin1')}`;
  const known = new Set(Array.from(theirs.labels, (_, i) => key(theirs as PackedImages, i)));
  assert.ok(Array.from(ours.labels, (_, i) => known.has(key(ours as PackedImages, i))).every(Boolean));
});
