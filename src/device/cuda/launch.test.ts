import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assembleTraced } from '../../tensor/assemble-traced.ts';
import { matmul, permute, type Tensor } from '../../tensor/index.ts';
import { typeOf } from '../../tensor/shape.ts';
import { readable } from './cublaslt.ts';
import { programSource } from './index.ts';

test('heads of a large batch are as many products as there are heads, whichever axis comes first', () => {
  const products = (B: number, H: number): number[] => {
    const type = typeOf([B, 7, H, 32], 'f32');
    const scores = (q: Tensor, k: Tensor): Tensor[] => [matmul(permute(q, [0, 2, 1, 3]), permute(k, [0, 2, 3, 1]))];
    const target = { fused: () => true, gemmReads: readable };
    const { program } = assembleTraced(target, scores as (...xs: Tensor[]) => Tensor[], [type, type]);
    const { launches } = programSource(program);
    return launches.flat().flatMap((l) => (l.kind === 'gemm' ? [l.call.attrs.batch[0]] : []));
  };
  assert.deepEqual([products(512, 4), products(4, 512)], [[4], [4]]);
});
