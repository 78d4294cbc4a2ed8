import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { test } from 'node:test';

test('a process that ends while the threads of the pool still spin ends well', () => {
  const code = `await import(process.argv[1]);
    const { compile, full, mul } = await import(process.argv[2]);
    compile((x) => mul(x, x))(full([1 << 16], 2));`;
  const modules = ['../index.js', '../../tensor/index.js'].map((path) => new URL(path, import.meta.url).href);
  for (let i = 0; i < 5; i++) {
    const { status, signal, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code, ...modules], {
      env: { ...process.env, THIMBLE_THREADS: '2' },
    });
    assert.deepEqual([status, signal], [0, null], String(stderr));
  }
});
