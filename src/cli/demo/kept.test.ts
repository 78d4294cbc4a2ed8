import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { kept, secondsOf } from './kept.ts';

test('a decision is made once, seconds add up over work that was stopped, and damage is named', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'thimble-kept-'));
  try {
    assert.equal(await kept(join(folder, 'a.json'), async () => 1), 1);
    assert.equal(await kept(join(folder, 'a.json'), async () => 2), 1);

    const path = join(folder, 'seconds.json');
    const stopped = secondsOf(path, async () => {
      await setTimeout(120);
      throw new Error('stopped');
    });
    await assert.rejects(stopped, /stopped/);
    const total = await secondsOf(path, () => setTimeout(30));
    assert.ok(total >= 0.145 && total < 5, `${total}`);

    writeFileSync(path, '{"st');
    for (const damaged of [kept(path, async () => 1), secondsOf(path, async () => {})])
      await assert.rejects(damaged, /seconds\.json is damaged \(.*\); give --fresh to start anew/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
