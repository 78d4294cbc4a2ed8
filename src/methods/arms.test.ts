import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type ArmsRun, runArms } from './arms.ts';
import { joinArms, readRuns } from './seeds.ts';

type Toy = ArmsRun<{ name: string; accuracy: number }, { epochs: number }>;

let folder = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'arms-'));
});
after(() => rm(folder, { recursive: true, force: true }));

const lines: string[] = [];
const ran: string[] = [];
const toy = (save: string | undefined, more: Partial<Toy> = {}): Toy => ({
  method: 'toy',
  setting: { epochs: 2 },
  seeds: [0, 1],
  names: ['a', 'b'],
  steps: () => 1000,
  save,
  async run(name, seed) {
    ran.push(`${name}${seed}`);
    return { name, accuracy: seed + 0.5 };
  },
  onArm: () => {},
  log: (line) => void lines.push(line),
  ...more,
});

test('a check that is cut short goes on with the arms that are missing, and the files are what --merge reads', async () => {
  const save = join(folder, 'cut');
  const cut = toy(save, {
    async run(name, seed, work) {
      if (seed === 1 && name === 'b') throw new Error('out of time');
      await writeFile(join(work, `${name}.checkpoint`), '');
      return { name, accuracy: seed };
    },
  });
  await assert.rejects(runArms(cut), /out of time/);
  // what the arms of the unfinished seed left to go on from is still there
  assert.deepEqual((await readdir(save)).toSorted(), ['seed-0.a.json', 'seed-0.b.json', 'seed-1', 'seed-1.a.json']);
  assert.ok(existsSync(join(save, 'seed-1', 'a.checkpoint')));
  await assert.rejects(
    runArms(toy(save, { setting: { epochs: 3 }, seeds: [1], names: ['b'] })),
    /seed-1 is of {"epochs":2,"seed":1}, asked/,
  );

  const told: string[] = [];
  lines.length = ran.length = 0;
  await runArms(toy(save, { onArm: ({ setting, arms }) => void told.push(`${setting.seed}: ${arms.map(({ name }) => name).join('')}`) }));
  assert.deepEqual(ran, ['b1']);
  assert.deepEqual(told, ['0: ab', '1: a', '1: ab']);
  assert.match(lines[0]!, /2 arms on 2 seeds, 3 of them in .*cut; 1 to run, 1,000 training steps/);
  const files = (await readdir(save)).map((name) => join(save, name));
  assert.equal(files.length, 4);
  assert.deepEqual(
    joinArms(readRuns(files)).map(({ setting, arms }) => [setting, arms.length]),
    [
      [{ epochs: 2, seed: 0 }, 2],
      [{ epochs: 2, seed: 1 }, 2],
    ],
  );
  await assert.rejects(runArms(toy(save, { setting: { epochs: 3 } })), /is of {"epochs":2,"seed":0}, asked is {"epochs":3,"seed":0}; save/);
});

test('without a folder nothing stays, and side by side every arm is told', async () => {
  ran.length = lines.length = 0;
  const works = new Set<string>();
  const run: Toy['run'] = async (name, seed, work) => {
    works.add(work);
    assert.ok(existsSync(work));
    return { name, accuracy: seed };
  };
  const seen: number[] = [];
  await runArms(toy(undefined, { together: true, run, onArm: (_, last) => void seen.push(last!.accuracy) }));
  assert.deepEqual(seen.toSorted(), [0, 0, 1, 1]);
  assert.equal(works.size, 2);
  for (const work of works) assert.ok(!existsSync(work));
  assert.match(lines[0]!, /^\[toy\] 2 arms on 2 seeds; 4 to run, 4,000 training steps$/);
});

test('side by side, an arm that fails takes nothing from the others: they go on in their folder, and are saved', async () => {
  for (const save of [join(folder, 'fails'), undefined]) {
    let late: string | undefined;
    lines.length = 0;
    const run: Toy['run'] = async (name, seed, work) => {
      if (name === 'a') throw new Error(`no room for ${seed}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
      assert.ok(existsSync(work));
      late = work;
      return { name, accuracy: 1 };
    };
    await assert.rejects(runArms(toy(save, { together: true, seeds: [3], run })), /no room for 3/);
    assert.ok(late);
    assert.ok(lines.includes('[toy] a, seed 3 failed: no room for 3'));
    if (save) assert.deepEqual((await readdir(save)).toSorted(), ['seed-3', 'seed-3.b.json']);
    else assert.ok(!existsSync(late));
  }
});
