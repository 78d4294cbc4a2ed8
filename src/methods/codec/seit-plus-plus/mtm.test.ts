import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import '../../../device/index.ts';
import { initialize } from '../../../nn/index.ts';
import {
  compile,
  countParameters,
  disposeTree,
  empty,
  grad,
  iota,
  random,
  reshape,
  type Tensor,
  tensor,
  typeOf,
  withDevice,
} from '../../../tensor/index.ts';
import { MaskedTokenModel, type MtmConfig, maskedLoss, mtmLoss, publishedMtm } from './mtm.ts';
import { publishedDecoder, tokensOfPatches } from './mtm-decoder.ts';
import { CodeStem, patchesOf } from './mtm-encoder.ts';
import { keptPatches, maskOf, maskOrder } from './mtm-mask.ts';
import { droppedPatches, maskedPatches, normalCdf, publishedRatio, truncatedNormalCdf } from './mtm-ratio.ts';
import { pretrainRate, pretrainState, pretrainStep } from './mtm-train.ts';

interface Case {
  name: string;
  attrs: { mean: number; sd: number; low: number; high: number };
  inputs: Record<'x' | 'u', { data: number[] }>;
  outputs: Record<'cdf' | 'quantile' | 'x', { data: number[] }>;
}
const golden = async (name: string): Promise<Case[]> => {
  const { cases } = JSON.parse(await readFile(new URL('../../../../tests/golden/methods.json', import.meta.url), 'utf8')) as {
    cases: Case[];
  };
  const found = cases.filter((c) => c.name.startsWith(name));
  assert.ok(found.length > 0, `no golden case '${name}'`);
  return found;
};
const near = (a: number, b: number, tolerance: number, what = ''): void =>
  assert.ok(Math.abs(a - b) <= tolerance, `${what} ${a} is not ${b} within ${tolerance}`);

/** 6 x 4 tokens in patches of 2: six patches. */
const small: MtmConfig = {
  encoder: { codes: 11, vector: 4, grid: [6, 4], patch: 2, features: 16, layers: 2, heads: 2 },
  decoder: { features: 8, layers: 1, heads: 2, dropout: 0.1 },
  ratio: publishedRatio,
  dropout: 0.1,
};
const make = (config = small, seed = 1): MaskedTokenModel => initialize((key) => MaskedTokenModel.init(key, config), seed);
const codesOf = (images: number, [h, w] = small.encoder.grid, K = small.encoder.codes): number[] =>
  Array.from({ length: images * h * w }, (_, i) => (i * 7 + (i >> 2)) % K);
const grid = (codes: number[], [h, w] = small.encoder.grid): Tensor =>
  tensor(Int32Array.from(codes), { shape: [codes.length / (h * w), h, w] });
const count = (n: number): Tensor => tensor(n, { dtype: 'i32' });

test('normal and truncated normal laws match SciPy', async () => {
  for (const { inputs, outputs } of await golden('normal cdf'))
    inputs.x.data.forEach((x, i) => near(normalCdf(x), outputs.cdf.data[i]!, 1e-10 * (1 + Math.abs(x)), `Phi(${x})`));
  for (const { attrs, inputs, outputs } of await golden('truncated normal')) {
    inputs.x.data.forEach((x, i) => near(truncatedNormalCdf(x, attrs), outputs.cdf.data[i]!, 1e-9, `P(X <= ${x})`));
    inputs.u.data.forEach((u, i) => near(truncatedNormalCdf(outputs.quantile.data[i]!, attrs), u, 1e-8, `P at the quantile of ${u}`));
  }
  assert.throws(() => truncatedNormalCdf(0.5, { mean: 0, sd: 0, low: 0, high: 1 }), /sd > 0/);
});

test('mask counts are those of the quantiles: 79 of 196 dropped, the masked from that to all', async () => {
  assert.equal(droppedPatches(196, publishedRatio), 79);
  const [{ attrs, inputs, outputs }] = (await golden('truncated normal mu 0.45')) as [Case];
  for (const patches of [196, 49, 6])
    inputs.u.data.forEach((u, i) => {
      // a draw is below 1, and the ratio at 0 is the least
      const expected = u === 0 ? droppedPatches(patches, attrs) : Math.ceil(outputs.quantile.data[i]! * patches);
      assert.equal(maskedPatches(tensor(Math.min(u, 1 - 2 ** -24)), patches, attrs).item(), expected, `${patches} patches, u ${u}`);
    });
  const draw = compile((key: Tensor) => maskedPatches(random.uniform(key, []), 196, publishedRatio));
  const counts = Array.from({ length: 500 }, (_, seed) => draw(random.key(seed)).item());
  assert.ok(Math.min(...counts) >= 79 && Math.max(...counts) <= 196);
  near(counts.sort((a, b) => a - b)[250]! / 196, 0.5836, 0.03, 'median ratio');
  assert.equal(patchesOf(publishedMtm.encoder).join(), '14,14');
  assert.throws(() => patchesOf({ grid: [7, 7], patch: 2 }), /7 x 7 token grid .* patches of 2/);
});

test('every image has its own order, and exactly `masked` masked patches, the dropped among them', () => {
  const order = compile(() => maskOrder(random.key(3), 4, 20))();
  const [places, ranks] = [order.order.toArray(), order.rank.toArray()] as [number[][], number[][]];
  const mask = maskOf(order, count(13)).toArray() as number[][];
  const kept = keptPatches(order, 8).toArray() as number[][];
  places.forEach((row, b) => {
    assert.deepEqual(
      [...row].sort((x, y) => x - y),
      Array.from({ length: 20 }, (_, i) => i),
    );
    row.forEach((patch, rank) => assert.equal(ranks[b]![patch], rank));
    assert.equal(
      mask[b]!.reduce((x, y) => x + y),
      13,
    );
    assert.equal(kept[b]!.length, 12);
    for (const patch of row.slice(0, 8)) assert.ok(mask[b]![patch] === 1 && !kept[b]!.includes(patch));
    assert.equal(kept[b]!.filter((patch) => mask[b]![patch]).length, 5);
  });
  assert.notDeepEqual(places[0], places[1]);
});

test('the head splits patches in the order in which the stem reads them and the loss groups them', () => {
  // patch 3 is at row 1, column 1 of 3 x 2 patches: tokens of rows 2 and 3, columns 2 and 3
  const tokens = tokensOfPatches(reshape(iota(6 * 4, 'f32'), [1, 6, 4]), [3, 2], 2).toArray() as number[][][][];
  const flat = tokens[0]!.map((row) => row.map(([x]) => x));
  assert.deepEqual(flat, [
    [0, 1, 4, 5],
    [2, 3, 6, 7],
    [8, 9, 12, 13],
    [10, 11, 14, 15],
    [16, 17, 20, 21],
    [18, 19, 22, 23],
  ]);
  const stem = initialize((key) => CodeStem.init(key, small.encoder), 2);
  const codes = codesOf(1);
  const before = stem.forward(grid(codes)).toArray() as number[][][][];
  const onlyPatch = (patch: number): Tensor => tensor([Array.from({ length: 6 }, (_, i) => +(i === patch))]);
  const logits = tensor(new Float32Array(24 * 11), { shape: [1, 6, 4, 11] });
  for (const [y, x] of [
    [0, 1],
    [1, 2],
    [3, 3],
    [4, 0],
    [5, 2],
  ] as const) {
    const changed = [...codes];
    changed[y * 4 + x] = (changed[y * 4 + x]! + 1) % 11;
    const after = stem.forward(grid(changed)).toArray() as number[][][][];
    const hit = Array.from({ length: 6 }, (_, p) => p).filter((p) => after[0]![0]![p >> 1]![p & 1] !== before[0]![0]![p >> 1]![p & 1]);
    assert.deepEqual(hit, [(y >> 1) * 2 + (x >> 1)], `patch that reads token ${y}, ${x}`);
    const loss = grad((z: Tensor) => maskedLoss(z, grid(codes), onlyPatch(hit[0]!), 2))(logits).toArray() as number[][][][];
    assert.ok(
      loss[0]![y]![x]!.every((g) => g !== 0),
      `loss of patch ${hit[0]} asks for token ${y}, ${x}`,
    );
  }
});

test('the loss is the mean over masked patches of the mean over their tokens, and passes nothing to the others', () => {
  const codes = codesOf(2);
  const z = Float32Array.from({ length: 2 * 24 * 11 }, (_, i) => Math.sin(i * 1.7) * 2);
  const mask = [
    [1, 0, 0, 1, 0, 1],
    [0, 0, 1, 0, 1, 1],
  ];
  const f = (logits: Tensor): Tensor => maskedLoss(logits, grid(codes), tensor(mask), 2);
  const logits = tensor(z, { shape: [2, 6, 4, 11] });
  const expected = { sum: 0, patches: 0 };
  const gradient = grad(f)(logits).data();
  for (let i = 0; i < 48; i++) {
    const [b, y, x] = [Math.floor(i / 24), Math.floor((i % 24) / 4), i % 4];
    const masked = mask[b]![(y >> 1) * 2 + (x >> 1)];
    const row = [...z.subarray(i * 11, i * 11 + 11)];
    const lse = Math.log(row.reduce((total, v) => total + Math.exp(v), 0));
    if (masked) expected.sum += (lse - row[codes[i]!]!) / 4;
    for (let k = 0; k < 11; k++) {
      const g = masked ? (Math.exp(row[k]! - lse) - +(k === codes[i])) / 4 / 6 : 0;
      if (masked) near(gradient[i * 11 + k]!, g, 1e-6, 'gradient');
      else assert.equal(gradient[i * 11 + k]! + 0, 0);
    }
  }
  near(f(logits).item(), expected.sum / 6, 1e-5, 'loss');
  assert.equal(maskedLoss(logits, grid(codes), tensor([new Array(6).fill(0), new Array(6).fill(0)]), 2).item(), 0);
});

test('at the least ratio no mask vector reaches the encoder; above it one does', () => {
  const model = make();
  assert.equal(model.dropped, 3);
  const gradient = (masked: number): MaskedTokenModel => grad(mtmLoss)(model, grid(codesOf(2)), count(masked), random.key(4));
  assert.ok([...gradient(3).mask.data()].every((g) => g === 0));
  assert.ok([...gradient(4).mask.data()].some((g) => g !== 0));
});

test('masked codes are not seen, visible ones are, and all masked is still finite', () => {
  const model = make();
  const codes = codesOf(1);
  const order = compile(() => maskOrder(random.key(9), 1, 6))();
  const logits = (c: number[], masked: number): Float32Array => model.forward(grid(c), order, count(masked)).data() as Float32Array;
  const changeOf = (patch: number): number[] => codes.map((c, i) => ((i >> 3) * 2 + ((i & 3) >> 1) === patch ? (c + 1) % 11 : c));
  const mask = maskOf(order, count(4)).data();
  const before = logits(codes, 4);
  for (let patch = 0; patch < 6; patch++) {
    const same = Buffer.compare(Buffer.from(logits(changeOf(patch), 4).buffer), Buffer.from(before.buffer)) === 0;
    assert.equal(same, mask[patch] === 1, `patch ${patch} is ${mask[patch] ? 'masked' : 'visible'}`);
  }
  assert.deepEqual(
    logits(
      codes.map(() => 3),
      6,
    ),
    logits(codes, 6),
  );
  const all = grad(mtmLoss)(model, grid(codes), count(6), random.key(2));
  assert.ok(Number.isFinite(mtmLoss(model, grid(codes), count(6), random.key(2)).item()));
  // nothing visible reads the table, and the logits hold it fixed
  assert.ok([...all.encoder.stem.embedding.table.data()].every((g) => g === 0));
  assert.ok([...all.decoder.bias.data()].some((g) => g !== 0));
});

test('each visible patch comes back to its own place in the decoder', () => {
  // without blocks nothing mixes: the logits of a visible patch know its own codes alone, those of a masked one none
  const alone = make({ ...small, encoder: { ...small.encoder, layers: 0 }, decoder: { ...small.decoder, layers: 0 } });
  const order = compile(() => maskOrder(random.key(6), 1, 6))();
  const mask = maskOf(order, count(3)).data();
  const logits = (codes: number[]): number[][][] => (alone.forward(grid(codes), order, count(3)).toArray() as number[][][][])[0]!;
  const before = logits(codesOf(1));
  for (let patch = 0; patch < 6; patch++) {
    const after = logits(codesOf(1).map((c, i) => ((i >> 3) * 2 + ((i & 3) >> 1) === patch ? (c + 1) % 11 : c)));
    const changed = Array.from({ length: 24 }, (_, i) => i).filter((i) => after[i >> 2]![i & 3]![0] !== before[i >> 2]![i & 3]![0]);
    const own = Array.from({ length: 24 }, (_, i) => i).filter((i) => (i >> 3) * 2 + ((i & 3) >> 1) === patch);
    assert.deepEqual(changed, mask[patch] ? [] : own, `patch ${patch}`);
  }
});

test('training without dropout computes what evaluation computes', () => {
  const model = make({ ...small, dropout: 0, decoder: { ...small.decoder, dropout: 0 } });
  const [a, b] = [true, false].map((training) => mtmLoss(model, grid(codesOf(3)), count(4), random.key(8), training).item());
  near(a!, b!, 1e-5);
  const noisy = make();
  const [c, d] = [1, 2].map((seed) => noisy.forward(grid(codesOf(1)), maskOrder(random.key(1), 1, 6), count(4), random.key(seed)).data());
  assert.notDeepEqual(c, d);
});

test('pre-training lowers the loss on images with a rule, one program for all ratios, alike from the same seed', () => {
  const { encoder, decoder, ratio } = small;
  const wide = { encoder: { ...encoder, vector: 8, features: 32 }, decoder: { ...decoder, features: 32, dropout: 0 }, ratio, dropout: 0 };
  const step = pretrainStep({ prepare: (codes: Tensor) => codes, ratio, weightDecay: 0 });
  const run = (): number[] => {
    let state = pretrainState(make(wide, 3));
    // all tokens of an image carry one code, so visible patches tell the masked
    const losses = Array.from({ length: 180 }, (_, i) => {
      const codes = Array.from({ length: 16 * 24 }, (_, j) => (Math.floor(j / 24) * 5 + i) % 11);
      const next = step(state, grid(codes), random.foldIn(random.key(7), i), tensor(0.01));
      state = next.state;
      return next.loss.item();
    });
    disposeTree(state);
    return losses;
  };
  const losses = run();
  near(losses[0]!, Math.log(11), 0.5, 'loss of an untrained model');
  // the median: a batch with all patches masked cannot be told
  const late = losses.slice(-11).sort((x, y) => x - y)[5]!;
  assert.ok(late < 0.8 * losses[0]!, `loss ${losses[0]} -> ${late}`);
  assert.deepEqual(run().slice(0, 5), losses.slice(0, 5));
});

test('the published model: ViT-B blocks, 118 positions in the encoder, known peak', () => {
  withDevice('null', () => {
    const model = make(publishedMtm);
    assert.equal(countParameters(model.encoder.blocks), 12 * 7_087_872); // Dosovitskiy et al.: 4 x 768^2 + 8 x 768^2 weights, and vectors
    assert.equal(model.patches - model.dropped + 1, 118);
    const codes = empty(typeOf([2, 28, 28], 'i32'));
    const key = empty(typeOf([2], 'i32'));
    const plan = pretrainStep({ prepare: (c: Tensor) => c }).plan(pretrainState(model), codes, key, tensor(1e-3));
    // three passes over 2 images: 118 positions of the blocks' weights, twice a multiply and an add
    const blocks = 3 * 2 * 2 * 118 * countParameters(model.encoder.blocks);
    assert.ok(plan.flops > blocks && plan.flops < 1.6 * blocks, `${plan.flops} of ${blocks}`);
    assert.ok(plan.peakBytes > 3 * 4 * countParameters(model));
  });
});

test('the published recipe: linear rate, 16 heads of 32 in the decoder, a head of 128 features', () => {
  near(pretrainRate(4096), 2.4e-3, 1e-12);
  near(pretrainRate(256), 1.5e-4, 1e-12);
  assert.equal(publishedDecoder.features / publishedDecoder.heads, 32);
  const { patch, vector } = publishedMtm.encoder;
  assert.equal(patch * patch * vector, 128);
});
