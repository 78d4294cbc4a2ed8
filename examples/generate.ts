// A tiny Llama learns one sentence and says it again: training, then generation through a cache whose bytes are known before it runs.
import assert from 'node:assert/strict';
import { generate, planGeneration } from 'thimble/decode';
import { AdamW, type AdamWState, initialize, Llama, type LlamaConfig } from 'thimble/nn';
import { compile, type random, type Tensor, tensor, valueAndGrad } from 'thimble/tensor';

const sentence = 'bytes are a unit, like shapes; ';
const letters = [...new Set(sentence)].sort().join('');
const idsOf = (text: string): number[] => [...text].map((c) => letters.indexOf(c));

const config: LlamaConfig = {
  vocabulary: letters.length,
  context: 256,
  width: 32,
  hidden: 64,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  headWidth: 8,
  eps: 1e-5,
  ropeBase: 10000,
  ropeScaling: { kind: 'none' },
  tied: true,
};
let model = initialize((key: random.Key) => Llama.init(key, config, { std: 0.1 }), 0);

const adamw = new AdamW();
let optimizer: AdamWState<Llama> = adamw.init(model);
const step = compile(
  (m: Llama, state: AdamWState<Llama>, ids: Tensor, next: Tensor) => {
    const [loss, gradients] = valueAndGrad((x: Llama) => x.loss(ids, next))(m);
    return { ...adamw.update(m, gradients, state, 5e-3), loss };
  },
  { donate: [0, 1] },
);
const text = idsOf(sentence.repeat(4));
const [ids, next] = [text.slice(0, -1), text.slice(1)].map((row) => tensor(Int32Array.from(row), { shape: [1, row.length] })) as [
  Tensor,
  Tensor,
];
let loss = Number.POSITIVE_INFINITY;
for (let i = 0; i < 120; i++) {
  const made = step(model, optimizer, ids, next);
  [model, optimizer, loss] = [made.model, made.state, made.loss.item()];
  made.loss.dispose();
}

async function say(prompt: string, options: { temperature?: number; seed?: number } = {}): Promise<string> {
  let out = '';
  for await (const id of generate(model, idsOf(prompt), { maxNewTokens: 40, ...options })) out += letters[id];
  return out;
}

const prompt = 'bytes are';
const plan = planGeneration(model, prompt.length, { maxNewTokens: 40 });
console.log(`loss ${loss.toFixed(4)}; a cache for ${plan.capacity} tokens takes ${plan.kvBytes} bytes, everything ${plan.peakBytes}`);
const greedy = await say(prompt);
console.log(prompt + greedy);
assert.equal(greedy, sentence.repeat(3).slice(prompt.length, prompt.length + 40));
// keys and values, 2 layers, 2 heads of 8 features in f32
assert.equal(plan.kvBytes, plan.capacity * 2 * 2 * 2 * 8 * 4);

const drawn = await say(prompt, { temperature: 3, seed: 1 });
console.log(`at temperature 3: ${prompt}${drawn}`);
assert.equal(await say(prompt, { temperature: 3, seed: 1 }), drawn, 'the same seed gives the same tokens');
assert.notEqual(await say(prompt, { temperature: 3, seed: 2 }), drawn);
