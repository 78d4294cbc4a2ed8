import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BudgetError } from '../../../bytes/index.ts';
import { candidates, fitBudget } from './budget.ts';
import { Config } from './config.ts';
import { storeBytes } from './store-layout.ts';

const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `class ${i}`);
const fashion = { size: 20_000, shape: [28, 28, 1], classes: names(10) } as const;
const imagenet = { size: 1_281_167, shape: [256, 256, 3], classes: names(1000) } as const;

test('more bytes never buy fewer bits per image', () => {
  let before = 0;
  for (let budget = 60_000; budget < 3_000_000; budget = Math.round(budget * 1.3)) {
    const { tokenizer } = fitBudget(budget, fashion);
    const bits = tokenizer.grid ** 2 * Math.log2(tokenizer.codes);
    assert.ok(bits >= before, `${bits} bits for ${budget} B, ${before} for less`);
    before = bits;
  }
  assert.equal(before, 490);
});

test('a refusal names both numbers, and the least that it names works', () => {
  assert.throws(
    () => fitBudget(5000, fashion),
    (error) => {
      assert.ok(error instanceof BudgetError && error.budget === 5000);
      assert.equal(storeBytes(fitBudget(error.needed, fashion), fashion), error.needed);
      return true;
    },
  );
});

test('every candidate is a valid configuration whose images come out at about their own size', () => {
  for (const [height, width] of [
    [16, 16],
    [28, 28],
    [32, 32],
    [64, 48],
    [224, 224],
    [900, 600],
  ] as const)
    for (const config of candidates({ size: 1000, shape: [height, width, 3], classes: names(2) })) {
      assert.deepEqual(Config.parse(config), config);
      const side = config.tokenizer.grid * config.tokenizer.patch;
      const asked = Math.min(256, Math.max(height, width));
      assert.ok(side >= 0.7 * asked && side <= 1.5 * asked, `${asked} pixels become ${side}`);
    }
});

test('a codebook is as large as 32 uses of each code allow, from 16 codes to 1024', () => {
  for (const size of [5, 60, 1000, 40_000]) {
    const all = candidates({ size, shape: [28, 28, 1], classes: names(2) });
    for (const grid of new Set(all.map(({ tokenizer }) => tokenizer.grid))) {
      const most = Math.max(...all.filter(({ tokenizer }) => tokenizer.grid === grid).map(({ tokenizer }) => tokenizer.codes));
      const allowed = (size * grid ** 2) / 32;
      assert.ok(most === 16 || most <= allowed, `${most} codes for ${size} images of ${grid} x ${grid}`);
      assert.ok(most === 1024 || 2 * most > allowed, `${most} codes for ${size} images of ${grid} x ${grid}`);
    }
  }
});

test('the published store of ImageNet takes 9 bits a token packed, and the encoder, the maps, the codebook and the labels beside', () => {
  const bytes = storeBytes(Config.parse({ codec: 'packed' }), imagenet);
  const tokens = (1_281_167 * 1024 * 9) / 8;
  const labels = (1_281_167 * 10) / 8;
  // ViT-VQGAN small: 8 blocks of width 512 are 25.2 M parameters of 2 bytes.
  // TokenAdapt's f and g, 2 blocks of width 384 and 0.26 M around them: 3.8 M.
  const weights = (25.4e6 + 3.8e6) * 2 + 391 * 32 * 4;
  assert.ok(Math.abs(bytes / (tokens + labels + weights) - 1) < 0.002, `${bytes} B, expected about ${tokens + labels + weights} B`);
});
