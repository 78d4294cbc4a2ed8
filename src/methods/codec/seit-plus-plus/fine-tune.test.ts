import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../../../device/index.ts';
import { Conv2d, initialize } from '../../../nn/index.ts';
import { compile, disposeTree, forEachTensor, mul, normalize, oneHot, random, type Tensor, tensor } from '../../../tensor/index.ts';
import { swapStem, TokenClassifier } from './fine-tune.ts';
import { type FineTuneAugment, fineTuneBatch, mixup, publishedFineTuneAugment, symmetricBeta } from './fine-tune-mix.ts';
import { fineTuneRate, fineTuneState, fineTuneStep, layerGroups } from './fine-tune-train.ts';
import { type CodeStem, type EncoderConfig, TokenEncoder } from './mtm-encoder.ts';
import { pretrainRate } from './mtm-train.ts';
import { TokenAdapt } from './token-adapt.ts';
import { noGeometry, publishedGeometry } from './token-adapt-params.ts';
import { codesToGrid } from './tokens.ts';

const encoder: EncoderConfig = { codes: 7, vector: 4, grid: [4, 4], patch: 2, features: 16, layers: 2, heads: 2 };
const make = (seed = 1): TokenClassifier<CodeStem> =>
  initialize((key) => TokenClassifier.init(random.foldIn(key, 1), TokenEncoder.init(key, encoder), 3), seed);
const near = (a: number, b: number, tolerance: number, what = ''): void =>
  assert.ok(Math.abs(a - b) <= tolerance, `${what} ${a} is not ${b} within ${tolerance}`);
const sum = (xs: readonly number[]): number => xs.reduce((a, b) => a + b, 0);

test('learning rates fall by the layer towards the stem, and vectors do not decay', () => {
  const seen = new Map<string, { lrScale?: number; weightDecay?: number }>();
  const visit = (newStem: boolean): void => {
    const group = layerGroups({ layers: 2, layerDecay: 0.65, weightDecay: 0.1, newStem });
    forEachTensor(make(), (t, path) => seen.set(path.join('.'), group(path, t)));
  };
  visit(false);
  near(seen.get('encoder.stem.embedding.table')!.lrScale!, 0.65 ** 3, 1e-12);
  near(seen.get('encoder.cls')!.lrScale!, 0.65 ** 3, 1e-12);
  near(seen.get('encoder.blocks.0.mlp.up.weight')!.lrScale!, 0.65 ** 2, 1e-12);
  near(seen.get('encoder.blocks.1.norm1.gain')!.lrScale!, 0.65, 1e-12);
  assert.equal(seen.get('norm.gain')!.lrScale, 1);
  assert.equal(seen.get('head.weight')!.lrScale, 1);
  assert.equal(seen.get('head.weight')!.weightDecay, 0.1);
  for (const name of ['head.bias', 'encoder.cls', 'encoder.blocks.1.norm1.gain', 'encoder.stem.conv.bias'])
    assert.equal(seen.get(name)!.weightDecay, 0, name);
  visit(true);
  assert.equal(seen.get('encoder.stem.conv.weight')!.lrScale, 1);
  near(seen.get('encoder.blocks.0.mlp.up.weight')!.lrScale!, 0.65 ** 2, 1e-12);
});

test('the peak rate goes by the square root of the batch, that of pre-training by the batch', () => {
  near(fineTuneRate(1024), 4e-3, 1e-12);
  near(fineTuneRate(4096) / fineTuneRate(1024), 2, 1e-12);
  near(pretrainRate(4096) / pretrainRate(1024), 4, 1e-12);
});

test('Beta(a, a) has its mean and variance', () => {
  for (const a of [0.8, 1]) {
    const draw = compile((key: Tensor) => symmetricBeta(key, a));
    const xs = Array.from({ length: 3000 }, (_, i) => draw(random.key(i)).item());
    const mean = sum(xs) / xs.length;
    near(mean, 0.5, 0.02, 'mean');
    near(sum(xs.map((x) => (x - mean) ** 2)) / xs.length, 1 / (4 * (2 * a + 1)), 0.005, `variance for ${a}`);
    assert.ok(xs.every((x) => x >= 0 && x <= 1));
  }
  assert.throws(() => symmetricBeta(random.key(1), 2), /0 < a <= 1, not 2/);
});

test('Mixup blends images and targets alike, with the reversed batch', () => {
  const labels = [1, 0, 4, 2]; // not in reverse order backwards
  const mixed = mixup(
    random.key(3),
    tensor([
      [0, 10],
      [1, 20],
      [5, 5],
      [8, 8],
    ]),
    oneHot(tensor(Int32Array.from(labels)), 5),
    0.8,
  );
  const [x, targets] = [mixed.x.toArray(), mixed.targets.toArray()] as [number[][], number[][]];
  const lambda = targets[0]![1]!;
  assert.ok(lambda > 0 && lambda < 1);
  targets.forEach((row, i) => row.forEach((t, c) => near(t, c === labels[i] ? lambda : c === labels[3 - i] ? 1 - lambda : 0, 1e-6)));
  near(x[0]![0]!, 8 * (1 - lambda), 1e-5);
  near(x[1]![1]!, 20 * lambda + 5 * (1 - lambda), 1e-5);
});

test('a new head says nothing; the mean is of patches, at their positions', () => {
  const model = make();
  const codes = tensor(
    Int32Array.from({ length: 32 }, (_, i) => (i * 3) % 7),
    { shape: [2, 4, 4] },
  );
  const logits = model.forward(codes).data();
  assert.equal(logits.length, 6);
  assert.ok([...logits].every((z) => Math.abs(z) < 1e-3 && z !== 0));
  // exchanging the left and the right half changes positions alone
  const moved = tensor(
    Int32Array.from({ length: 32 }, (_, i) => ((i - (i % 4) + ((i + 2) % 4)) * 3) % 7),
    { shape: [2, 4, 4] },
  );
  assert.notDeepEqual(model.forward(moved).data(), logits);
  // without blocks every patch counts alike, and the class token not at all
  const alone = initialize((key) => TokenClassifier.init(key, TokenEncoder.init(key, { ...encoder, layers: 0 }), 3), 1);
  const { stem, cls, blocks } = alone.encoder;
  const otherCls = new TokenClassifier(new TokenEncoder(stem, mul(cls, 5), blocks), alone.norm, alone.head);
  assert.deepEqual(otherCls.forward(codes).data(), alone.forward(codes).data());
  for (const place of [0, 15]) {
    const changed = tensor(
      Int32Array.from(codes.data(), (c, i) => (i % 16 === place ? (Number(c) + 1) % 7 : Number(c))),
      { shape: [2, 4, 4] },
    );
    assert.notDeepEqual(alone.forward(changed).data(), alone.forward(codes).data(), `token ${place}`);
  }
  const noisy = [1, 2].map((seed) => model.forward(codes, { key: random.key(seed), dropout: 0.5, dropPath: 0.5 }).data());
  assert.notDeepEqual(noisy[0], noisy[1]);
});

test('swapStem keeps all but the stem, which learns pixels', () => {
  const model = make();
  const conv = initialize((key) => Conv2d.init(key, 3, 16, 8, { stride: 8 }), 2);
  const swapped = swapStem(model, conv);
  assert.equal(swapped.encoder.stem.conv, conv);
  assert.equal(swapped.encoder.blocks, model.encoder.blocks);
  assert.equal(swapped.encoder.cls, model.encoder.cls);
  assert.equal(swapped.head, model.head);
  const batch = { pixels: compile(() => random.uniform(random.key(1), [4, 3, 32, 16]))(), labels: tensor(Int32Array.of(0, 1, 2, 0)) };
  const step = fineTuneStep<typeof batch, typeof swapped>({
    layers: 2,
    newStem: true,
    weightDecay: 0,
    prepare: ({ pixels, labels }) => ({ input: pixels, targets: oneHot(labels, 3) }),
  });
  const before = conv.weight.data();
  const next = step(fineTuneState(swapped), batch, random.key(1), tensor(1e-3));
  near(next.loss.item(), Math.log(3), 1e-3);
  assert.notDeepEqual(next.state.model.encoder.stem.conv.weight.data(), before);
});

test('what went through TokenAdapt is cut as often as blended, or left alone', () => {
  const adapt = initialize(
    (key) => TokenAdapt.init(key, { codes: 7, vector: 4, grid: [4, 4], out: [4, 4], width: 16, heads: 2, headWidth: 8, hidden: 32 }),
    1,
  );
  const codebook = normalize(compile(() => random.normal(random.key(11), [7, 4]))());
  const vectors = codesToGrid(tensor(new Int32Array(4 * 16), { shape: [4, 4, 4] }), codebook);
  const targets = oneHot(tensor(Int32Array.of(0, 1, 2, 3)), 4);
  for (const [mix, a, cuts, blends] of [
    [1, 0.8, 0.5, 0.5],
    [0.5, 0.8, 0.25, 0.25],
    [1, 0, 1, 0],
    [0, 0.8, 0, 0],
  ] as const) {
    const augment = { noise: 0, color: 0, mix, mixup: a, geometry: noGeometry };
    const draw = compile((key: random.Key) => fineTuneBatch(key, adapt, vectors, targets, codebook, augment).targets);
    const partners = Array.from({ length: 120 }, (_, seed) => (draw(random.key(seed)).toArray() as number[][])[2]![3]!);
    const isCut = (share: number): boolean => Math.abs(share * 64 - Math.round(share * 64)) < 1e-4; // of the 8 x 8 places of the features
    near(partners.filter((share) => !isCut(share)).length / 120, blends, blends && 0.15, `blended, mix ${mix}`);
    near(partners.filter((share) => isCut(share) && share > 0).length / 120, cuts, cuts && 0.15, `cut, mix ${mix}`); // few boxes hold no place
  }
});

test('batches: halves in order, labels mixed by the share of tokens that came from the partner', () => {
  const adapt = initialize(
    (key) => TokenAdapt.init(key, { codes: 7, vector: 4, grid: [4, 4], out: [4, 4], width: 16, heads: 2, headWidth: 8, hidden: 32 }),
    1,
  );
  const codebook = normalize(compile(() => random.normal(random.key(11), [7, 4]))());
  // image b carries code b everywhere
  const codes = tensor(
    Int32Array.from({ length: 6 * 16 }, (_, i) => Math.floor(i / 16)),
    { shape: [6, 4, 4] },
  );
  const targets = oneHot(tensor(Int32Array.of(0, 1, 2, 3, 4, 5)), 6);
  const make = (seed: number, c: FineTuneAugment): { codes: number[][][]; targets: number[][] } => {
    const made = fineTuneBatch(random.key(seed), adapt, codesToGrid(codes, codebook), targets, codebook, c);
    return { codes: made.codes.toArray() as number[][][], targets: made.targets.toArray() as number[][] };
  };
  let cut = 0;
  for (let seed = 0; seed < 8; seed++) {
    const made = make(seed, { noise: 0, color: 0, mix: 1, mixup: 0.8, geometry: { ...noGeometry } });
    for (const b of [0, 1, 2]) {
      const partner = made.codes[b]!.flat().filter((c) => c === 2 - b).length / 16;
      if (b !== 1) near(made.targets[b]![2 - b]!, partner, 1e-6, 'share of the partner');
      if (partner > 0 && partner < 1) cut++;
    }
    for (const row of made.targets) near(sum(row), 1, 1e-5);
    assert.ok(
      made.targets.slice(3).every((row) => sum(row.slice(0, 3)) === 0),
      'the halves do not mix',
    );
  }
  assert.ok(cut > 4, 'some batches are cut');
  const published = make(1, { ...publishedFineTuneAugment, geometry: publishedGeometry });
  assert.ok(published.codes.flat(2).every((c) => Number.isInteger(c) && c >= 0 && c < 7));
  assert.deepEqual(make(4, { noise: 0, color: 0, mix: 0, mixup: 0, geometry: noGeometry }).targets, targets.toArray());
});

test('fine-tuning learns a rule, alike from the same seed', () => {
  type Batch = { codes: Tensor; labels: Tensor };
  const step = fineTuneStep<Batch, TokenClassifier<CodeStem>>({
    layers: 2,
    weightDecay: 0,
    dropPath: 0.1,
    prepare: ({ codes, labels }) => ({ input: codes, targets: oneHot(labels, 3) }),
  });
  const run = (): number[] => {
    let state = fineTuneState(make(3));
    const losses = Array.from({ length: 80 }, (_, i) => {
      // the class is the row of the grid that carries code 6
      const labels = Int32Array.from({ length: 24 }, (_, b) => (b * 7 + i) % 3);
      const codes = Int32Array.from({ length: 24 * 16 }, (_, j) => (((j >> 2) & 3) === labels[j >> 4]! ? 6 : (j * 5 + i * 3) % 6));
      const batch = { codes: tensor(codes, { shape: [24, 4, 4] }), labels: tensor(labels) };
      const next = step(state, batch, random.key(i), tensor(0.01));
      state = next.state;
      return next.loss.item();
    });
    disposeTree(state);
    return losses;
  };
  const losses = run();
  near(losses[0]!, Math.log(3), 1e-3);
  assert.ok(sum(losses.slice(-10)) / 10 < 0.3, `loss ${losses[0]} -> ${losses.slice(-10)}`);
  assert.deepEqual(run(), losses);
});
