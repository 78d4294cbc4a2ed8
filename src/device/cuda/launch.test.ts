import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assembleTraced } from '../../tensor/assemble-traced.ts';
import {
  add,
  attention,
  cumsum,
  type DType,
  matmul,
  permute,
  type Shape,
  scatterAdd,
  sum,
  type Tensor,
  take,
  transpose,
  typeOf,
} from '../../tensor/index.ts';
import type { AnyCall } from '../../tensor/lower/program.ts';
import { HOPPER } from './calls.ts';
import { readable } from './cublaslt.ts';
import type { Driver } from './driver.ts';
import { preludeSource, programSource } from './index.ts';
import { kernelStep } from './launch.ts';
import { rulesOn } from './rules.ts';

const ampere = { capability: 80, sharedBytes: 163 << 10, multiprocessors: 108 };
test('no grid is larger than a GPU takes, however odd the shape', () => {
  const shapes: [(...xs: Tensor[]) => Tensor, Shape[], DType][] = [
    [(x) => cumsum(x!, 0), [[2 ** 22, 2]], 'f32'],
    [(x) => cumsum(x!, 1), [[2 ** 20, 3, 2]], 'f32'],
    [(x) => sum(x!, 0), [[2 ** 24, 3]], 'f32'],
    [(q, k, v) => attention(q!, k!, v!), [1, 1, 1].map(() => [2 ** 17, 2, 1, 64]), 'bf16'],
    [(x) => transpose(x!), [[2 ** 17, 2, 40]], 'f32'],
  ];
  for (const [f, of, dtype] of shapes) {
    const { program } = assembleTraced(
      rulesOn(ampere),
      (...xs) => [f(...xs)],
      of.map((shape) => typeOf(shape, dtype)),
    );
    for (const l of programSource(program, ampere).launches.flat())
      if (l.kind === 'kernel')
        assert.ok(l.grid[0] < 2 ** 31 && Math.max(l.grid[1], l.grid[2]) <= 65535, `${JSON.stringify(of)}: grid ${l.grid.join(' x ')}`);
  }
});

test('a kernel that is launched with several sizes may always have the largest', () => {
  for (const sizes of [
    [100 << 10, 60 << 10],
    [60 << 10, 100 << 10],
  ]) {
    let allowed = 48 << 10;
    const driver = {
      get: () => allowed,
      cuFuncSetAttribute: (_fn: number, _attribute: number, bytes: number) => void (allowed = bytes),
    } as unknown as Driver;
    const call = { label: '', writes: [] } as unknown as AnyCall;
    const launch = { kind: 'kernel', name: '', grid: [1, 1, 1], block: 32, views: [] } as const;
    for (const shared of sizes) kernelStep(driver, 0, call, { ...launch, shared }, 0, false);
    assert.equal(allowed, 100 << 10);
  }
});

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

test('places beyond 32 bits are counted in 64, and axes that kernels cannot count are refused', () => {
  const sourceOf = (f: (x: Tensor, index: Tensor) => Tensor, shape: Shape): string => {
    const types = [typeOf(shape, 'u8'), typeOf([3], 'i32')];
    const { program } = assembleTraced(rulesOn(ampere), (x, index) => [f(x!, index!)], types);
    return programSource(program, ampere).source.slice(preludeSource().length);
  };
  const picked = (rows: number): string => sourceOf((x, index) => take(x, index, 1), [rows, 2 ** 17, 1]);
  assert.match(picked(2 ** 14), /take<1>\(p0, p1, p2, p3, 16384u, 131072u, 1u, 3u\)/);
  assert.match(picked(2 ** 16), /take<1>\(p0, p1, p2, p3, 65536ull, 131072ull, 1ull, 3ull\)/); // the result is small, what is read is not
  const twice = (columns: number): string => sourceOf((x) => add(x, x), [columns, 7]);
  assert.match(twice(2 ** 10), /u32 first = blockIdx\.x \* \d+u \+/);
  assert.match(twice(2 ** 30), /u64 first = blockIdx\.x \* \d+ull \+/);
  assert.throws(() => sourceOf((x) => cumsum(x, 0), [2 ** 32]), /\[cuda\] cumsum over \[4294967296\] has 4294967296 entries .*; split it/);
});

test('sums over columns are one launch where blocks may run together, sums by index where lists fit', () => {
  const launches = (f: (...xs: Tensor[]) => Tensor, card: typeof ampere, ...types: [Shape, DType][]): number => {
    const { program } = assembleTraced(
      rulesOn(card),
      (...xs) => [f(...xs)],
      types.map(([shape, dtype]) => typeOf(shape, dtype)),
    );
    return programSource(program, card).launches.flat().length;
  };
  const columns = (card: typeof ampere): number => launches((x) => sum(x!, 0), card, [[16384, 768], 'bf16']);
  const rows = (card: typeof ampere, picks: number): number =>
    launches((dy, i) => scatterAdd(dy!, i!, 50257), card, [[picks, 768], 'bf16'], [[picks], 'i32']);
  assert.deepEqual([columns(HOPPER), columns(ampere), rows(HOPPER, 16384), rows(HOPPER, 16385), rows(ampere, 16384)], [1, 2, 1, 6, 6]);
});
