/** Where the blocks of the unfiltered gradient of linearCrossEntropy keep what they need. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { denseBlocks, denseScratch, pitchOf } from './cross-entropy-dense.ts';

const cases: [number, number, number, number][] = [
  [8192, 256_000, 2304, 48e6],
  [4096, 128_256, 2048, 48e6],
  [2048, 50_304, 768, 48e6],
  [8192, 256_000, 64, 12e6],
  [130, 2600, 32, 1e5],
  [129, 2077, 8, 2e5],
];
for (const [N, V, D, memory] of cases)
  test(`blocks of ${N} x ${V} logits, d = ${D}, in ${memory} bytes`, () => {
    const scratch = denseScratch(N, V, { eps: 0, memory })!;
    assert.ok(scratch <= memory);
    const blocks = denseBlocks(N, V, D, memory);
    const sums = (V - 2 * N) * D; // the first element of dc under the sums
    const summed = new Uint8Array(V);
    const written = new Uint8Array(V);
    const last = blocks.findLastIndex((b) => b.de);
    blocks.forEach(({ first, columns, at, de, dc }, i) => {
      const size = pitchOf(columns) * N;
      if (at === undefined) assert.ok(2 * size <= scratch);
      else {
        assert.ok(at % 8 === 0 && at >= 0 && at + size <= V * D);
        for (let j = Math.floor(at / D); j * D < at + size; j++) assert.ok(!written[j] && !(dc && j >= first && j < first + columns));
        if (i <= last) assert.ok(at + size <= sums);
      }
      for (let j = first; j < first + columns; j++) {
        if (de) summed[j]!++;
        if (dc) written[j]!++;
      }
      if (dc && i <= last) assert.ok((first + columns) * D <= sums);
    });
    assert.ok(summed.every((n) => n === 1) && written.every((n) => n === 1));
  });

test('the filter, few classes a row or too little memory for whole tiles have no such blocks', () => {
  assert.equal(denseScratch(1024, 50_000, { eps: 2 ** -12, memory: 48e6 }), undefined);
  assert.equal(denseScratch(8192, 50_257, { eps: 0, memory: 48e6 }), undefined);
  assert.equal(denseScratch(1024, 50_000, { eps: 0, memory: 4e5 }), undefined);
});
