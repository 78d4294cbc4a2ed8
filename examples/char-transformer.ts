// A transformer that learns to write, character by character: Shakespeare where the file is at hand, else the texts of this package.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { type DataPosition, DataRandom } from 'thimble/data';
import {
  AdamW,
  type AdamWState,
  Block,
  classificationLoss,
  clipByGlobalNorm,
  Embedding,
  initialize,
  LayerNorm,
  Linear,
  warmupCosine,
} from 'thimble/nn';
import { add, compile, random, type Tensor, tensor, valueAndGrad } from 'thimble/tensor';
import { type TrainStep, train } from 'thimble/train';

// Text -> ids. The folders are those of this repository; give a file of your own as an argument.
const root = new URL('../../', import.meta.url);
const file = [process.argv[2], new URL('../shared/data/tinyshakespeare/input.txt', root)].find((path) => path && existsSync(path));
const text = file
  ? readFileSync(file, 'utf8')
  : ['README.md', 'LICENSE']
      .map((name) => new URL(name, root))
      .filter((url) => existsSync(url))
      .map((url) => readFileSync(url, 'utf8'))
      .join('\n');
const letters = [...new Set(text)].sort();
const idOf = new Map(letters.map((letter, id) => [letter, id]));
const ids = Int32Array.from(text, (letter) => idOf.get(letter)!);
const split = Math.floor(ids.length * 0.9); // the last tenth is for testing

const [context, width, heads, layers, batchSize, steps] = [64, 64, 4, 2, 32, 400];

/** Pre-norm decoder with learned positions. */
class Writer {
  readonly letters: Embedding;
  readonly positions: Embedding;
  readonly blocks: Block[];
  readonly norm: LayerNorm;
  readonly head: Linear;
  constructor(letters: Embedding, positions: Embedding, blocks: Block[], norm: LayerNorm, head: Linear) {
    this.letters = letters;
    this.positions = positions;
    this.blocks = blocks;
    this.norm = norm;
    this.head = head;
  }
  static init(key: random.Key): Writer {
    const [a, b, c, d] = random.splitKey(key, 4) as [Tensor, Tensor, Tensor, Tensor];
    const blocks = Array.from({ length: layers }, (_, i) => Block.init(random.foldIn(c, i), { width, heads, causal: true }));
    return new Writer(
      Embedding.init(a, letters.length, width),
      Embedding.init(b, context, width),
      blocks,
      LayerNorm.init(width),
      Linear.init(d, width, letters.length, { std: 0.02 }),
    );
  }
  /** ids [B, context] -> logits [B, context, letters] of the letter that follows each. */
  forward(ids: Tensor): Tensor {
    let x = add(this.letters.forward(ids), this.positions.table);
    for (const block of this.blocks) x = block.forward(x);
    return this.head.forward(this.norm.forward(x));
  }
}

type State = { model: Writer; optimizer: AdamWState<Writer> };
type Batch = { input: Tensor; next: Tensor };
const adamw = new AdamW();
const lossOf = (model: Writer, { input, next }: Batch): Tensor => classificationLoss(model.forward(input), next);
const step: TrainStep<State, Batch> = compile(
  ({ model, optimizer }, batch, _key, lr) => {
    const [loss, all] = valueAndGrad(lossOf)(model, batch);
    const { gradients } = clipByGlobalNorm(all, 1);
    const next = adamw.update(model, gradients, optimizer, lr);
    return { state: { model: next.model, optimizer: next.state }, loss };
  },
  { donate: [0] },
);

/** Random windows. A batch is a function of its number, so that a run can go on from any place. */
function* windows(from: DataPosition = { seed: 1, epoch: 0, index: 0 }): Generator<{ starts: number[]; position: DataPosition }> {
  for (let index = from.index; ; index++) {
    const dice = new DataRandom(from.seed, index);
    yield { starts: Array.from({ length: batchSize }, () => dice.below(split - context)), position: { ...from, index: index + 1 } };
  }
}
function batchAt(starts: readonly number[]): Batch {
  const rows = (shift: number): Tensor =>
    tensor(
      Int32Array.from({ length: starts.length * context }, (_, i) => ids[starts[Math.floor(i / context)]! + (i % context) + shift]!),
      { shape: [starts.length, context] },
    );
  return { input: rows(0), next: rows(1) };
}
const testBatch = batchAt(
  Array.from({ length: batchSize }, (_, i) => split + Math.floor((i * (ids.length - split - context - 1)) / batchSize)),
);
const testLoss = compile(lossOf);

const state = (): State => {
  const model = initialize(Writer.init, 0);
  return { model, optimizer: adamw.init(model) };
};
const untrained = testLoss(state().model, testBatch).item();
const result = await train({
  state,
  step,
  steps,
  batches: windows,
  prepare: ({ starts }) => batchAt(starts),
  schedule: warmupCosine({ peak: 5e-3, warmup: 40, steps }),
  key: random.key(0),
  onProgress: ({ step, loss, etaSeconds }) =>
    step % 50 === 0 && console.log(`step ${step}: loss ${loss.toFixed(3)}, ${etaSeconds.toFixed(0)} s left`),
});
const { model } = result.state;
const trained = testLoss(model, testBatch).item();

/** Writes on from the window at `start`, drawing each letter from the softmax of its logits. */
function write(start: number, length: number): string {
  const logits = compile((m: Writer, x: Tensor) => m.forward(x));
  const dice = new DataRandom(2);
  const written = [...ids.subarray(start, start + context)];
  for (let i = 0; i < length; i++) {
    using x = tensor(Int32Array.from(written.slice(-context)), { shape: [1, context] });
    using scores = logits(model, x);
    const weights = [...scores.data().slice(-letters.length)].map((z) => Math.exp(z));
    let left = (dice.nextUint32() / 2 ** 32) * weights.reduce((a, b) => a + b, 0);
    const chosen = weights.findIndex((w) => (left -= w) < 0);
    written.push(chosen < 0 ? letters.length - 1 : chosen);
  }
  return written
    .slice(context)
    .map((id) => letters[id])
    .join('');
}
console.log(write(split, 300));
console.log(
  `test loss ${untrained.toFixed(2)} -> ${trained.toFixed(2)} nats per letter in ${result.seconds.toFixed(0)} s, planned peak ${(result.plannedPeakBytes / 2 ** 20).toFixed(1)} MiB`,
);
assert.ok(Math.abs(untrained - Math.log(letters.length)) < 0.1, 'an untrained model knows nothing');
assert.ok(trained < untrained - 1.2, `loss ${untrained} -> ${trained}`);
