import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Ledger } from './ledger.ts';
import { fileBytes, measurePeak, residentBytes } from './measure.ts';

const MIB = 1 << 20;

/** Touches `mib` MiB of fresh memory and lets it go. */
function touch(mib: number): number {
  const held = Array.from({ length: mib }, () => Buffer.alloc(MIB, 1));
  return held.reduce((sum, buffer) => sum + buffer[MIB - 1]!, 0);
}

test('file bytes are those of stat: files, folders, sparse files', () => {
  const folder = mkdtempSync(join(tmpdir(), 'thimble-ledger-'));
  try {
    writeFileSync(join(folder, 'a'), Buffer.alloc(5000, 7));
    mkdirSync(join(folder, 'sub'));
    writeFileSync(join(folder, 'sub', 'b'), Buffer.alloc(123, 7));
    assert.equal(fileBytes(folder).apparent, 5123);
    assert.ok(fileBytes(join(folder, 'a')).allocated % 512 === 0);
    writeFileSync(join(folder, 'sparse'), '');
    truncateSync(join(folder, 'sparse'), 64 * MIB);
    const sparse = fileBytes(join(folder, 'sparse'));
    assert.equal(sparse.apparent, 64 * MIB);
    if (process.platform === 'linux') assert.ok(sparse.allocated < MIB, `${sparse.allocated}`);
    assert.throws(() => fileBytes(join(folder, 'none')), /ENOENT/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** Whether the kernel's high-water mark can be set back: proc(5), clear_refs. */
const kernelTells = (): boolean => {
  try {
    writeFileSync('/proc/self/clear_refs', '5');
    return true;
  } catch {
    return false;
  }
};

test('the peak of an interval sees a spike that is gone at its end, and not an earlier one', async () => {
  // large beside the tens of megabytes that loading the modules may give back meanwhile
  const large = await measurePeak(() => touch(240));
  assert.equal(large.result, 240);
  assert.equal(large.how, kernelTells() ? 'kernel' : 'sampled');
  assert.ok(large.growthBytes > 160 * MIB, `grew ${large.growthBytes}`);
  const small = await measurePeak(() => touch(1));
  if (small.how === 'kernel') assert.ok(small.growthBytes < 60 * MIB, `grew ${small.growthBytes}`);
  assert.ok(small.peakBytes >= residentBytes() / 2);
});

test('without a kernel mark, samples and the lifetime record still see a record spike', async () => {
  const peak = await measurePeak(() => touch(400), { sampleOnly: true });
  assert.equal(peak.how, 'sampled');
  assert.ok(peak.growthBytes > 100 * MIB, `grew ${peak.growthBytes}`);
});

test('the ledger adds, totals, prints and refuses', async () => {
  const ledger = new Ledger();
  ledger.add({ what: 'tokens', fileBytes: 2048, residentBytes: 100 });
  ledger.add({ what: 'pixels', fileBytes: 1024 });
  assert.equal(ledger.total('fileBytes'), 3072);
  assert.equal(ledger.total('deviceBytes'), null);
  assert.equal(ledger.table(), ['           file  resident', 'tokens  2.0 KiB     100 B', 'pixels  1.0 KiB         -'].join('\n'));
  assert.equal(JSON.parse(JSON.stringify(ledger))[1].residentBytes, null);
  assert.throws(() => ledger.add({ what: 'x', fileBytes: -1 }), /\[ledger\] x: fileBytes is -1/);
  assert.equal(await ledger.measure('work', () => 5, { plannedPeakBytes: 9 }), 5);
  const last = ledger.entries.at(-1)!;
  assert.ok(last.plannedPeakBytes === 9 && last.measuredPeakBytes! >= last.residentBytes! / 2);
});
