import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { WorkFolder } from './work-folder.ts';

const folder = mkdtempSync(join(tmpdir(), 'thimble-work-'));
const out = join(folder, 'result');
after(() => rmSync(folder, { recursive: true, force: true }));

test('one process works on a result at a time: nobody else goes on with it or discards it', async () => {
  {
    using work = await WorkFolder.open('store', out, { seed: 1 }, false);
    writeFileSync(work.path('half'), 'done');
    for (const fresh of [false, true])
      await assert.rejects(WorkFolder.open('store', out, { seed: 1 }, fresh), /result is being written by process \d+/);
    assert.ok(existsSync(work.path('half')));
  }
  using again = await WorkFolder.open('store', out, { seed: 1 }, false);
  assert.ok(again.resumed && existsSync(again.path('half')));
  again.finish('half');
  assert.deepEqual(readdirSync(folder).sort(), ['result', 'result.lock']);
});

test('a refusal holds nothing', async () => {
  {
    using work = await WorkFolder.open('store', out, { seed: 1 }, false);
    assert.ok(!work.resumed);
  }
  await assert.rejects(WorkFolder.open('store', out, { seed: 2 }, false), /another command \(seed 1, now 2\)/);
  using other = await WorkFolder.open('store', out, { seed: 2 }, true);
  assert.ok(!other.resumed);
});
