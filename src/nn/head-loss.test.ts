import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../device/index.ts';
import { cast, compile, matmul, mul, random, type Tensor, tensor, transpose, valueAndGrad, withDevice } from '../tensor/index.ts';
import { headLoss } from './head-loss.ts';
import { classificationLoss } from './losses.ts';

const [N, D, V] = [300, 8, 37];
const make = compile((key: random.Key) => ({
  x: random.normal(random.foldIn(key, 0), [2, N / 2, D]),
  table: random.normal(random.foldIn(key, 1), [V, D]),
}));
type Model = ReturnType<typeof make>;
const labels = (): Tensor =>
  tensor(
    Int32Array.from({ length: N }, (_, i) => (i % 11 === 3 ? -100 : (i * 7) % V)),
    { shape: [2, N / 2] },
  );
/** 128 rows of logits padded to 128, in f32: three blocks. */
const memory = 128 * 128 * 4;

/** Loss, and gradients of three times the loss: the cotangent must reach them. */
const run = (loss: (m: Model, y: Tensor) => Tensor, model: Model): [number, Model] => {
  const [l, g] = compile((m: Model, y: Tensor) => valueAndGrad((n: Model) => mul(loss(n, y), 3))(m))(model, labels());
  return [l.item(), g];
};

test('loss and gradients are those of all logits at once', () => {
  const model = make(random.key(1));
  const [l, g] = run((m, y) => headLoss(m.x, m.table, y, { memory }), model);
  const [expected, e] = run((m, y) => classificationLoss(matmul(m.x, transpose(m.table)), y), model);
  assert.ok(Math.abs(l - expected) < 1e-5 * expected, `loss ${l}, expected ${expected}`);
  for (const k of ['x', 'table'] as const) {
    const [a, b] = [g[k].data(), e[k].data()];
    a.forEach((v, i) => assert.ok(Math.abs(v - b[i]!) < 1e-6, `${k}[${i}]: ${v}, expected ${b[i]}`));
  }
});

test('in bf16 the gradients round once and stay near', () => {
  const model = make(random.key(2));
  const half = (f: typeof headLoss) => (m: Model, y: Tensor) => f(cast(m.x, 'bf16'), cast(m.table, 'bf16'), y, { memory: memory / 2 });
  const [, g] = run(half(headLoss), model);
  const [, e] = run((m, y) => classificationLoss(matmul(m.x, transpose(m.table)), y), model);
  for (const k of ['x', 'table'] as const) {
    const [a, b] = [g[k].data(), e[k].data()];
    const scale = Math.max(...b.map(Math.abs));
    a.forEach((v, i) => assert.ok(Math.abs(v - b[i]!) < 0.02 * scale, `${k}[${i}]: ${v}, expected ${b[i]}`));
  }
});

test('memory holds a block of logits, not all; without gradients not even theirs are computed', () => {
  const [rows, wide] = [4096, 1000];
  withDevice('null', () => {
    const arena = (memory: number, train: boolean): number => {
      const f = (m: Model, y: Tensor): Tensor => headLoss(m.x, m.table, y, { memory });
      const model = {
        x: tensor(new Float32Array(rows * D), { shape: [rows, D] }),
        table: tensor(new Float32Array(wide * D), { shape: [wide, D] }),
      };
      const y = tensor(new Int32Array(rows));
      return compile((m: Model, z: Tensor) => (train ? valueAndGrad(f)(m, z) : f(m, z))).plan(model, y).arenaBytes;
    };
    const logits = rows * 1024 * 4;
    assert.ok(arena(logits / 8, true) < 1.3 * (logits / 8), `${arena(logits / 8, true)} bytes for blocks of ${logits / 8}`);
    assert.ok(arena(logits / 8, false) < 1.2 * (logits / 8), `${arena(logits / 8, false)} bytes without gradients`);
  });
});

test('a batch of no rows has no loss and no gradient', () => {
  const model = { x: tensor(new Float32Array(0), { shape: [0, D] }), table: make(random.key(3)).table };
  const none = tensor(new Int32Array(0));
  const [loss, g] = compile((m: Model, y: Tensor) => valueAndGrad((n: Model) => headLoss(n.x, n.table, y))(m))(model, none);
  assert.equal(loss.item(), 0);
  assert.ok(g.table.data().every((v) => v === 0));
});
