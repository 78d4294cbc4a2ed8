/** What is said where NVIDIA's libraries are not what they should be; each case in a process of its own. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { openLibrary } from './libraries.ts';

const program = `
  const { tensor, add } = await import(${JSON.stringify(new URL('../../tensor.js', import.meta.url).href)});
  const sum = add(tensor([1, 2]), 1);
  console.log(sum.storage.device.name, sum.data().join());
`;
function run(env: NodeJS.ProcessEnv): { status: number | null; stdout: string; stderr: string } {
  const { THIMBLE_DEVICE: _, ...rest } = process.env;
  return spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8', env: { ...rest, ...env } });
}

test('asked for, a missing driver is an error with the way out', () => {
  const { status, stderr } = run({ THIMBLE_DEVICE: 'cuda', THIMBLE_LIBCUDA: '/nowhere/libcuda.so.1' });
  assert.notEqual(status, 0);
  assert.match(stderr, /\[cuda\] \/nowhere\/libcuda\.so\.1 was not found .*; install NVIDIA's driver, or set THIMBLE_LIBCUDA to its path/);
});

test('a driver without what is needed is told as too old', { skip: process.platform !== 'linux' }, () => {
  const { status, stderr } = run({ THIMBLE_DEVICE: 'cuda', THIMBLE_LIBCUDA: 'libm.so.6' });
  assert.notEqual(status, 0);
  assert.match(
    stderr,
    /\[cuda\] the driver at libm\.so\.6 has no cu\w+: it is older than CUDA 11\.4, or no driver; update NVIDIA's driver/,
  );
});

for (const [name, variable, help] of [
  ['nvrtc', 'THIMBLE_LIBNVRTC', 'pip install nvidia-cuda-nvrtc'],
  ['cublasLt', 'THIMBLE_LIBCUBLASLT', 'pip install nvidia-cublas'],
] as const)
  test(`a missing ${name} is told with the way to get it`, () => {
    const before = process.env[variable];
    process.env[variable] = '/nowhere/lib.so';
    try {
      assert.throws(() => openLibrary(name), {
        message: `[cuda] /nowhere/lib.so was not found (tried /nowhere/lib.so); install the CUDA toolkit, or ${help}, or set ${variable} to its path`,
      });
    } finally {
      if (before === undefined) delete process.env[variable];
      else process.env[variable] = before;
    }
  });

test('not asked for, a GPU that cannot be used costs one line and programs run on the processor', () => {
  const { status, stdout, stderr } = run({ THIMBLE_LIBCUDA: '/nowhere/libcuda.so.1' });
  assert.equal(status, 0);
  assert.equal(stdout, 'cpu 2,3\n');
  assert.match(stderr, /^\[cuda\] .*running on the cpu device \(THIMBLE_DEVICE=cpu asks for it\)\n$/);
});

test('hidden GPUs are not used and not spoken of', () => {
  const { stdout, stderr } = run({ CUDA_VISIBLE_DEVICES: '' });
  assert.equal(stdout, 'cpu 2,3\n');
  assert.equal(stderr, '');
});
