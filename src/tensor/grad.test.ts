import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../device/index.ts';
import { assertClose } from '../device/conformance/suite.ts';
import * as t from './index.ts';

type Tensor = t.Tensor;

test('gradients have the structure of the first argument; integers and what is not used get none', () => {
  const model = { w: t.tensor([2, 3]), ids: t.tensor(Int32Array.of(1, 0)), spare: t.tensor([[5]]), deep: [t.tensor(4)] };
  const [loss, g] = t.valueAndGrad((m: typeof model, x: Tensor) => t.sum(t.mul(t.mul(t.take(m.w, m.ids), x), m.deep[0]!)))(
    model,
    t.tensor([10, 100]),
  );
  assert.equal(loss.item(), 4 * (30 + 200));
  assert.deepEqual(g.w.toArray(), [400, 40]);
  assert.equal(g.ids, undefined);
  assert.deepEqual(g.spare.toArray(), [[0]]);
  assert.equal(g.deep[0]!.item(), 230);
});

test('the loss may come with other results', () => {
  const [[loss, aux], g] = t.valueAndGrad((x: Tensor) => [t.sum(t.square(x)), { doubled: t.mul(x, 2) }] as const)(t.tensor([1, 2]));
  assert.equal(loss.item(), 5);
  assert.deepEqual(aux.doubled.toArray(), [2, 4]);
  assert.deepEqual(g.toArray(), [2, 4]);
});

test('derivatives of derivatives, also through fused ops', () => {
  const square = (x: Tensor): Tensor => t.sum(t.mul(t.mul(x, x), x));
  const second = t.compile((x: Tensor) => t.grad((y: Tensor) => t.sum(t.grad(square)(y)))(x));
  assert.deepEqual(second(t.tensor([1, 2])).toArray(), [6, 12]);

  // by differences of first derivatives
  const weights = t.tensor([[1, -2, 0.5]]);
  const cases: [string, (x: Tensor) => Tensor][] = [
    ['softmax', (x) => t.sum(t.mul(t.softmax(x), weights))],
    ['layerNorm', (x) => t.sum(t.mul(t.layerNorm(x), weights))],
    ['rmsNorm', (x) => t.sum(t.mul(t.rmsNorm(x), weights))],
    ['crossEntropy', (x) => t.sum(t.crossEntropy(x, t.tensor(Int32Array.of(1))))],
    [
      'the log-sum-exp of attention',
      (x) => {
        const q = t.reshape(x, [1, 3, 1, 1]);
        return t.sum(t.mul(t.attentionWithLse(q, q, q).lse, t.reshape(weights, [1, 1, 3])));
      },
    ],
    [
      'attention',
      (x) => {
        const q = t.reshape(x, [1, 3, 1, 1]);
        return t.sum(t.mul(t.attention(q, q, q), t.reshape(weights, [1, 3, 1, 1])));
      },
    ],
  ];
  for (const [name, f] of cases) {
    const slope = t.compile((x: Tensor) => t.grad((y: Tensor) => t.sum(t.mul(t.grad(f)(y), weights)))(x));
    const along = t.compile((x: Tensor) => t.sum(t.mul(t.grad(f)(x), weights)));
    const at = [0.3, -0.7, 1.1];
    const own = slope(t.tensor([at])).data();
    at.forEach((_, i) => {
      const move = (h: number): number => along(t.tensor([at.map((v, k) => (k === i ? v + h : v))])).item();
      assertClose([own[i]!], [(move(1e-2) - move(-1e-2)) / 2e-2], 3e-3, `${name} ${i}`);
    });
  }
});

test("a gradient of one's own replaces that of the ops inside", () => {
  const round = (x: Tensor): Tensor =>
    t.customVjp(
      (y) => [t.floor(t.add(y!, 0.5))],
      ([g]) => [g],
    )(x)[0]!;
  const [y, g] = t.valueAndGrad((x: Tensor) => t.sum(t.mul(round(x), t.tensor([1, 10]))))(t.tensor([0.7, 2.2]));
  assert.equal(y.item(), 1 + 20);
  assert.deepEqual(g.toArray(), [1, 10]);
  const two = t.customVjp(
    (a, b) => [t.mul(a!, b!), t.add(a!, b!)],
    ([p, q], [a, b], [product]) => [t.add(t.mul(p!, b!), q ?? 0), t.mul(product!, 0)].map((z) => t.reshape(z, a!.shape)),
  );
  const [, h] = t.valueAndGrad(([a, b]: [Tensor, Tensor]) => {
    const [p, s] = two(a, b);
    return t.sum(t.add(p!, s!));
  })([t.tensor([3]), t.tensor([5])]);
  assert.deepEqual(
    h.map((z) => z.toArray()),
    [[6], [0]],
  );
});

test('stopGradient, ties and the pieces of a split', () => {
  const slope = (f: (x: Tensor) => Tensor, x: Tensor): unknown =>
    t
      .grad((y: Tensor) => t.sum(f(y)))(x)
      .toArray();
  assert.deepEqual(
    slope((x) => t.mul(x, t.stopGradient(x)), t.tensor([2, 3])),
    [2, 3],
  );
  assert.deepEqual(
    slope((x) => t.maximum(x, t.tensor([1, 2, 3])), t.tensor([2, 2, 2])),
    [1, 0.5, 0],
  );
  assert.deepEqual(
    slope((x) => t.max(x), t.tensor([1, 4, 4, 2])),
    [0, 0.5, 0.5, 0],
  );
  assert.deepEqual(slope(t.relu, t.tensor([-1, 0, 2])), [0, 0, 1]);
  assert.deepEqual(slope(t.abs, t.tensor([-1, 0, 2])), [-1, 0, 1]);
  assert.deepEqual(
    slope((x) => t.pow(x, 2), t.tensor([-3, 0, 2])),
    [-6, 0, 4],
  );
  assert.deepEqual(
    slope(
      (x) => {
        const [a, b] = t.split(x, [1, 3]);
        return t.concat([t.mul(b!, 2), a!]);
      },
      t.tensor([1, 2, 3, 4]),
    ),
    [1, 2, 2, 2],
  );
  assert.deepEqual(
    slope((x) => t.add(t.slice(x, [0, 2]), t.slice(x, [1, 3])), t.tensor([1, 2, 3, 4])),
    [1, 2, 1, 0],
  );
  assert.deepEqual(
    slope((x) => t.cast(t.cast(x, 'bf16'), 'f32'), t.tensor([1, 2])),
    [1, 1],
  );
});

test('gradients of bf16 parameters are bf16', () => {
  const g = t.grad((w: Tensor) => t.sum(t.cast(t.matmul(w, w), 'f32')))(
    t.tensor(
      [
        [1, 2],
        [3, 4],
      ],
      { dtype: 'bf16' },
    ),
  );
  assert.equal(g.dtype, 'bf16');
  assert.deepEqual(g.toArray(), [
    [7, 11],
    [9, 13],
  ]);
});
