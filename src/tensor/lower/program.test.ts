import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assembleTraced } from '../assemble-traced.ts';
import * as t from '../index.ts';
import { callBytes } from './program.ts';

/** Bytes of each call of a program over f32 and i32 arguments. */
function bytesOf(
  f: (...xs: t.Tensor[]) => t.Tensor,
  ...types: [shape: number[], dtype: 'f32' | 'i32' | 'bf16'][]
): [kernel: string, bytes: number][] {
  const { program } = assembleTraced(
    { fused: () => true },
    (...xs) => [f(...xs)],
    types.map(([shape, dtype]) => t.typeOf(shape, dtype)),
  );
  return program.calls.map((c) => [c.kernel, callBytes(c)]);
}

test('a call moves its operands and results once, what repeats once in all, and of a table as much as is picked', () => {
  assert.deepEqual(
    bytesOf((x, b) => t.tanh(t.add(x!, b!)), [[8, 16], 'f32'], [[16], 'f32']),
    [['map', 4 * (128 + 16 + 128)]],
  );
  assert.deepEqual(
    bytesOf((x) => t.cast(x!, 'f32'), [[8, 16], 'bf16']),
    [['map', (2 + 4) * 128]],
  );
  assert.deepEqual(
    bytesOf((x, y) => t.matmul(x!, y!), [[8, 16], 'f32'], [[16, 4], 'f32']),
    [['gemm', 4 * (128 + 64 + 32)]],
  );
  assert.deepEqual(
    bytesOf((x) => t.sum(x!, 1), [[8, 16], 'f32']),
    [['reduce', 4 * (128 + 8)]],
  );
  const ids: [number[], 'i32'] = [[3], 'i32'];
  assert.deepEqual(
    bytesOf((x, i) => t.take(x!, i!), [[1000, 16], 'f32'], ids),
    [['take', 4 * (48 + 3 + 48)]],
  );
  assert.deepEqual(
    bytesOf((x, i) => t.take(x!, i!), [[2, 16], 'f32'], ids),
    [['take', 4 * (32 + 3 + 48)]],
  );
  assert.deepEqual(bytesOf((x, i) => t.scatterAdd(x!, i!, 1000), [[3, 16], 'f32'], ids).at(-1), ['scatterAdd', 4 * (48 + 3 + 16_000)]);
});
