/**
 * GPT-2 (Radford et al. 2019, "Language models are unsupervised multitask learners"): learned positions, pre-norm blocks, GELU by tanh, the head
 * tied to the token table. Parameters have the names and layouts of the published checkpoints, so one list of names makes, draws and loads them.
 */
import {
  add,
  cast,
  embedding,
  full,
  matmul,
  mul,
  random,
  recompute,
  type Shape,
  ShapeError,
  slice,
  type Tensor,
  transpose,
} from '../../tensor/index.ts';
import { headLoss } from '../head-loss.ts';
import { Embedding, LayerNorm, Linear } from '../module.ts';
import { Block, Mlp, SelfAttention } from '../transformer.ts';

export interface Gpt2Config {
  vocabulary: number;
  /** The longest sequence. */
  context: number;
  width: number;
  layers: number;
  heads: number;
}

const published = (width: number, layers: number, heads: number): Gpt2Config => ({
  vocabulary: 50257,
  context: 1024,
  width,
  layers,
  heads,
});
/** The four published sizes; `small` has 124 million parameters. */
export const gpt2Sizes = {
  small: published(768, 12, 12),
  medium: published(1024, 24, 16),
  large: published(1280, 36, 20),
  xl: published(1600, 48, 25),
} as const;

/** Gives the parameter of a checkpoint name, e.g. 'h.0.attn.c_attn.weight'; matrices are [in, out]. */
export type ParameterSource = (name: string, shape: Shape) => Tensor;

export interface Gpt2Options {
  /** Keep the input of each block for the backward pass and compute the rest of it again there. */
  recompute?: boolean;
}

const EPS = 1e-5;
const step = (block: Block, x: Tensor): Tensor => block.forward(x);

export class Gpt2 {
  readonly tokens: Embedding;
  readonly positions: Embedding;
  readonly blocks: Block[];
  readonly norm: LayerNorm;
  constructor(tokens: Embedding, positions: Embedding, blocks: Block[], norm: LayerNorm) {
    this.tokens = tokens;
    this.positions = positions;
    this.blocks = blocks;
    this.norm = norm;
  }

  /** A model whose parameters `source` gives, asked for in the order of the checkpoints. */
  static from(c: Gpt2Config, source: ParameterSource): Gpt2 {
    if (c.width % c.heads) throw new ShapeError(`[gpt2] width ${c.width} does not divide into ${c.heads} heads; choose a divisor`);
    const d = c.width;
    const norm = (name: string): LayerNorm => new LayerNorm(source(`${name}.weight`, [d]), source(`${name}.bias`, [d]), EPS);
    const linear = (name: string, i: number, o: number): Linear =>
      new Linear(source(`${name}.weight`, [i, o]), source(`${name}.bias`, [o]));
    const block = (h: string): Block => {
      const norm1 = norm(`${h}.ln_1`);
      const attention = new SelfAttention(linear(`${h}.attn.c_attn`, d, 3 * d), linear(`${h}.attn.c_proj`, d, d), c.heads, true);
      const norm2 = norm(`${h}.ln_2`);
      return new Block(
        norm1,
        attention,
        norm2,
        new Mlp(linear(`${h}.mlp.c_fc`, d, 4 * d), linear(`${h}.mlp.c_proj`, 4 * d, d), 'geluTanh'),
      );
    };
    const tokens = new Embedding(source('wte.weight', [c.vocabulary, d]));
    const positions = new Embedding(source('wpe.weight', [c.context, d]));
    const blocks = Array.from({ length: c.layers }, (_, i) => block(`h.${i}`));
    return new Gpt2(tokens, positions, blocks, norm('ln_f'));
  }

  /** As published: N(0, 0.02^2), the products that end a residual branch scaled by 1/sqrt(2 layers); gains 1, biases 0. */
  static init(key: random.Key, c: Gpt2Config): Gpt2 {
    let drawn = 0;
    return Gpt2.from(c, (name, shape) => {
      if (shape.length < 2) return full(shape, name.endsWith('.bias') ? 0 : 1);
      const std = name.endsWith('c_proj.weight') ? 0.02 / Math.sqrt(2 * c.layers) : 0.02;
      return mul(random.normal(random.foldIn(key, drawn++), shape), std);
    });
  }

  /**
   * The model of a checkpoint in the Hugging Face naming, with or without the prefix 'transformer.'; masks and the copy of the tied head are
   * left out. Parameters become f32.
   * @throws ShapeError where one is missing or has another shape than the configuration asks for.
   */
  static fromCheckpoint(tensors: ReadonlyMap<string, Tensor>, c: Gpt2Config): Gpt2 {
    return Gpt2.from(c, (name, shape) => {
      const found = tensors.get(name) ?? tensors.get(`transformer.${name}`);
      if (!found)
        throw new ShapeError(
          `[gpt2] the checkpoint has no '${name}'; it has ${[...tensors.keys()].slice(0, 3).join(', ') || 'nothing'}, ...`,
        );
      if (found.shape.join() !== shape.join())
        throw new ShapeError(
          `[gpt2] '${name}' is [${found.shape}], the configuration asks for [${shape}]; give the checkpoint's own sizes`,
        );
      return cast(found, 'f32');
    });
  }

  /** ids [B, T] -> [B, T, width] after the last norm. */
  features(ids: Tensor, options: Gpt2Options = {}): Tensor {
    const [T, context] = [ids.shape[1]!, this.positions.table.shape[0]!];
    if (T > context) throw new ShapeError(`[gpt2] ${T} tokens are more than the context of ${context}; shorten the sequence`);
    const positions = slice(this.positions.table, [0, T]);
    let x = add(embedding(this.tokens.table, ids), positions);
    const through = options.recompute ? recompute(step) : step;
    for (const block of this.blocks) x = through(block, x);
    return this.norm.forward(x);
  }

  /** ids [B, T] -> logits [B, T, vocabulary]. */
  forward(ids: Tensor): Tensor {
    return matmul(this.features(ids), transpose(this.tokens.table));
  }

  /** Mean cross-entropy of the tokens that follow, a block of logits at a time. ids, next [B, T]; where `next` is negative it does not count. */
  loss(ids: Tensor, next: Tensor, options: Gpt2Options = {}): Tensor {
    return headLoss(this.features(ids, options), this.tokens.table, next);
  }
}
