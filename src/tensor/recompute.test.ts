import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../device/index.ts';
import {
  compile,
  gelu,
  layerNorm,
  matmul,
  mean,
  mul,
  random,
  recompute,
  reshape,
  square,
  type Tensor,
  take,
  tensor,
  valueAndGrad,
  withDevice,
} from './index.ts';

interface Layer {
  up: Tensor;
  down: Tensor;
}
const layer = ({ up, down }: Layer, x: Tensor): Tensor => matmul(gelu(matmul(layerNorm(x), up)), down);
const again = recompute(layer);
const lossOf =
  (f: typeof layer) =>
  (model: { table: Tensor; layers: Layer[] }, ids: Tensor): Tensor =>
    mean(square(model.layers.reduce((x, l) => f(l, x), take(model.table, ids))));
const make = compile((key: random.Key, layers: number, width: number) => ({
  table: random.normal(key, [16, width]),
  layers: Array.from({ length: layers }, (_, i) => ({
    up: mul(random.normal(random.foldIn(key, 2 * i), [width, 4 * width]), 0.2),
    down: mul(random.normal(random.foldIn(key, 2 * i + 1), [4 * width, width]), 0.2),
  })),
}));
const idsOf = (rows: number): Tensor => tensor(Int32Array.from({ length: rows }, (_, i) => (i * 5) % 16));

test('results and gradients are the same bits', () => {
  const model = make(random.key(1), 3, 8);
  const run = (f: typeof layer) => compile((m: typeof model, ids: Tensor) => valueAndGrad(lossOf(f))(m, ids))(model, idsOf(20));
  const [plain, repeated] = [run(layer), run(again)];
  assert.deepEqual(repeated[0].toArray(), plain[0].toArray());
  assert.deepEqual(repeated[1].table.toArray(), plain[1].table.toArray());
  repeated[1].layers.forEach((l, i) => {
    assert.deepEqual(l.up.toArray(), plain[1].layers[i]!.up.toArray());
    assert.deepEqual(l.down.toArray(), plain[1].layers[i]!.down.toArray());
  });
});

test('the plan keeps the inputs of the layers and the insides of one', () => {
  const [layers, width, rows] = [8, 16, 512];
  const arena = (f: typeof layer): number =>
    withDevice('null', () => {
      const model = make(random.key(1), layers, width);
      return compile((m: typeof model, ids: Tensor) => valueAndGrad(lossOf(f))(m, ids)).plan(model, idsOf(rows)).arenaBytes;
    });
  const row = 4 * rows * width;
  assert.ok(
    arena(layer) > layers * 9 * row,
    `${arena(layer)} bytes: each layer keeps its input, its norm, twice its four times wider middle`,
  );
  assert.ok(arena(again) < (layers + 14) * row, `${arena(again)} bytes for ${layers} inputs of ${row} bytes`);
});

test('outside a program it is the function', () => {
  const x = tensor([1, 2, 3]);
  assert.deepEqual(recompute((y: Tensor) => reshape(square(y), [3, 1]))(x).toArray(), [[1], [4], [9]]);
});
