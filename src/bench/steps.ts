/**
 * The train steps that the engine is measured by, with the weights and data of bench/peers/README.md, which defines them by an integer hash so that
 * every engine starts from the same numbers.
 */
import {
  AdamW,
  type AdamWState,
  Block,
  classificationLoss,
  Embedding,
  LayerNorm,
  Linear,
  Mlp,
  meanSquaredError,
  SelfAttention,
} from '../nn/index.ts';
import {
  add,
  type CallTime,
  type Compiled,
  compile,
  gelu,
  layerNorm,
  matmul,
  mean,
  mul,
  softmax,
  type Tensor,
  valueAndGrad,
} from '../tensor/index.ts';
import { IDS, INPUTS, integers, normals, Parameters, TARGETS } from './numbers.ts';

/** Parameters of the layers, in the order of the flat list. */
class Layers extends Parameters {
  norm(d: number): LayerNorm {
    return new LayerNorm(this.fill(1, d), this.fill(0, d), 1e-5);
  }
  linear(i: number, o: number): Linear {
    return new Linear(this.weight([i, o]), this.fill(0, o));
  }
  block(d: number, causal: boolean): Block {
    const [norm1, norm2] = [this.norm(d), this.norm(d)];
    const attention = new SelfAttention(this.linear(d, 3 * d), this.linear(d, d), 4, causal);
    return new Block(norm1, attention, norm2, new Mlp(this.linear(d, 4 * d), this.linear(4 * d, d), 'gelu'));
  }
}

export interface BenchStep {
  name: string;
  /** One whole step; returns the loss before it. */
  run(): number;
  /** The same, kernel call by kernel call. */
  profile(): CallTime[];
  compiled: Compiled<never[], unknown>;
  plan(): ReturnType<Compiled<never[], unknown>['plan']>;
}

function trainStep<M>(
  name: string,
  model: M,
  lossOf: (model: M, x: Tensor, y: Tensor) => Tensor,
  x: Tensor,
  y: Tensor,
  lr: number,
): BenchStep {
  const optimizer = new AdamW({ weightDecay: 0.01 });
  const step = compile(
    (m: M, state: AdamWState<M>, a: Tensor, b: Tensor) => {
      const [loss, gradients] = valueAndGrad(lossOf)(m, a, b);
      return { ...optimizer.update(m, gradients, state, lr), loss };
    },
    { donate: [0, 1], name },
  );
  let now = { model, state: optimizer.init(model) };
  return {
    name,
    compiled: step as unknown as Compiled<never[], unknown>,
    plan: () => step.plan(now.model, now.state, x, y),
    profile() {
      const { result, calls } = step.profile(now.model, now.state, x, y);
      now = result;
      result.loss.dispose();
      return calls;
    },
    run() {
      const next = step(now.model, now.state, x, y);
      now = next;
      const loss = next.loss.item();
      next.loss.dispose();
      return loss;
    },
  };
}

/** The decoder of the engine's reference figures: 4 layers, width 128, 16 x 128 tokens, vocabulary 512. */
function referenceStep(): BenchStep {
  const p = new Layers();
  const [d, vocabulary, B, T] = [128, 512, 16, 128];
  const tokens = new Embedding(p.weight([vocabulary, d]));
  const positions = p.weight([T, d]);
  const blocks = Array.from({ length: 4 }, () => p.block(d, true));
  const model = { tokens, positions, blocks, norm: p.norm(d), head: p.weight([d, vocabulary]) };
  const loss = (m: typeof model, ids: Tensor, targets: Tensor): Tensor => {
    let x = add(m.tokens.forward(ids), m.positions);
    for (const b of m.blocks) x = b.forward(x);
    return classificationLoss(matmul(m.norm.forward(x), m.head), targets);
  };
  return trainStep('reference', model, loss, integers(IDS, [B, T], vocabulary), integers(TARGETS, [B, T], vocabulary), 1e-3);
}

/** A ViT of the demo's size over 49 tokens of width 16. */
function vitStep(): BenchStep {
  const p = new Layers();
  const [d, B, T] = [128, 128, 49];
  const stem = p.weight([16, d]);
  const stemBias = p.fill(0, d);
  const positions = p.weight([T, d]);
  const blocks = Array.from({ length: 4 }, () => p.block(d, false));
  const model = { stem, stemBias, positions, blocks, norm: p.norm(d), head: p.linear(d, 10) };
  const loss = (m: typeof model, images: Tensor, labels: Tensor): Tensor => {
    let x = add(add(matmul(images, m.stem), m.stemBias), m.positions);
    for (const b of m.blocks) x = b.forward(x);
    return classificationLoss(m.head.forward(m.norm.forward(mean(x, 1))), labels);
  };
  return trainStep('vit', model, loss, normals(INPUTS, 0, [B, T, 16], -7), integers(TARGETS, [B], 10), 1e-3);
}

/** Norms, GELU and softmax over 16384 x 384, hardly any matrix products. */
function lightStep(): BenchStep {
  const p = new Layers();
  const [R, d] = [16384, 384];
  const model = Array.from({ length: 8 }, () => ({ gain: p.fill(1, d), bias: p.fill(0, d), scale: p.fill(8, d) }));
  const loss = (m: typeof model, input: Tensor, target: Tensor): Tensor => {
    let x = input;
    for (const { gain, bias, scale } of m) x = add(x, mul(scale, softmax(gelu(layerNorm(x, gain, bias, 1e-5)))));
    return meanSquaredError(x, target);
  };
  return trainStep('light', model, loss, normals(INPUTS, 0, [R, d], -7), normals(TARGETS, 0, [R, d], -7), 1e-2);
}

export const benchSteps = { reference: referenceStep, vit: vitStep, light: lightStep };
