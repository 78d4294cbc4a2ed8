import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { test } from 'node:test';
import { hashWhole, readWhole, writeWhole } from './whole.ts';

/** A file of `size` bytes that moves none, at most `most` of them in a call; like Node it takes no length of 2 GiB. */
function fake(size: number, most = Number.POSITIVE_INFINITY): { handle: FileHandle; places: number[] } {
  const places: number[] = [];
  const move = (bytes: Uint8Array, offset: number, length: number, position: number): number => {
    assert.ok(length < 2 ** 31 && offset + length <= bytes.byteLength, `${length} bytes from ${offset}`);
    places.push(position);
    return Math.min(length, most, size - position);
  };
  const handle = {
    read: async (b: Uint8Array, o: number, n: number, p: number) => ({ bytesRead: move(b, o, n, p), buffer: b }),
    write: async (b: Uint8Array, o: number, n: number, p: number) => ({ bytesWritten: move(b, o, n, p), buffer: b }),
  };
  return { handle: handle as unknown as FileHandle, places };
}

test('more than 2 GiB are read and written in several calls, each where the last one ended', async () => {
  const large = new Uint8Array(2 ** 31 + 100); // pages that nobody touches take no memory
  for (const work of [readWhole, writeWhole] as const) {
    const { handle, places } = fake(2 ** 33);
    await work(handle, large, 10);
    assert.deepEqual(places, [10, 10 + 2 ** 30, 10 + 2 ** 31]);
    const slow = fake(2 ** 33, 2 ** 29);
    await work(slow.handle, large, 0);
    assert.deepEqual(
      slow.places,
      [0, 1, 2, 3, 4].map((i) => i * 2 ** 29),
    );
  }
});

test('a file that ends early says how much there was', async () => {
  assert.equal(await readWhole(fake(70).handle, new Uint8Array(100), 20), 50);
  assert.equal(await readWhole(fake(0).handle, new Uint8Array(0), 0), 0);
});

test('a checksum of more than 2 GiB', () => {
  const hash = createHash('sha256');
  hashWhole(hash, new Uint8Array(2 ** 31 + 100));
  // head -c $((2**31 + 100)) /dev/zero | sha256sum
  assert.equal(hash.digest('hex'), '87c6a3138336c0c8a779f0e4f65c03b557220ffd26841038603e00e39ac85f7c');
});
