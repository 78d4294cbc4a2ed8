import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Heap } from './heap.ts';

const START = 1000;
const CHUNK = 4096;

test('blocks never overlap, are aligned, and all freed memory is one block again', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(3000), fc.nat(99), fc.boolean()), { maxLength: 120, size: 'max' }), (steps) => {
      let end = START + CHUNK;
      const heap = new Heap(START, end, (bytes) => (end += Math.ceil(bytes / CHUNK) * CHUNK));
      const live: { at: number; bytes: number }[] = [];
      for (const [bytes, pick, frees] of steps) {
        if (frees && live.length) {
          const [b] = live.splice(pick % live.length, 1);
          heap.free(b!.at, b!.bytes);
          continue;
        }
        const at = heap.alloc(bytes);
        assert.equal(at % 64, 0);
        assert.ok(at >= START && at + bytes <= end, `${at} + ${bytes} lies outside ${START}..${end}`);
        for (const b of live) assert.ok(at + bytes <= b.at || b.at + b.bytes <= at, `${at} + ${bytes} lies over ${b.at} + ${b.bytes}`);
        live.push({ at, bytes: Math.max(1, bytes) });
      }
      for (const b of live) heap.free(b.at, b.bytes);
      // everything fits where it started: nothing is lost between blocks
      const before = end;
      const first = Math.ceil(START / 64) * 64;
      assert.equal(heap.alloc(Math.floor((end - first) / 64) * 64), first);
      assert.equal(end, before);
    }),
    { seed: 1, numRuns: 400 },
  );
});

test('freed memory is used again before the heap grows', () => {
  let grown = 0;
  let end = 64 * 5;
  const heap = new Heap(64, end, (bytes) => {
    grown++;
    return (end += bytes);
  });
  const blocks = [0, 1, 2, 3].map(() => heap.alloc(64));
  heap.free(blocks[1]!, 64);
  heap.free(blocks[2]!, 64);
  assert.equal(heap.alloc(128), blocks[1]);
  assert.equal(grown, 0);
  assert.equal(heap.alloc(64), 64 * 5);
  assert.equal(grown, 1);
});
