import assert from 'node:assert/strict';
import { test } from 'node:test';
import { linesOf } from './section.ts';

test('rows of a section: ratios, targets, and null where a figure is missing', () => {
  const rows = [
    { name: 'product', unit: 'TFLOP/s', atLeast: 0.98 },
    { name: 'memory', unit: 'MiB', atMost: 0.8 },
    { name: 'bandwidth', unit: 'GB/s', theirs: 'copy', atLeast: 0.85 },
    { name: 'eager', unit: 'tokens/s', ours: 'tokens', theirs: 'eager tokens' },
    { name: 'absent', unit: 'ms', atLeast: 1 },
  ];
  const ours = { product: 97, memory: 80, bandwidth: 90, copy: 100, tokens: 30 };
  const lines = linesOf(rows, ours, { product: 100, memory: 100, 'eager tokens': 20, absent: 3 });
  assert.deepEqual(
    lines.map((l) => [l.name, l.ours, l.theirs, l.ratio, l.met]),
    [
      ['product', 97, 100, 0.97, false],
      ['memory', 80, 100, 0.8, true],
      ['bandwidth', 90, 100, 0.9, true],
      ['eager', 30, 20, 1.5, null],
      ['absent', null, 3, null, null],
    ],
  );
});
