import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import '../device/index.ts';
import { readSafetensors, writeSafetensors } from '../io/index.ts';
import { dtypes, empty, fromBytes, type Tensor, tensor, typeOf, withDevice } from '../tensor/index.ts';
import { checkpointInfo, loadCheckpoint, saveCheckpoint } from './checkpoint.ts';
import { emptyHistory } from './history.ts';
import { bitsOf, toyState } from './toy-run.ts';
import { loadModel, modelInfo, saveModel } from './weights.ts';

const folder = await mkdtemp(join(tmpdir(), 'thimble-checkpoint-'));
after(() => rm(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);

class Layer {
  readonly weight: Tensor;
  readonly eps: number;
  constructor(weight: Tensor, eps: number) {
    this.weight = weight;
    this.eps = eps;
  }
}

test('a checkpoint gives back the same bits, classes, step, position, config and history', async () => {
  const state = toyState();
  const history = emptyHistory();
  for (let i = 0; i < 700; i++) history.losses.add(Math.cos(i));
  history.evaluations.push({ step: 600, metrics: { accuracy: 0.1 + 0.2, worst: Number.NaN } });
  const position = { seed: 5, epoch: 2, index: 48 };
  const config = { name: 'toy', sizes: [8, 16], nested: { dropout: 0.1, none: null } };
  await saveCheckpoint(at('toy'), { state, step: 700, position, config, history });
  const loaded = await loadCheckpoint(at('toy'), toyState());
  assert.equal(bitsOf(loaded.state), bitsOf(state));
  assert.equal(loaded.state.model.hidden.forward.name, 'forward');
  const { state: _, ...info } = loaded;
  assert.deepEqual(info, { step: 700, position, config, history });
  assert.equal(info.history.losses.smoothed, history.losses.smoothed);
  assert.deepEqual(info.history.losses.points, history.losses.points);
  const { fileBytes, ...described } = await checkpointInfo(at('toy'));
  assert.deepEqual(described, info);
  assert.equal(fileBytes, (await readFile(at('toy'))).byteLength);
});

test('any tree of any dtypes survives, also with the template on the null device', async () => {
  const leaf = fc
    .record({ dtype: fc.constantFrom(...dtypes), shape: fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 3 }), seed: fc.nat() })
    .map(({ dtype, shape, seed }) => {
      const type = typeOf(shape, dtype);
      return fromBytes(
        Uint8Array.from({ length: type.bytes }, (_, i) => (dtype === 'bool' ? (seed >> i) & 1 : (seed * (i + 1)) & 255)),
        type,
      );
    });
  const { tree } = fc.letrec<{ tree: unknown; node: unknown }>((tie) => ({
    tree: fc.oneof({ depthSize: 'small', withCrossShrink: true }, leaf, tie('node'), fc.integer()),
    node: fc.oneof(
      fc.array(tie('tree'), { maxLength: 3 }),
      fc.dictionary(fc.stringMatching(/^[a-z_]{1,4}$/), tie('tree'), { maxKeys: 3, noNullPrototype: true }),
    ),
  }));
  await fc.assert(
    fc.asyncProperty(tree, async (state) => {
      await saveCheckpoint(at('any'), { state: { state }, step: 0 });
      const blank = (x: unknown): unknown =>
        x !== null && typeof x === 'object' && 'type' in x
          ? withDevice('null', () => empty((x as Tensor).type))
          : Array.isArray(x)
            ? x.map(blank)
            : typeof x === 'object'
              ? Object.fromEntries(Object.entries(x as object).map(([k, v]) => [k, blank(v)]))
              : x;
      const loaded = await loadCheckpoint(at('any'), { state: blank(state) });
      assert.equal(bitsOf(loaded.state), bitsOf(state));
    }),
    { numRuns: 40 },
  );
});

test('missing, misshaped and superfluous tensors are named', async () => {
  const saved = { a: tensor([1, 2]), b: { c: tensor(3) }, old: tensor(0) };
  await saveCheckpoint(at('tree'), { state: saved, step: 1 });
  await assert.rejects(
    loadCheckpoint(at('tree'), { ...saved, fresh: tensor(1) }),
    /another tree.*'state\.fresh' f32\[\] is missing.*configuration/,
  );
  await assert.rejects(loadCheckpoint(at('tree'), { ...saved, a: tensor([1, 2, 3]) }), /'state\.a' is f32 \[2\], needed is f32 \[3\]/);
  await assert.rejects(
    loadCheckpoint(at('tree'), { ...saved, b: { c: tensor(3, { dtype: 'bf16' }) } }),
    /'state\.b\.c' is f32 \[\], needed is bf16 \[\]/,
  );
  await assert.rejects(loadCheckpoint(at('tree'), { a: saved.a, b: saved.b }), /'state\.old' has no place in it/);
  await assert.rejects(
    saveCheckpoint(at('x'), { state: { 'a.b': tensor(1), a: { b: tensor(2) } }, step: 1 }),
    /two tensors are called 'state\.a\.b'/,
  );
});

test('config is plain JSON, and what is not is named', async () => {
  const within: Record<string, unknown> = {};
  within['a'] = [{ again: within }];
  for (const [config, name] of [
    [{ lr: Number.NaN }, 'config.lr is NaN'],
    [{ a: [1, new Map()] }, 'config.a[1] is a Map'],
    [{ f: () => 1 }, 'config.f is'],
    [{ t: new Float32Array(1) }, 'config.t is a Float32Array'],
    [within, 'config.a[0].again contains itself'],
  ] as const) {
    await assert.rejects(saveCheckpoint(at('x'), { state: {}, step: 1, config }), (e: Error) => e.message.includes(name));
  }
  assert.deepEqual(
    (await readdir(folder)).filter((name) => name.startsWith('x') || name.startsWith('.')),
    [],
  );
});

test('damaged files, files of others and files of tomorrow are refused with a clear error', async () => {
  const state = { w: tensor([1, 2, 3]) };
  await saveCheckpoint(at('good'), { state, step: 1, config: { a: 1 } });
  const good = await readFile(at('good'));
  const refuses = async (bytes: Uint8Array, pattern: RegExp): Promise<void> => {
    await writeFile(at('bad'), bytes);
    await assert.rejects(loadCheckpoint(at('bad'), state), pattern);
  };
  for (let length = 0; length < good.byteLength; length += 7) await refuses(good.subarray(0, length), /truncated|header|cut|ends|damaged/);
  for (let bit = 0; bit < 8 * good.byteLength; bit += 13) {
    const flipped = Buffer.from(good);
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    await refuses(flipped, /\[safetensors\]|\[checkpoint\]|\[load\]/);
  }
  const { tensors, metadata } = await readSafetensors(at('good'));
  const rewrite = async (checkpoint: string | undefined, pattern: RegExp): Promise<void> => {
    await writeSafetensors(at('bad'), tensors, { metadata: checkpoint === undefined ? {} : { 'thimble.checkpoint': checkpoint } });
    await assert.rejects(loadCheckpoint(at('bad'), state), pattern);
  };
  const info = JSON.parse(metadata['thimble.checkpoint']!) as Record<string, unknown>;
  await rewrite(undefined, /is a safetensors file but no checkpoint/);
  await rewrite('{', /is not JSON/);
  await rewrite('7', /does not say where its run stands/);
  await rewrite(JSON.stringify({ ...info, version: 2 }), /format 2, this version reads 1; update/);
  for (const lie of [
    { step: -1 },
    { step: 1e300 },
    { position: { seed: 1, epoch: 0, index: -4 } },
    { history: {} },
    { history: { losses: { count: 1e15, average: 0, width: 1, sums: [] }, evaluations: [] } },
  ]) {
    await rewrite(JSON.stringify({ ...info, ...lie }), /does not say where its run stands/);
  }
  await assert.rejects(
    loadCheckpoint(at('none'), state),
    (e: Error & { code?: string }) => e.code === 'ENOENT' && /there is no file .*none/.test(e.message),
  );
});

test('a model file holds weights and config; a checkpoint opens as one', async () => {
  const model = { blocks: [new Layer(tensor([[1, 2]]), 1e-6)] };
  const bytes = await saveModel(at('model'), model, { config: { width: 2 }, metadata: { license: 'CC0' } });
  const info = await modelInfo(at('model'));
  assert.deepEqual([info.config, info.fileBytes, info.tensorBytes, info.metadata['license']], [{ width: 2 }, bytes, 8, 'CC0']);
  const blank = { blocks: [new Layer(tensor([[0, 0]]), 1e-6)] };
  const loaded = await loadModel(at('model'), blank);
  assert.ok(loaded.blocks[0] instanceof Layer);
  assert.deepEqual(loaded.blocks[0].weight.toArray(), [[1, 2]]);
  await saveCheckpoint(at('as-model'), { state: { model, step: tensor(1) }, step: 1 });
  assert.equal(bitsOf(await loadModel(at('as-model'), blank, { prefix: 'state.model' })), bitsOf(model));
  await writeSafetensors(at('foreign'), { w: { dtype: 'f32', shape: [1], data: new Uint8Array(4) } });
  assert.equal((await modelInfo(at('foreign'))).config, undefined);
  assert.deepEqual((await loadModel(at('foreign'), { w: tensor([5]) })).w.toArray(), [0]);
});
