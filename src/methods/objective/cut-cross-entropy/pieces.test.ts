import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodePieces } from './pieces.ts';

/** As GPT-2's list has them: Ġ, U+0120, is a space, Ċ, U+010A, a line's end. */
const merges = ['#version: 0.2', 'Ġ t', 'h e', 'Ġt he', 'Ã ©', 'Ċ Ċ', 'h er', ''].join('\n');
const encode = (text: string, vocabulary = 256 + 6): number[] => [...encodePieces(text, merges, vocabulary)];
const bytes = (text: string): number[] => [...Buffer.from(text)];

test('the pair that comes first in the list is joined first, words take the space before them', () => {
  assert.deepEqual(encode(' the'), [258]); // Ġt, he, then both
  assert.deepEqual(encode('the'), [...bytes('t'), 257]);
  assert.deepEqual(encode(' her the'), [...bytes(' '), 257, ...bytes('r'), 258]); // no 'e r': 'h e' was first
  assert.deepEqual(encode('hehe'), [257, 257]);
  assert.deepEqual(encode('the', 257), bytes('the')); // one merge alone
});

test('bytes that do not print have letters of their own, and every byte is a piece', () => {
  assert.deepEqual(encode('é'), [259]); // C3 A9
  assert.deepEqual(encode('\n\n'), [260]);
  assert.deepEqual(encode('\n\n', 256), bytes('\n\n'));
  const text = '\u0000\u0007 ~\u007f\u00a0\u00ad\u00ffα魚';
  assert.deepEqual(encode(text, 256), bytes(text));
});

test('words, numbers and marks are pieces apart', () => {
  assert.deepEqual(encode('he2he, he'), [257, ...bytes('2'), 257, ...bytes(', '), 257]);
  assert.throws(() => encode('x', 256 + 7), /\[bpe\] 6 merges make no vocabulary of 263; use a smaller one/);
});
