import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { FormatError } from '../io/index.ts';
import { store } from './store.ts';
import { train } from './train.ts';
import { placeOf, WorkFolder } from './work-folder.ts';

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
    writeFileSync(work.path('half'), 'done');
  }
  await assert.rejects(WorkFolder.open('store', out, { seed: 2 }, false), /that began otherwise \(seed 1, now 2\)/);
  using other = await WorkFolder.open('store', out, { seed: 2 }, true);
  assert.ok(!other.resumed);
});

test('work that came to nothing bars no other', async () => {
  const [began, lock] = [join(folder, 'nothing'), 'half.lock'];
  {
    using work = await WorkFolder.open('train', began, { seed: 1 }, false);
    assert.ok(existsSync(work.folder));
  }
  assert.ok(!existsSync(`${began}.unfinished`));
  // a process that was killed leaves it
  mkdirSync(`${began}.unfinished`);
  writeFileSync(join(`${began}.unfinished`, 'work.json'), JSON.stringify({ question: { seed: 1 }, done: [] }));
  writeFileSync(join(`${began}.unfinished`, lock), '{}');
  using other = await WorkFolder.open('train', began, { seed: 2 }, false);
  assert.ok(!other.resumed && !existsSync(other.path(lock)));
});

test('where a result cannot go is told before a picture is read', async () => {
  const bad = join(folder, 'bad.csv');
  writeFileSync(bad, 'nowhere.png,a'); // reading it fails, too
  const into = (out: string) => store(bad, { budget: '1MB', out });
  await assert.rejects(into(join(folder, 'no', 'x')), /\[store\] there is no folder .*no; create it or choose another -o/);
  await assert.rejects(into(folder), /\[store\] .* is a folder; name a file in it/);
  await assert.rejects(into('/dev/null'), /\[store\] \/dev\/null is a pipe, a socket or a device/);
  await assert.rejects(into(join(folder, 'x'.repeat(300))), /\[store\] cannot write beside .* \(ENAMETOOLONG/);
  const shut = join(folder, 'shut');
  mkdirSync(shut, { mode: 0o555 });
  chmodSync(folder, 0o755);
  const isRoot = process.geteuid?.() === 0; // who may write everywhere
  try {
    if (isRoot) process.seteuid!(65534);
    assert.throws(() => placeOf('store', 'photos', join(shut, 'x')), /\[store\] cannot write beside .*x \(EACCES.*\); choose another -o/);
  } finally {
    if (isRoot) process.seteuid!(0);
  }
  {
    using busy = await WorkFolder.open('store', out, {}, true);
    await assert.rejects(into(busy.out), /\[lock\] .*result is being written by process \d+/);
  }
  await assert.rejects(into(undefined as never), /\[store\] out is undefined; give a path/);
  await assert.rejects(train('', { out: 'x' }), /\[train\] source is ""; give a path/);
});

test('a link is written through; what is no file is left alone', async () => {
  const [real, link] = [join(folder, 'real'), join(folder, 'link')];
  writeFileSync(real, 'old');
  symlinkSync(real, link);
  {
    using work = await WorkFolder.open('store', link, {}, false);
    writeFileSync(work.path('half'), 'new');
    work.finish('half');
  }
  assert.equal(readFileSync(real, 'utf8'), 'new');
  assert.equal(readlinkSync(link), real);
  const pipe = join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  assert.throws(() => placeOf('store', 'photos', pipe), /\[store\] .*pipe is a pipe, a socket or a device; name a file/);
});

test('what the system refuses says whose it is, with the way out, and holds nothing', async () => {
  for (const length of [300, 252, 246]) {
    const long = join(folder, 'x'.repeat(length)); // too long itself; with .lock; with .unfinished
    await assert.rejects(WorkFolder.open('store', long, {}, false), /\[store\] cannot write beside .* \(ENAMETOOLONG.*; choose another -o/);
  }
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith('xx')),
    [],
  );
});

test('what is damaged in the folder names the way out; other errors are their own', async () => {
  using work = await WorkFolder.open('store', out, { seed: 1 }, true);
  const failing = (why: string) => work.run(() => Promise.reject(new FormatError(why)));
  await assert.rejects(failing(`[safetensors] ${work.path('x')} is damaged`), /\[store\] .* is damaged; or give --fresh to discard/);
  await assert.rejects(failing('[frames] photos.tokens is damaged'), { message: '[frames] photos.tokens is damaged' });
});

test('what is no seed is refused before anything is begun', async () => {
  const source = join(folder, 'all.csv');
  for (const seed of [-1, 1.5, Number.NaN]) {
    await assert.rejects(store(source, { budget: '1MB', out, seed }), /\[seed\] .* is no seed; give a whole number from 0/);
    await assert.rejects(train(source, { out, seed }), /is no seed/);
  }
});

test('no result takes the place of what it is made from', async () => {
  const [source, link] = [join(folder, 'all.csv'), join(folder, 'link.csv')];
  writeFileSync(source, 'a.png,a');
  symlinkSync(source, link);
  for (const out of [source, link]) {
    await assert.rejects(store(source, { budget: '1MB', out }), /\[store\] .* is what the work reads, .*choose another -o/);
    await assert.rejects(train(source, { out }), /\[train\] .* is what the work reads/);
  }
  assert.equal(readFileSync(source, 'utf8'), 'a.png,a');
});
