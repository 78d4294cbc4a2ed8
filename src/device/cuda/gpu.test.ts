/** What is taken of a GPU is given back where it cannot be used. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { gpuPresent } from './requirements.ts';

const at = (file: string): string => JSON.stringify(new URL(file, import.meta.url).href);
const program = `
  const { Gpu } = await import(${at('./gpu.js')});
  const { openLibrary } = await import(${at('./libraries.js')});
  const state = openLibrary('cuda').lib.func('cuDevicePrimaryCtxGetState', 'int', ['int', 'void *', 'void *']);
  const active = () => {
    const [flags, there] = [new Int32Array(32), new Int32Array(32)];
    return state(0, flags, there) || there[0];
  };
  try {
    new Gpu(0);
  } catch (error) {
    console.log(error.message.slice(0, 30), active());
  }
  const there = ${JSON.stringify(process.env['THIMBLE_LIBCUBLASLT'] ?? null)};
  if (there === null) delete process.env.THIMBLE_LIBCUBLASLT;
  else process.env.THIMBLE_LIBCUBLASLT = there;
  new Gpu(0);
  console.log(active());
`;

test('a GPU without one of the libraries is left, and taken once it is there', {
  skip: gpuPresent() ? false : 'there is no NVIDIA GPU',
}, () => {
  const env = { ...process.env, THIMBLE_LIBCUBLASLT: '/nowhere/lib.so' };
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8', env });
  assert.equal(stdout, '[cuda] /nowhere/lib.so was not 0\n1\n', stderr);
});
