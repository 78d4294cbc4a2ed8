import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../device/index.ts';
import * as t from './index.ts';

type Tensor = t.Tensor;

/** Runs `f` eagerly and compiled, after memory that held other numbers has been given back: what is not written shows. */
function both(f: (...xs: Tensor[]) => Tensor | Tensor[], ...xs: Tensor[]): unknown[] {
  const results = [f, t.compile(f)].map((run) => {
    for (const n of [1, 2, 3, 4, 6, 8, 12]) t.full([n], Number.NaN).dispose();
    return [run(...xs)].flat().map((y) => y.toArray());
  });
  assert.deepEqual(results[1], results[0]);
  return results[0]!;
}
const of = (values: number[], dtype: t.DType = 'f32'): Tensor => t.tensor(values, { dtype });
const none = (...shape: number[]): Tensor => t.zeros(shape);

test('sums over nothing are 0', () => {
  assert.deepEqual(
    both((x) => t.sum(x, [0, 2]), none(0, 3, 0)),
    [[0, 0, 0]],
  );
  assert.deepEqual(
    both((x) => t.sum(x, [0, 2]), none(0, 3, 2)),
    [[0, 0, 0]],
  );
  assert.deepEqual(
    both((x) => t.max(x, [0, 2]), none(0, 3, 2)),
    [new Array(3).fill(Number.NEGATIVE_INFINITY)],
  );
  assert.deepEqual(
    both((a, b) => t.matmul(a, b), none(2, 0), none(0, 3)),
    [
      [
        [0, 0, 0],
        [0, 0, 0],
      ],
    ],
  );
  assert.deepEqual(
    both((x, i) => t.scatterAdd(x, i, 2), none(0, 2), t.zeros([0], 'i32')),
    [
      [
        [0, 0],
        [0, 0],
      ],
    ],
  );
  const gradients = t.compile((x: Tensor, g: Tensor, b: Tensor) =>
    t.grad(([gain, bias]: Tensor[]) => t.sum(t.layerNorm(x, gain, bias)))([g, b]),
  );
  t.full([1, 4], Number.NaN).dispose();
  assert.deepEqual(
    gradients(none(0, 4), t.ones([4]), t.ones([4])).map((g) => g.toArray()),
    [
      [0, 0, 0, 0],
      [0, 0, 0, 0],
    ],
  );
  const attended = t.compile((q: Tensor, k: Tensor) => t.grad(([x]: Tensor[]) => t.sum(t.attention(q, x!, x!)))([k]));
  assert.deepEqual(attended(none(1, 0, 1, 2), t.ones([1, 1, 1, 2]))[0]!.toArray(), [[[[0, 0]]]]);
});

test('places are integers of any width', () => {
  const logits = t.tensor([
    [1, 2, 3],
    [1, 2, 3],
    [0, 0, 1],
  ]);
  const table = of([10, 20, 30]);
  const readers = (y: Tensor, i: Tensor): Tensor[] => [
    t.take(table, i),
    t.takeAlong(y, t.reshape(i, [3, 1])),
    t.scatterAdd(table, i, 3),
    t.updateAt(table, of([7]), t.slice(i, [1, 2])),
    t.crossEntropy(y, i),
    t.linearCrossEntropy(y, logits, i),
  ];
  const expected = both(readers, logits, of([2, 0, 1], 'i32'));
  assert.deepEqual(expected.slice(0, 4), [
    [30, 10, 20],
    [[3], [1], [0]],
    [20, 30, 10],
    [7, 20, 30],
  ]);
  for (const on of ['cpu', 'reference'])
    t.withDevice(on, () => {
      const far = of([2 ** 32, 0, -(2 ** 32)], 'i64'); // outside, whatever their lower halves are
      const y = of([0, 0, 0, 0, 0, 0]);
      const losses = both((l) => [t.crossEntropy(t.reshape(y, [3, 2]), l), t.oneHot(l, 2)], far) as number[][];
      assert.deepEqual(
        [losses[0]!.map((x) => x > 0), losses[1]],
        [
          [false, true, false],
          [
            [0, 0],
            [1, 0],
            [0, 0],
          ],
        ],
      );
    });
  for (const dtype of ['i64', 'u8', 'i8'] as const) {
    const i = of([2, 0, 1], dtype);
    const found = both((y) => readers(y, i), logits);
    assert.deepEqual(found, expected, dtype);
  }
  assert.deepEqual(
    both((c) => t.where(c, 1, 2), of([2 ** 32, 0, -1], 'i64')),
    [[1, 2, 1]],
  );
});

test('means and variances of halves neither overflow nor lose what their sums would', () => {
  // float16: torch.full((100000,), 300.).half().mean() is 300, the sum is inf; bfloat16: the sum of 3001 ones is 3008
  const [many, ones] = [t.full([100000], 300, 'f16'), t.ones([3001], 'bf16')];
  assert.deepEqual(
    both((x, y) => [t.mean(x), t.variance(x), t.mean(y)], many, ones),
    [300, 0, 1],
  );
  assert.deepEqual(
    both((x) => t.normalize(x), of([0, 0], 'f16')),
    [[0, 0]],
  );
  for (const values of [[3], [3, 4]]) assert.equal(t.mean(of(values, 'i32')).dtype, 'f32');
});

test('a constant is what memory of its type would hold, and is refused where that is nothing', () => {
  const as = (value: number, dtype: t.DType): unknown => both(() => t.cast(t.full([1], value, dtype), 'f32'))[0];
  assert.deepEqual([as(3.7, 'i32'), as(300, 'u8'), as(-1.5, 'i64'), as(200, 'i8'), as(2, 'bool')], [[3], [44], [-1], [-56], [1]]);
  assert.throws(() => t.full([1], Number.NaN, 'i32'), /\[full\] NaN is no number of i32; use a float type/);
  assert.deepEqual(of([1.5, -2.5], 'i64').toArray(), [1, -2]);
});

test('a number that a byte does not hold widens it', () => {
  const [u, i] = [of([5, 156, 255], 'u8'), of([5, -100, 127], 'i8')];
  const found = [t.less(u, 256), t.equal(u, -100), t.add(u, 300), t.maximum(i, 200), t.mul(u, 2), t.min(u), t.argmin(u)];
  assert.deepEqual(
    found.map((x) => x.toArray()),
    [[1, 1, 1], [0, 0, 0], [305, 456, 555], [200, 200, 200], [10, 56, 254], 5, 0],
  );
  assert.deepEqual(
    found.map((x) => x.dtype),
    ['bool', 'bool', 'i32', 'i32', 'u8', 'u8', 'i32'],
  );
});

test('a number that an i32 does not hold widens it, unless it is 32 bits', () => {
  const x = of([5, -1], 'i32');
  const found = [t.less(x, 2 ** 31), t.equal(x, 2 ** 32 - 1), t.add(x, 2 ** 40), t.bitXor(x, 0xffffffff)];
  assert.deepEqual(
    found.map((y) => y.toArray()),
    [
      [1, 1],
      [0, 0],
      [2 ** 40 + 5, 2 ** 40 - 1],
      [-6, 0],
    ],
  );
  assert.deepEqual(
    found.map((y) => y.dtype),
    ['bool', 'bool', 'i64', 'i32'],
  );
});

test('derivatives at the edges of functions', () => {
  const slope = (f: (x: Tensor) => Tensor, values: number[]): unknown =>
    t
      .grad((x: Tensor) => t.sum(f(x)))(of(values))
      .toArray();
  // as PyTorch's: x ** 0 is constant, at 0 too
  assert.deepEqual(
    slope((x) => t.pow(x, 0), [0, 1, 2]),
    [0, 0, 0],
  );
  assert.deepEqual(
    slope((x) => t.pow(x, 1), [0, 3]),
    [1, 1],
  );
  assert.deepEqual(
    slope((x) => t.slice(x, [1, 1, 2]), [1, 2, 3]),
    [0, 0, 0],
  );
  assert.deepEqual(
    slope((x) => t.slice(x, [0, 3, 2]), [1, 2, 3]),
    [1, 0, 1],
  );
});

test('an axis is turned once, however often it is named', () => {
  assert.deepEqual(
    both((x) => t.flip(x, [0, -1, 0]), of([1, 2, 3])),
    [[3, 2, 1]],
  );
});
