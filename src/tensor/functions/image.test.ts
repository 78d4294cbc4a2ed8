import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ReferenceDevice } from '../../device/index.ts';
import '../../device/index.ts';
import { assertClose } from '../../device/conformance/suite.ts';
import { compile, type Device, defaultDevice, device, grad, matmul, random, square, sum, type Tensor, tensor } from '../index.ts';
import { affineSample, bicubicCrop, bicubicResize, gridSample } from './image.ts';
import { slice } from './layout.ts';

const image = (shape: readonly number[], on: Device): Tensor => random.uniform(tensor(Int32Array.of(5, 6), { device: on }), shape, -1, 1);
const own = defaultDevice();

for (const on of [own, device('reference')])
  test(`${on.name}: a bicubic crop is the resize of the crop`, () => {
    const x = image([4, 3, 17, 13], on);
    const boxes = [
      [0, 0, 17, 13],
      [2, 3, 9, 8],
      [16, 12, 1, 1],
      [5, 0, 7, 7],
    ];
    const size = [7, 7] as const;
    const crops = compile((y: Tensor, b: Tensor) => bicubicCrop(y, b, size))(x, tensor(boxes, { device: on }));
    boxes.forEach(([top, left, height, width], b) => {
      const crop = slice(x, [b, b + 1], null, [top!, top! + height!], [left!, left! + width!]);
      const expected = compile((y: Tensor) => bicubicResize(y, size))(crop);
      assertClose(slice(crops, [b, b + 1]).data(), expected.data(), on === own ? 1e-6 : 1e-7, `box ${b}`);
    });
    // at its own size a crop is copied
    assert.deepEqual(slice(crops, [3, 4]).data(), slice(x, [3, 4], null, [5, 12], [0, 7]).data());
  });

test('boxes may come from a random key, and the gradient reaches the images', () => {
  const x = image([2, 1, 8, 8], own);
  const loss = (y: Tensor, key: Tensor): Tensor => {
    const boxes = random.randint(key, [2, 4], 1, 5);
    return sum(bicubicCrop(y, boxes, [3, 3]));
  };
  const total = sum(grad(loss)(x, random.key(3))).item();
  assertClose([total], [2 * 9], 1e-5, 'each result pixel has weights that sum to 1');
});

test('places outside an image give 0, whatever they are', () => {
  const x = tensor([
    [
      [
        [1, 2],
        [3, 4],
      ],
    ],
  ]);
  const grid = tensor([
    [
      [
        [0, 0],
        [5, 0],
        [0, -1e30],
        [Number.POSITIVE_INFINITY, 0],
        [-1.5, -1.5],
        [-0.5, 0.5],
      ],
    ],
  ]);
  assert.deepEqual([...gridSample(x, grid).data()], [2.5, 0, 0, 0, 0, 3]);
});

test('a turn by a right angle and back is the image', () => {
  const x = image([2, 3, 6, 6], own);
  const turn = (s: number): Tensor =>
    tensor([
      [
        [0, -s, 0],
        [s, 0, 0],
      ],
      [
        [0, -s, 0],
        [s, 0, 0],
      ],
    ]);
  const there = affineSample(x, turn(1), [6, 6]);
  assert.notDeepEqual(there.data(), x.data());
  assertClose(affineSample(there, turn(-1), [6, 6]).data(), x.data(), 1e-5, 'and back');
});

test('the gradient of a map follows its values', () => {
  const reference = device('reference') as ReferenceDevice;
  const x = image([1, 2, 5, 7], reference);
  const values = [0.813, 0.107, 0.071, -0.149, 0.911, 0.053]; // no place on a pixel centre
  const map = (at: readonly number[]): Tensor => {
    const theta = tensor([...at], { shape: [1, 2, 3], device: reference });
    reference.values(theta).set(at); // in float64
    return theta;
  };
  const loss = (m: Tensor): Tensor => sum(square(affineSample(x, m, [4, 6])));
  const value = compile(loss);
  const slopes = reference.values(grad(loss)(map(values)));
  values.forEach((_, i) => {
    const at = (h: number): number => reference.values(value(map(values.map((w, k) => (k === i ? w + h : w)))))[0]!;
    assertClose([slopes[i]!], [(at(1e-6) - at(-1e-6)) / 2e-6], 1e-6, `entry ${i}`);
  });
});

test('wrong shapes are named', () => {
  const x = image([2, 3, 4, 4], own);
  assert.throws(() => bicubicCrop(x, tensor([[0, 0, 1, 1]]), [2, 2]), /boxes \[1, 4\] do not fit images \[2, 3, 4, 4\]/);
  assert.throws(() => gridSample(x, matmul(x, x)), /places \[2, 3, 4, 4\] do not fit images \[2, 3, 4, 4\]/);
  assert.throws(() => affineSample(x, tensor([1, 2]), [2, 2]), /needs maps \[B, 2, 3\], not \[2\]/);
  assert.throws(() => gridSample(tensor([1]), x), /needs images \[B, C, H, W\], not \[1\]/);
});
