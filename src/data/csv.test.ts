import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseCsv, parseManifest } from './csv.ts';

test('quoted fields, line ends, blank lines, a byte order mark', () => {
  const rows = parseCsv('\ufeffa,"b, ""c""\r\nd",\r\n\r\n"",e\rf');
  assert.deepEqual(rows, [
    { fields: ['a', 'b, "c"\r\nd', ''], line: 1 },
    { fields: ['', 'e'], line: 4 },
    { fields: ['f'], line: 5 },
  ]);
  assert.deepEqual(parseCsv(''), []);
  assert.deepEqual(parseCsv('a,'), [{ fields: ['a', ''], line: 1 }]);
});

test('what is quoted comes back', () =>
  fc.assert(
    fc.property(fc.array(fc.array(fc.string(), { minLength: 2, maxLength: 4 }), { maxLength: 5 }), (rows) => {
      const text = rows.map((row) => row.map((f) => `"${f.replaceAll('"', '""')}"`).join(',')).join('\n');
      assert.deepEqual(
        parseCsv(text).map((r) => r.fields),
        rows,
      );
    }),
  ));

test('a bad quote is named with its line, and quickly', () => {
  for (const text of ['a,b\n"c', 'a,b\nx"c"', 'a,b\n"c"d,e'])
    assert.throws(() => parseCsv(text, 'm.csv'), /m\.csv, line 2: a stray or unclosed quote/);
  const started = performance.now();
  assert.throws(() => parseCsv(`"${'""'.repeat(200_000)}`), /stray or unclosed/);
  assert.throws(() => parseCsv(`"${'a,b\n'.repeat(4_000_000)}`), /stray or unclosed/);
  assert.ok(performance.now() - started < 2000);
});

test('a manifest with and without a header', () => {
  assert.deepEqual(parseManifest('x/1.png,cat\n"x,2.png", dog \n', 'm'), [
    { path: 'x/1.png', className: 'cat' },
    { path: 'x,2.png', className: 'dog' },
  ]);
  assert.deepEqual(parseManifest('Label,id,Filename\ncat,7,1.png', 'm'), [{ path: '1.png', className: 'cat' }]);
  assert.throws(() => parseManifest('a.png,cat\nb.png', 'm.csv'), /m\.csv, line 2: expected path,label, got "b\.png"/);
  assert.throws(() => parseManifest('path,label\n', 'm.csv'), /m\.csv has no rows/);
});
