import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import '../../../device/index.ts';
import { Augmenter, augmentImages } from '../../../data/augment/index.ts';
import { PackedImages } from '../../../data/index.ts';
import { AdamW, initialize, Vit } from '../../../nn/index.ts';
import { bicubicResize, disposeTree, flatten, mapTree, type Tensor, tensor } from '../../../tensor/index.ts';
import { copyTree } from '../../../train/index.ts';
import type { Schedule } from '../../contracts/schedule.ts';
import { augmentOf, batchesOf } from './batches.ts';
import { Config, createSchedule } from './config.ts';
import { regrid, resizeRelativeBias, type TrainState } from './positions.ts';
import { imagenetRecipe, type Recipe } from './presets.ts';
import { proxyAccuracy } from './proxy.ts';
import { searchSides } from './search.ts';
import { accuracyOf, partsOf, trainVit, type VitTraining } from './train.ts';

const size = 16;
/** Stripes across, down and diagonal, at random phase: three classes that need little training. */
function stripes(count: number, seed: number): PackedImages {
  const directions = [
    [1, 0],
    [0, 1],
    [1, 1],
  ] as const;
  const pixels = new Uint8Array(count * size * size);
  for (let i = 0; i < count; i++) {
    const [dx, dy] = directions[i % 3]!;
    for (let y = 0; y < size; y++)
      for (let x = 0; x < size; x++) pixels[(i * size + y) * size + x] = 128 + 100 * Math.sin(0.9 * (dx * x + dy * y) + i * 1.7 + seed);
  }
  return new PackedImages({
    pixels,
    labels: Int32Array.from({ length: count }, (_, i) => i % 3),
    shape: [size, size, 1],
    classes: ['across', 'down', 'diagonal'],
  });
}
const images = stripes(96, 0);
const recipe: Recipe = {
  ...imagenetRecipe,
  lr: 2e-3,
  resizedCrop: 0,
  randAugment: false,
  flip: 0,
  mixup: 0,
  cutmix: 0,
  erasing: 0,
  dropPath: 0,
  warmup: 0.1,
};
const schedule = createSchedule(Config.parse({ sides: [0.5, 0.5, 0.75, 0.75, 1] }));
const training: VitTraining = {
  images,
  schedule,
  steps: 100,
  batch: 32,
  model: { patch: 4, features: 32, layers: 2, heads: 2 },
  recipe,
  seed: 1,
};

const numbers = (tree: unknown): Map<string, number[]> =>
  new Map([...flatten(tree)].map(([name, t]) => [name, Array.from(t.data() as Float32Array)]));

test('a small transformer learns under the schedule, one program per side', async () => {
  const traced: number[] = [];
  const counted: Schedule = {
    ...schedule,
    reshape(x, step) {
      traced.push(step.shape[2]);
      return schedule.reshape(x, step);
    },
  };
  const trained = await trainVit({ ...training, schedule: counted, measure: true });
  assert.deepEqual(traced, [8, 12, 16], 'programs are cached');
  assert.deepEqual(
    trained.parts.map(({ side, steps }) => [side, steps]),
    [
      [8, 40],
      [12, 40],
      [16, 20],
    ],
  );
  const peaks = trained.parts.map(({ plannedPeakBytes }) => plannedPeakBytes);
  assert.ok(peaks[0]! < peaks[1]! && peaks[1]! < peaks[2]!, `planned peaks ${peaks}`);
  assert.ok(trained.parts.every(({ stepSeconds }) => stepSeconds!.sum > 0 && stepSeconds!.typical <= 2 * stepSeconds!.sum));
  assert.deepEqual(trained.model.grid, [4, 4]);
  const accuracy = await accuracyOf(trained.model, stripes(60, 0.5), trained.statistics);
  assert.ok(accuracy > 0.9, `accuracy ${accuracy}`);
});

test('a run that is interrupted in any stage ends with the bits of one that is not, averages and all', async () => {
  const all: VitTraining = { ...training, steps: 25, recipe: { ...imagenetRecipe, lr: 1e-3, ema: 0.9 } };
  const unbroken = await trainVit(all);
  const folder = mkdtempSync(join(tmpdir(), 'efficienttrain-'));
  try {
    const checkpoint = join(folder, 'run');
    for (const stop of [4, 14, 23]) {
      const abort = new AbortController();
      const onProgress = ({ step }: { step: number }): void => {
        if (step === stop) abort.abort(new Error('enough'));
      };
      await assert.rejects(trainVit({ ...all, checkpoint, signal: abort.signal, onProgress }), /enough/);
    }
    const resumed = await trainVit({ ...all, checkpoint });
    assert.deepEqual(numbers(resumed.model), numbers(unbroken.model));
    assert.deepEqual(numbers(resumed.average), numbers(unbroken.average));
    assert.notDeepEqual(numbers(resumed.average), numbers(resumed.model));
    assert.deepEqual(
      readdirSync(folder)
        .filter((name) => !name.includes('lock'))
        .sort(),
      ['run.0', 'run.1', 'run.2'],
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** A state whose moments are not zero. */
function stateOn(grid: number): TrainState {
  const model = initialize(
    (key) =>
      Vit.init(key, {
        channels: 1,
        height: 4 * grid,
        width: 4 * grid,
        patch: { size: 4, stride: 4, padding: 0 },
        features: 8,
        layers: 1,
        heads: 2,
        classes: 3,
        positions: 'learned',
      }),
    3,
  );
  const spike = (t: Tensor): Tensor =>
    tensor(
      Float32Array.from({ length: t.size }, (_, i) => (i % 29 === 0 ? 1 : 0)),
      { shape: t.shape },
    );
  const { step } = new AdamW().init(model);
  return { model, optimizer: { step, m: mapTree(model, spike), v: mapTree(model, spike) }, average: copyTree(model) };
}

test('positions, moments and averages move to another grid; the rest stays; second moments stay at least 0', () => {
  const state = stateOn(3);
  const before = numbers(state);
  const positions = Array.from(
    bicubicResize(tensor(Float32Array.from(before.get('model.positions')!), { shape: [1, 3, 3, 8] }), [5, 5], [1, 2]).data(),
  );
  const moved = regrid(state, [5, 5]);
  const after = numbers(moved);
  for (const [name, values] of before) {
    if (name.endsWith('positions')) assert.equal(after.get(name)!.length, 25 * 8, name);
    else assert.deepEqual(after.get(name), values, name);
  }
  for (const name of ['model', 'average']) after.get(`${name}.positions`)!.forEach((x, i) => assert.ok(Math.abs(x - positions[i]!) < 1e-6));
  assert.ok(Math.min(...after.get('optimizer.m.positions')!) < 0, 'the spikes overshoot');
  assert.ok(Math.min(...after.get('optimizer.v.positions')!) >= 0);
  for (const vit of [moved.model, moved.average!, moved.optimizer.m, moved.optimizer.v]) assert.deepEqual(vit.grid, [5, 5]);
  assert.equal(regrid(moved, [5, 5]), moved);
  disposeTree(moved);
});

test('relative-bias tables follow their windows', () => {
  const table = tensor(
    Float32Array.from({ length: 9 * 2 }, (_, i) => (i % 2 ? 1 : Math.floor(i / 6))),
    { shape: [9, 2] },
  );
  const resized = resizeRelativeBias(table, 2, 3);
  assert.deepEqual(resized.shape, [25, 2]);
  const rows = resized.toArray() as number[][];
  rows.forEach(([ramp, constant], i) => {
    assert.ok(Math.abs(constant! - 1) < 1e-5);
    assert.ok(Math.abs(ramp! - rows[i - (i % 5)]![0]!) < 1e-5, 'rows of the window stay rows');
  });
  assert.ok(rows[0]![0]! < rows[12]![0]! && rows[12]![0]! < rows[24]![0]!);
});

test('batches are a function of their place, also across parts', async () => {
  await using augmenter = new Augmenter(2);
  const options = { set: images, batch: 30, recipe: imagenetRecipe, seed: 4, strength: (index: number) => index / 20, augmenter };
  const part = { side: 8, start: 0, end: 10, replay: { times: 1, batches: 0 } };
  const take = async (
    source: AsyncIterable<{
      index: number;
      pixels: Uint8Array;
      labels: Int32Array;
      position: { seed: number; epoch: number; index: number };
    }>,
    n: number,
  ) => {
    const out = [];
    for await (const batch of source) if (out.push(batch) === n) break;
    return out;
  };
  const first = await take(batchesOf(part, 0, undefined, options), 10);
  assert.deepEqual(
    first.map(({ index }) => index),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
  );
  assert.deepEqual(await take(batchesOf(part, 0, first[3]!.position, options), 6), first.slice(4));
  // the next part goes on where this one ends
  const [next] = await take(batchesOf({ ...part, start: 7, end: 20 }, 7 * 30, undefined, options), 1);
  assert.deepEqual(next, first[7]);
  // a replaying part reads a quarter of each batch
  const [replayed] = await take(batchesOf({ ...part, replay: { times: 3, batches: 4 } }, 0, undefined, options), 1);
  assert.equal(replayed!.labels.length, 30);
  assert.equal(replayed!.position.index, 10);
  await assert.rejects(take(batchesOf(part, 0, undefined, { ...options, batch: 97 }), 1), /batch of 97 is more than the 96 images/);
});

test('augmentation acts on every image, and only where the recipe has it', () => {
  const augmented = (how: Recipe): Uint8Array =>
    augmentImages({ pixels: images.pixels.slice(), shape: images.shape, augment: augmentOf(how, 1), seeds: [1], indices: images.labels });
  assert.deepEqual(augmented(recipe), images.pixels);
  assert.notDeepEqual(augmented({ ...recipe, padCrop: 4 }), images.pixels);
  assert.notDeepEqual(augmented({ ...recipe, resizedCrop: 0.3 }), images.pixels);
});

test('neighbouring stages of one side are one part; replay follows the published phases', () => {
  const target = { steps: 200, batch: 32, channels: 1, size: 224, patch: 16, itemBytes: 4 };
  const parts = partsOf(createSchedule(Config.parse({ version: 'plusplus' })), target, true);
  assert.deepEqual(
    parts.map(({ side, replay }) => [side, replay.times]),
    [
      [96, 4],
      [160, 2],
      [192, 1],
      [224, 1],
    ],
  );
  assert.deepEqual(parts.map(({ start }) => start).slice(1), parts.map(({ end }) => end).slice(0, -1));
});

test('the search runs on a proxy budget, and every trial takes the same compute', async () => {
  const evaluate = proxyAccuracy({ images, validation: stripes(30, 2), fullSteps: 6, batch: 32, model: training.model, recipe, seed: 1 });
  const found = await searchSides({ stages: 2, candidates: [0.5, 1], tolerance: 1, evaluate });
  assert.deepEqual(found.sides, [0.5, 1]);
  assert.equal(found.trials.length, 2);
});

test('images that are not square are refused', async () => {
  const wide = new PackedImages({ pixels: new Uint8Array(8 * 4 * 2), labels: [0, 1], shape: [4, 8, 1], classes: ['a', 'b'] });
  await assert.rejects(trainVit({ ...training, images: wide }), /images of 4 x 8 are not square/);
});
