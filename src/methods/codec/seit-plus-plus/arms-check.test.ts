import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import '../../../device/index.ts';
import { type Arm, type ArmsCheck, armNames, armsFigures, TokenArms } from './arms-check.ts';
import { Config, small } from './config.ts';
import { pixelBytes, reduced, sideWithin, subsetWithin } from './pixel-arms.ts';
import { shapes } from './toy.ts';

test('pixels keep to the bytes they are given', async () => {
  const images = shapes(90, 1); // 20 x 20 grey: 401 bytes each with the label
  const few = await subsetWithin(images, 401 * 31, 0);
  assert.equal(few.size, 31);
  assert.equal(pixelBytes(few), 401 * 31);
  assert.ok(new Set(few.labels).size === 3);
  assert.equal(sideWithin(images, 90 * 26), 5);
  assert.equal(sideWithin(images, 90 * 26 - 1), 4);
  const small = await reduced(images, 5);
  assert.deepEqual(small.shape, [5, 5, 1]);
  const block = [0, 1, 2, 3].flatMap((y) => [...images.at(7).subarray(20 * y, 20 * y + 4)]);
  assert.equal(small.at(7)[0], Math.round(block.reduce((a, b) => a + b) / 16));
});

const preset = small({ patch: 4, grid: 5, codes: 32, width: 32 });
/** A check that takes seconds, of one epoch of everything but the tokenizer. */
const checkOf = (tokenizerEpochs: number, color = 0, more: object = {}): ArmsCheck => ({
  config: Config.parse({
    ...preset,
    tokenizer: { ...preset.tokenizer, epochs: tokenizerEpochs, batch: 30 },
    model: { features: 32, layers: 1, heads: 2, stem: { size: 1, stride: 1, padding: 0 } },
    train: { ...preset.train, epochs: 1, batch: 31 },
    ...more,
  }),
  tokenAdapt: { width: 32, heads: 2, headWidth: 16, hidden: 64, epochs: 1, batch: 30, lr: 2e-3, weightDecay: 0.05, affine: 0.5 },
  color,
  patch: 4,
});

test('every arm trains for the same steps in the bytes of the token store, and the gains are between arms', async () => {
  const check = checkOf(2, 0.5, {
    augment: { ...preset.augment, scale: 0.6, cutmix: 0.5 },
    mtm: { ...preset.mtm, epochs: 0.5, batch: 31 },
    fineTune: { ...preset.fineTune, epochs: 0.5, batch: 31 },
  });
  const folder = await mkdtemp(join(tmpdir(), 'token-arms-'));
  after(() => rm(folder, { recursive: true, force: true }));
  const shared = new TokenArms(shapes(150, 1), shapes(60, 2), check, folder);
  const arms: Arm[] = [];
  for (const name of armNames) arms.push(await shared.run(name, { seed: 1 }));
  assert.deepEqual(
    arms.map(({ name }) => name),
    armNames,
  );
  const { tokens, subset, downsampled, tokenAdapt: adapted } = Object.fromEntries(arms.map((arm) => [arm.name, arm]));
  assert.ok(subset!.fileBytes <= tokens!.fileBytes && downsampled!.fileBytes <= tokens!.fileBytes);
  assert.ok(adapted!.fileBytes > tokens!.fileBytes, 'maps take bytes');
  assert.deepEqual(
    arms.map(({ images, steps }) => [images, steps]),
    [150, subset!.images, 150, 150, 150, 150, 150].map((images) => [images, 4]),
  );
  assert.ok(arms.every(({ accuracy, trainAccuracy }) => accuracy > 0 && accuracy <= 1 && trainAccuracy > 0 && trainAccuracy <= 1));
  const { tokensOverSubset, bothGain, maskedGain } = armsFigures({ setting: { seed: 1 }, arms });
  assert.equal(tokensOverSubset, 100 * (tokens!.accuracy - subset!.accuracy));
  assert.equal(bothGain, 100 * (arms[5]!.accuracy - tokens!.accuracy));
  assert.equal(maskedGain, 100 * (arms[6]!.accuracy - tokens!.accuracy));
  assert.equal(armsFigures({ setting: { seed: 1 }, arms: arms.slice(0, 5) }).bothGain, null);
});

test('arms of a run that was cut short take the tokenizer and the store that are there', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'token-arms-'));
  after(() => rm(folder, { recursive: true, force: true }));
  const check = checkOf(1);
  const phases = async (): Promise<[Arm, Set<string>]> => {
    const seen = new Set<string>();
    const run = { seed: 1, onStep: (what: string) => void seen.add(what) };
    return [await new TokenArms(shapes(150, 1), shapes(60, 2), check, folder).run('tokens', run), seen];
  };
  const [first, trained] = await phases();
  const [again, trainedAgain] = await phases();
  assert.deepEqual([...trained], ['tokenizer', 'classifier']);
  assert.deepEqual([...trainedAgain], ['classifier']);
  assert.deepEqual({ ...again, seconds: 0 }, { ...first, seconds: 0 });
});
