/** Which calls of a compiled function are of one signature. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../device/index.ts';
import * as t from './index.ts';

type Tensor = t.Tensor;

/** `f` with a count of how often it was traced. */
function counted<A extends unknown[], R>(f: (...args: A) => R) {
  let traces = 0;
  const compiled = t.compile((...args: A): R => {
    traces++;
    return f(...args);
  });
  return { compiled, traces: () => traces };
}

test('a program is traced once for each signature: types, structure, numbers, device', () => {
  const { compiled, traces } = counted((x: { a: Tensor; scale: number; name?: string }) => t.mul(x.a, x.scale));
  const expect = (n: number, x: Parameters<typeof compiled>[0], result: unknown): void => {
    assert.deepEqual(compiled(x).toArray(), result);
    assert.equal(traces(), n, JSON.stringify(result));
  };
  expect(1, { a: t.tensor([1, 2]), scale: 3 }, [3, 6]);
  expect(1, { a: t.tensor([5, 6]), scale: 3 }, [15, 18]);
  expect(2, { a: t.tensor([1, 2]), scale: 4 }, [4, 8]);
  expect(3, { a: t.tensor([1, 2, 3]), scale: 4 }, [4, 8, 12]);
  expect(4, { a: t.tensor([1, 2], { dtype: 'i32' }), scale: 4 }, [4, 8]);
  expect(5, { a: t.tensor([1, 2]), scale: 4, name: 'x' }, [4, 8]);
  expect(6, { a: t.tensor([1, 2], { device: t.device('reference') }), scale: 4 }, [4, 8]);
  expect(6, { a: t.tensor([3, 2]), scale: 3 }, [9, 6]);
  expect(7, { a: t.tensor([3]), scale: Number.POSITIVE_INFINITY }, [Number.POSITIVE_INFINITY]);
  expect(8, { a: t.tensor([3]), scale: Number.NEGATIVE_INFINITY }, [Number.NEGATIVE_INFINITY]);
  expect(9, { a: t.tensor([3]), scale: 0 }, [0]);
  expect(10, { a: t.tensor([3]), scale: -0 }, [-0]);
});

test('a call after another one is told from it by all that its signature holds', () => {
  type Tree = { [key: string]: Tree } | Tree[] | Tensor | number | string | boolean | null | undefined;
  class Named {
    a: Tree;
    constructor(a: Tree) {
      this.a = a;
    }
  }
  const [one, two] = [t.tensor([1]), t.tensor([1, 2])];
  const trees: Tree[] = [
    ...[one, two, [], {}, null, undefined, 0, -0, 1, '1', true],
    ...[[one], [one, one], [one, two], [two, one], [[one], one], [[one, one]], { 0: one }],
    ...[{ a: one }, { b: one }, { a: two }, { a: one, b: one }, { a: { b: one } }, { a: [one] }, { a: one, b: 0 }, { a: one, b: -0 }],
    ...[
      { a: one, b: null },
      { a: one, b: undefined },
      { a: one, b: 'x' },
      { b: 0, a: one },
    ],
    new Named(one) as unknown as Tree,
    new Named({ a: one }) as unknown as Tree,
  ];
  const { compiled, traces } = counted((tree: Tree) => ({ tree }));
  trees.forEach((tree) => void compiled(tree));
  assert.equal(traces(), trees.length);
  for (const before of trees)
    for (const tree of trees) {
      compiled(before);
      const result = compiled(tree).tree;
      assert.equal(traces(), trees.length);
      assert.deepEqual(plain(result), plain(tree));
    }
  function plain(x: Tree): unknown {
    return t.mapTree(x, (leaf) => ({ shape: leaf.shape, values: leaf.toArray() }));
  }
});

test('fields in another order are other arguments: each tensor keeps its name', () => {
  const f = t.compile((x: { a: Tensor; b: Tensor }) => t.sub(x.a, x.b));
  const [five, one] = [t.tensor([5]), t.tensor([1])];
  assert.deepEqual([f({ a: five, b: one }).item(), f({ b: one, a: five }).item(), f({ a: five, b: one }).item()], [4, 4, 4]);
});

test('numbers in arguments that change warn after many traces', async () => {
  const warned = new Promise<Error>((resolve) => process.once('warning', resolve));
  const f = t.compile((x: Tensor, i: number) => t.add(x, i), { name: 'counter' });
  const x = t.tensor([0]);
  for (let i = 0; i < 64; i++) f(x, i);
  assert.match((await warned).message, /\[compile\] counter was traced for 64 signatures.*pass them as tensors/);
});

test('an object that is no branch of a tree is part of the signature itself', () => {
  const { compiled, traces } = counted((x: Tensor, by: Map<string, number>) => t.mul(x, by.get('a')!));
  const [two, three] = [new Map([['a', 2]]), new Map([['a', 3]])];
  for (const [by, result] of [
    [two, [2, 4]],
    [three, [3, 6]],
    [two, [2, 4]],
  ] as const)
    assert.deepEqual(compiled(t.tensor([1, 2]), by).toArray(), result);
  assert.equal(traces(), 2);
});
