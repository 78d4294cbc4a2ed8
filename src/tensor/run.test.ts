import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CpuDevice } from '../device/index.ts';
import * as t from './index.ts';

type Tensor = t.Tensor;

const heavy = t.compile(
  (x: Tensor) => {
    let y = x;
    for (let i = 0; i < 16; i++) y = t.mul(t.matmul(y, x), 0.01);
    return t.sum(y);
  },
  { name: 'heavy' },
);
const large = (): Tensor => t.random.uniform(t.random.key(1), [640, 640]);

test('the event loop lives while an asynchronous call runs, and the result is that of a call', async () => {
  const x = large();
  heavy(x).item(); // compiles
  const began = performance.now();
  const expected = heavy(x).item();
  const ms = performance.now() - began;
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  const result = await heavy.async(x);
  clearInterval(timer);
  assert.ok(ticks >= Math.min(3, Math.floor(ms / 4)), `${ticks} ticks in about ${ms} ms`);
  assert.equal(result.item(), expected);
});

test('arguments may be disposed during an asynchronous call, another program may run, the same may not', async () => {
  const x = large();
  const expected = heavy(x).item();
  const other = t.compile((y: Tensor) => t.sum(t.softmax(y)));
  const running = heavy.async(x);
  assert.throws(() => heavy(x), /\[compile\] heavy is still running; await its async call before the next/);
  assert.ok(
    Math.abs(
      other(
        t.tensor([
          [1, 2],
          [3, 4],
        ]),
      ).item() - 2,
    ) < 1e-6,
  );
  if (x.storage.device.name === 'cpu')
    assert.throws(
      () => other.profile(t.tensor([[1, 2]])),
      /another program is still running; await its async call before one is looked at/,
    );
  const wide = t.compile((y: Tensor) => t.sum(t.softmax(t.softmax(y)))); // grows the arena while it is in use
  assert.ok(Math.abs(wide(t.tensor(new Float32Array(3_000_000), { shape: [3000, 1000] })).item() - 3000) < 0.1);
  x.dispose();
  assert.equal((await running).item(), expected);
});

test('an asynchronous call takes donated tensors at once, and fails as a call does', async () => {
  const step = t.compile((x: Tensor, i: Tensor) => t.take(x, i), { donate: [0], name: 'step' });
  const x = t.tensor([1, 2, 3]);
  const running = step.async(x, t.tensor(Int32Array.of(2, 0, 1)));
  assert.throws(() => x.data(), /donated to step/);
  assert.deepEqual((await running).toArray(), [3, 1, 2]);
  await assert.rejects(step.async(t.tensor([1, 2, 3]), t.tensor(Int32Array.of(2, -1, 3))), /2 indices of take or scatter were outside/);
});

test('calls of every kind, those that fail too, give back what they held', async () => {
  const device = new CpuDevice(); // whose bytes nobody else has
  const f = t.compile((x: Tensor, i: Tensor) => t.take(t.mul(x, 2), i), { device });
  const round = async (): Promise<void> => {
    const [x, good, bad] = [
      t.tensor([1, 2, 3], { device }),
      t.tensor(Int32Array.of(2), { device }),
      t.tensor(Int32Array.of(9), { device }),
    ];
    for (const y of [f(x, good), await f.async(x, good), f.enqueue(x, good), f.profile(x, good).result]) {
      assert.deepEqual(y.toArray(), [6]);
      y.dispose();
    }
    assert.equal(f.findNonFinite(x, good), undefined);
    assert.throws(() => f(x, bad), /outside/);
    await assert.rejects(f.async(x, bad), /outside/);
    t.disposeTree([x, good, bad]);
  };
  await round();
  assert.equal(device.allocatedBytes, device.arenaBytes);
});

const chain = (x: Tensor): Tensor => t.sum(t.softmax(t.log(t.matmul(x, x))));
for (const device of ['cpu', 'reference'])
  test(`${device}: the first op that is not finite is found`, () => {
    const on = (v: number): Tensor =>
      t.tensor(
        [
          [1, 2],
          [3, v],
        ],
        { device: t.device(device) },
      );
    const f = t.compile(chain);
    assert.equal(f.findNonFinite(on(4)), undefined);
    assert.match(f.findNonFinite(on(-4))!, device === 'cpu' ? /^log$/ : /^reduceMax$/); // the call that it is part of
    assert.equal(f.findNonFinite(on(Number.NaN)), 'matmul');
    // an infinity that the program asks for, as in a mask, is no accident; a NaN from it is
    const masked = t.compile((x: Tensor) => t.mul(t.where(t.less(x, 3), x, Number.NEGATIVE_INFINITY), 1));
    assert.equal(masked.findNonFinite(on(4)), undefined);
    const wrong = t.compile((x: Tensor) => {
      const m = t.softmax(t.where(t.less(x, 3), x, Number.NEGATIVE_INFINITY));
      return t.sum(t.log(t.sub(m, m)));
    });
    assert.notEqual(wrong.findNonFinite(on(4)), undefined);
  });

test('looking for what is not finite leaves donated arguments alone', () => {
  const step = t.compile((x: Tensor) => t.log(x), { donate: [0] });
  const x = t.tensor([-1]);
  assert.equal(step.findNonFinite(x), 'log');
  assert.deepEqual(x.toArray(), [-1]);
});

test('two runs of a program give the same bits', () => {
  const f = t.compile((k: Tensor) => t.grad((x: Tensor) => t.mean(t.gelu(t.matmul(x, t.transpose(x)))))(t.random.normal(k, [300, 77])));
  assert.deepEqual(f(t.random.key(5)).rawData(), f(t.random.key(5)).rawData());
});

test('a call that is enqueued hands its results on at once; numbers are those of the moment that they were asked for', async () => {
  const step = t.compile((x: t.Tensor) => ({ next: t.mul(x, 2), sum: t.sum(x) }), { donate: [0] });
  let x = t.tensor([1, 2, 3]);
  const asked: Promise<ArrayLike<number>[]>[] = [];
  for (let i = 0; i < 10; i++) {
    const { next, sum } = step.enqueue(x);
    asked.push(t.fetchData([sum, next]));
    sum.dispose();
    x = next;
  }
  const found = await Promise.all(asked);
  found.forEach(([sum, next], i) => {
    assert.equal(sum![0], 6 * 2 ** i);
    assert.deepEqual(
      [...Array.from(next!)],
      [2, 4, 6].map((v) => v * 2 ** i),
    );
  });
  assert.deepEqual(x.toArray(), [1024, 2048, 3072]);
});
