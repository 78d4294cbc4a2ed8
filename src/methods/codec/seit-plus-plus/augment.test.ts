import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { smoothTargets } from '../../../data/augment/index.ts';
import { goldenCases, testGolden } from '../../../device/conformance/golden.ts';
import { compile, flip, mean, random, std, sum, type Tensor, tensor } from '../../../tensor/index.ts';
import { adain, centreCrop, cropBoxes, cropToCodes, embNoise, noiseOrColor, randomResizedCrop } from './augment.ts';
import { nearestCodes, replaceSynonyms, swapSquares } from './eda.ts';
import { cutMix } from './targets.ts';
import { codesToGrid, gridToCodes } from './tokens.ts';

const close = (a: Tensor, b: Tensor, tolerance: number, what: string): void => {
  assert.deepEqual([...a.shape], [...b.shape]);
  const [x, y] = [a.data(), b.data()];
  for (let i = 0; i < x.length; i++) assert.ok(Math.abs(x[i]! - y[i]!) <= tolerance, `${what}: ${x[i]} and ${y[i]} at ${i}`);
};
const normal = (seed: number, ...shape: number[]): Tensor => random.normal(random.key(seed), shape);
const list = (t: Tensor): number[] => Array.from(t.data());

for (const c of goldenCases('methods').filter(({ name }) => name.startsWith('adain')))
  testGolden(c, ({ x, style }) => ({ y: adain(x!, style!) }));

test('an image given its own colours stays; one given others has their means and deviations', () => {
  const x = normal(1, 4, 3, 5, 6);
  close(adain(x, x), x, 1e-5, 'identity');
  const y = adain(x, flip(x, 0));
  const over = { keepDims: true, correction: 1 } as const;
  close(mean(y, [2, 3]), mean(flip(x, 0), [2, 3]), 1e-5, 'mean');
  close(std(y, [2, 3], over), std(flip(x, 0), [2, 3], over), 1e-5, 'deviation');
});

test('a constant channel gives no NaN', () => {
  const y = adain(tensor(new Float32Array(8).fill(3), { shape: [1, 2, 2, 2] }), normal(1, 1, 2, 2, 2));
  assert.ok(list(y).every(Number.isFinite));
});

test('noise and colour never meet: a batch is one, the other, or left alone, for about half of its images', () => {
  const x = normal(3, 32, 4, 3, 3);
  const [plain, colored] = [list(x), list(adain(x, flip(x, 0)))];
  for (const strengths of [
    { noise: 0.5, color: 0.25 },
    { noise: 0.5, color: 0.5 },
    { noise: 1, color: 0 },
    { noise: 0, color: 1 },
  ]) {
    const draw = compile((key: random.Key, batch: Tensor) => noiseOrColor(key, batch, strengths));
    const seen = { noise: 0, color: 0, none: 0 };
    let changed = 0;
    for (let seed = 0; seed < 200; seed++) {
      const y = list(draw(random.key(seed), x));
      const kinds = new Set<keyof typeof seen>();
      for (let b = 0; b < 32; b++) {
        const part = (t: readonly number[]): readonly number[] => t.slice(b * 36, (b + 1) * 36);
        const same = (t: readonly number[]): boolean => part(t).every((v, i) => Math.abs(v - part(y)[i]!) < 1e-5);
        if (same(plain)) continue;
        changed++;
        kinds.add(same(colored) ? 'color' : 'noise');
      }
      assert.ok(kinds.size < 2, `seed ${seed} drew both`);
      seen[[...kinds][0] ?? 'none']++;
    }
    const off = (kind: 'noise' | 'color'): number => Math.abs(seen[kind] / 200 - strengths[kind]);
    assert.ok(off('noise') < 0.12 && off('color') < 0.12, `${JSON.stringify(strengths)}: ${JSON.stringify(seen)}`);
    assert.ok(Math.abs(changed / (32 * (seen.noise + seen.color)) - 0.5) < 0.05);
  }
  assert.equal(noiseOrColor(random.key(1), x, { noise: 0, color: 0 }), x);
});

test('Emb-Noise adds one number per channel and one per element, of variance 1 each', () => {
  const noise = embNoise(random.key(5), tensor(new Float32Array(64 * 16 * 64), { shape: [64, 16, 8, 8] }));
  const channels = list(mean(noise, [2, 3]));
  const spread = channels.reduce((s, v) => s + v * v, 0) / channels.length;
  assert.ok(Math.abs(spread - 1 - 1 / 64) < 0.12, `channel means vary by ${spread}`);
  const inside = list(std(noise, [2, 3], { correction: 1 }));
  assert.ok(Math.abs(inside.reduce((s, v) => s + v * v, 0) / inside.length - 1) < 0.05);
});

test('synonyms are other codes, nearest first; replaced tokens come from their list', () => {
  const codebook = normal(7, 12, 4);
  const synonyms = nearestCodes(codebook, 5);
  const rows = synonyms.toArray() as number[][];
  const unit = (codebook.toArray() as number[][]).map((row) => row.map((v) => v / Math.hypot(...row)));
  rows.forEach((row, code) => {
    const cosine = (other: number): number => unit[code]!.reduce((s, v, i) => s + v * unit[other]![i]!, 0);
    const expected = unit
      .map((_, other) => other)
      .filter((other) => other !== code)
      .sort((a, b) => cosine(b) - cosine(a));
    assert.deepEqual(row, expected.slice(0, 5));
  });
  const codes = random.randint(random.key(1), [300, 4, 4], 0, 12);
  const replaced = list(replaceSynonyms(random.key(2), codes, synonyms, 0.25));
  const changed = list(codes).flatMap((code, i) => (replaced[i] === code ? [] : [i]));
  for (const i of changed) assert.ok(rows[list(codes)[i]!]!.includes(replaced[i]!));
  assert.ok(Math.abs(changed.length / 4800 - 1 / 16) < 0.02, `${changed.length} of 4800 replaced`);
  assert.ok(new Set(changed.map((i) => i >> 4)).size < 110, 'three images in four stay');
  assert.deepEqual(list(replaceSynonyms(random.key(2), codes, synonyms, 0)), list(codes));
});

test("swapping squares keeps an image's tokens, moves whole squares, and is its own inverse", () => {
  const codes = tensor(
    Int32Array.from({ length: 200 * 144 }, (_, i) => i % 144),
    { shape: [200, 12, 12] },
  );
  const swap = compile((key: random.Key, x: Tensor) => swapSquares(key, x, 1));
  const once = swap(random.key(4), codes);
  const images = once.toArray() as number[][][];
  let moved = 0;
  for (const image of images) {
    const flat = image.flat();
    assert.deepEqual(
      [...flat].sort((a, b) => a - b),
      Array.from({ length: 144 }, (_, i) => i),
    );
    const places = flat.flatMap((code, at) => (code === at ? [] : [at]));
    if (places.length > 0) moved++;
    assert.ok([0, 2, 8].includes(places.length), `${places.length} tokens moved; squares have side 1 or 2`);
    assert.ok(new Set(places.map((at) => Math.abs(flat[at]! - at))).size <= 1, 'all tokens of a square move alike');
  }
  assert.ok(moved > 150, `${moved} of 200 images changed`);
  assert.deepEqual(list(swap(random.key(4), once)), list(codes));
  assert.deepEqual(list(swapSquares(random.key(4), codes, 0)), list(codes));
});

test('crop boxes lie inside the grid and have the areas asked for', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 1, max: 40 }),
      fc.double({ min: 0.05, max: 1, noNaN: true }),
      fc.nat(),
      (H, W, scale, seed) => {
        for (const [top, left, height, width] of cropBoxes(random.key(seed), 16, [H, W], scale).toArray() as [
          number,
          number,
          number,
          number,
        ][]) {
          assert.ok([top, left, height, width].every(Number.isInteger));
          assert.ok(top >= 0 && left >= 0 && height >= 1 && width >= 1 && top + height <= H && left + width <= W);
        }
      },
    ),
    { numRuns: 40 },
  );
  const areas = (cropBoxes(random.key(1), 4000, [32, 32], 0.2).toArray() as number[][]).map(([, , h, w]) => (h! * w!) / 1024);
  assert.ok(Math.min(...areas) > 0.15 && Math.abs(areas.reduce((a, b) => a + b) / 4000 - 0.59) < 0.03);
});

test('a crop of the whole grid is the grid; between codes it is quantised to codes again', () => {
  const codebook = normal(9, 8, 4);
  const codes = random.randint(random.key(1), [6, 8, 8], 0, 8);
  const grid = codesToGrid(codes, codebook);
  const again = gridToCodes(randomResizedCrop(random.key(2), grid, 7, 0.2), codebook);
  assert.deepEqual([...again.shape], [6, 7, 7]);
  assert.ok(list(again).every((code) => code >= 0 && code < 8));
  assert.deepEqual(list(cropToCodes(random.key(2), grid, codebook, 6, 1)), list(centreCrop(codes, 6)));
  assert.notDeepEqual(list(cropToCodes(random.key(2), grid, codebook, 6, 0.2)), list(centreCrop(codes, 6)));
  assert.deepEqual(
    centreCrop(
      tensor([
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10, 11],
        [12, 13, 14, 15],
      ]),
      2,
    ).toArray(),
    [
      [5, 6],
      [9, 10],
    ],
  );
});

test('CutMix mixes targets by the area that it takes', () => {
  const x = tensor(
    Float32Array.from({ length: 4 * 49 }, (_, i) => Math.floor(i / 49)),
    { shape: [4, 1, 7, 7] },
  );
  const labels = [1, 0, 4, 2]; // not in reverse order backwards
  const targets = smoothTargets(tensor(Int32Array.from(labels)), 5, 0.1);
  close(sum(targets, 1), tensor([1, 1, 1, 1]), 1e-6, 'targets');
  const mix = compile((key: random.Key, p: Tensor, t: Tensor) => cutMix(key, p, t, 1));
  const shares: number[] = [];
  for (let seed = 0; seed < 60; seed++) {
    const mixed = mix(random.key(seed), x, targets);
    const share =
      list(mixed.x)
        .slice(0, 49)
        .filter((v) => v === 3).length / 49;
    shares.push(share);
    const rows = mixed.targets.toArray() as number[][];
    rows.forEach((row, i) => {
      const [own, other] = [labels[i], labels[3 - i]];
      row.forEach((v, c) => {
        const expected = 0.02 + 0.9 * ((c === own ? 1 - share : 0) + (c === other ? share : 0));
        assert.ok(Math.abs(v - expected) < 1e-5, `image ${i}, class ${c}: ${v} is not ${expected}`);
      });
    });
  }
  assert.ok(new Set(shares).size > 10);
  const { x: same, targets: kept } = cutMix(random.key(1), x, targets, 0);
  assert.deepEqual([list(same), list(kept)], [list(x), list(targets)]);
});
