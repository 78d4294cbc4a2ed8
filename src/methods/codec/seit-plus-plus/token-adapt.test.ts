import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../../../device/index.ts';
import { initialize } from '../../../nn/index.ts';
import {
  compile,
  disposeTree,
  flip,
  grad,
  iota,
  mul,
  normalize,
  random,
  reshape,
  slice,
  sum,
  type Tensor,
  tensor,
} from '../../../tensor/index.ts';
import { centreCrop } from './augment.ts';
import { Config } from './config.ts';
import { adaptBatch, applyTokenAdapt, publishedTokenAdapt, TokenAdapt, type TokenAdaptConfig, tokenAdaptLoss } from './token-adapt.ts';
import { applyGeometry, drawGeometry, type Geometry, type GeometryConfig, noGeometry, publishedGeometry } from './token-adapt-params.ts';
import { adaptExample, adaptState, adaptStep } from './token-adapt-train.ts';
import { Tokenizer } from './tokenizer.ts';
import { codesToGrid } from './tokens.ts';

const small: TokenAdaptConfig = { codes: 9, vector: 4, grid: [4, 4], out: [3, 3], width: 16, heads: 2, headWidth: 8, hidden: 32 };
const maps = (config = small): TokenAdapt => initialize((key) => TokenAdapt.init(key, config), 1);
const near = (a: ArrayLike<number>, b: ArrayLike<number>, tolerance: number, what = ''): void => {
  assert.equal(a.length, b.length, what);
  for (let i = 0; i < a.length; i++)
    assert.ok(Math.abs(a[i]! - b[i]!) <= tolerance, `${what} [${i}]: ${a[i]} is not ${b[i]} within ${tolerance}`);
};
const draw = (B: number, c: Partial<GeometryConfig>, seed = 1): Geometry =>
  compile((key: Tensor) => drawGeometry(key, B, [4, 4], { ...noGeometry, ...c }))(random.key(seed));
const image = (): Tensor => compile(() => random.uniform(random.key(5), [2, 3, 8, 8]))();

test('geometry: nothing is the identity, a flip mirrors, both exactly', () => {
  const x = image();
  near(applyGeometry(x, draw(2, {}), [4, 4], [4, 4]).data(), x.data(), 1e-5, 'identity');
  near(applyGeometry(x, draw(2, { flip: 1 }), [4, 4], [4, 4]).data(), flip(x, 3).data(), 1e-5, 'flip');
});

test('geometry: one entry alone is the map that its name says', () => {
  const all = { list: 1, entry: 1 };
  const thetas = (c: Partial<GeometryConfig>): number[][][] => draw(40, { ...all, ...c }).theta.toArray() as number[][][];
  for (const [[a, b, x], [c, d, y]] of thetas({ rotate: 30 }) as [[number, number, number], [number, number, number]][]) {
    near([a * d - b * c, a - d, b + c, x, y], [1, 0, 0, 0, 0], 1e-5, 'rotation');
    assert.ok(a >= Math.cos(Math.PI / 6) - 1e-6);
  }
  const moves = thetas({ translate: 0.2 });
  for (const [[a, b, x], [c, d, y]] of moves as [[number, number, number], [number, number, number]][]) {
    near([a, b, c, d], [1, 0, 0, 1], 1e-6, 'translation');
    assert.ok(Math.abs(x) <= 0.4 && Math.abs(y) <= 0.4);
  }
  assert.ok(moves.some(([r]) => r![2]! > 0.2) && moves.some(([r]) => r![2]! < -0.2));
  for (const [[a, b], [c, d]] of thetas({ shear: 15 }) as [[number, number], [number, number]][]) {
    // x shear after y shear: [[1 + st, s], [t, 1]]
    near([d, a - 1 - b * c], [1, 0], 1e-5, 'shear');
    assert.ok(b >= 0 && c >= 0 && Math.max(b, c) <= Math.tan(Math.PI / 12) + 1e-6);
  }
});

test('geometry: content moves by the translation, and a moved and flipped image is the flip of the image, moved', () => {
  const x = image();
  const theta = (rows: number[][]): Geometry => ({
    theta: tensor([rows, rows]),
    boxes: tensor([
      [0, 0, 4, 4],
      [0, 0, 4, 4],
    ]),
  });
  const out = applyGeometry(
    x,
    theta([
      [1, 0, -0.5],
      [0, 1, 0],
    ]),
    [4, 4],
    [4, 4],
  );
  near(slice(out, null, null, null, [2, 8]).data(), slice(x, null, null, null, [0, 6]).data(), 1e-5);
  assert.ok(
    [...slice(out, null, null, null, [0, 2]).data()].every((v) => v === 0),
    'what comes in is 0',
  );
  // the composed matrix of draws with a flip equals that without, mirrored in what it reads
  const c = { list: 1, entry: 1, rotate: 30, translate: 0.2, shear: 15 };
  const [plain, mirrored] = [draw(8, c).theta.toArray(), draw(8, { ...c, flip: 1 }).theta.toArray()] as number[][][][];
  plain!.forEach((rows, i) => {
    near(
      mirrored![i]![0]!,
      rows[0]!.map((v) => -v),
      1e-6,
    );
    near(mirrored![i]![1]!, rows[1]!, 1e-6);
  });
});

test('geometry: shares of images are those of the configuration, and the same key draws the same', () => {
  const B = 2000;
  const flips = (draw(B, { flip: 0.5 }).theta.toArray() as number[][][]).filter(([row]) => row![0]! < 0).length;
  assert.ok(Math.abs(flips / B - 0.5) < 0.05, `${flips} of ${B} flipped`);
  const moved = (draw(B, { list: 0.5, entry: 0.5, translate: 0.2 }).theta.toArray() as number[][][]).filter(
    ([row]) => row![2] !== 0,
  ).length;
  assert.ok(Math.abs(moved / B - 0.25) < 0.04, `${moved} of ${B} translated along x`);
  assert.deepEqual(draw(3, publishedGeometry, 7).theta.data(), draw(3, publishedGeometry, 7).theta.data());
  assert.notDeepEqual(draw(3, publishedGeometry, 7).boxes.data(), draw(3, publishedGeometry, 8).boxes.data());
});

test('the same geometry of pixels and of features: crops agree in tokens, whatever the scale', () => {
  const geometry = {
    theta: tensor([
      [
        [1, 0, 0],
        [0, 1, 0],
      ],
    ]),
    boxes: tensor([[1, 0, 3, 3]]),
  };
  for (const s of [1, 2, 4]) {
    const x = reshape(iota(16 * s * s, 'f32'), [1, 1, 4 * s, 4 * s]);
    near(applyGeometry(x, geometry, [4, 4], [3, 3]).data(), slice(x, null, null, [s, 4 * s], [0, 3 * s]).data(), 1e-3, `scale ${s}`);
  }
  assert.throws(() => applyGeometry(image(), geometry, [3, 3], [3, 3]), /8 x 8 .* 3 x 3 token grid/);
});

test('f and g: shapes, no bias in qkv, an inner width of heads x head width', () => {
  const model = maps({ ...small, headWidth: 5 });
  const vectors = compile(() => random.normal(random.key(3), [2, 4, 4, 4]))();
  assert.deepEqual(model.f.forward(vectors).shape, [2, 4, 8, 8]);
  assert.deepEqual(model.logits(vectors, draw(2, {})).shape, [2, 3, 3, 9]);
  for (const { block } of [model.f, model.g]) {
    assert.equal(block.attention.qkv.bias, undefined);
    assert.deepEqual(block.attention.qkv.weight.shape, [16, 30]);
    assert.equal(block.mlp.activation, 'tanh');
  }
  assert.equal(publishedTokenAdapt.heads * publishedTokenAdapt.headWidth, publishedTokenAdapt.width);
  const through = grad((v: Tensor) => sum(mul(applyTokenAdapt(model, v, draw(2, {})), 1.5)))(vectors);
  assert.ok(
    [...through.data()].every((g) => g === 0),
    'no gradient passes the codes',
  );
});

test('adaptBatch: the first half is cropped, the second adapted, each image from its own', () => {
  const model = maps();
  const codebook = normalize(compile(() => random.normal(random.key(11), [9, 4]))());
  const codes = tensor(
    Int32Array.from({ length: 64 }, (_, i) => (i * 5) % 9),
    { shape: [4, 4, 4] },
  );
  const batch = (c: Tensor): number[][][] =>
    adaptBatch(random.key(2), model, codesToGrid(c, codebook), codebook, { ...noGeometry, scale: 1 }).toArray() as number[][][];
  const before = batch(codes);
  assert.equal(before.length, 4);
  assert.ok(before.flat(2).every((c) => Number.isInteger(c) && c >= 0 && c < 9));
  assert.deepEqual(
    before.slice(0, 2),
    centreCrop(slice(codes, [0, 2]), 3).toArray(),
    'where all of the area is kept, tokens stay as they are',
  );
  // an image of one code stays that code when cropped and re-quantised
  const plain = batch(
    tensor(
      Int32Array.from({ length: 64 }, (_, i) => (i < 16 ? 7 : i % 9)),
      { shape: [4, 4, 4] },
    ),
  );
  assert.ok(plain[0]!.flat().every((c) => c === 7));
  const other = batch(
    tensor(
      Int32Array.from({ length: 64 }, (_, i) => (i < 32 ? (i * 5) % 9 : 3)),
      { shape: [4, 4, 4] },
    ),
  );
  assert.deepEqual(other.slice(0, 2), before.slice(0, 2));
  assert.notDeepEqual(other.slice(2), before.slice(2));
  assert.throws(
    () => adaptBatch(random.key(2), model, codesToGrid(slice(codes, [0, 3]), codebook), codebook, noGeometry),
    /batch of 3 has no two halves/,
  );
});

test('training teaches f and g the codes of mirrored images', () => {
  const config = Config.parse({
    tokenizer: { kind: 'conv', patch: 2, grid: 4, codes: 9, codeDim: 4, width: 8, layers: 0, heads: 1 },
    crop: 4,
  }).tokenizer;
  const tokenizer = initialize((key) => Tokenizer.init(key, config, 1), 4);
  const geometry = { ...noGeometry, flip: 1 };
  const step = adaptStep({ tokenizer, geometry, prepare: (x: Tensor) => x });
  const images = (i: number): Tensor => compile((key: Tensor) => random.normal(key, [32, 1, 8, 8]))(random.key(100 + i)); // centred: the codes of an untrained tokenizer differ
  let state = adaptState(maps({ ...small, out: [4, 4], width: 32, headWidth: 16 }));
  const accuracy = (): number => {
    const x = images(1000);
    const drawn = draw(32, { flip: 1 });
    const { vectors, targets } = adaptExample(tokenizer, x, drawn, [4, 4]);
    const [found, wanted] = [applyTokenAdapt(state.model, vectors, drawn), targets].map((t) => [...t.data()]) as [number[], number[]];
    return found.filter((c, i) => c === wanted[i]).length / found.length;
  };
  const before = accuracy();
  const losses: number[] = [];
  for (let i = 0; i < 150; i++) {
    const next = step(state, images(i), random.key(i), tensor(0.01));
    state = next.state;
    losses.push(next.loss.item());
  }
  const after = accuracy();
  assert.ok(
    losses.at(-1)! < 0.8 * losses[0]! && after > before + 0.2,
    `loss ${losses[0]} -> ${losses.at(-1)}, accuracy ${before} -> ${after}`,
  );
  const loss = tokenAdaptLoss(
    state.model,
    tokenizer.vectors(tokenizer.tokenize(images(3))),
    draw(32, { flip: 1 }),
    tokenizer.tokenize(flip(images(3), 3)),
  );
  assert.ok(Math.abs(loss.item() - losses.at(-1)!) < 0.5, `targets are the codes of the mirrored image: ${loss.item()}`);
  disposeTree(state);
});
