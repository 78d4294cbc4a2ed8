/** A program that cannot be made ready leaves nothing on the GPU. Needs NVRTC but no GPU: the driver is played. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assembleTraced } from '../../tensor/assemble-traced.ts';
import { cumsum, matmul, typeOf } from '../../tensor/index.ts';
import { HOPPER } from './calls.ts';
import { CudaError } from './driver.ts';
import { CudaExecutable } from './executable.ts';
import type { Gpu } from './gpu.ts';
import { programSource } from './index.ts';
import { openLibrary } from './libraries.ts';
import { rulesOn } from './rules.ts';

let missing: string | false = false;
try {
  openLibrary('nvrtc');
} catch (error) {
  missing = (error as Error).message;
}

test('kernels whose program cannot be made ready are unloaded, and the error is the first', { skip: missing }, () => {
  const { program } = assembleTraced(rulesOn(), (x) => [cumsum(matmul(x!, x!), 1)], [typeOf([64, 64], 'f32')]);
  const { source, launches } = programSource(program);
  assert.deepEqual(
    launches.flat().map((l) => l.kind),
    ['gemm', 'kernel'],
  );
  const failures: Record<string, Partial<Gpu>> = {
    'no algorithm': { blas: { product: () => assert.fail('no algorithm') } as unknown as Gpu['blas'] },
    'no such function': {},
  };
  for (const [message, part] of Object.entries(failures))
    for (const unloads of [true, false]) {
      const loaded = new Set<number>();
      const driver = {
        get(name: string) {
          if (name === 'cuModuleGetFunction' && !part.blas) throw new Error(message);
          if (name === 'cuModuleLoadData') loaded.add(7);
          return 7;
        },
        cuModuleUnload(module: number) {
          loaded.delete(module);
          if (!unloads) throw new CudaError('CUDA_ERROR_INVALID_HANDLE', 'cuModuleUnload');
        },
      };
      const gpu = { driver, info: HOPPER, enter() {}, synchronize() {}, ...part } as unknown as Gpu;
      assert.throws(() => new CudaExecutable(program, source, launches, gpu), { message });
      assert.deepEqual([...loaded], []);
    }
});
