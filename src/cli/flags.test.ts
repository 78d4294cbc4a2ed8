import assert from 'node:assert/strict';
import { test } from 'node:test';
import { effortFlag, positive, whole } from './flags.ts';

const refuses = (parse: (text: string) => number, wayOut: RegExp, ...texts: string[]): void => {
  for (const text of texts) assert.throws(() => parse(text), wayOut, text);
};

test('numbers of flags are what the flag can take, and the flag is named where they are not', () => {
  assert.deepEqual(['3', '4e2'].map(whole('images', 3)), [3, 400]);
  refuses(whole('images', 3), /^RangeError: \[thimble\] --images .*: give a whole number from 3$/, '2', '-4', '3.5', 'Infinity', '1e16');
  assert.deepEqual(['0.5', '30'].map(positive('epochs')), [0.5, 30]);
  refuses(positive('epochs'), /^RangeError: \[thimble\] --epochs .*: give a number above 0$/, '0', '-2', 'Infinity');
  assert.deepEqual(['1', '0.01'].map(effortFlag.parse), [1, 0.01]);
  refuses(effortFlag.parse, /^RangeError: \[thimble\] --effort .*: give a number above 0, up to 1$/, '0', '-1', '1.01', 'Infinity');
});
