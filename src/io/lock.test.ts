import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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
