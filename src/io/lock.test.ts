import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs, { existsSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FileLock } from './lock.ts';

const folder = mkdtempSync(join(tmpdir(), 'thimble-lock-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const lockOf = (path: string, owner: object): void =>
  writeFileSync(`${path}.lock`, JSON.stringify({ host: hostname(), began: '', nonce: 'x', ...owner }));

test('one writer at a time, and the next after its release', () => {
  const path = join(folder, 'a');
  const first = new FileLock(path);
  assert.ok(first.held());
  assert.throws(() => new FileLock(path), new RegExp(`is being written by process ${process.pid} on`));
  first.release();
  assert.equal(existsSync(`${path}.lock`), false);
  new FileLock(path).release();
});

test('the lock of a dead process, and of one whose id another process has now, is taken over', () => {
  const { pid } = spawnSync(process.execPath, ['-e', '0']);
  for (const owner of [{ pid }, { pid: process.pid, began: '1' }]) {
    const path = join(folder, 'dead');
    lockOf(path, owner);
    const lock = new FileLock(path);
    assert.equal((JSON.parse(readFileSync(`${path}.lock`, 'utf8')) as { pid: number }).pid, process.pid);
    lock.release();
  }
});

test('the lock of another machine is left alone', () => {
  const path = join(folder, 'shared');
  lockOf(path, { pid: 1, host: 'elsewhere' });
  assert.throws(() => new FileLock(path), /process 1 on elsewhere/);
});

test('a lock says when its process began, which does not change', { skip: !existsSync('/proc/self/stat') }, () => {
  const path = join(folder, 'began');
  const lock = new FileLock(path);
  const { began } = JSON.parse(readFileSync(lock.path, 'utf8')) as { began: string };
  const stat = readFileSync('/proc/self/stat', 'latin1');
  // proc(5): (22) starttime, where (2) comm is what is in parentheses
  assert.equal(began, stat.slice(stat.lastIndexOf(')')).split(' ')[22 - 2]);
  lock.release();
});

test('a lock without a name is that of a process that is just starting, and after five seconds of none', () => {
  const path = join(folder, 'nameless');
  writeFileSync(`${path}.lock`, '');
  assert.throws(() => new FileLock(path), /by a process that is just starting/);
  const then = Date.now() / 1000 - 6;
  utimesSync(`${path}.lock`, then, then);
  new FileLock(path).release();
});

test('on a full disk no lock is left', () => {
  const path = join(folder, 'full');
  const { writeSync } = fs;
  fs.writeSync = (() => {
    throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
  }) as never;
  syncBuiltinESMExports();
  try {
    assert.throws(() => new FileLock(path), /no space left/);
  } finally {
    fs.writeSync = writeSync;
    syncBuiltinESMExports();
  }
  assert.equal(existsSync(`${path}.lock`), false);
  new FileLock(path).release();
});

test('a killed process that its parent has not asked after is dead', { skip: !existsSync('/proc/self/stat') }, async () => {
  const path = join(folder, 'zombie');
  const code = 'const { FileLock } = await import(process.argv[2]); new FileLock(process.argv[1]); setInterval(() => {}, 1000)';
  const module = import.meta.url.replace('lock.test', 'lock');
  // the shell becomes a sleep, which never waits for the child
  const parent = spawn('sh', ['-c', '"$0" --input-type=module -e "$1" "$2" "$3" & exec sleep 60', process.execPath, code, path, module], {
    stdio: 'ignore',
  });
  try {
    while (!existsSync(`${path}.lock`) || !readFileSync(`${path}.lock`, 'utf8').endsWith('}')) await sleep(10);
    assert.throws(() => new FileLock(path), /is being written/);
    const { pid } = JSON.parse(readFileSync(`${path}.lock`, 'utf8')) as { pid: number };
    process.kill(pid, 'SIGKILL');
    while (!/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))) await sleep(5);
    new FileLock(path).release();
  } finally {
    parent.kill();
  }
});
