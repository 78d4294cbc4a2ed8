import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CpuDevice, type CudaDevice, ReferenceDevice } from '../device/index.ts';
import '../device/index.ts';
import * as t from './index.ts';

type Tensor = t.Tensor;
const device = t.defaultDevice() as CpuDevice | CudaDevice;

test('arguments and results are trees: classes keep their prototype, what is not a tensor passes through', () => {
  class Layer {
    readonly w: Tensor;
    readonly rate = 0.5;
    constructor(w: Tensor) {
      this.w = w;
    }
    half(): Tensor {
      return t.mul(this.w, this.rate);
    }
  }
  const step = t.compile((layers: Layer[]) => ({ layers: layers.map((l) => new Layer(l.half())), note: 'done', none: undefined }));
  const { layers, note, none } = step([new Layer(t.tensor([2])), new Layer(t.tensor([4, 8]))]);
  assert.ok(layers[1] instanceof Layer);
  assert.deepEqual([layers[0]!.w.toArray(), layers[1].half().toArray(), note, none], [[1], [1, 2], 'done', undefined]);
});

test('a compiled function inside another is part of it', () => {
  const inner = t.compile((x: Tensor) => t.mul(x, 2), { donate: [0] });
  const outer = t.compile((x: Tensor) => t.add(inner(x), x));
  assert.equal(outer.plan(t.tensor([1])).calls, 1);
  assert.deepEqual(outer(t.tensor([1, 2])).toArray(), [3, 6]);
});

test('tensors that are not arguments become arguments; those of the trace live where it runs', () => {
  const outside = t.tensor([10]);
  const f = t.compile((x: Tensor) => t.add(x, t.add(outside, t.tensor([1]))));
  assert.deepEqual(f(t.tensor([1])).toArray(), [12]);
  const other = t.device('reference');
  const g = t.compile((x: Tensor) => t.add(x, t.tensor([1])));
  assert.deepEqual(g(t.tensor([1], { device: other })).toArray(), [2]);
  outside.dispose();
  assert.throws(() => f(t.tensor([1])), /f32\[1\] was disposed/);
});

test('constants that a function makes while it is traced outlive the scope of its first call', () => {
  const f = t.compile((x: Tensor) => t.scope(() => t.add(t.add(x, t.tensor([1])), t.random.randint(t.random.key(1), [1], 5, 6))));
  const first = t.scope(() => f(t.tensor([1])).item());
  assert.deepEqual([first, f(t.tensor([2])).item()], [7, 8]);
});

test('a tensor of a trace cannot be used outside it, nor have numbers inside', () => {
  let leaked: Tensor | undefined;
  t.compile((x: Tensor) => (leaked = t.exp(x)))(t.tensor([1]));
  assert.throws(() => leaked!.data(), /f32\[1\] is being traced and has no numbers yet; return it/);
  assert.throws(() => t.compile((x: Tensor) => t.add(x, leaked!))(t.tensor([1])), /belongs to a program whose tracing has ended/);
  assert.throws(() => t.compile((x: Tensor) => t.full([1], x.item()))(t.tensor([1])), /is being traced and has no numbers/);
});

test('an asynchronous function is refused, and what is left of it is not heard of', async () => {
  const compiled = t.compile(async (x: Tensor) => {
    await null;
    return t.add(x, 1);
  });
  assert.throws(() => compiled(t.ones([2])), /\[compile\] the function is asynchronous, but is traced in one go; await/);
  await new Promise(setImmediate); // an unhandled rejection would fail this test
});

test('donated memory is reused, and its tensor is gone', () => {
  const step = t.compile((x: Tensor, y: Tensor) => t.add(x, y), { donate: [0], name: 'step' });
  const [x, y] = [t.tensor([1, 2]), t.tensor([3, 4])];
  const before = device.allocatedBytes;
  const z = step(x, y);
  assert.equal(device.allocatedBytes, before);
  assert.deepEqual(z.toArray(), [4, 6]);
  assert.throws(() => step(x, y), /f32\[2\] was donated to step; use the tensor that it returned/);
  assert.throws(() => step(y, y), /\[compile\] step: a donated tensor is passed twice, .*; copy it first/);
  assert.throws(() => step(y, t.reshape(y, [2])), /passed twice/);
  assert.deepEqual(y.toArray(), [3, 4]);
});

test('a tensor that the function uses by itself cannot be donated to it', () => {
  const w = t.tensor([1, 2, 3]);
  const f = t.compile((x: Tensor) => t.add(t.flip(w, 0), t.mul(x, 1.5)), { donate: [0], name: 'f' });
  assert.throws(() => f(w), /\[compile\] f: a donated tensor is passed twice, or used by the function itself; copy it first/);
  assert.deepEqual(f(t.tensor([1, 2, 3])).toArray(), [4.5, 5, 5.5]);
});

test('a call for which there is too little memory takes none', () => {
  class Small extends ReferenceDevice {
    override alloc(bytes: number): ReturnType<ReferenceDevice['alloc']> {
      if (this.allocatedBytes + bytes > 100) throw new Error('[small] out of memory');
      return super.alloc(bytes);
    }
  }
  const small = new Small();
  const x = t.tensor([1, 2, 3, 4, 5], { device: small });
  const f = t.compile((y: Tensor) => [t.mul(y, 2), t.mul(y, 3), t.concat([y, y, y])], { donate: [0] });
  const alias = t.reshape(x, [5, 1]);
  assert.throws(() => f(x), /out of memory/);
  assert.equal(small.allocatedBytes, 20);
  assert.deepEqual(alias.toArray(), [[1], [2], [3], [4], [5]]);
});

test('a result takes donated memory over when all other readers are done', () => {
  const f = t.compile((x: Tensor) => ({ next: t.add(x, 1), p: t.softmax(x), s: t.sum(x), r: t.neg(t.flip(x, 0)) }), { donate: [0] });
  const x = t.tensor([0, 0, 0, 0]);
  assert.equal(f.plan(x).resultBytes, 16 + 16 + 4);
  const { next, p, s, r } = f(x);
  assert.deepEqual([next.toArray(), p.toArray(), s.item(), r.toArray()], [[1, 1, 1, 1], [0.25, 0.25, 0.25, 0.25], 0, [-0, -0, -0, -0]]);
});

test('donated memory may become a result of another type', () => {
  for (const on of [device, t.device('reference')]) {
    const f = t.compile((x: Tensor) => t.cast(t.cumsum(x), 'i32'), { donate: [0] });
    const x = t.tensor([3.5, -7.5], { device: on });
    const { buffer } = x.storage;
    const y = f(x);
    assert.equal(y.storage.buffer, buffer);
    assert.deepEqual(y.toArray(), [3, -4]);
  }
});

test('donated memory that another tensor sees is copied, not overwritten', () => {
  const step = t.compile((x: Tensor) => t.mul(x, 2), { donate: [0] });
  const x = t.tensor([1, 2, 3, 4]);
  const rows = t.reshape(x, [2, 2]);
  assert.deepEqual(step(rows).toArray(), [
    [2, 4],
    [6, 8],
  ]);
  assert.deepEqual(x.toArray(), [1, 2, 3, 4]);
  const same = t.compile((y: Tensor) => y)(x);
  step(same);
  assert.deepEqual(x.toArray(), [1, 2, 3, 4]);
});

test('every result can be donated on its own, also one that is returned twice or is an argument', () => {
  const f = t.compile((x: Tensor) => {
    const y = t.exp(x);
    return [y, y, t.reshape(y, [2, 1]), x, x, t.slice(y, [0, 1])] as const;
  });
  const x = t.tensor([0, 0]);
  const all = f(x);
  const bump = t.compile((y: Tensor) => t.add(y, 1), { donate: [0] });
  const bumped = all.map((y) => bump(y).data());
  assert.deepEqual(
    bumped.map((d) => [...d]),
    [[2, 2], [2, 2], [2, 2], [1, 1], [1, 1], [2]],
  );
  assert.deepEqual(x.toArray(), [0, 0]);
});

test('a result that is a tensor from outside is a copy of it', () => {
  const outer = t.tensor([1, 2]);
  const f = t.compile((x: Tensor) => ({ outer, twice: outer, sum: t.add(x, outer) }));
  const { outer: one, twice, sum: added } = f(t.tensor([10, 20]));
  one.dispose();
  assert.deepEqual(
    [outer, twice, added].map((x) => x.toArray()),
    [
      [1, 2],
      [1, 2],
      [11, 22],
    ],
  );
  const same = t.compile(() => outer);
  assert.deepEqual(same().toArray(), [1, 2]);
});

test('memory of results, captured tensors and failed calls goes back', () => {
  const start = device.allocatedBytes - device.arenaBytes;
  const f = t.compile((x: Tensor, i: Tensor) => ({ y: t.take(t.softmax(x), i), z: t.sum(x) }), { donate: [0] });
  for (const [index, fails] of [
    [1, false],
    [7, true],
  ] as const) {
    const [x, i] = [
      t.tensor([
        [1, 2],
        [3, 4],
      ]),
      t.tensor(Int32Array.of(index)),
    ];
    if (fails) assert.throws(() => f(x, i), /\[\w+\] 1 indices of take or scatter were outside their axis; check the ids/);
    else t.disposeTree(f(x, i));
    t.disposeTree([x, i]);
  }
  assert.equal(
    f.findNonFinite(
      t.tensor([
        [1, 2],
        [3, 4],
      ]),
      t.tensor(Int32Array.of(1)),
    ),
    undefined,
  );
  assert.ok(device.allocatedBytes - device.arenaBytes <= start + 16 + 4, 'only the arguments of findNonFinite are left');
});

test('the plan says what is allocated, exactly, and before anything runs', () => {
  const own = new CpuDevice();
  const input = (shape: number[]): Tensor => t.tensor(new Float32Array(t.sizeOf(shape)), { shape, device: own });
  const f = (x: Tensor, w: Tensor): Tensor => t.softmax(t.matmul(t.gelu(t.matmul(x, w)), t.transpose(w)));
  const [x, w] = [input([100, 30]), input([30, 70])];
  const compiled = t.compile(f);
  const plan = compiled.plan(x, w);
  assert.equal(own.arenaBytes, 0);
  assert.equal(own.allocatedBytes, plan.argumentBytes);
  compiled(x, w);
  assert.equal(own.arenaBytes, plan.arenaBytes);
  assert.equal(own.allocatedBytes, plan.peakBytes);
  assert.equal(plan.resultBytes, 100 * 30 * 4);
  assert.equal(plan.flops > 2 * 2 * 100 * 30 * 70, true);
  const nothing = t.withDevice('null', () => compiled.plan(t.empty(x.type), t.empty(w.type)));
  assert.deepEqual(nothing, plan);

  // a larger program takes the arena over, a smaller one shares it
  const large = input([300, 200]);
  const chain = t.compile((y: Tensor) => t.sum(t.softmax(t.softmax(y))));
  chain(large);
  assert.equal(own.arenaBytes, chain.plan(large).arenaBytes);
  const again = compiled(x, w);
  assert.equal(own.arenaBytes, chain.plan(large).arenaBytes);
  assert.ok(again.data().every((p) => Math.abs(p - 1 / 30) < 1e-6));
});

test('sizes from 0 up and ranks from 0 to 6', () => {
  const f = t.compile((x: Tensor) => ({
    e: t.exp(x),
    s: t.sum(t.mul(x, 2)),
    r: t.permute(
      x,
      x.shape.map((_, i) => x.rank - 1 - i),
    ),
    c: t.concat([t.reshape(x, [-1]), t.reshape(x, [-1])]),
  }));
  const shapes = [[], [0], [3, 0, 2], [1], [5], [2, 3], [2, 1, 3], [2, 3, 2, 2], [1, 2, 1, 3, 2], [2, 1, 2, 1, 2, 3]];
  for (const shape of shapes) {
    const values = Array.from({ length: t.sizeOf(shape) }, (_, i) => i / 8);
    const { e, s, r, c } = f(t.tensor(values, { shape }));
    assert.deepEqual([...e.shape], shape);
    e.data().forEach((v, i) => assert.ok(Math.abs(v - Math.exp(values[i]!)) < 1e-4));
    assert.equal(s.item(), 2 * values.reduce((a, b) => a + b, 0));
    assert.deepEqual([...r.shape], [...shape].reverse());
    assert.deepEqual([...c.data()], [...values, ...values]);
  }
  const [x, w] = [t.tensor([], { shape: [0, 4] }), t.tensor(new Float32Array(12), { shape: [4, 3] })];
  assert.deepEqual([...t.matmul(x, w).shape], [0, 3]);
  assert.deepEqual(t.matmul(t.tensor([], { shape: [2, 0] }), t.tensor([], { shape: [0, 3] })).toArray(), [
    [0, 0, 0],
    [0, 0, 0],
  ]);
  assert.deepEqual(t.softmax(x).toArray(), []);
});
