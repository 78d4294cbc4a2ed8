import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseBytes, printBytes, printExactBytes, printPair } from './size.ts';

const size = fc.oneof(
  fc.nat({ max: 2 ** 30 }).map((n) => n * 2 ** 22 + (n % 9973)),
  fc.nat({ max: 1 << 20 }),
  fc.nat({ max: 4096 }).map((n) => n * 1024),
  fc.nat({ max: 9000 }).map((n) => n * 1e5),
);

test('reads SI and IEC units, fractions exactly, and plain numbers', () => {
  const cases: [string | number, number][] = [
    ['8MB', 8_000_000],
    ['1.5 GiB', 1_610_612_736],
    ['512KB', 512_000],
    [123, 123],
    ['0', 0],
    [' 2 kib ', 2048],
    ['7', 7],
    ['7 B', 7],
    ['4.35 kB', 4350],
    ['1.1GB', 1_100_000_000],
    ['0.3 KiB', 307],
    ['8mb', 8_000_000],
    ['1TiB', 2 ** 40],
    ['9.007 PB', 9007 * 10 ** 12],
    [1.9, 1],
  ];
  for (const [text, bytes] of cases) assert.equal(parseBytes(text), bytes, String(text));
});

test('refuses what is no size, and says why', () => {
  for (const bad of [undefined, null, ['8MB']])
    assert.throws(() => parseBytes(bad as never), /\[bytes\] .* is not a size; give a number of bytes/);
  assert.throws(() => parseBytes('8Mb'), /reads as bits; write 'MB'/);
  assert.throws(() => parseBytes('8M'), /ambiguous; write 'MB' .* or 'MiB'/);
  assert.throws(() => parseBytes('8 parsecs'), /unknown unit 'parsecs'/);
  assert.throws(() => parseBytes('9000 PiB'), /2\^53-1/);
  for (const bad of ['', 'MB', '-1', '1e6', '1,5 MB', '1.', '.5KB', '1 2', '9'.repeat(65)])
    assert.throws(() => parseBytes(bad), RangeError, bad);
  for (const bad of [-1, Number.NaN, Infinity, 2 ** 53]) assert.throws(() => parseBytes(bad), RangeError);
});

test('prints one decimal, promotes at the unit', () => {
  const cases: [number, string][] = [
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1.0 KiB'],
    [3174, '3.1 KiB'],
    [1048575, '1.0 MiB'],
    [8_000_000, '7.6 MiB'],
    [-2048, '-2.0 KiB'],
    [2 ** 50, '1.0 PiB'],
    [2 ** 60, '1024.0 PiB'],
  ];
  for (const [bytes, text] of cases) assert.equal(printBytes(bytes), text);
  assert.equal(printBytes(8_000_000, 'si'), '8.0 MB');
  assert.deepEqual(printPair(2048, 2049), ['2048 B', '2049 B']);
});

test('exact print parses back to the same bytes; rounded print to within half a last digit', () => {
  assert.equal(printExactBytes(8_000_000), '8MB');
  assert.equal(printExactBytes(1536), '1536B');
  assert.equal(printExactBytes(1.5 * 2 ** 30), '1.5GiB');
  fc.assert(
    fc.property(size, (bytes) => assert.equal(parseBytes(printExactBytes(bytes)), bytes)),
    { numRuns: 500 },
  );
  fc.assert(
    fc.property(size, fc.constantFrom('iec' as const, 'si' as const), (bytes, units) => {
      const text = printBytes(bytes, units);
      const unit = parseBytes(`1${text.replace(/[\d. ]/g, '')}`);
      assert.ok(Math.abs(parseBytes(text) - bytes) <= 0.0501 * unit + 1, `${bytes} prints ${text}`);
    }),
    { numRuns: 500 },
  );
});
