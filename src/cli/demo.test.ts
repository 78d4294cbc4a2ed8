import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

test('the demo compares three arms in the same bytes and writes its report', () => {
  const folder = mkdtempSync(join(tmpdir(), 'thimble-demo-'));
  try {
    const main = fileURLToPath(new URL('./main.js', import.meta.url));
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [main, 'demo', '--images', '400', '--budget', '40kB', '--seconds', '10', '--out', folder, '--json'],
      { encoding: 'utf8' },
    );
    assert.equal(status, 0, stderr);
    const { arms, report } = JSON.parse(stdout.trimEnd().split('\n').at(-1)!);
    assert.deepEqual(
      arms.map(({ name }: { name: string }) => name),
      ['tokens', 'subset', 'downsampled'],
    );
    for (const { name, fileBytes, bytesPerImage, images, accuracy, trainSeconds, plannedPeakBytes, measuredPeakBytes } of arms) {
      assert.ok(fileBytes <= 40_000, `${name} takes ${fileBytes}`);
      assert.equal(bytesPerImage, fileBytes / images);
      assert.ok(accuracy > 0 && accuracy <= 1 && trainSeconds > 0 && measuredPeakBytes > plannedPeakBytes / 2, name);
    }
    assert.equal(statSync(join(folder, '40kB', 'images.tokens')).size, arms[0].fileBytes);
    const html = readFileSync(report, 'utf8');
    assert.match(html, /<svg/);
    assert.match(html, /thimble demo --seconds 10 --seed 0 --budget 40kB --images 400/);
    assert.match(html, /data:image\/png;base64/);
    assert.doesNotMatch(html, /(src|href)="http/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('a place that cannot be a folder is said before anything is learnt', () => {
  const main = fileURLToPath(new URL('./main.js', import.meta.url));
  const { status, stderr } = spawnSync(process.execPath, [main, 'demo', '--out', main], { encoding: 'utf8' });
  assert.equal(status, 1);
  assert.match(stderr, /^\[demo\] .*main\.js is no folder and cannot become one/);
});
