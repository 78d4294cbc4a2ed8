import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertClose } from '../device/conformance/suite.ts';
import '../device/index.ts';
import { initialize, Llama, type LlamaConfig } from '../nn/index.ts';
import { add, compile, defaultDevice, iota, type random, type Tensor, tensor, treeBytes } from '../tensor/index.ts';
import { FullCache } from './cache.ts';
import { type GenerateOptions, generate, kvBytes, planGeneration } from './generate.ts';

const config: LlamaConfig = {
  vocabulary: 61,
  context: 200,
  width: 32,
  hidden: 48,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  headWidth: 8,
  eps: 1e-5,
  ropeBase: 10000,
  ropeScaling: { kind: 'none' },
  tied: false,
};
const model = initialize((key: random.Key) => Llama.init(key, config, { std: 0.3 }), 1);
const prompt = Array.from({ length: 21 }, (_, i) => (i * 17 + 3) % config.vocabulary);
const row = (ids: readonly number[]): Tensor => tensor(Int32Array.from(ids), { shape: [1, ids.length] });
async function all(options: GenerateOptions, ids: readonly number[] = prompt): Promise<number[]> {
  const out: number[] = [];
  for await (const id of generate(model, ids, options)) out.push(id);
  return out;
}

/** Features of each piece in turn, through a cache. */
function inPieces(ids: readonly number[], pieces: readonly number[]): number[] {
  const pass = compile(
    (m: Llama, cache: FullCache, x: Tensor) => {
      const p = cache.extend(x.shape[1]!);
      const turn = m.rotation(add(iota(x.shape[1]!), cache.length));
      const features = m.features(x, turn, (...qkv) => p.attend(...qkv));
      return { logits: m.logits(features), cache: p.finish() as FullCache };
    },
    { donate: [1] },
  );
  let cache = FullCache.empty(config, 32, 'f32');
  let at = 0;
  const out: number[] = [];
  for (const n of pieces) {
    const made = pass(model, cache, row(ids.slice(at, at + n)));
    cache = made.cache;
    out.push(...(made.logits.data() as Float32Array));
    at += n;
  }
  assert.equal(cache.length.item(), ids.length);
  return out;
}

test('prefill and steps through the cache give the logits of the whole sequence', () => {
  const whole = compile((m: Llama, x: Tensor) => m.forward(x))(model, row(prompt)).data() as Float32Array;
  for (const pieces of [[21], [13, 8], [16, 1, 1, 1, 1, 1], prompt.map(() => 1)])
    assertClose(inPieces(prompt, pieces), whole, 1e-5, pieces.join());
});

test('greedy generation is that of the model on the growing sequence', async () => {
  const forward = compile((m: Llama, x: Tensor) => m.forward(x));
  const ids = [...prompt];
  for (let i = 0; i < 12; i++) {
    const logits = forward(model, row(ids)).data() as Float32Array;
    const last = logits.subarray(-config.vocabulary);
    ids.push(last.indexOf(Math.max(...last)));
  }
  assert.deepEqual(await all({ maxNewTokens: 12 }), ids.slice(prompt.length));
});

test('the tokens do not depend on chunks and calls, nor does the randomness; other seeds give others', async () => {
  const options = { maxNewTokens: 20, temperature: 1.3, topK: 30, topP: 0.95, seed: 5 };
  const tokens = await all(options);
  assert.equal(tokens.length, 20);
  assert.deepEqual(await all(options), tokens);
  assert.deepEqual(await all({ ...options, tokensPerCall: 3, prefillChunk: 16 }), tokens);
  assert.deepEqual(await all({ ...options, tokensPerCall: 1, capacity: 150 }), tokens);
  assert.notDeepEqual(await all({ ...options, seed: 6 }), tokens);
  assert.equal((await all({ maxNewTokens: 1 })).length, 1);
});

test('stop tokens end the generation before they are yielded', async () => {
  const tokens = await all({ maxNewTokens: 20, temperature: 1, seed: 2 });
  const end = tokens[7]!;
  assert.deepEqual(await all({ maxNewTokens: 20, temperature: 1, seed: 2, stop: [end] }), tokens.slice(0, tokens.indexOf(end)));
});

test('an abort ends it with the reason, and the cache is freed however it ends', async () => {
  const before = defaultDevice().allocatedBytes;
  const abort = new AbortController();
  const got: number[] = [];
  await assert.rejects(async () => {
    for await (const id of generate(model, prompt, { maxNewTokens: 60, tokensPerCall: 4, signal: abort.signal })) {
      got.push(id);
      if (got.length === 9) abort.abort(new Error('enough'));
    }
  }, /enough/);
  assert.equal(got.length, 9); // one of the prompt, two calls of four
  for await (const _ of generate(model, prompt, { maxNewTokens: 60 })) break;
  assert.ok(defaultDevice().allocatedBytes - before < 4096, `${defaultDevice().allocatedBytes - before} bytes kept`);
});

test('what does not fit is refused with both numbers', async () => {
  await assert.rejects(
    all({ maxNewTokens: 30, capacity: 40 }),
    /21 prompt tokens and 30 new ones exceed the capacity of 40; raise capacity to 51/,
  );
  await assert.rejects(all({ maxNewTokens: 190 }), /exceed the model's context of 200/);
  await assert.rejects(all({ maxNewTokens: 5 }, []), /the prompt is empty/);
  await assert.rejects(
    all({ maxNewTokens: 5 }, [1, Number.NaN]),
    /\[generate\] token 1 of the prompt is NaN; give ids, whole numbers from 0/,
  );
  await assert.rejects(all({ maxNewTokens: 5 }, 'abc' as never), /token 0 of the prompt is a;/);
  await assert.rejects(all({ maxNewTokens: 0 }), /maxNewTokens 0 must be a whole number/);
  await assert.rejects(all({ maxNewTokens: 5, topP: 0 }), /topP 0 must lie in \(0, 1\]/);
  await assert.rejects(all({ maxNewTokens: 5, temperature: -1 }), /temperature -1/);
  await assert.rejects(all({ maxNewTokens: 5, topK: 1.5 }), /topK 1.5/);
  assert.throws(() => FullCache.empty(config, 8, 'f32').extend(9), /9 tokens at once exceed the capacity of 8/);
  const pass = compile((cache: FullCache, x: Tensor) => {
    const p = cache.extend(1);
    for (let layer = 0; layer < 2; layer++) p.attend(layer, x, x, x);
    return p.finish() as FullCache;
  });
  const x = tensor(new Float32Array(16), { shape: [1, 1, 2, 8] });
  let cache = FullCache.empty(config, 2, 'f32');
  for (let i = 0; i < 2; i++) cache = pass(cache, x);
  assert.throws(() => pass(cache, x), /outside their axis/);
});

test('the plan knows the bytes before anything runs, and the cache is written in place', () => {
  const options = { maxNewTokens: 30, tokensPerCall: 4, capacity: 150 };
  const plan = planGeneration(model, prompt.length, options);
  assert.equal(plan.capacity, 160); // 150 + 4, in chunks of 32
  assert.equal(plan.kvBytes, kvBytes(config, 160, 4));
  assert.equal(plan.kvBytes, 2 * 2 * 160 * 2 * 8 * 4);
  assert.equal(plan.weightBytes, treeBytes(model));
  const small = planGeneration(model, prompt.length, { ...options, capacity: 51 });
  const rest = ({ peakBytes, kvBytes, weightBytes }: typeof plan): number => peakBytes - kvBytes - weightBytes;
  const growth = rest(plan) - rest(small);
  assert.ok(
    rest(small) > 0 && growth < (plan.kvBytes - small.kvBytes) / 2,
    `${growth} bytes more: a copy of the cache would be twice that`,
  );
});
