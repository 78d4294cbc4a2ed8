// A multilayer perceptron on the Fashion-MNIST subset of the package: over 80 % of 5,000 test images right, in seconds.
import assert from 'node:assert/strict';
import { batches, type ImageBatch, inOrder, openFashion } from 'thimble/data';
import { AdamW, type AdamWState, classificationLoss, initialize, Linear, warmupCosine } from 'thimble/nn';
import { cast, compile, mul, random, relu, reshape, type Tensor, tensor, valueAndGrad } from 'thimble/tensor';
import { type TrainStep, train } from 'thimble/train';

// A model is a plain tree of tensors, and a function of it: images u8 [B, 28, 28, 1] -> logits [B, 10].
type Mlp = { hidden: Linear; out: Linear };
const logits = compile(({ hidden, out }: Mlp, images: Tensor): Tensor => {
  const x = reshape(mul(cast(images, 'f32'), 1 / 255), [images.shape[0]!, 784]);
  return out.forward(relu(hidden.forward(x)));
});
const model = initialize((key): Mlp => {
  const [a, b] = random.splitKey(key) as [Tensor, Tensor];
  return { hidden: Linear.init(a, 784, 128), out: Linear.init(b, 128, 10) };
}, 0);

// One step of training, compiled: forward, backward and AdamW are one program whose memory is planned.
type State = { model: Mlp; optimizer: AdamWState<Mlp> };
type Batch = { images: Tensor; labels: Tensor };
const adamw = new AdamW();
const step: TrainStep<State, Batch> = compile(
  ({ model, optimizer }, { images, labels }, _key, lr) => {
    const [loss, gradients] = valueAndGrad((m: Mlp) => classificationLoss(logits(m, images), labels))(model);
    const next = adamw.update(model, gradients, optimizer, lr);
    return { state: { model: next.model, optimizer: next.state }, loss };
  },
  { donate: [0] },
);
const prepare = ({ pixels, labels }: ImageBatch): Batch => ({
  images: tensor(pixels, { shape: [labels.length, 28, 28, 1] }),
  labels: tensor(labels),
});

const [trainSet, testSet] = [await openFashion('train'), await openFashion('test')];
const steps = 600;
const { state, seconds, plannedPeakBytes } = await train({
  state: { model, optimizer: adamw.init(model) },
  step,
  batches: (position) => batches(trainSet, { batchSize: 128, ...(position && { position }) }),
  prepare,
  steps,
  schedule: warmupCosine({ peak: 2e-3, warmup: 50, steps }),
  key: random.key(0),
  onProgress: ({ step, loss }) => step % 100 === 0 && console.log(`step ${step}: loss ${loss.toFixed(3)}`),
});

let right = 0;
for await (const batch of inOrder(testSet, 500)) {
  const scores = logits(state.model, prepare(batch).images).toArray() as number[][];
  scores.forEach((row, i) => (right += row.indexOf(Math.max(...row)) === batch.labels[i] ? 1 : 0));
}
const accuracy = right / testSet.size;
console.log(
  `accuracy ${(100 * accuracy).toFixed(1)} %, trained in ${seconds.toFixed(1)} s, planned peak ${(plannedPeakBytes / 2 ** 20).toFixed(1)} MiB`,
);
assert.ok(accuracy > 0.8, `accuracy ${accuracy}`);
