/** A small run for the tests of this folder: an MLP with dropout on synthetic data, AdamW and a moving average. */
import { createHash } from 'node:crypto';
import { type DataPosition, EpochSampler } from '../data/index.ts';
import { AdamW, type AdamWState, classificationLoss, emaUpdate, initialize, Linear, warmupCosine } from '../nn/index.ts';
import { compile, dropout, leaves, random, relu, type Tensor, tensor, valueAndGrad } from '../tensor/index.ts';
import type { TrainOptions } from './options.ts';
import { copyTree } from './snapshot.ts';
import type { Placed } from './stepper.ts';

interface Model {
  hidden: Linear;
  out: Linear;
}
export interface ToyState {
  model: Model;
  optimizer: AdamWState<Model>;
  average: Model;
}
export interface ToyBatch {
  x: Tensor;
  y: Tensor;
}
export interface ToyItem extends Placed {
  indices: Uint32Array;
}

const samples = 100;
const features = 8;
const inputs = Float32Array.from({ length: samples * features }, (_, i) => Math.sin(i * i));
const labels = Int32Array.from({ length: samples }, (_, i) => (inputs[i * features]! * inputs[i * features + 1]! > 0 ? 1 : 0));

const optimizer = new AdamW({ weightDecay: 0.01 });
const forward = ({ hidden, out }: Model, x: Tensor, key: random.Key): Tensor => out.forward(dropout(key, relu(hidden.forward(x)), 0.1));

/** Endless batches of 16 of 100 rows: epochs end within the run. */
export function* toyItems(from: DataPosition | undefined): Generator<ToyItem> {
  const sampler = new EpochSampler(samples, { batchSize: 16, seed: 5, ...(from && { position: from }) });
  for (;;) {
    const indices = sampler.next();
    yield { indices, position: sampler.position };
  }
}

/** Rows of the synthetic data: x f32 [n, 8], y i32 [n]. */
export function toyBatch({ indices }: { indices: Uint32Array }): ToyBatch {
  const x = new Float32Array(indices.length * features);
  indices.forEach((i, row) => {
    x.set(inputs.subarray(i * features, (i + 1) * features), row * features);
  });
  return { x: tensor(x, { shape: [indices.length, features] }), y: tensor(Int32Array.from(indices, (i) => labels[i]!)) };
}

export function toyState(): ToyState {
  const model = initialize((key): Model => {
    const [a, b] = random.splitKey(key) as [random.Key, random.Key];
    return { hidden: Linear.init(a, features, 16), out: Linear.init(b, 16, 2) };
  }, 3);
  return { model, optimizer: optimizer.init(model), average: copyTree(model) };
}

export function toyRun(steps: number): TrainOptions<ToyState, ToyBatch, ToyItem> {
  const step = compile(
    (state: ToyState, { x, y }: ToyBatch, key: random.Key, lr: Tensor) => {
      const [loss, gradients] = valueAndGrad((model: Model) => classificationLoss(forward(model, x, key), y))(state.model);
      const next = optimizer.update(state.model, gradients, state.optimizer, lr);
      return {
        state: { model: next.model, optimizer: next.state, average: emaUpdate(state.average, next.model, 0.99) },
        loss,
        metrics: { lr },
      };
    },
    { donate: [0], name: 'toy step' },
  );
  return {
    state: toyState,
    step,
    batches: toyItems,
    prepare: toyBatch,
    steps,
    schedule: warmupCosine({ peak: 1e-2, warmup: Math.min(10, steps), steps }),
    key: random.key(7),
  };
}

/** A digest of all numbers of a tree: equal only for equal bits. */
export const bitsOf = (tree: unknown): string => {
  const hash = createHash('sha256');
  for (const t of leaves(tree)) hash.update(t.rawData());
  return hash.digest('hex');
};
