import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../device/index.ts';
import * as t from './index.ts';

const of = (...shape: number[]): t.Tensor => t.zeros(shape);
const int = (...shape: number[]): t.Tensor => t.zeros(shape, 'i32');

/** Each mistake, and what the error says: the operation, both shapes, the way out. */
const mistakes: [() => unknown, RegExp][] = [
  [() => t.add(of(2, 3), of(2, 4)), /\[add\] shapes \[2, 3\] and \[2, 4\] do not broadcast: 3 and 4 meet at axis -1; reshape one/],
  [() => t.add('1' as never, of(2)), /\[add\] 1 is neither a tensor nor a number; make one with tensor/],
  [() => t.mul(of(2), undefined as never), /\[mul\] undefined is neither a tensor nor a number/],
  [() => t.sub(of(2), [1, 2] as never), /\[sub\] an array is neither a tensor nor a number/],
  [
    () =>
      t.tensor([
        [1, '2'],
        [3, 4],
      ] as never),
    /\[tensor\] element 1 is "2", no number; convert it first/,
  ],
  [() => t.tensor([1, null] as never), /\[tensor\] element 1 is null, no number/],
  [() => t.softmax(of(2, 3), 2), /\[softmax\] axis 2 is out of range for a tensor of rank 2; use -2\.\.1/],
  [() => t.where(int(3), of(2), 0), /\[where\] shapes \[3\] and \[2\] do not broadcast/],
  [() => t.matmul(of(2, 3), of(4, 5)), /\[matmul\] inner sizes of \[2, 3\] and \[4, 5\] differ: 3 and 4; transpose/],
  [() => t.matmul(of(3), of(3, 5)), /\[matmul\] needs at least rank 2, not \[3\] and \[3, 5\]; reshape a vector/],
  [() => t.matmul(of(2, 3, 4), of(3, 4, 5)), /\[matmul\] shapes \[2\] and \[3\] do not broadcast/],
  [() => t.matmul(int(2, 3), int(3, 2)), /\[matmul\] needs a float tensor, not i32\[2, 3\]; cast it/],
  [() => t.reshape(of(2, 3), [4, 2]), /\[reshape\] \[2, 3\] has 6 elements, \[4, 2\] has 8; the counts must be equal/],
  [() => t.reshape(of(2, 3), [-1, 4]), /\[reshape\] \[2, 3\] has 6 elements, \[-1, 4\] has 4 x -1/],
  [() => t.reshape(of(2, 3), [-1, -1]), /\[reshape\]/],
  [() => t.permute(of(2, 3), [0, 0]), /\[permute\] \[0, 0\] is no permutation of the 2 axes of \[2, 3\]/],
  [() => t.transpose(of(3)), /\[transpose\] axis -2 is out of range for a tensor of rank 1; use -1\.\.0/],
  [() => t.squeeze(of(2, 3), 0), /\[squeeze\] axis 0 of \[2, 3\] has size 2, not 1/],
  [() => t.broadcastTo(of(2, 3), [3, 2]), /\[broadcast/],
  [() => t.broadcastTo(of(2, 3), [1, 3]), /\[broadcastTo\] \[2, 3\] does not fit into \[1, 3\]/],
  [() => t.slice(of(4), [1, 6]), /\[slice\] \[1, 6\) by 1 is outside axis 0 of \[4\]/],
  [() => t.slice(of(4), [3, 1]), /\[slice\] \[3, 1\)/],
  [() => t.slice(of(4), null, null), /\[slice\] 2 ranges for \[4\] of rank 1/],
  [() => t.slice(of(4), [0.5, 2.5]), /\[slice\] \[0\.5, 2\.5\) by 1 is outside axis 0 of \[4\]/],
  [() => t.split(of(2, 7), 3), /\[split\] axis -1 of \[2, 7\] has size 7; it does not split into 3 equal parts/],
  [() => t.split(of(2, 7), [3, 5]), /does not split into \[3, 5\]/],
  [() => t.pad(of(2), [1], [-1]), /\[pad\] widths \[1\], \[-1\] must be >= 0; use slice to cut/],
  [() => t.concat([of(2, 3), of(2, 4)]), /\[concat\] f32\[2,3\] and f32\[2,4\] must agree in dtype and in all axes but 0/],
  [() => t.concat([of(2), int(2)]), /\[concat\] f32\[2\] and i32\[2\] must agree/],
  [() => t.concat([]), /\[concat\] needs at least one tensor/],
  [() => t.sum(of(2, 3), 2), /\[sum\] axis 2 is out of range for a tensor of rank 2; use -2\.\.1/],
  [() => t.sum(t.zeros([4], 'u8')), /\[sum\] of u8\[4\] would overflow; cast it to i32 or f32 first/],
  [() => t.variance(of(1), 0, { correction: 1 }), /\[variance\] 1 elements leave nothing after a correction of 1/],
  [() => t.sum(of(), 0), /\[sum\] axis 0 is out of range for a tensor of rank 0; a single number has no axes/],
  [() => t.sort(of()), /\[argsort\] axis -1 is out of range for a tensor of rank 0/],
  [() => t.topK(of(2, 3), 4), /\[topK\] k = 4 is more than the 3 entries/],
  [() => t.exp(int(2)), /\[exp\] needs a float tensor, not i32\[2\]; cast it with cast\(x, 'f32'\)/],
  [() => t.bitAnd(of(2), of(2)), /\[and\] needs an integer tensor, not f32\[2\]/],
  [() => t.shiftLeft(t.zeros([2], 'i64'), 1), /\[shl\] takes the bits of at most 32, not of i64\[2\]; cast it with cast\(x, 'i32'\)/],
  [() => t.take(of(4), of(2)), /\[take\] needs an integer tensor, not f32\[2\]/],
  [() => t.takeAlong(of(2, 3), int(3, 3)), /\[takeAlong\] index i32\[3,3\] must agree with f32\[2,3\] in all axes but 1/],
  [() => t.scatterAdd(of(3, 2), int(2), 5), /\[scatterAdd\] index \[2\] must be a vector of the 3 entries of axis 0 of \[3, 2\]/],
  [() => t.scatterAlong(of(3, 5), int(3, 4), 6), /\[scatterAlong\] index i32\[3,4\] must have the shape of f32\[3,5\]/],
  [() => t.layerNorm(of()), /\[norm\] f32\[\] has no last axis of at least one element/],
  [() => t.attention(of(1, 2, 1, 4), of(1, 2, 0, 4), of(1, 2, 0, 4)), /with Hq a multiple of Hkv/],
  [
    () => t.attention(of(1, 2, 1, 4), of(1, 2, 1, 4), of(1, 2, 1, 4), { window: -1 }),
    /\[attention\] window -1 must be a whole number of keys; 0/,
  ],
  [() => t.bicubicResize(of(2, 3), [4, 4], [0, 2]), /\[bicubicResize\] axis 2 is out of range/],
  [() => t.conv2d(of(1, 3, 8, 8), of(4, 2, 3, 3)), /\[conv2d\] x \[1, 3, 8, 8\] and weight \[4, 2, 3, 3\] do not fit/],
  [() => t.conv2d(of(1, 3, 2, 2), of(4, 3, 3, 3)), /a 3x3 window does not fit into 2x2 with padding 0x0; pad more/],
  [
    () => t.conv2d(of(1, 1, 4, 4), of(1, 1, 2, 2), undefined, { stride: 1.5 }),
    /\[conv2d\] stride 1\.5 x 1\.5 must be whole numbers from 1/,
  ],
  [
    () => t.conv2d(of(1, 1, 4, 4), of(1, 1, 2, 2), undefined, { dilation: [1, 0] }),
    /\[conv2d\] dilation 1 x 0 must be whole numbers from 1/,
  ],
  [() => t.conv2d(of(1, 1, 4, 4), of(1, 1, 2, 2), undefined, { padding: -1 }), /\[conv2d\] padding -1 x -1 must be whole numbers from 0/],
  [() => t.convTranspose2d(of(1, 1, 4, 4), of(1, 1, 2, 2), undefined, { stride: 0 }), /\[convTranspose2d\] stride 0 x 0 must be whole/],
  [() => t.avgPool2d(of(1, 1, 4, 4), 0), /\[avgPool2d\] kernel 0 x 0 must be whole numbers from 1/],
  [() => t.full([2], '1' as never), /\[full\] 1 is no number; give one/],
  [
    () => t.linearCrossEntropy(of(2, 4), of(3, 4), int(2), { reduction: 'average' as never }),
    /\[linearCrossEntropy\] there is no reduction 'average'; use mean, sum or none/,
  ],
  [() => t.linearCrossEntropy(of(2, 4), of(3, 4), int(2), { memory: -1 }), /\[linearCrossEntropy\] memory is -1; it must be a number >= 0/],
  [
    () => t.convTranspose2d(of(1, 3, 1, 4), of(3, 2, 1, 3), undefined, { padding: 1 }),
    /\[convTranspose2d\] x \[1, 3, 1, 4\] and weight \[3, 2, 1, 3\] give an image of -1 x 4 with padding 1x1; pad less/,
  ],
  [() => t.convTranspose2d(of(1, 3, 8, 8), of(2, 4, 3, 3)), /\[convTranspose2d\] x \[1, 3, 8, 8\] and weight \[2, 4, 3, 3\]/],
  [() => t.layerNorm(of(2, 3), of(4)), /\[norm\] gain and bias must be f32\[3\] for f32\[2,3\], not f32\[4\]/],
  [() => t.layerNorm(of(2, 3), undefined, of(3)), /\[layerNorm\] a bias needs a gain/],
  [() => t.crossEntropy(of(2, 3), int(3)), /\[crossEntropy\] labels \[3\] do not match logits \[2, 3\]; they lack exactly the class axis/],
  [
    () => t.attention(of(1, 4, 3, 8), of(1, 4, 2, 8), of(1, 4, 2, 8)),
    /\[attention\] q f32\[1,4,3,8\], k f32\[1,4,2,8\], v f32\[1,4,2,8\] do not fit/,
  ],
  [() => t.grad((x: t.Tensor) => x)(of(2)), /\[grad\] the loss must be one float number, not f32\[2\]; take its mean\(\) or sum\(\)/],
  [() => t.grad((x: t.Tensor) => t.argmax(x))(of(2)), /\[grad\] the loss must be one float number, not i32\[\]/],
  [() => t.zeros(3 as never), /\[tensor\] 3 is no shape; give an array of whole numbers, such as \[2, 3\]/],
  [() => t.random.normal(t.random.key(0), '3' as never), /\[tensor\] 3 is no shape/],
  [() => t.compile(undefined as never), /\[compile\] undefined is no function/],
  [() => t.compile((x: t.Tensor) => x, { donate: 0 as never }), /\[compile\] compiled function: donate is 0; list places of arguments/],
  [() => t.compile((x: t.Tensor) => x, { donate: [-1] }), /donate is -1; list places of arguments, such as \[0\]/],
  [() => t.random.key(-1), /\[random\] seed -1 must be a whole number from 0/],
  [
    () => t.random.randint(t.random.key(0), [2], 5, 5),
    /\[randint\] 5 and 5 must be whole numbers that an i32 holds, with 0 < high - low < 2\^31/,
  ],
  [() => t.dropout(t.random.key(0), of(2), 1), /\[dropout\] p is 1; it must be at least 0 and below 1/],
  [() => t.random.bits(of(2), [3]), /\[random\] a key is two i32 words, not f32\[\]; make one with random\.key/],
  [
    () => t.random.randint(t.random.key(0), [2], 2 ** 31 - 5, 2 ** 31 + 5),
    /\[randint\] 2147483643 and 2147483653 must be whole numbers that an i32/,
  ],
  [
    () =>
      t.grad((x: t.Tensor) =>
        t.sum(
          t.customVjp(
            (y) => [y],
            ([g]) => [g, g],
          )(x)[0]!,
        ),
      )(of(2)),
    /\[customVjp\] the vjp gives 2 cotangents, for 1 inputs/,
  ],
  [() => t.take(of(4), t.tensor(Int32Array.of(1, 9, -1))), /\[\w+\] 2 indices of take or scatter were outside their axis/],
];

/** The functions that take a tensor first. */
const takesTensors = new Set(
  `abs add affineGrid affineSample argmax argmin argsort attention attentionWithLse avgPool2d barrier bernoulli bicubicCrop bicubicResize bitAnd bitOr bits
  bitXor broadcastTo cast clamp concat conv2d convTranspose2d cos crossEntropy cumsum decodeAttention div dropout embedding equal erf exp flip floor
  foldIn gelu geluTanh greater greaterEqual gridSample layerNorm lerp less lessEqual linearCrossEntropy linearCrossEntropyGradients
  linearCrossEntropyWithLse log logSoftmax logSumExp matmul max maximum mean min minimum mod mul narrow neg normal normalize not oneHot pad permutation
  permute pow relu reshape rmsNorm rope rotation rsqrt scatterAdd scatterAlong shiftLeft shiftRight sigmoid silu sin slice softCrossEntropy
  softmax softplus sort split splitKey sqrt square squeeze stack std stopGradient sub sum take takeAlong tanh topK transpose uniform
  unsqueeze updateAt variance vocabularyShard where zerosLike`.split(/\s+/),
);

test('places beyond what an i32 numbers are refused before anything is allocated', () => {
  const plan = (f: (x: t.Tensor) => t.Tensor): unknown =>
    t.withDevice('null', () => t.compile(f).plan(t.empty(t.typeOf([2, 2 ** 31 + 1], 'u8'))));
  assert.throws(() => plan(t.argmax), /\[argmax\] axis 1 of u8\[2,2147483649\] has 2147483649 places, an i32 numbers 2\^31; split it/);
  assert.throws(() => plan((x) => t.sort(x).values), /\[argsort\] the last axis of u8\[2,2147483649\] has/);
  assert.throws(() => t.iota(2 ** 31 + 1), /\[iota\] a range of i32 has 2147483649 places/);
});

test('mistakes say who, both shapes and the way out', () => {
  for (const [f, message] of mistakes) assert.throws(f, message, String(f));
});

test('what is no tensor is refused by name', () => {
  const functions = Object.entries({ ...t, ...t.random } as unknown as Record<string, (...args: unknown[]) => unknown>);
  const ofTensors = functions.filter(([name, f]) => typeof f === 'function' && takesTensors.has(name));
  assert.equal(ofTensors.length, takesTensors.size);
  for (const [name, f] of ofTensors)
    for (const wrong of [undefined, null, '3', [1, 2], {}, () => 1])
      assert.throws(() => f(wrong, wrong, wrong), /^\w+Error: \[\w+\] .* is /, `${name}(${String(wrong)})`);
  assert.throws(() => t.exp([1] as never), /\[exp\] an array is no tensor; make one with tensor/);
  assert.throws(() => t.sum(of(2, 3), '1' as never), /\[sum\] 1 is no array of axes/);
  assert.throws(() => t.concat(of(2) as never), /\[concat\] an object is no array of tensors/);
  assert.throws(() => t.concat([of(2)], 1), /\[concat\] axis 1 is out of range for a tensor of rank 1/);
  assert.throws(() => t.split(of(4), 2.5), /\[split\] axis -1 of \[4\] has size 4; it does not split into 2.5 equal parts/);
  assert.throws(() => t.bicubicResize(of(2, 3), 4 as never), /\[bicubicResize\] size 4 is no pair of numbers \[height, width\]/);
  assert.throws(() => t.reshape(of(2), 2 as never), /\[tensor\] 2 is no shape; give an array/);
});

test('mistakes in a compiled function are found while it is traced', () => {
  assert.throws(() => t.compile((x: t.Tensor) => t.add(x, of(4)))(of(3)), t.ShapeError);
  assert.throws(
    () => t.withDevice('null', () => t.compile((x: t.Tensor) => t.matmul(x, x)).plan(of(2, 3))),
    /inner sizes of \[2, 3\] and \[2, 3\]/,
  );
});

test('what holds nothing has a shape all the same', () => {
  assert.deepEqual(t.conv2d(t.zeros([0, 3, 8, 8]), t.zeros([4, 3, 3, 3])).shape, [0, 4, 6, 6]);
  assert.deepEqual(t.matmul(t.zeros([2, 2, 0]), t.zeros([0, 3])).toArray(), t.zeros([2, 2, 3]).toArray());
  assert.throws(() => t.reshape(t.zeros([2, 0]), [0, -1]), /\[reshape\] -1 beside a 0 in \[0, -1\] could be any size/);
});
