import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { exportPublished, importPublished, type PublishedFiles, TokenStore, type TokenStoreConfig, TokenStoreWriter } from './index.ts';

const folder = mkdtempSync(join(tmpdir(), 'thimble-published-'));
after(() => rmSync(folder, { recursive: true }));
const files: PublishedFiles = {
  data: join(folder, 'train_data.bin'),
  index: join(folder, 'train_index.npy'),
  labels: join(folder, 'labels.txt'),
};
const CONFIG: TokenStoreConfig = { K: 391, grid: [2, 2], channels: 0, codec: 'packed', classes: ['cat', 'dog', 'owl'] };

// Three images of 4 tokens: 0 254 255 7 | 390 1 2 3 | 255 256 5 6, written down by hand from the published layout.
const STREAM = Uint8Array.of(0, 254, 255, 0, 7, 255, 135, 1, 2, 3, 255, 0, 255, 1, 5, 6);
const TOKENS = [
  [0, 254, 255, 7],
  [390, 1, 2, 3],
  [255, 256, 5, 6],
];
// numpy: gzip.compress of np.save(np.array([0, 5, 10, 16], dtype=np.uint64))
const INDEX = Buffer.from(
  'H4sIAAAAAAACA5vsF+obEMnIUMZQrZ6SWpxcpG6loG5TaqGuo6Cell9UUpSYF59flJIKEndLzClOBYoXZyQWpAL5GiY6mjoKtQoUAC4GKGCF0jABASgNAMGSub2gAAAA',
  'base64',
);

function writeFiles(): void {
  writeFileSync(files.data, gzipSync(STREAM));
  writeFileSync(files.index, INDEX);
  writeFileSync(files.labels, '2\n0\n1\n');
}

async function importAll(name: string): Promise<TokenStore> {
  const path = join(folder, name);
  using writer = TokenStoreWriter.create(path, CONFIG, { overwrite: true });
  await importPublished(files, writer);
  writer.finish();
  return new TokenStore(path);
}

test('reads the published files, gzipped or plain', async () => {
  writeFiles();
  for (const plain of [false, true]) {
    if (plain) writeFileSync(files.data, STREAM);
    using store = await importAll('in');
    assert.deepEqual(
      [...store].map(({ tokens }) => [...tokens]),
      TOKENS,
    );
    assert.deepEqual([...store.labels()], [2, 0, 1]);
  }
});

test('writes the same files', async () => {
  writeFiles();
  using store = await importAll('out');
  const out: PublishedFiles = { data: join(folder, 'd'), index: join(folder, 'i'), labels: join(folder, 'l') };
  await exportPublished(store, out);
  assert.deepEqual(gunzipSync(readFileSync(out.data)), Buffer.from(STREAM));
  assert.deepEqual(gunzipSync(readFileSync(out.index)), gunzipSync(INDEX));
  assert.equal(readFileSync(out.labels, 'utf8'), '2\n0\n1\n');
});

test('goes on after a kill', async () => {
  writeFiles();
  const path = join(folder, 'resume');
  const first = TokenStoreWriter.create(path, CONFIG);
  first.append(TOKENS[0]!, 2);
  first.commit();
  first.close();
  using writer = TokenStoreWriter.resume(path);
  assert.equal(await importPublished(files, writer), 2);
  writer.finish();
  using store = new TokenStore(path);
  assert.deepEqual(
    [...store].map(({ tokens }) => [...tokens]),
    TOKENS,
  );
});

test('names the file and the image where they disagree', async () => {
  const cases: [() => void, RegExp][] = [
    [() => writeFileSync(files.labels, '2\n0\n'), /index.npy holds 4 starts, 2 labels need 3/],
    [() => writeFileSync(files.labels, '2\nowl\n1\n'), /line 2 is "owl", not a class number/],
    [() => writeFileSync(files.labels, '2\n0\n7\n'), /label 7; the store has 3 classes/],
    [() => writeFileSync(files.data, gzipSync(STREAM.subarray(0, 12))), /ends within image 2 of 3/],
    [() => writeFileSync(files.data, gzipSync(Buffer.concat([STREAM, STREAM]))), /goes on after its 3 images/],
    [() => writeFileSync(files.data, gzipSync(STREAM).subarray(0, 20)), /cannot be read: unexpected end of file/],
    [
      () =>
        writeFileSync(
          files.data,
          STREAM.map((b) => (b === 135 ? 255 : b)),
        ),
      /image 1: .*token 510 is not under K = 391/,
    ],
    [() => writeFileSync(files.data, STREAM.with(4, 255)), /image 0: .*ends within token 3 of 4/],
    [() => writeFileSync(files.data, STREAM.with(2, 1)), /image 0: .*holds more than 4 tokens/],
    [() => writeFileSync(files.index, 'nonsense, but long enough'), /no .npy array/],
    [() => writeFileSync(files.index, Buffer.concat([gunzipSync(INDEX), Buffer.alloc(1 << 17)])), /has more than 32 bytes/],
  ];
  for (const [damage, message] of cases) {
    writeFiles();
    damage();
    await assert.rejects(importAll('bad'), message);
  }
});
