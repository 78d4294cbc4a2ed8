/**
 * Llama (Touvron et al. 2023, arXiv 2302.13971): RMS norms, rotary positions, grouped queries, a gated MLP. Matrices are stored [out, in] as in
 * the published checkpoints and read transposed, without a copy; q, k and v are one matrix, and so are gate and up: one product each.
 */
import {
  add,
  attention,
  cast,
  concat,
  type DType,
  full,
  iota,
  matmul,
  mul,
  type Rotation,
  random,
  reshape,
  rope,
  rotation,
  type Shape,
  ShapeError,
  silu,
  split,
  type Tensor,
  tensor,
  transpose,
} from '../../tensor/index.ts';
import { classificationLoss } from '../losses.ts';
import { Embedding, RmsNorm } from '../module.ts';
import { type LlamaConfig, ropeFrequencies } from './llama-config.ts';

/** Gives the rows of the named matrices of a checkpoint, one below the other: together of `shape`. */
export type RowSource = (names: readonly string[], shape: Shape) => Tensor;

/** Attention of layer `layer` for the tokens at hand. q [B, T, H, E], k and v [B, T, Hkv, E], positions in -> [B, T, H, E]. */
export type Attend = (layer: number, q: Tensor, k: Tensor, v: Tensor) => Tensor;

/** x [..., in] times a matrix [out, in]. */
const project = (x: Tensor, weight: Tensor): Tensor => matmul(x, transpose(weight));

class LlamaBlock {
  readonly norm1: RmsNorm;
  /** [(heads + 2 kvHeads) * headWidth, width]. */
  readonly qkv: Tensor;
  /** [width, heads * headWidth]. */
  readonly out: Tensor;
  readonly norm2: RmsNorm;
  /** [2 hidden, width]. */
  readonly gateUp: Tensor;
  /** [width, hidden]. */
  readonly down: Tensor;
  constructor(norm1: RmsNorm, qkv: Tensor, out: Tensor, norm2: RmsNorm, gateUp: Tensor, down: Tensor) {
    this.norm1 = norm1;
    this.qkv = qkv;
    this.out = out;
    this.norm2 = norm2;
    this.gateUp = gateUp;
    this.down = down;
  }
  /** x [B, T, width]; `turn` puts positions into q, k and v [B, T, heads + 2 kvHeads, headWidth], side by side. */
  forward(
    x: Tensor,
    { heads, kvHeads, headWidth }: LlamaConfig,
    turn: (qkv: Tensor) => Tensor,
    attend: (q: Tensor, k: Tensor, v: Tensor) => Tensor,
  ): Tensor {
    const [B, T] = x.shape as [number, number];
    const all = turn(reshape(project(this.norm1.forward(x), this.qkv), [B, T, heads + 2 * kvHeads, headWidth]));
    const [q, k, v] = split(all, [heads, kvHeads, kvHeads], 2) as [Tensor, Tensor, Tensor];
    const h = add(x, project(reshape(attend(q, k, v), [B, T, heads * headWidth]), this.out));
    const [gate, up] = split(project(this.norm2.forward(h), this.gateUp), 2) as [Tensor, Tensor];
    return add(h, project(mul(silu(gate), up), this.down));
  }
}

export class Llama {
  readonly config: LlamaConfig;
  readonly tokens: Embedding;
  readonly blocks: LlamaBlock[];
  readonly norm: RmsNorm;
  /** [vocabulary, width]; undefined where it is the token table. */
  readonly head: Tensor | undefined;
  constructor(config: LlamaConfig, tokens: Embedding, blocks: LlamaBlock[], norm: RmsNorm, head: Tensor | undefined) {
    this.config = config;
    this.tokens = tokens;
    this.blocks = blocks;
    this.norm = norm;
    this.head = head;
  }

  /** What a cache of keys and values must know. */
  get cacheShape(): { layers: number; kvHeads: number; headWidth: number } {
    return this.config;
  }
  get context(): number {
    return this.config.context;
  }
  /** Of the activations: that of the token table. */
  get dtype(): DType {
    return this.tokens.table.dtype;
  }

  /** A model whose parameters `source` gives, asked for in the order of the checkpoints. */
  static from(c: LlamaConfig, source: RowSource): Llama {
    const norm = (name: string): RmsNorm => new RmsNorm(cast(source([`${name}.weight`], [c.width]), 'f32'), c.eps);
    const rows = (names: readonly string[], out: number, width: number): Tensor =>
      source(
        names.map((name) => `${name}.weight`),
        [out, width],
      );
    const tokens = new Embedding(rows(['model.embed_tokens'], c.vocabulary, c.width));
    const blocks = Array.from({ length: c.layers }, (_, i) => {
      const at = `model.layers.${i}`;
      const [attend, mlp] = [`${at}.self_attn`, `${at}.mlp`];
      return new LlamaBlock(
        norm(`${at}.input_layernorm`),
        rows([`${attend}.q_proj`, `${attend}.k_proj`, `${attend}.v_proj`], (c.heads + 2 * c.kvHeads) * c.headWidth, c.width),
        rows([`${attend}.o_proj`], c.width, c.heads * c.headWidth),
        norm(`${at}.post_attention_layernorm`),
        rows([`${mlp}.gate_proj`, `${mlp}.up_proj`], 2 * c.hidden, c.width),
        rows([`${mlp}.down_proj`], c.width, c.hidden),
      );
    });
    return new Llama(c, tokens, blocks, norm('model.norm'), c.tied ? undefined : rows(['lm_head'], c.vocabulary, c.width));
  }

  /** N(0, std^2) and gains of 1. */
  static init(key: random.Key, c: LlamaConfig, options: { dtype?: 'f32' | 'bf16' | 'f16'; std?: number } = {}): Llama {
    const { dtype = 'f32', std = 0.02 } = options;
    let drawn = 0;
    return Llama.from(c, (_, shape) =>
      shape.length < 2 ? full(shape, 1) : cast(mul(random.normal(random.foldIn(key, drawn++), shape), std), dtype),
    );
  }

  /**
   * The model of a checkpoint in the Hugging Face naming, in the types that it is stored in.
   * @throws ShapeError where a tensor is missing or has another shape than the configuration asks for.
   */
  static fromCheckpoint(tensors: ReadonlyMap<string, Tensor>, c: LlamaConfig): Llama {
    return Llama.from(c, (names, shape) => {
      const parts = names.map((name) => {
        const found = tensors.get(name);
        if (!found)
          throw new ShapeError(`[llama] the checkpoint has no '${name}'; its config.json belongs to another model, or a shard is missing`);
        return found;
      });
      const whole = concat(parts, 0);
      if (whole.shape.join() !== shape.join())
        throw new ShapeError(`[llama] ${names.join(' + ')}: [${whole.shape}] in the checkpoint, [${shape}] by config.json`);
      return whole;
    });
  }

  /** How far q, k and v [B, T, heads + 2 kvHeads, headWidth], side by side, turn at `positions` i32 [T]. */
  rotation(positions: Tensor): Rotation {
    const { heads, kvHeads } = this.config;
    const turning = ropeFrequencies(this.config);
    const still = new Float32Array(turning.length);
    const rows = Array.from({ length: heads + 2 * kvHeads }, (_, h) => [...(h < heads + kvHeads ? turning : still)]); // v has no positions
    return rotation(positions, tensor(rows));
  }

  /**
   * ids [B, T] at T positions, by default the first ones -> [B, T, width] after the last norm. `attend` sees q and k with their positions in;
   * default: causal attention among the T tokens.
   */
  features(
    ids: Tensor,
    turn: Rotation = this.rotation(iota(ids.shape[1]!)),
    attend: Attend = (_, q, k, v) => attention(q, k, v, { causal: true }),
  ): Tensor {
    let x = this.tokens.forward(ids);
    this.blocks.forEach((block, layer) => {
      x = block.forward(
        x,
        this.config,
        (qkv) => rope(qkv, turn),
        (q, k, v) => attend(layer, q, k, v),
      );
    });
    return this.norm.forward(x);
  }

  /** Features [..., width] -> logits [..., vocabulary]. */
  logits(features: Tensor): Tensor {
    return project(features, this.head ?? this.tokens.table);
  }

  /** ids [B, T] -> logits [B, T, vocabulary]. */
  forward(ids: Tensor): Tensor {
    return this.logits(this.features(ids));
  }

  /** Mean cross-entropy of the tokens that follow. ids, next [B, T]; positions with a negative `next` do not count. */
  loss(ids: Tensor, next: Tensor): Tensor {
    return classificationLoss(this.forward(ids), next);
  }
}
