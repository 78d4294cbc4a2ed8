import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { test } from 'node:test';
import { subset } from '../../../data/index.ts';
import { TokenStore } from '../../../data/tokens/index.ts';
import { ones } from '../../../tensor/index.ts';
import { saveModel } from '../../../train/index.ts';
import { codecConformance } from '../../conformance/codec.ts';
import type { Run } from '../../contracts/run.ts';
import { Config, type ConfigInput, small } from './config.ts';
import method from './index.ts';
import { readTokenizer } from './tokenizer-file.ts';
import { shapes, stopping, withFiles } from './toy.ts';

codecConformance({ method, url: new URL('./index.js', import.meta.url) });

const preset = small({ patch: 4, grid: 5, codes: 64, width: 32 });
const input: ConfigInput = {
  ...preset,
  codec: 'packed',
  tokenizer: { ...preset.tokenizer, epochs: 6, batch: 30, reseed: 0.5, lr: 3e-3 },
  model: { ...preset.model, features: 48, layers: 2 },
  augment: { ...preset.augment, synonym: 0.25, noise: 0.1, color: 0.1 },
  train: { ...preset.train, epochs: 14, warmup: 0.5, batch: 30, lr: 0.03 },
};
const config = Config.parse(input);
const run: Run = { seed: 3 };

test('a classifier trained from tokens alone knows new images, and its bytes are those that were declared', async (t) => {
  const codec = method.create(config);
  const [train, fresh] = [shapes(600, 1), shapes(300, 2)];
  await withFiles(async (files) => {
    await codec.learn(train, files, run);
    await codec.store(train, files, run);
    assert.equal(statSync(files.store).size, method.bytes(config, train));
    rmSync(files.tokenizer);
    await codec.train(files, run);
    rmSync(files.store);
    const predicted = await codec.predict(fresh, files, run);
    const accuracy = predicted.filter((label, i) => label === fresh.labels[i]).length / fresh.size;
    t.diagnostic(`accuracy ${accuracy} of three equal classes`);
    assert.ok(accuracy > 0.8, `accuracy ${accuracy}`);
    assert.ok(!existsSync(`${files.tokenizer}.checkpoint`) && !existsSync(`${files.model}.checkpoint`));
  });
});

test('the store holds codes by descending frequency, and its images can be seen again', async () => {
  const codec = method.create(config);
  const images = shapes(300, 1);
  await withFiles(async (files) => {
    await codec.learn(images, files, run);
    await codec.store(images, files, run);
    const { tokenizer } = await readTokenizer(files.tokenizer);
    using store = new TokenStore(files.store);
    store.verify();
    assert.deepEqual(Array.from(store.labels()), Array.from(images.labels));
    const counts = new Float64Array(store.K);
    for (const { tokens } of store) for (const token of tokens) counts[token]!++;
    for (let code = 1; code < store.K; code++)
      assert.ok(counts[code]! <= counts[code - 1]!, `code ${code} is more frequent than ${code - 1}`);
    assert.equal(tokenizer.codebook.shape[0], store.K);
  });
});

test('stopped and continued, every stage makes the bytes of a straight run', async () => {
  const codec = method.create(
    Config.parse({ ...input, tokenizer: { ...input.tokenizer, epochs: 1 }, train: { ...input.train, epochs: 1 } }),
  );
  const images = shapes(240, 1);
  const bytesOf = async (stage: (body: (how: Run) => Promise<void>) => Promise<unknown>): Promise<Buffer[]> => {
    const made: Buffer[] = [];
    await withFiles(async (files) => {
      await stage((how) => codec.learn(images, files, how));
      await stage((how) => codec.store(images, files, how));
      await stage((how) => codec.train(files, how));
      made.push(readFileSync(files.tokenizer), readFileSync(files.store), readFileSync(files.model));
    });
    return made;
  };
  let [stops, plans] = [0, 0];
  const straight = await bytesOf((body) => body(run));
  const stopped = await bytesOf(async (body) => {
    stops += await stopping({ ...run, onPlan: () => plans++ }, body, 3);
  });
  assert.ok(stops >= 4, `${stops} stops`);
  assert.ok(plans > stops, `${plans} plans: every call says what it takes`);
  assert.deepEqual(stopped, straight);
});

test('a file that asks for a billion layers is refused before they are laid out', async () => {
  const settings = { config: { ...config.tokenizer, layers: 1e9 }, channels: 1 };
  await withFiles(async ({ tokenizer }) => {
    await saveModel(tokenizer, { codebook: ones([64, 16]) }, { config: settings });
    await assert.rejects(readTokenizer(tokenizer), /does not describe a tokenizer of this method .*config\.layers/);
  });
});

test('an image set of one class with one image, and a batch larger than the set, are stored and trained', async () => {
  const codec = method.create(
    Config.parse({ ...input, tokenizer: { ...input.tokenizer, batch: 64 }, train: { ...input.train, batch: 64 } }),
  );
  const few = subset(shapes(9, 1), [0, 1, 3, 4, 2]);
  await withFiles(async (files) => {
    const how = { ...run, effort: 0.1 };
    await codec.learn(few, files, how);
    await codec.store(few, files, how);
    await codec.train(files, how);
    assert.equal((await codec.predict(few, files, how)).length, 5);
  });
});
