import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assembleTraced } from '../../tensor/assemble-traced.ts';
import { decodeAttention, type Tensor, typeOf } from '../../tensor/index.ts';
import { HOPPER } from './calls.ts';
import { programSource } from './index.ts';
import { rulesOn } from './rules.ts';

/** The launch of one query's attention over a cache of bf16. */
function launchOf(batch: number, heads: number, kvHeads: number, width: number, capacity: number, card = HOPPER) {
  const types = [
    typeOf([batch, 1, heads, width], 'bf16'),
    typeOf([batch, capacity, kvHeads, width], 'bf16'),
    typeOf([batch, capacity, kvHeads, width], 'bf16'),
    typeOf([], 'i32'),
  ];
  const attend = (q: Tensor, k: Tensor, v: Tensor, n: Tensor): Tensor[] => [decodeAttention(q, k, v, n)];
  const { program } = assembleTraced(rulesOn(card), attend as (...xs: Tensor[]) => Tensor[], types);
  const [launch] = programSource(program, card).launches.flat();
  assert.ok(launch?.kind === 'kernel');
  const { grid, shared = 0, cluster } = launch;
  return { blocks: grid[0] * grid[1] * grid[2], splits: grid[0], shared, cluster };
}

const AMPERE = { capability: 86, multiprocessors: 84, sharedBytes: 99 << 10 };

test('heads of a long cache are shared out over blocks that fill the GPU once, as many on each multiprocessor', () => {
  for (const card of [HOPPER, AMPERE])
    for (const [batch, heads, kvHeads, width] of [
      [1, 32, 32, 64],
      [1, 12, 12, 64],
      [2, 16, 8, 128],
      [3, 7, 7, 32],
    ] as const) {
      const { blocks, shared } = launchOf(batch, heads, kvHeads, width, 1 << 16, card);
      const places = 4 * card.multiprocessors;
      assert.ok(blocks <= places && blocks > places - batch * kvHeads, `${blocks} blocks for ${places} places`);
      const all = card.sharedBytes + 1024;
      assert.ok(5 * (shared + 1024) > all && 4 * (shared + 1024) < all, `${shared} bytes of ${all} for four blocks and not for five`);
    }
});

test('three queries and more of a head share a multiprocessor with nobody', () => {
  for (const [heads, kvHeads, width] of [
    [32, 8, 64],
    [32, 4, 128],
  ] as const) {
    const { blocks, shared } = launchOf(1, heads, kvHeads, width, 1 << 16);
    assert.equal(blocks, Math.floor(HOPPER.multiprocessors / kvHeads) * kvHeads);
    assert.ok(2 * (shared + 1024) > HOPPER.sharedBytes + 1024 && shared <= HOPPER.sharedBytes);
  }
});

test('a cluster merges few parts, where half of the GPU is free', () => {
  assert.equal(launchOf(1, 32, 32, 64, 400).cluster, 7);
  assert.equal(launchOf(1, 32, 8, 64, 400).cluster, 4);
  assert.equal(launchOf(1, 32, 32, 64, 4096).cluster, undefined); // 16 parts
  assert.equal(launchOf(2, 32, 32, 64, 4096).cluster, undefined); // 8 parts of each head, but no place is left
  assert.equal(launchOf(1, 32, 32, 64, 60).cluster, undefined); // one part
  assert.equal(launchOf(1, 32, 32, 64, 400, { ...HOPPER, capability: 80 }).cluster, undefined);
});
