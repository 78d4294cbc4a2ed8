import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import v8 from 'node:v8';
import vm from 'node:vm';
import '../device/index.ts';
import * as t from './index.ts';

type Tensor = t.Tensor;
const device = t.defaultDevice();

test('tensors are made from numbers, arrays and typed arrays, and read back', () => {
  const cases: [Tensor, t.DType, number[], unknown][] = [
    [t.tensor(2.5), 'f32', [], 2.5],
    [t.tensor(true), 'bool', [], 1],
    [
      t.tensor([
        [1, 2],
        [3, 4],
      ]),
      'f32',
      [2, 2],
      [
        [1, 2],
        [3, 4],
      ],
    ],
    [t.tensor([]), 'f32', [0], []],
    [t.tensor([[], []]), 'f32', [2, 0], [[], []]],
    [t.tensor(Float64Array.of(0.5, 1e300)), 'f32', [2], [0.5, Number.POSITIVE_INFINITY]],
    [t.tensor(Int32Array.of(-1, 7), { shape: [2, 1] }), 'i32', [2, 1], [[-1], [7]]],
    [t.tensor(Uint8Array.of(0, 255)), 'u8', [2], [0, 255]],
    [t.tensor(Int8Array.of(-128, 127)), 'i8', [2], [-128, 127]],
    [t.tensor(BigInt64Array.of(-5n, 2n ** 52n)), 'i64', [2], [-5, 2 ** 52]],
    [t.tensor(Uint32Array.of(7, 2 ** 31)), 'f32', [2], [7, 2 ** 31]],
    [t.tensor(Int16Array.of(-3, 4)), 'f32', [2], [-3, 4]],
    [t.tensor(Uint8ClampedArray.of(3, 300)), 'u8', [2], [3, 255]],
    [t.tensor(Buffer.from([8, 9])), 'u8', [2], [8, 9]],
    [t.tensor([1, 2.5], { dtype: 'bf16' }), 'bf16', [2], [1, 2.5]],
    [t.tensor([1, 2.5], { dtype: 'f16' }), 'f16', [2], [1, 2.5]],
    [t.tensor([0, 3], { dtype: 'bool' }), 'bool', [2], [0, 1]],
    [t.tensor(new Uint8Array(12).subarray(1, 9), { shape: [8] }), 'u8', [8], [0, 0, 0, 0, 0, 0, 0, 0]],
  ];
  for (const [x, dtype, shape, values] of cases) {
    assert.equal(x.dtype, dtype);
    assert.deepEqual([...x.shape], shape);
    assert.deepEqual(x.toArray(), values);
    assert.equal(x.bytes, t.sizeOf(shape) * t.itemSize[dtype]);
    assert.deepEqual(t.fromBytes(x.rawData(), x.type).toArray(), values);
  }
});

test('what is no tensor is refused with the reason', () => {
  const cases: [() => unknown, RegExp][] = [
    [() => t.tensor([[1, 2], [3]]), /ragged nested arrays: \[2\] beside \[1\]/],
    [() => t.tensor([[1], 2] as never), /ragged/],
    [() => t.tensor([1, 2, 3], { shape: [2, 2] }), /3 numbers do not fill \[2, 2\] of 4/],
    [() => t.tensor([1], { shape: [1.5] }), /dimension 1\.5 must be a whole number/],
    [() => t.tensor([1], { shape: [-1] }), /dimension -1 must be/],
    [() => t.tensor(undefined as never), /\[tensor\] undefined is no number/],
    [() => t.zeros([2], { dtype: 'i32' } as never), /\[object Object\] is no dtype; use f32, bf16/],
    [() => t.zeros([2 ** 20, 2 ** 20, 2 ** 20]), /more bytes than can be counted/],
    [() => (t.tensor([1]) as never as number) > 0, /f32\[1\] is no JavaScript number; use functions such as add\(x, 1\)/],
    [() => (t.tensor([1]) as never as number) + 1, /is no JavaScript number/],
    [() => t.fromBytes(new Uint8Array(3), t.typeOf([1], 'f32')), /f32\[1\] takes 4 bytes, got 3/],
    [() => t.tensor([1, 2]).item(), /\[item\] needs one element, \[2\] has 2/],
    [() => t.device('tpu'), /'tpu' is unknown; available: cpu, /],
    [() => t.withDevice('null', () => t.tensor([1]).data()), /holds no numbers; run on cpu/],
    [() => t.add(t.tensor([1]), t.tensor([1], { device: t.device('reference') })), /operands on devices \w+ and reference/],
  ];
  for (const [f, message] of cases) assert.throws(f, message);
});

test('a scope ends with its function, so that an asynchronous one is refused', () => {
  const before = device.allocatedBytes;
  const body = async () => {
    const x = t.tensor([1, 2]);
    await null;
    return x.item();
  };
  assert.throws(() => t.scope(body), /\[scope\] the function is asynchronous, and would go on without its tensors/);
  assert.equal(device.allocatedBytes, before);
});

test('memory goes back with dispose, using and scope', () => {
  const start = device.allocatedBytes;
  const x = t.tensor([1, 2, 3, 4]);
  const view = t.reshape(x, [2, 2]);
  assert.equal(device.allocatedBytes, start + 16);
  x.dispose();
  x.dispose();
  assert.equal(device.allocatedBytes, start + 16, 'a view keeps the memory');
  assert.deepEqual(view.toArray(), [
    [1, 2],
    [3, 4],
  ]);
  assert.throws(() => x.data(), /f32\[4\] was disposed; keep it alive/);
  view.dispose();
  assert.equal(device.allocatedBytes, start);
  {
    using y = t.tensor([1, 2]);
    assert.equal(y.size, 2);
  }
  assert.equal(device.allocatedBytes, start);

  const kept = t.scope(() => {
    const a = t.tensor([1, 2]);
    const inner = t.scope(() => ({ b: t.add(a, 1), none: [t.add(a, 2)].length }));
    return [t.mul(inner.b, 10)];
  });
  assert.equal(device.allocatedBytes, start + 8);
  assert.deepEqual(kept[0]!.toArray(), [20, 30]);
  t.disposeTree(kept);
  assert.throws(
    () =>
      t.scope(() => {
        t.tensor([1]);
        throw new Error('inside');
      }),
    /inside/,
  );
  assert.equal(device.allocatedBytes, start);
});

test('what is no longer reachable is collected', async () => {
  v8.setFlagsFromString('--expose-gc');
  const collect = vm.runInNewContext('gc') as () => void;
  const start = device.allocatedBytes;
  for (let i = 0; i < 50; i++) t.tensor(new Float32Array(1000));
  assert.ok(device.allocatedBytes >= start + 4000);
  for (let i = 0; i < 50 && device.allocatedBytes > start; i++) {
    collect();
    await setTimeout(5);
  }
  assert.ok(device.allocatedBytes <= start, `${device.allocatedBytes - start} bytes are left`);
});
