import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../../../device/index.ts';
import { initialize } from '../../../nn/index.ts';
import { cast, compile, iota, mul, random, reshape, type Tensor, tensor, withDevice } from '../../../tensor/index.ts';
import { copyTree } from '../../../train/index.ts';
import { newVit } from './classifier.ts';
import { Config, imageSide, presets } from './config.ts';
import { learnState, learnStep } from './learn.ts';
import { patchify, unpatchify } from './patches.ts';
import { toInput } from './pixels.ts';
import { blank } from './records.ts';
import { Tokenizer } from './tokenizer.ts';
import { channelsLast, codesToGrid, gridToCodes } from './tokens.ts';
import { trainStep } from './train.ts';

const list = (t: Tensor): number[] => Array.from(t.data());

test('every code is nearest to itself, at any length', () => {
  const codebook = random.normal(random.key(1), [391, 32]);
  const codes = reshape(iota(391), [1, 17, 23]);
  const grid = codesToGrid(codes, codebook);
  assert.deepEqual([...grid.shape], [1, 32, 17, 23]);
  assert.deepEqual(list(gridToCodes(grid, codebook)), list(codes));
  const stretched = mul(codebook, reshape(random.uniform(random.key(2), [391], 0.01, 100), [391, 1]));
  assert.deepEqual(list(gridToCodes(mul(grid, 7), stretched)), list(codes));
});

test('nearest means by angle, not by distance; equal codes give the lowest index', () => {
  const codebook = tensor([
    [10, 0],
    [0, 1],
    [0, 1],
    [-1, 0],
  ]);
  const z = tensor([[[[0.2, 0, -3]], [[0.1, 5, 1]]]]);
  assert.deepEqual(list(gridToCodes(z, codebook)), [0, 1, 3]);
});

test('patches go back to where they came from', () => {
  const x = random.uniform(random.key(1), [2, 3, 8, 12]);
  const patches = patchify(x, 4);
  assert.deepEqual([...patches.shape], [2, 6, 48]);
  assert.deepEqual(list(unpatchify(patches, [2, 3], 4)), list(x));
  assert.throws(() => patchify(x, 5), /8 x 12 does not split into patches of 5/);
});

test('pixels of any size and colour become the input that was learned', () => {
  const grey = toInput(tensor(Uint8Array.of(0, 255, 51, 102), { shape: [1, 2, 2, 1] }), 2, 3);
  assert.deepEqual([...grey.shape], [1, 3, 2, 2]);
  list(grey).forEach((v, i) => assert.ok(Math.abs(v - [0, 1, 0.2, 0.4][i % 4]!) < 1e-6));
  const color = toInput(tensor(Uint8Array.of(255, 0, 0, 0, 255, 0), { shape: [1, 1, 2, 3] }), 1, 1);
  assert.deepEqual([...color.shape], [1, 1, 1, 1]);
  assert.ok(Math.abs(list(color)[0]! - (0.299 + 0.587) / 2) < 1e-6);
});

test('both kinds of tokenizer keep their shapes', () => {
  for (const kind of ['conv', 'vit'] as const) {
    const { tokenizer: config } = Config.parse({
      ...presets.cifar,
      tokenizer: { ...presets.cifar.tokenizer, kind, heads: 4, layers: 1, grid: 4 },
      crop: 4,
    });
    const tokenizer = initialize((key) => Tokenizer.init(key, config, 3), 1);
    const x = random.uniform(random.key(1), [2, 3, 16, 16]);
    const codes = tokenizer.tokenize(x);
    assert.deepEqual([...codes.shape], [2, 4, 4]);
    assert.deepEqual([...tokenizer.decode(tokenizer.vectors(codes)).shape], [2, 3, 16, 16]);
    assert.throws(() => tokenizer.withoutDecoder().decode(tokenizer.vectors(codes)), /stored without its decoder/);
  }
});

test('learning lowers the reconstruction error and brings the codebook to life', () => {
  const { tokenizer: config } = Config.parse({
    ...presets.fashion,
    tokenizer: { ...presets.fashion.tokenizer, grid: 4, codes: 32, width: 32 },
    crop: 4,
  });
  const step = learnStep(config, 1, 20);
  const side = imageSide(config);
  const pixels = tensor(
    Uint8Array.from({ length: 16 * side * side }, (_, i) => 128 + 120 * Math.sin((i % side) * (1 + Math.floor(i / side / side) / 4))),
    { shape: [16, side, side, 1] },
  );
  let state = learnState(config, 1, 1);
  const losses: number[] = [];
  for (let i = 0; i < 60; i++) {
    const next = step(state, pixels, random.key(i), tensor(3e-3));
    state = next.state;
    losses.push(next.metrics!['reconstruction']!.item());
  }
  assert.ok(losses.at(-1)! < 0.3 * losses[0]!, `${losses[0]} -> ${losses.at(-1)}`);
  const used = new Set(list(compile((m: Tokenizer, x: Tensor) => m.tokenize(toInput(x, side, 1)))(state.model, pixels)));
  assert.ok(used.size >= 8, `${used.size} codes are used`);
});

test('codes that nothing chose become vectors of the batch when it is time, and only then', () => {
  const { tokenizer: config } = Config.parse({
    ...presets.fashion,
    tokenizer: { ...presets.fashion.tokenizer, grid: 4, codes: 64, codeDim: 4, width: 16 },
    crop: 4,
  });
  const side = imageSide(config);
  const pixels = compile((k: Tensor) => cast(random.randint(k, [16, side, side, 1], 0, 256), 'u8'))(random.key(1));
  const vectors = compile((m: Tokenizer, x: Tensor) => reshape(channelsLast(m.quantise(toInput(x, side, 1)).z), [-1, 4]));
  const rows = (t: Tensor): number[][] => t.toArray() as number[][];
  const placeIn = (all: number[][], row: number[]): number => all.findIndex((z) => z.every((v, i) => Math.abs(v - row[i]!) < 1e-4));
  const step = learnStep(config, 1, 3);
  const states = [learnState(config, 1, 1)];
  for (let i = 0; i < 4; i++) states.push(step(copyTree(states[i]!), pixels, random.key(i), tensor(1e-3)).state);
  const tokens = 16 * 16;
  assert.deepEqual(
    states.map(({ usage }) => list(usage).reduce((a, b) => a + b)),
    [0, tokens, 2 * tokens, 3 * tokens, tokens],
  );
  for (const [at, state] of states.slice(0, 4).entries()) {
    const [all, next, used] = [rows(vectors(state.model, pixels)), states[at + 1]!, list(state.usage)];
    const places = rows(next.model.codebook).map((row) => placeIn(all, row));
    const replaced = places.map((place) => place >= 0);
    assert.deepEqual(replaced, at % 3 ? replaced.map(() => false) : used.map((n) => n === 0), `step ${at}`);
    rows(next.optimizer.m.codebook).forEach((m, code) => replaced[code] && assert.deepEqual(m, [0, 0, 0, 0]));
    if (at === 0) assert.ok(Math.max(...places) > tokens / 2 && new Set(places).size > 32, 'drawn from the whole batch');
  }
  assert.ok(list(states[3]!.usage).some((n) => n === 0) && list(states[3]!.usage).some((n) => n > 0));
});

test('the published ImageNet-size configuration plans', (t) => {
  const config = Config.parse({});
  assert.deepEqual(
    [imageSide(config.tokenizer), config.tokenizer.grid, config.tokenizer.codeDim, config.tokenizer.codes],
    [256, 32, 32, 391],
  );
  withDevice('null', () => {
    const learning = learnStep(config.tokenizer, 3, 1000).plan(
      learnState(config.tokenizer, 3, 0),
      tensor(new Uint8Array(8 * 256 * 256 * 3), { shape: [8, 256, 256, 3] }),
      random.key(0),
      tensor(0),
    );
    const codebook = tensor(new Float32Array(391 * 32), { shape: [391, 32] });
    const model = newVit(config, 1000, 0);
    const state = {
      model,
      optimizer: { step: tensor(0), m: blank(() => newVit(config, 1000, 0)), v: blank(() => newVit(config, 1000, 0)) },
    };
    const codes = tensor(new Int32Array(64 * 1024), { shape: [64, 32, 32] });
    const training = trainStep(config, 1000, {
      codebook,
      synonyms: tensor(new Int32Array(391 * 5), { shape: [391, 5] }),
    }).plan(state, { codes, labels: tensor(new Int32Array(64)) }, random.key(0), tensor(0));
    t.diagnostic(`tokenizer step of 8 images: ${learning.peakBytes} B, classifier step of 64 images: ${training.peakBytes} B`);
    for (const plan of [learning, training]) assert.ok(plan.peakBytes > plan.argumentBytes && plan.gap < 0.05, JSON.stringify(plan));
    // ViT-B: 86 M parameters, at 12 bytes with their moments, plus the activations of 64 x 196 positions.
    assert.ok(training.argumentBytes > 85e6 * 12 && training.argumentBytes < 88e6 * 12);
  });
});
