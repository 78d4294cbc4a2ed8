import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../device/index.ts';
import { iota, random, reshape, type Tensor, tensor } from '../tensor/index.ts';
import { xavierStd } from './init.ts';
import { Conv2d, ConvTranspose2d, Embedding, gridToSequence, LayerNorm, Linear, RmsNorm, sequenceToGrid } from './module.ts';

const numbers = (t: Tensor): number[] => Array.from(t.data());
const deviation = (xs: readonly number[]): number => Math.sqrt(xs.reduce((n, x) => n + x * x, 0) / xs.length);
/** Of a truncated normal of two deviations: 1 - 2 b phi(b) / (2 Phi(b) - 1) for b = 2. */
const cut = Math.sqrt(0.7737413);

test('weights begin with the deviations that their layers say', () => {
  const near = (found: number, expected: number): void => assert.ok(Math.abs(found / expected - 1) < 0.03, `${found}, not ${expected}`);
  near(deviation(numbers(Linear.init(random.key(1), 25, 400).weight)), cut / 5);
  near(deviation(numbers(Linear.init(random.key(1), 25, 400, { std: 3 }).weight)), cut * 3);
  near(deviation(numbers(Embedding.init(random.key(2), 400, 25).table)), cut * 0.02);
  assert.equal(Linear.init(random.key(1), 2, 3, { bias: false }).bias, undefined);
  assert.ok(Math.abs(xavierStd(768, 768 * 3) - Math.sqrt(2 / 3072)) < 1e-12);
  for (const conv of [Conv2d.init(random.key(3), 6, 40, 5), ConvTranspose2d.init(random.key(3), 6, 40, 5)]) {
    const largest = Math.max(...numbers(conv.weight).map(Math.abs));
    near(largest, 1 / Math.sqrt(6 * 25)); // uniform within 1 / sqrt(inChannels k k)
    assert.deepEqual(numbers(conv.bias), new Array(40).fill(0));
    assert.deepEqual([conv.stride, conv.padding], [1, 0]);
  }
  assert.deepEqual(Conv2d.init(random.key(3), 6, 4, 5).weight.shape, [4, 6, 5, 5]);
  assert.deepEqual(ConvTranspose2d.init(random.key(3), 6, 4, 5).weight.shape, [6, 4, 5, 5]);
});

test('norms add 1e-6 to the variance unless told otherwise', () => {
  const x = tensor([1e-3, -1e-3]); // of variance 1e-6
  for (const norm of [LayerNorm.init(2), RmsNorm.init(2)]) {
    const [first, second] = numbers(norm.forward(x)) as [number, number];
    assert.ok(Math.abs(first - Math.SQRT1_2) < 1e-5 && Math.abs(second + Math.SQRT1_2) < 1e-5, `${first}, ${second}`);
  }
  for (const norm of [LayerNorm.init(2, 3e-6), RmsNorm.init(2, 3e-6)]) assert.ok(Math.abs(numbers(norm.forward(x))[0]! - 0.5) < 1e-5);
});

test('a grid becomes a sequence in raster order, and back', () => {
  const grid = reshape(iota(2 * 3 * 4 * 5), [2, 3, 4, 5]);
  const sequence = gridToSequence(grid);
  assert.deepEqual(sequence.shape, [2, 20, 3]);
  const at = (b: number, c: number, y: number, x: number): number => ((b * 3 + c) * 4 + y) * 5 + x;
  assert.equal((sequence.toArray() as number[][][])[1]![2 * 5 + 3]![2], at(1, 2, 2, 3));
  assert.deepEqual(sequenceToGrid(sequence, [4, 5]).toArray(), grid.toArray());
});
