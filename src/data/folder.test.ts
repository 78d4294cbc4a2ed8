import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { encodePng, type Image, ImageError } from '../io/images.ts';
import { openManifest } from './csv.ts';
import { openFolder } from './folder.ts';
import { describeImages } from './image-set.ts';
import { openImages } from './open.ts';
import type { ScanProgress } from './parallel.ts';

let root = '';
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'thimble-folder-'));
});
after(() => rm(root, { recursive: true, force: true }));

async function put(path: string, content: Uint8Array | string): Promise<string> {
  const file = join(root, path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, content);
  return file;
}

const solid = (value: number, side = 8, channels: 1 | 3 = 1): Promise<Uint8Array> =>
  encodePng({ width: side, height: side, channels, pixels: new Uint8Array(side * side * channels).fill(value) } satisfies Image);

test('classes and files in sorted order, at any depth, links followed, the rest passed over', async () => {
  await put('pets/dog/b.png', await solid(2));
  await put('pets/dog/a.PNG', await solid(1));
  await put('pets/cat/group/x.png', await solid(3));
  await put('pets/cat/group/deeper/y.png', await solid(4));
  await symlink('..', join(root, 'pets/cat/group/back'));
  await put('pets/cat/notes.txt', 'no image');
  await put('pets/cat/._x.png', 'no image');
  await put('pets/.hidden/z.png', await solid(99));
  await put('pets/readme.md', 'pets');
  await symlink('dog', join(root, 'pets/wolf'));
  const set = await openImages(join(root, 'pets'));
  assert.deepEqual(set.classes, ['cat', 'dog', 'wolf']);
  assert.deepEqual([...set.labels], [0, 0, 1, 1, 2, 2]);
  const values = await Promise.all(Array.from(set.labels, async (_, i) => (await set.read(i)).pixels[0]));
  assert.deepEqual(values, [3, 4, 1, 2, 1, 2]);
  assert.deepEqual(set.shape, [8, 8, 1]);
});

test('mixed sizes and colour modes become one shape, from memory or from disk', async () => {
  await put('mixed/a/1.png', await solid(10, 16));
  await put('mixed/a/2.png', await solid(20, 16, 3));
  await put('mixed/b/1.png', await solid(30, 40));
  for (const cacheBytes of [0, 1 << 20]) {
    const set = await openFolder(join(root, 'mixed'), { cacheBytes });
    assert.deepEqual(set.shape, [16, 16, 3]);
    assert.equal(set.residentBytes, cacheBytes === 0 ? 0 : 3 * 16 * 16 * 3);
    const out = new Uint8Array(1000).fill(7);
    const { pixels, label } = await set.read(2, out);
    assert.deepEqual([pixels.length, label, pixels[0], pixels.at(-1), out[768]], [768, 1, 30, 30, 7]);
  }
  const grey = await openFolder(join(root, 'mixed'), { size: [4, 6], channels: 1 });
  assert.deepEqual([grey.shape, (await grey.read(1)).pixels], [[4, 6, 1], new Uint8Array(24).fill(20)]);
});

test('bad files: named at once, or left out and named in the report', async () => {
  await put('bad/a/1.png', await solid(1));
  const empty = await put('bad/a/2.png', '');
  await put('bad/b/1.png', await solid(3));
  const cut = await put('bad/b/2.png', (await solid(4, 64, 3)).subarray(0, 80));
  const only = await put('bad/c/only.png', 'text');
  await assert.rejects(openFolder(join(root, 'bad')), (error) => error instanceof ImageError && [empty, cut, only].includes(error.path));
  for (const cacheBytes of [0, 1 << 20]) {
    const set = await openFolder(join(root, 'bad'), { onBad: 'skip', cacheBytes });
    assert.deepEqual(set.classes, ['a', 'b'], 'a class without a readable image is none');
    assert.deepEqual([...set.labels], [0, 1]);
    assert.deepEqual([(await set.read(0)).pixels[0], (await set.read(1)).pixels[0]], [1, 3]);
    assert.deepEqual(
      set.skipped.map((s) => s.path),
      [empty, cut, only],
    );
    assert.match(set.skipped[0]!.reason, /the file is empty/);
    assert.deepEqual(describeImages(set).classes, { a: 1, b: 1 });
  }
  await put('hopeless/a/1.png', '');
  await assert.rejects(
    openFolder(join(root, 'hopeless'), { onBad: 'skip' }),
    /none of 1 images can be read; the first: .*1\.png: the file is empty/,
  );
});

test('a folder that may not be listed: named as an image in it would be, or left out and named', async () => {
  await put('shut/a/1.png', await solid(1));
  await put('shut/b/1.png', await solid(2));
  const inner = join(root, 'shut/b/inner');
  await put('shut/b/inner/deeper/2.png', await solid(3));
  const list = await put('shut.csv', 'shut/a/1.png,a\n');
  await chmod(root, 0o755);
  await chmod(list, 0);
  await chmod(inner, 0);
  const isRoot = process.geteuid?.() === 0; // who may list everything
  try {
    if (isRoot) process.seteuid!(65534);
    await assert.rejects(openImages(join(root, 'shut')), (error) => error instanceof ImageError && error.path === inner);
    const set = await openImages(join(root, 'shut'), { onBad: 'skip' });
    assert.deepEqual([[...set.labels], set.skipped], [[0, 1], [{ path: inner, reason: 'permission to read it is denied' }]]);
    await assert.rejects(openImages(list), { message: `[csv] ${list}: permission to read it is denied` });
    await assert.rejects(openImages(inner), { message: `[images] ${inner}: permission to read it is denied` });
  } finally {
    if (isRoot) process.seteuid!(0);
    await chmod(inner, 0o700);
  }
});

test('folders that are not what is expected are told what is', async () => {
  await mkdir(join(root, 'empty'));
  await assert.rejects(openImages(join(root, 'empty')), /has no images; expected one folder a class: .*<class>/);
  await mkdir(join(root, 'husk/a'), { recursive: true });
  await assert.rejects(openImages(join(root, 'husk')), /has 1 folders without JPEG, PNG or WebP images/);
  await put('flat/1.png', await solid(1));
  await assert.rejects(openImages(join(root, 'flat')), /has 1 images but no class folders/);
  const flat = await openImages(join(root, 'flat'), { labels: 'none' });
  assert.deepEqual([flat.size, flat.classes], [1, ['unlabelled']]);
  await assert.rejects(openImages(join(root, 'nowhere')), /no such file or folder/);
  await assert.rejects(openImages(await put('some.txt', 'x')), /neither a folder, nor an IDX file/);
});

test('another pixel or another label is another fingerprint, whether the pixels are kept in memory or not', async () => {
  const path = await put('print/a/1.png', await solid(1));
  await put('print/b/1.png', await solid(2));
  const of = async (folder: string, cacheBytes: number) => (await openFolder(join(root, folder), { cacheBytes })).fingerprint();
  await put('labels/a/1.png', await solid(1));
  await put('labels/a/2.png', await solid(2));
  for (const cacheBytes of [0, 1 << 20]) {
    await writeFile(path, await solid(1));
    const before = await of('print', cacheBytes);
    assert.equal(await of('print', cacheBytes), before);
    assert.notEqual(await of('labels', cacheBytes), before);
    await writeFile(path, await solid(3));
    assert.notEqual(await of('print', cacheBytes), before);
  }
});

test('given classes set the labels, so that a model meets its own', async () => {
  await put('few/b/1.png', await solid(1));
  const set = await openFolder(join(root, 'few'), { classes: ['a', 'b', 'c'] });
  assert.deepEqual([...set.labels], [1]);
  await assert.rejects(openFolder(join(root, 'few'), { classes: ['x'] }), /class "b" is not one of x/);
  const many = Array.from({ length: 1000 }, (_, i) => `c${i}`);
  await put('few-bad/a/1.png', '');
  await put('few-bad/b/1.png', '');
  await assert.rejects(openFolder(join(root, 'few-bad'), { classes: ['a'] }), /class "b" is not one of a/, 'before a file is read');
  await assert.rejects(openFolder(join(root, 'few'), { classes: many }), /class "b" is not one of c0, .*c19 and 980 more$/);
});

test('a class is the same however its accents are spelt', async () => {
  await put('accents/e\u0301te\u0301/1.png', await solid(1));
  const options = { classes: ['\u00e9t\u00e9'] };
  assert.deepEqual([...(await openFolder(join(root, 'accents'), options)).labels], [0]);
  const manifest = await put('accents.csv', 'accents/e\u0301te\u0301/1.png,e\u0301te\u0301\n');
  assert.deepEqual([...(await openManifest(manifest, options)).labels], [0]);
});

test('a size that no image can have is refused', async () => {
  for (const size of [
    [0, 4],
    [4, 1.5],
    [Number.NaN, 4],
  ] as const)
    await assert.rejects(openFolder(join(root, 'few'), { size, onBad: 'skip' }), /images of .* pixels; give whole numbers above 0/);
});

test('a CSV manifest, relative to itself; numbered classes by value', async () => {
  await put('list/img/a, 1.png', await solid(1));
  await put('list/img/2.png', await solid(2));
  const path = await put('list/all.csv', 'path,label\n"img/a, 1.png",10\nimg/2.png,9\nimg/none.png,9\n');
  await assert.rejects(openManifest(path), /none\.png: no such file/);
  const set = await openImages(path, { onBad: 'skip' });
  assert.deepEqual(
    [set.classes, [...set.labels]],
    [
      ['9', '10'],
      [1, 0],
    ],
  );
  assert.match(set.skipped[0]!.path, /none\.png$/);
});

test('a manifest in another encoding is refused: its classes would run together', async () => {
  await assert.rejects(
    openManifest(await put('list/latin.csv', Buffer.from('img/2.png,H\xfct\nimg/2.png,H\xe4t\n', 'latin1'))),
    /latin\.csv is not UTF-8/,
  );
  await assert.rejects(openManifest(await put('list/folder.csv', 'img,a\n')), /list\/img: it is a folder/);
});

test('progress counts every file; a signal stops the scan', async () => {
  for (let i = 0; i < 12; i++) await put(`many/a/${i}.png`, await solid(i));
  const seen: ScanProgress[] = [];
  await openFolder(join(root, 'many'), { onProgress: (p) => seen.push(p) });
  assert.deepEqual(
    seen.filter((p) => p.phase === 'scan').map((p) => p.done),
    Array.from({ length: 12 }, (_, i) => i + 1),
  );
  assert.deepEqual(seen.at(-1), { phase: 'decode', done: 12, total: 12 });
  const control = new AbortController();
  let calls = 0;
  const stopped = openFolder(join(root, 'many'), {
    signal: control.signal,
    onProgress: () => {
      if (++calls === 3) control.abort();
    },
  });
  await assert.rejects(stopped, { name: 'AbortError' });
  assert.ok(calls < 12);
});
