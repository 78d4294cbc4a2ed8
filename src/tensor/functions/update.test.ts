import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import '../../device/index.ts';
import { compile, type Device, device, fromBytes, mul, sum, type Tensor, tensor, typeOf, updateAt } from '../index.ts';

const devices = ['cpu', 'reference'].map(device) as [Device, Device];

/** Shapes, the axis, how many entries are written, and where. */
const write = fc
  .record({
    shape: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 }),
    axis: fc.nat(3),
    n: fc.nat(99),
    at: fc.nat(99),
  })
  .map(({ shape, axis, n, at }) => {
    const a = axis % shape.length;
    const picks = 1 + (n % shape[a]!);
    return { shape, axis: a, picks, at: at % (shape[a]! - picks + 1) };
  });
type Write = { shape: number[]; axis: number; picks: number; at: number };

const counted = (n: number, from: number): Int32Array => Int32Array.from({ length: n }, (_, i) => from + i);
const sizeOf = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);

/** By definition: element (.., j, ..) is values (.., j - at, ..) inside the window, x outside. */
function expected({ shape, axis, picks, at }: Write, x: ArrayLike<number>, values: ArrayLike<number>): number[] {
  const inner = sizeOf(shape.slice(axis + 1));
  return Array.from({ length: sizeOf(shape) }, (_, i) => {
    const j = Math.floor(i / inner) % shape[axis]!;
    const o = Math.floor(i / inner / shape[axis]!);
    return j >= at && j < at + picks ? values[(o * picks + j - at) * inner + (i % inner)]! : x[i]!;
  });
}

test('updateAt writes the window and nothing else, donated or not', () => {
  for (const on of devices)
    fc.assert(
      fc.property(write, fc.boolean(), (w, donated) => {
        const shape = w.shape.map((d, i) => (i === w.axis ? w.picks : d));
        const [x, values] = [counted(sizeOf(w.shape), 1000), counted(sizeOf(shape), 1)];
        const f = compile((a: Tensor, b: Tensor, at: Tensor) => updateAt(a, b, at, w.axis), donated ? { donate: [0] } : {});
        const a = tensor(x, { shape: w.shape, device: on });
        const y = f(a, tensor(values, { shape, device: on }), tensor(Int32Array.of(w.at), { shape: [], device: on }));
        assert.deepEqual([...y.data()], expected(w, x, values));
        if (!donated) assert.deepEqual([...a.data()], [...x], 'the argument stays');
      }),
      { seed: 1, numRuns: 150 },
    );
});

test('a donated tensor is written where it lies, a chain of writes too; who else reads it goes first', () => {
  const [x, y, at] = [
    tensor(counted(12, 0), { shape: [6, 2], dtype: 'f32' }),
    tensor(counted(2, 50), { shape: [1, 2], dtype: 'f32' }),
    tensor(Int32Array.of(3), { shape: [] }),
  ];
  const twice = compile((a: Tensor, b: Tensor, i: Tensor) => updateAt(updateAt(a, b, i), mul(b, 2), mul(i, 0)), { donate: [0] });
  const { address } = x.storage.buffer;
  assert.equal(twice.plan(x, y, at).resultBytes, 0);
  const z = twice(x, y, at);
  assert.equal(z.storage.buffer.address, address);
  assert.deepEqual([...z.data()], [100, 102, 2, 3, 4, 5, 50, 51, 8, 9, 10, 11]);
  const both = compile((a: Tensor, b: Tensor, i: Tensor) => [updateAt(a, b, i), mul(a, 10)], { donate: [0] });
  const summed = compile((a: Tensor, b: Tensor, i: Tensor) => [updateAt(a, b, i), sum(a)], { donate: [0] });
  assert.equal(summed.plan(z, y, at).resultBytes, 4, 'the sum alone needs memory');
  const [changed, before] = both(z, y, tensor(Int32Array.of(5), { shape: [] })) as [Tensor, Tensor];
  assert.deepEqual([...changed.data()], [100, 102, 2, 3, 4, 5, 50, 51, 8, 9, 50, 51]);
  assert.deepEqual([...before.data()], [1000, 1020, 20, 30, 40, 50, 500, 510, 80, 90, 100, 110]);
});

test('shapes that do not fit and starts outside are refused', () => {
  const x = tensor(counted(12, 0), { shape: [6, 2] });
  const at = tensor(Int32Array.of(4), { shape: [] });
  const y = (shape: number[], dtype: 'i32' | 'f32' = 'i32'): Tensor => fromBytes(new Uint8Array(4 * sizeOf(shape)), typeOf(shape, dtype));
  assert.throws(() => updateAt(x, y([3, 2]), at), /outside their axis/);
  assert.throws(() => updateAt(x, y([7, 2]), at), /7 entries do not fit into axis 0 of i32\[6, ?2\], which holds 6/);
  assert.throws(() => updateAt(x, y([2, 3]), at), /must agree/);
  assert.throws(() => updateAt(x, y([2, 2], 'f32'), at), /must agree/);
  assert.throws(() => updateAt(x, y([2, 2]), y([2])), /needs one start/);
});
