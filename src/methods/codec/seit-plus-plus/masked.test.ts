import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { test } from 'node:test';
import '../../../device/index.ts';
import { subset } from '../../../data/index.ts';
import { TokenStore } from '../../../data/tokens/index.ts';
import { compile, normalize, random, type Tensor, tensor } from '../../../tensor/index.ts';
import type { Run } from '../../contracts/run.ts';
import { Config, type ConfigInput, small } from './config.ts';
import method from './index.ts';
import { configOfStore } from './plan.ts';
import { storedMaps, storedTokenizer } from './store-layout.ts';
import { applyTokenAdapt, TokenAdapt } from './token-adapt.ts';
import { drawGeometry, publishedGeometry } from './token-adapt-params.ts';
import { readTokenizer } from './tokenizer-file.ts';
import { codesToGrid } from './tokens.ts';
import { shapes, stopping, withFiles } from './toy.ts';

const preset = small({ patch: 4, grid: 5, codes: 64, width: 32 });
const input = {
  ...preset,
  codec: 'packed',
  crop: 5,
  tokenizer: { ...preset.tokenizer, epochs: 4, batch: 30, reseed: 0.5 },
  tokenAdapt: { width: 32, heads: 2, headWidth: 16, hidden: 64, epochs: 4, batch: 30, lr: 3e-3 },
  recipe: 'mtm',
  model: { features: 48, layers: 2, heads: 4 },
  mtm: {
    ...preset.mtm,
    vector: 16,
    patch: 1,
    decoder: { features: 32, layers: 1, heads: 2, dropout: 0 },
    scale: 0.7,
    epochs: 10,
    batch: 30,
    lr: 2e-2,
  },
  fineTune: { ...preset.fineTune, noise: 0.1, color: 0.1, scale: 0.7, epochs: 30, batch: 30, lr: 6e-3, layerDecay: 0.9, dropPath: 0 },
} as const satisfies ConfigInput;
const config = Config.parse(input);
const run: Run = { seed: 3 };

test('maps learnt, stored, pre-trained and fine-tuned: new images are known, from the model file alone', async (t) => {
  const codec = method.create(config);
  const [train, fresh] = [shapes(600, 1), shapes(300, 2)];
  const phases = new Set<string>();
  const telling: Run = { ...run, onProgress: (what) => phases.add(what) };
  await withFiles(async (files) => {
    await codec.learn(train, files, telling);
    await codec.store(train, files, telling);
    assert.equal(statSync(files.store).size, method.bytes(config, train));
    assert.ok(method.bytes(config, train) > method.bytes(Config.parse({ ...input, tokenAdapt: null }), train));
    const { recipe, tokenAdapt } = configOfStore(files.store);
    assert.deepEqual([recipe, tokenAdapt?.width], ['seit', 32]);
    rmSync(files.tokenizer);
    await codec.train(files, telling);
    rmSync(files.store);
    const predicted = await codec.predict(fresh, files, run);
    const accuracy = predicted.filter((label, i) => label === fresh.labels[i]).length / fresh.size;
    t.diagnostic(`accuracy ${accuracy} of three equal classes`);
    assert.ok(accuracy > 0.7, `accuracy ${accuracy}`);
    assert.deepEqual([...phases], ['tokenizer', 'TokenAdapt', 'store', 'masked tokens', 'classifier']);
    assert.deepEqual(readdirSync(dirname(files.model)), ['model'], 'checkpoints of phases that are done are gone');
  });
});

test('stored maps do to stored codes what the learnt ones do to the codes of learning', async () => {
  const codec = method.create(config);
  const images = shapes(120, 1);
  await withFiles(async (files) => {
    await codec.learn(images, files, { ...run, effort: 0.3 });
    await codec.store(images, files, run);
    const learnt = await readTokenizer(files.tokenizer);
    using store = new TokenStore(files.store);
    const { tokenizer, settings } = storedTokenizer(store);
    const maps = storedMaps(store, settings, config.crop)!;
    const adapt = compile((m: TokenAdapt, vectors: Tensor, key: Tensor) =>
      applyTokenAdapt(m, vectors, drawGeometry(key, vectors.shape[0]!, m.grid, publishedGeometry)),
    );
    const codes = tensor(
      store.readBatch(
        Uint32Array.from({ length: 40 }, (_, i) => i),
        new Int32Array(40 * 25),
      ),
      { shape: [40, 5, 5] },
    );
    // the codes' numbers of learning, found by their vectors
    const directions = (codebook: Tensor): string[] =>
      (normalize(codebook).toArray() as number[][]).map((row) => row.map((x) => x.toFixed(4)).join());
    const [old, stored] = [directions(learnt.tokenizer.codebook), directions(tokenizer.codebook)];
    const oldOf = stored.map((row) => old.indexOf(row));
    assert.notDeepEqual(oldOf, [...oldOf.keys()]);
    const before = tensor(
      Int32Array.from(codes.data() as Int32Array, (c) => oldOf[c]!),
      { shape: codes.shape },
    );
    const { f, g, grid } = learnt.maps!;
    const key = random.key(5);
    const wanted = adapt(new TokenAdapt(f, g, { grid, out: maps.out }), learnt.tokenizer.vectors(before), key).data();
    const made = adapt(maps, codesToGrid(codes, tokenizer.codebook), key).data();
    const same = wanted.filter((code, i) => Number(code) === oldOf[Number(made[i])]).length / wanted.length;
    assert.ok(same > 0.99, `${same} of the codes agree; half precision may turn a few`);
  });
});

test('stopped and continued in every phase, SeiT++ makes the bytes of a straight run', async () => {
  const brief = { epochs: 1 };
  const codec = method.create(
    Config.parse({
      ...input,
      tokenizer: { ...input.tokenizer, ...brief },
      tokenAdapt: { ...input.tokenAdapt, ...brief },
      mtm: { ...input.mtm, ...brief },
      fineTune: { ...input.fineTune, ...brief },
    }),
  );
  const images = shapes(300, 1);
  const stops: Record<string, number> = {};
  const made = async (stage: (name: string, body: (how: Run) => Promise<void>) => Promise<void>): Promise<Buffer[]> => {
    const out: Buffer[] = [];
    await withFiles(async (files) => {
      await stage('learn', (how) => codec.learn(images, files, how));
      await stage('store', (how) => codec.store(images, files, how));
      await stage('train', (how) => codec.train(files, how));
      assert.ok(!existsSync(`${files.model}.masked.checkpoint`));
      out.push(readFileSync(files.tokenizer), readFileSync(files.store), readFileSync(files.model));
    });
    return out;
  };
  const straight = await made((_, body) => body(run));
  const stopped = await made(async (name, body) => {
    stops[name] = await stopping(run, body, name === 'store' ? 1 : 3);
  });
  assert.ok(stops['learn']! >= 3 && stops['store']! >= 1 && stops['train']! >= 3, JSON.stringify(stops));
  assert.deepEqual(stopped, straight);
});

test('plans cover both phases; an odd set, a set of one, and a store without maps are trained too', async () => {
  const target = { size: 600, shape: [20, 20, 1], classes: ['a', 'b', 'c'] } as const;
  const stages = await method.create(config).plan!(target);
  assert.deepEqual(
    stages.map(({ what }) => what),
    ['tokenizer', 'store', 'classifier'],
  );
  assert.deepEqual(
    stages.map(({ steps }) => steps),
    [20 * 4 + 20 * 4, 3, 20 * 10 + 20 * 30],
  );
  assert.ok(stages.every(({ peakBytes, seconds }) => peakBytes > 0 && seconds > 0));
  const all = shapes(9, 1);
  for (const [indices, tokenAdapt] of [
    [[0, 1, 2, 3, 4], input.tokenAdapt],
    [[0], input.tokenAdapt],
    [[0, 1, 2], null],
  ] as const) {
    const codec = method.create(Config.parse({ ...input, tokenAdapt }));
    const few = subset(all, indices);
    await withFiles(async (files) => {
      await codec.learn(few, files, { ...run, effort: 0.1 });
      await codec.store(few, files, run);
      await codec.train(files, { ...run, effort: 0.1 });
      assert.equal((await codec.predict(all, files, run)).length, 9);
    });
  }
});

test('patches that do not divide the crop are refused, and small presets stay as SeiT', () => {
  assert.throws(() => Config.parse({ ...input, mtm: { ...input.mtm, patch: 3 } }), /patches have to divide the crop/);
  const published = Config.parse({});
  assert.deepEqual([published.recipe, published.tokenAdapt?.width], ['mtm', 384]);
  const smallest = Config.parse(small({ patch: 4, grid: 7 }));
  assert.deepEqual([smallest.recipe, smallest.tokenAdapt], ['seit', null]);
});
