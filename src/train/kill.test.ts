/** kill -9 at 50 random moments, resumed each time: the end is that of a run that nobody touched, and no moment left a broken checkpoint. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { writeSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import '../device/index.ts';
import { DataRandom } from '../data/index.ts';
import { random } from '../tensor/index.ts';
import { checkpointInfo, loadCheckpoint } from './checkpoint.ts';
import { train } from './loop.ts';
import { bitsOf, type ToyState, toyBatch, toyRun } from './toy-run.ts';

const steps = 800;
const chains = 2;
const kills = 25;
const config = { steps };
const [, , role, path] = process.argv;

if (role === 'child') {
  // as slow as a real run: 1 ms a step, a checkpoint every 3 ms
  await train({
    ...toyRun(steps),
    prepare: async (item) => {
      await sleep(1);
      return toyBatch(item);
    },
    checkpoint: { path: path!, config, everySeconds: 0.003 },
    onProgress: () => writeSync(1, '.'),
  });
} else {
  test(`kill -9 at ${chains * kills} moments`, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'thimble-kill-'));
    const files = Array.from({ length: chains }, (_, i) => `run-${i}`);
    try {
      const straight = await train(toyRun(steps));
      await Promise.all(files.map((name, i) => chain(join(folder, name), new DataRandom(i), straight.state)));
      assert.deepEqual((await readdir(folder)).sort(), files, 'no temporary file or lock stays');
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
}

/** Kills and resumes one run, lets it end, and compares. */
async function chain(file: string, dice: DataRandom, straight: ToyState): Promise<void> {
  const seen: number[] = [];
  for (let round = 0; round < kills; round++) {
    assert.equal(await trainInChild(file, { steps: 1 + dice.below(20), ms: dice.below(3000) / 1000 }), 'SIGKILL');
    seen.push((await checkpointInfo(file)).step);
  }
  assert.ok(
    seen.every((step, i) => step >= (seen[i - 1] ?? 0)),
    `never back: ${seen}`,
  );
  assert.ok(new Set(seen).size > kills / 3 && seen.at(-1)! < steps, `kills at many places of the run: ${seen}`);
  assert.equal(await trainInChild(file), 0);
  const { state, step } = await loadCheckpoint(file, { key: random.key(0), state: straight });
  assert.equal(step, steps);
  assert.equal(bitsOf(state.state), bitsOf(straight));
}

/** A process that trains, killed so many milliseconds after so many steps, whatever a step takes here, or left alone; how it ended. */
async function trainInChild(file: string, kill?: { steps: number; ms: number }): Promise<number | string | null> {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), 'child', file], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, THIMBLE_THREADS: '1', NODE_TEST_CONTEXT: undefined },
  });
  const ended = new Promise<number | string | null>((resolve) => child.on('close', (code, signal) => resolve(signal ?? code)));
  let made = 0;
  const reached = new Promise<void>((resolve) => {
    child.stdout.on('data', (dots: Buffer) => (made += dots.length) >= (kill?.steps ?? 1) && resolve());
  });
  await Promise.race([reached, ended]);
  if (kill) {
    await sleep(kill.ms);
    child.kill('SIGKILL');
  }
  return ended;
}
