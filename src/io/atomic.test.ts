import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import * as nodeFs from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type AtomicFs, openAtomic, writeFileAtomic } from './atomic.ts';

async function inFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await nodeFs.mkdtemp(join(tmpdir(), 'thimble-atomic-'));
  try {
    await run(folder);
  } finally {
    await nodeFs.rm(folder, { recursive: true, force: true });
  }
}

const text = (s: string): Uint8Array => new TextEncoder().encode(s);
const systemError = (code: string): Error => Object.assign(new Error(`${code}: injected`), { code });

/** A file system whose `n`-th step (open, write, sync, close, rename, folder open, folder sync) fails. */
function faulty(failAt: number, code: string): { fs: AtomicFs; steps: () => number } {
  let steps = 0;
  const step = (): void => {
    if (steps++ === failAt) throw systemError(code);
  };
  const wrap = (handle: nodeFs.FileHandle): nodeFs.FileHandle =>
    new Proxy(handle, {
      get(target, key) {
        const value = Reflect.get(target, key, target);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]) => {
          if (key === 'write' || key === 'sync') step();
          return value.apply(target, args);
        };
      },
    });
  const fs: AtomicFs = {
    ...nodeFs,
    open: async (...args) => {
      step();
      return wrap(await nodeFs.open(...args));
    },
    rename: async (...args) => {
      step();
      await nodeFs.rename(...args);
    },
  };
  return { fs, steps: () => steps };
}

test('writes chunks, replaces, keeps the mode, writes through links', () =>
  inFolder(async (folder) => {
    const path = join(folder, 'a.bin');
    assert.equal(await writeFileAtomic(path, text('one')), 3);
    await nodeFs.chmod(path, 0o600);
    await nodeFs.symlink('a.bin', join(folder, 'link'));
    async function* chunks() {
      yield text('two');
      yield new Uint8Array(0);
      yield text(' three');
    }
    assert.equal(await writeFileAtomic(join(folder, 'link'), chunks()), 9);
    assert.equal(await nodeFs.readFile(path, 'utf8'), 'two three');
    if (process.platform !== 'win32') assert.equal((await nodeFs.stat(path)).mode & 0o777, 0o600);
    assert.deepEqual((await nodeFs.readdir(folder)).sort(), ['a.bin', 'link']);
  }));

test('what is no file is not replaced', () =>
  inFolder(async (folder) => {
    const path = join(folder, 'pipe');
    execFileSync('mkfifo', [path]);
    await assert.rejects(writeFileAtomic(path, text('x')), /cannot write .*pipe: it is a folder or a device, no file; choose another name/);
    assert.ok((await nodeFs.stat(path)).isFIFO());
  }));

test('a fault at any step before the rename leaves the old file and no temporary file', () =>
  inFolder(async (folder) => {
    const path = join(folder, 'model');
    const count = faulty(-1, 'EIO');
    await writeFileAtomic(path, [text('old'), text(' file')], { fs: count.fs });
    const total = count.steps(); // open, 2 writes, sync, rename, folder open, folder sync
    assert.equal(total, 7);
    for (const code of ['EIO', 'ENOSPC', 'EACCES']) {
      for (let step = 0; step < total; step++) {
        const { fs } = faulty(step, code);
        const writing = writeFileAtomic(path, [text('new'), text(' file')], { fs });
        if (step === 5)
          await writing; // a folder that does not open is not synced
        else await assert.rejects(writing, { code, message: step < 5 ? /^\[io\] cannot write .*model: / : /./ });
        assert.equal(await nodeFs.readFile(path, 'utf8'), step < 5 ? 'old file' : 'new file', `${code} at step ${step}`);
        assert.deepEqual(await nodeFs.readdir(folder), ['model']);
        await nodeFs.writeFile(path, 'old file');
      }
    }
  }));

test('a full disk is named with bytes needed and free, before and during the write', () =>
  inFolder(async (folder) => {
    const path = join(folder, 'model');
    await writeFileAtomic(path, text('old'));
    const small: AtomicFs = { ...nodeFs, statfs: (async () => ({ bavail: 3, bsize: 1024 })) as unknown as AtomicFs['statfs'] };
    await assert.rejects(writeFileAtomic(path, new Uint8Array(10_240), { fs: small }), /at least 10\.0 KiB needed, 3\.0 KiB free/);
    const { fs } = faulty(1, 'ENOSPC');
    await assert.rejects(
      writeFileAtomic(path, [new Uint8Array(2048)], { fs: { ...fs, statfs: small.statfs } }),
      /at least 2\.0 KiB needed, 3\.0 KiB free.*old file is untouched/,
    );
    assert.equal(await nodeFs.readFile(path, 'utf8'), 'old');
  }));

test('a read-only or missing folder is named', () =>
  inFolder(async (folder) => {
    await assert.rejects(writeFileAtomic(join(folder, 'none', 'x'), text('x')), /none is not a folder; create it first/);
    const { fs } = faulty(0, 'EROFS');
    await assert.rejects(writeFileAtomic(join(folder, 'x'), text('x'), { fs }), /is read-only for this user.*1 B needed/);
  }));

test('a producer that throws, and an abort, leave nothing behind', () =>
  inFolder(async (folder) => {
    const path = join(folder, 'x');
    function* broken() {
      yield text('half');
      throw new RangeError('no more');
    }
    await assert.rejects(writeFileAtomic(path, broken()), /no more/);
    await assert.rejects(writeFileAtomic(path, [text('x')], { signal: AbortSignal.abort() }), { name: 'AbortError' });
    const file = await openAtomic(path);
    await file.write(text('abc'));
    await file.write(text('X'), 1);
    await file.abort();
    await assert.rejects(file.write(text('d')), /has ended/);
    assert.deepEqual(await nodeFs.readdir(folder), []);
  }));

test('temporary files of dead writers go at the next write; those of living ones stay', () =>
  inFolder(async (folder) => {
    const dead = spawnSync(process.execPath, ['-e', '']).pid;
    const host = hostname().replace(/[^\w-]/g, '_');
    const temp = (pid: number, of = host): string => `.x.${of}.${pid}.0badcafe.tmp`;
    const names = [temp(dead), temp(process.ppid), temp(dead, 'elsewhere'), temp(process.pid), `.y.${host}.${dead}.0badcafe.tmp`];
    for (const name of names) await nodeFs.writeFile(join(folder, name), '');
    await nodeFs.utimes(join(folder, temp(process.pid)), 1, 1);
    await writeFileAtomic(join(folder, 'x'), text('x'));
    assert.deepEqual((await nodeFs.readdir(folder)).sort(), [names[1], names[2], names[4], 'x'].sort());
  }));

test('kill -9 at random moments: the file is always one of the two versions', { timeout: 60_000 }, () =>
  inFolder(async (folder) => {
    const path = join(folder, 'x');
    const size = 1 << 20;
    const program = `
      import { writeFileAtomic } from ${JSON.stringify(new URL('./atomic.js', import.meta.url).href)};
      for (let i = 0; ; i++) {
        await writeFileAtomic(${JSON.stringify(path)}, Array.from({ length: 16 }, () => new Uint8Array(${size / 16}).fill(i % 251)));
        if (i === 0) process.stdout.write('ready');
      }`;
    for (let round = 0; round < 12; round++) {
      const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
      const closed = new Promise((done) => child.once('close', done));
      await new Promise((done) => child.stdout.once('data', done));
      await sleep(Math.random() * 40);
      child.kill('SIGKILL');
      await closed;
      const bytes = await nodeFs.readFile(path);
      assert.equal(bytes.length, size);
      assert.ok(
        bytes.every((b) => b === bytes[0]),
        'one version only',
      );
    }
    await writeFileAtomic(path, text('end'));
    assert.deepEqual(await nodeFs.readdir(folder), ['x']);
  }),
);
