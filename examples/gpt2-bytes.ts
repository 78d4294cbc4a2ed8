// A small GPT-2 that reads bytes: bf16 over f32 parameters, a batch in two micro-batches, and the memory of the step known before it runs.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { printBytes } from 'thimble/bytes';
import { DataRandom } from 'thimble/data';
import { AdamW, type AdamWState, Gpt2, initialize, mixedPrecision } from 'thimble/nn';
import { compile, disposeTree, type Tensor, tensor } from 'thimble/tensor';
import { accumulate } from 'thimble/train';

// Shakespeare where the file is at hand, else the licence; the last tenth is for testing.
const root = new URL('../../', import.meta.url);
const shakespeare = [process.argv[2], new URL('../shared/data/tinyshakespeare/input.txt', root)].find((path) => path && existsSync(path));
const bytes = shakespeare ? readFileSync(shakespeare) : readFileSync(new URL('LICENSE', root));
const split = Math.floor(bytes.length * 0.9);

const config = { vocabulary: 256, context: 64, width: 64, layers: 2, heads: 4 };
const [rows, steps, dice] = [16, 120, new DataRandom(1)];
interface Batch {
  ids: Tensor;
  next: Tensor;
}
function batch(starts: readonly number[]): Batch {
  const { context } = config;
  const from = (shift: number): Tensor =>
    tensor(
      Int32Array.from({ length: starts.length * context }, (_, i) => bytes[starts[Math.floor(i / context)]! + (i % context) + shift]!),
      {
        shape: [starts.length, context],
      },
    );
  return { ids: from(0), next: from(1) };
}

interface State {
  model: Gpt2;
  optimizer: AdamWState<Gpt2>;
}
const adamw = new AdamW({ weightDecay: 0.1 });
const precision = mixedPrecision({ compute: 'bf16' });
const lossOf = (model: Gpt2, { ids, next }: Batch): Tensor => model.loss(ids, next);
/** A step that takes its batch in so many parts. */
const stepIn = (parts: number) =>
  compile(
    ({ model, optimizer }: State, all: Batch) => {
      const [loss, gradients] = accumulate(precision.valueAndGrad(lossOf), parts)(model, all);
      const updated = adamw.update(model, gradients, optimizer, 1e-3);
      return { state: { model: updated.model, optimizer: updated.state }, loss };
    },
    { donate: [0] },
  );

const model = initialize((key) => Gpt2.init(key, config), 0);
let state: State = { model, optimizer: adamw.init(model) };
const draw = (): Batch => batch(Array.from({ length: rows }, () => dice.below(split - config.context)));
const test = batch(Array.from({ length: 32 }, (_, i) => split + Math.floor((i * (bytes.length - split - config.context - 1)) / 32)));
const testLoss = compile((m: Gpt2, b: Batch) => precision.cast(m).loss(b.ids, b.next));

const untrained = testLoss(state.model, test).item();
const step = stepIn(2);
const [whole, halves] = [stepIn(1).plan(state, test), step.plan(state, test)];
for (let i = 0; i < steps; i++) {
  const now = draw();
  const { state: next, loss } = step(state, now);
  state = next;
  if (i % 40 === 0) console.log(`step ${i}: loss ${loss.item().toFixed(3)}`);
  disposeTree([now, loss]);
}
const trained = testLoss(state.model, test).item();
console.log(
  `test loss ${untrained.toFixed(2)} -> ${trained.toFixed(2)} nats per byte; ${printBytes(halves.arenaBytes)} of temporaries, ${printBytes(whole.arenaBytes)} in one part`,
);
assert.ok(Math.abs(untrained - Math.log(256)) < 0.1, 'an untrained model knows nothing');
assert.ok(trained < 3, `loss ${untrained} -> ${trained}`);
assert.ok(halves.arenaBytes < 0.7 * whole.arenaBytes, `${halves.arenaBytes} bytes in two parts, ${whole.arenaBytes} in one`);
