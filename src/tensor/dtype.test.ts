import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../device/index.ts';
import { assertClose } from '../device/conformance/suite.ts';
import type { ReferenceDevice } from '../device/index.ts';
import * as t from './index.ts';

type Tensor = t.Tensor;
const reference = t.device('reference') as ReferenceDevice;

test('all 16-bit floats go to f32 and back', () => {
  for (let bits = 0; bits < 65536; bits++) {
    const [h, b] = [t.fromF16(bits), t.fromBf16(bits)];
    if (!Number.isNaN(h)) assert.equal(t.toF16(h), bits);
    else assert.ok(Number.isNaN(t.fromF16(t.toF16(h))));
    if (!Number.isNaN(b)) assert.equal(t.toBf16(b), bits);
    else assert.ok(Number.isNaN(t.fromBf16(t.toBf16(b))));
  }
});

test('between two 16-bit floats the nearer is taken, in the middle the even one, and from half a step above the largest infinity', () => {
  const [word, float] = [new Uint32Array(1), new Float32Array(1)];
  const words = new Uint32Array(float.buffer);
  const next = (x: number, step: 1 | -1): number => {
    float[0] = x;
    word[0] = words[0]! + step;
    return new Float32Array(word.buffer)[0]!;
  };
  for (const [name, to, from, infinity] of [
    ['f16', t.toF16, t.fromF16, 0x7c00],
    ['bf16', t.toBf16, t.fromBf16, 0x7f80],
  ] as const)
    for (let low = 0; low < infinity; low++) {
      const high = low + 1 === infinity ? 2 * from(low) - from(low - 1) : from(low + 1);
      const middle = (from(low) + high) / 2;
      const found = [middle, -middle, next(middle, -1), next(middle, 1)].map(to);
      const even = low % 2 ? low + 1 : low;
      assert.deepEqual(found, [even, even | 0x8000, low, low + 1], `${name} ${low}`);
    }
});

test('two dtypes meet in the wider one, whichever comes first', () => {
  const meets: [t.DType, t.DType, t.DType][] = [
    ['f32', 'bf16', 'f32'],
    ['bf16', 'f16', 'f32'],
    ['f16', 'i64', 'f16'],
    ['i64', 'i32', 'i64'],
    ['i32', 'u8', 'i32'],
    ['u8', 'i8', 'i32'],
    ['bool', 'u8', 'u8'],
    ['bool', 'bool', 'bool'],
  ];
  for (const [a, b, c] of meets) {
    assert.equal(t.promote(a, b), c);
    assert.equal(t.promote(b, a), c);
    assert.equal(t.add(t.zeros([1], a), t.zeros([1], b)).dtype, c === 'bool' ? 'bool' : c);
  }
  assert.equal(t.add(t.zeros([1], 'i32'), 0.5).dtype, 'f32');
  assert.equal(t.add(t.zeros([1], 'u8'), 1).dtype, 'u8');
  assert.equal(t.add(t.zeros([1], 'bool'), 1).dtype, 'i32');
});

test('integers wrap as their storage does, quotients round down', () => {
  const ints = (dtype: t.DType, ...x: number[]): Tensor => t.tensor(x, { dtype });
  const cases: [Tensor, number[]][] = [
    [t.add(ints('u8', 250, 3), ints('u8', 10, 4)), [4, 7]],
    [t.mul(ints('i8', 100, -100), 2), [-56, 56]],
    [t.add(ints('i32', 2 ** 31 - 1), 1), [-(2 ** 31)]],
    [t.mul(ints('i32', 65537), 65537), [131073]],
    [t.div(ints('i32', -7, 7, 7, 5), ints('i32', 2, -2, 2, 0)), [-4, -4, 3, 0]],
    [t.mod(ints('i32', -7, 7, 7, 5), ints('i32', 3, -3, 3, 0)), [2, -2, 1, 0]],
    [t.div(ints('i64', -7, 2 ** 40), ints('i64', 2, 3)), [-4, Math.floor(2 ** 40 / 3)]],
    [t.mod(ints('i64', -7), ints('i64', 3)), [2]],
    [t.add(ints('i64', 2 ** 33), 1), [2 ** 33 + 1]],
    [t.sum(ints('i64', 2 ** 33, 2 ** 33)), [2 ** 34]],
    [t.shiftRight(ints('i32', -1), 28), [15]],
    [t.shiftRight(ints('i8', -1, -128, 100), 1), [127, 64, 50]],
    [t.shiftRight(ints('u8', 255, 1), 1), [127, 0]],
    [t.cast(t.tensor([-1.7, 1.7, 3e9, -3e9, Number.NaN]), 'i32'), [-1, 1, 2 ** 31 - 1, -(2 ** 31), 0]],
    [t.cast(t.tensor([300, -1]), 'u8'), [44, 255]],
    [t.cast(ints('i32', 0, 2, -1), 'bool'), [0, 1, 1]],
    [t.cast(t.tensor([0, 0.5, -0]), 'bool'), [0, 1, 0]],
    [t.not(ints('i32', 0, 5)), [1, 0]],
    [t.max(ints('i32', -(2 ** 31), -5)), [-5]],
    [t.max(t.tensor([Number.NEGATIVE_INFINITY, Number.NaN, 3])), [Number.NaN]],
    [t.argmax(t.tensor([1, 7, 7, 2])), [1]],
    [t.cumsum(ints('i32', 1, 2, 3)), [1, 3, 6]],
    [t.min(ints('u8', 3, 0, 7)), [0]],
    [t.min(ints('bool', 1, 0)), [0]],
    [t.min(ints('i32', -(2 ** 31), 5)), [-(2 ** 31)]],
    [t.min(ints('i64', 2 ** 40, -3)), [-3]],
    [t.argmin(ints('u8', 3, 0, 7)), [1]],
    [t.argmin(ints('bool', 1, 0)), [1]],
    [t.cumsum(ints('u8', 200, 100, 1)), [200, 44, 45]],
    [t.cumsum(ints('i8', 100, 100, 1)), [100, -56, -55]],
    [t.cumsum(ints('bool', 0, 1, 0)), [0, 1, 1]],
    [t.cumsum(ints('i64', 2 ** 40, 1, -2, 5, 7)), [2 ** 40, 2 ** 40 + 1, 2 ** 40 - 1, 2 ** 40 + 4, 2 ** 40 + 11]],
    [t.cumsum(ints('i64', 1, 2, 3), 0, { reverse: true }), [6, 5, 3]],
    [t.cumsum(ints('bf16', 256, 1, 1)), [256, 256, 258]],
    [t.cumsum(ints('f16', 1, 2, 3)), [1, 3, 6]],
    [t.argsort(t.tensor([2, Number.NaN, -0, 0, -5])), [4, 2, 3, 0, 1]],
  ];
  cases.forEach(([actual, expected], i) => assert.deepEqual([...actual.data()], expected, `case ${i}, ${actual.type.key}`));
});

test('narrow integers wrap inside a kernel as they do between kernels', () => {
  const chains: ((x: Tensor) => Tensor)[] = [
    (x) => t.cast(t.add(x, x), 'f32'),
    (x) => t.cast(t.neg(x), 'i32'),
    (x) => t.max(t.sub(x, t.flip(x, 0)), 0),
    (x) => t.cast(t.mod(t.mul(x, t.full([4], 3, x.dtype)), t.full([4], 300, x.dtype)), 'f32'),
    (x) => t.cast(t.div(t.abs(x), t.full([4], -1, x.dtype)), 'i32'),
    (x) => t.lerp(x, t.neg(x), 0.25),
  ];
  for (const dtype of ['u8', 'i8', 'bool'] as const)
    chains.forEach((f, i) => {
      const x = t.tensor([0, 1, -128, 100], { dtype });
      assert.deepEqual([...t.compile(f)(x).data()], [...f(x).data()], `chain ${i} of ${dtype}`);
    });
});

test('what kernels do not sum is refused, with the way out', () => {
  const at = t.tensor(Int32Array.of(0, 1));
  assert.throws(() => t.scatterAdd(t.zeros([2, 3], 'i32'), at, 4), /\[scatterAdd\] needs a float tensor, not i32\[2, 3\]; cast it/);
  assert.throws(() => t.scatterAlong(t.zeros([2], 'u8'), at, 4), /\[scatterAlong\] needs a float tensor/);
  assert.throws(() => t.scatterAdd(t.zeros([2, 3]), t.zeros([2]), 4), /\[scatterAdd\] needs an integer tensor, not f32\[2\]/);
  assert.throws(() => t.argmax(t.zeros([2, 0])), /axis 1 of f32\[2,0\] has no entries/);
  assert.throws(() => t.min(t.zeros([2, 0], 'i32'), 1), /\[max\] i32\[2,0\] has no entries along axes 1, and no i32 is below all others/);
});

const functions: [string, (x: Tensor, w: Tensor) => Tensor][] = [
  ['map', (x) => t.gelu(t.add(x, 0.5))],
  ['matmul', (x, w) => t.matmul(x, w)],
  ['matmul of a transpose', (x, w) => t.matmul(t.transpose(w), t.transpose(x))],
  ['layerNorm', (x) => t.layerNorm(x)],
  ['rmsNorm', (x) => t.rmsNorm(x)],
  ['softmax', (x) => t.softmax(x)],
  ['sum', (x) => t.sum(x, 0)],
  ['max', (x) => t.max(x, 1)],
  ['crossEntropy', (x) => t.crossEntropy(x, t.mod(t.iota(33), 70))],
  [
    'attention',
    (x) => {
      const q = t.reshape(x, [1, 33, 5, 14]);
      return t.attention(q, q, q, { causal: true });
    },
  ],
  ['take', (x) => t.take(x, t.tensor(Int32Array.of(4, 0, 4)))],
  ['scatterAdd', (x) => t.scatterAdd(x, t.mod(t.iota(33), 4), 9)],
  ['concat and pad', (x) => t.pad(t.concat([x, t.flip(x, 0)], 1), [1, 1], [0, 2], 0.5)],
  [
    'conv2d',
    (x, w) => t.conv2d(t.reshape(x, [1, 2, 33, 35]), t.reshape(t.slice(w, [0, 6], [0, 6]), [2, 2, 3, 3]), undefined, { padding: 1 }),
  ],
];
for (const [dtype, tolerance] of [
  ['bf16', 1.6e-2],
  ['f16', 2e-3],
] as const)
  test(`${dtype} storage: values and gradients are those of f32 to its precision`, () => {
    for (const [name, f] of functions) {
      const on = (device: t.Device, as: t.DType): Tensor[] =>
        [
          [33, 70],
          [70, 12],
        ].map(([m, n], k) => {
          const rounded = t.decode(
            t.encode(
              Float32Array.from({ length: m! * n! }, (_, i) => Math.sin(i * (0.7 + k)) * (k ? 0.2 : 1)),
              dtype,
            ),
            dtype,
          );
          return t.tensor([...rounded], { shape: [m!, n!], dtype: as, device });
        });
      const run = (x: Tensor, w: Tensor): Tensor[] => [
        f(x, w),
        ...t
          .grad(([a, b]: Tensor[]) => t.mean(t.square(t.cast(f(a!, b!), 'f32'))))([x, w])
          .map((g, i) => t.mul(t.cast(g, 'f32'), [33 * 70, 70 * 12][i]! / 10)),
      ];
      const own = t.compile(run)(...(on(t.device('cpu'), dtype) as [Tensor, Tensor]));
      const exact = t.compile(run)(...(on(reference, 'f32') as [Tensor, Tensor]));
      own.forEach((y, i) =>
        assertClose(y.data(), reference.values(exact[i]!), tolerance * (i ? 4 : 1), `${name}, ${i ? `gradient ${i - 1}` : 'value'}`),
      );
    }
  });
