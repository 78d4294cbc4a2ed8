import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { byFrequency, countTokens, entropyBits, relabel, relabelRows } from './relabel.ts';

test('numbers codes by descending frequency, ties in order, and the codebook follows', () => {
  const order = byFrequency([1, 5, 0, 5]);
  assert.deepEqual([...order.oldOf], [1, 3, 0, 2]);
  assert.deepEqual([...relabel(Uint16Array.of(0, 1, 2, 3), order)], [2, 0, 3, 1]);
  assert.deepEqual([...relabelRows(Float32Array.of(0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5), order)], [1, 1.5, 3, 3.5, 0, 0.5, 2, 2.5]);
});

test('every token keeps its codebook row, and counts fall', () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 30 }), { minLength: 1, maxLength: 200 }), (tokens) => {
      const order = byFrequency(countTokens(tokens, 31));
      const rows = relabelRows(
        Float32Array.from({ length: 31 }, (_, i) => i),
        order,
      );
      const renumbered = relabel(Uint16Array.from(tokens), order);
      renumbered.forEach((token, i) => assert.equal(rows[token], tokens[i]));
      const counts = countTokens(renumbered, 31);
      for (let s = 1; s < 31; s++) assert.ok(counts[s]! <= counts[s - 1]!);
    }),
  );
  assert.throws(() => countTokens([0, 31], 31), /token 31 at 1 is not in 0..30/);
});

test('entropy of known laws', () => {
  assert.ok(Math.abs(entropyBits([7, 7, 7, 7]) - 2) < 1e-12);
  assert.equal(entropyBits([0, 9]), 0);
  assert.ok(Math.abs(entropyBits([1, 2, 1]) - 1.5) < 1e-12);
});
