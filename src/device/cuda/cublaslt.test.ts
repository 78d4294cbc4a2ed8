/** What the library makes for a product goes back to it. Needs no GPU: the library is played. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import v8 from 'node:v8';
import vm from 'node:vm';
import type { Call, View } from '../../tensor/lower/program.ts';
import { CublasLt, type Product } from './cublaslt.ts';
import type { Found } from './libraries.ts';
import type { Bench } from './tuning.ts';

/** A library that counts, by kind, what it has made and not got back. @param refuses a call that it answers with an error. */
function played(refuses?: string): { blas: CublasLt; there: Map<string, number> } {
  const there = new Map<string, number>();
  const count = (name: string, by: number): void => void there.set(name, (there.get(name) ?? 0) + by);
  const answer = (name: string, args: unknown[]): number => {
    if (name === refuses) return 15;
    const [, kind, what] = /^cublasLt(\w+?)(Create|Destroy)$/.exec(name) ?? [];
    if (kind) count(kind, what === 'Create' ? 1 : -1);
    if (name === 'cublasLtMatmulAlgoGetHeuristic') (args[9] as Int32Array)[0] = 1;
    return 0;
  };
  const func = (name: string) => (name === 'cublasLtGetStatusName' ? () => 'REFUSED' : (...args: unknown[]) => answer(name, args));
  const blas = new CublasLt(0, 1 << 20, { machine: 'none', stream: 0 } as Bench, { lib: { func } as unknown as Found['lib'] });
  return { blas, there };
}

const matrix = (rows: number, columns: number): View => ({
  buffer: 0,
  offset: 0,
  shape: [1, 1, rows, columns],
  strides: [0, 0, columns, 1],
  dtype: 'f32',
});
const product = (blas: CublasLt, n: number): Product =>
  blas.product(
    {
      kernel: 'gemm',
      attrs: { m: 4, n, k: 8, batch: [1, 1], bias: false, residual: false },
      reads: [matrix(4, 8), matrix(8, n)],
      writes: [matrix(4, n)],
      label: 'matmul',
      flops: 0,
    } as unknown as Call<'gemm'>,
    false,
    [16, 16, 16],
  );

test('products that nobody has any more are given back, and one that is there stays the one', async () => {
  v8.setFlagsFromString('--expose-gc');
  const collect = vm.runInNewContext('gc') as () => void;
  const { blas, there } = played();
  const kept = product(blas, 16);
  const made = Object.fromEntries(there);
  assert.deepEqual(made, { MatmulDesc: 1, MatrixLayout: 3, MatmulPreference: 1 });
  for (let n = 17; n < 30; n++) product(blas, n);
  for (let i = 0; i < 200 && there.get('MatmulDesc')! > 1; i++) {
    collect();
    await setTimeout(5);
  }
  assert.deepEqual(Object.fromEntries(there), made);
  assert.equal(product(blas, 16), kept);
  product(blas, 17);
  assert.equal(there.get('MatmulDesc'), 2);
});

test('a product that cannot be made leaves nothing behind', () => {
  for (const step of ['MatrixLayoutCreate', 'MatmulDescSetAttribute', 'MatmulAlgoGetHeuristic']) {
    const { blas, there } = played(`cublasLt${step}`);
    assert.throws(() => product(blas, 16), /\[cuda\] .*: cuBLASLt says REFUSED/);
    assert.deepEqual([...there.values()], [...there.values()].fill(0), step);
    assert.equal(there.get('MatmulDesc'), 0);
  }
});
