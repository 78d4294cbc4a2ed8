/** Attention, MLP and transformer blocks (pre-norm; Vaswani et al. 2017, Xiong et al. 2020). */
import {
  add,
  attention,
  cast,
  div,
  dropout,
  gelu,
  geluTanh,
  less,
  mul,
  random,
  relu,
  reshape,
  silu,
  slice,
  type Tensor,
  tanh,
} from '../tensor/index.ts';
import { xavierStd } from './init.ts';
import { LayerNorm, Linear } from './module.ts';

export type Activation = 'gelu' | 'geluTanh' | 'relu' | 'silu' | 'tanh';
const activations: Record<Activation, (x: Tensor) => Tensor> = { gelu, geluTanh, relu, silu, tanh };

/** Noise of a training pass; absent in evaluation. */
export interface Noise {
  key: random.Key;
  /** Probability that a residual branch of a sample is dropped (stochastic depth, Huang et al. 2016). */
  dropPath?: number;
  /** Probability that an element of a residual branch is dropped. */
  dropout?: number;
}

export class SelfAttention {
  readonly qkv: Linear;
  readonly out: Linear;
  readonly heads: number;
  readonly causal: boolean;
  constructor(qkv: Linear, out: Linear, heads: number, causal: boolean) {
    this.qkv = qkv;
    this.out = out;
    this.heads = heads;
    this.causal = causal;
  }
  static init(
    key: random.Key,
    width: number,
    heads: number,
    options: { causal?: boolean; qkvBias?: boolean; headWidth?: number } = {},
  ): SelfAttention {
    const [a, b] = random.splitKey(key) as [random.Key, random.Key];
    const inner = heads * (options.headWidth ?? width / heads);
    if (!Number.isInteger(inner / heads))
      throw new Error(`[attention] width ${width} does not divide into ${heads} heads; choose a divisor or give headWidth`);
    return new SelfAttention(
      Linear.init(a, width, 3 * inner, { bias: options.qkvBias ?? true, std: xavierStd(width, 3 * inner) }),
      Linear.init(b, inner, width, { std: xavierStd(inner, width) }),
      heads,
      options.causal ?? false,
    );
  }
  /** x [B, T, width] -> [B, T, width]. */
  forward(x: Tensor): Tensor {
    const [B, T] = x.shape as [number, number];
    const qkv = reshape(this.qkv.forward(x), [B, T, 3, this.heads, -1]);
    const part = (i: number): Tensor => reshape(slice(qkv, null, null, [i, i + 1]), [B, T, this.heads, -1]);
    const y = attention(part(0), part(1), part(2), { causal: this.causal });
    return this.out.forward(reshape(y, [B, T, -1]));
  }
}

export class Mlp {
  readonly up: Linear;
  readonly down: Linear;
  readonly activation: Activation;
  constructor(up: Linear, down: Linear, activation: Activation) {
    this.up = up;
    this.down = down;
    this.activation = activation;
  }
  static init(key: random.Key, width: number, hidden: number, activation: Activation = 'gelu'): Mlp {
    const [a, b] = random.splitKey(key) as [random.Key, random.Key];
    return new Mlp(
      Linear.init(a, width, hidden, { std: xavierStd(width, hidden) }),
      Linear.init(b, hidden, width, { std: xavierStd(hidden, width) }),
      activation,
    );
  }
  forward(x: Tensor): Tensor {
    return this.down.forward(activations[this.activation](this.up.forward(x)));
  }
}

/** x + attention(norm(x)), then x + mlp(norm(x)). */
export class Block {
  readonly norm1: LayerNorm;
  readonly attention: SelfAttention;
  readonly norm2: LayerNorm;
  readonly mlp: Mlp;
  constructor(norm1: LayerNorm, attention: SelfAttention, norm2: LayerNorm, mlp: Mlp) {
    this.norm1 = norm1;
    this.attention = attention;
    this.norm2 = norm2;
    this.mlp = mlp;
  }
  static init(
    key: random.Key,
    options: {
      width: number;
      heads: number;
      hidden?: number;
      causal?: boolean;
      qkvBias?: boolean;
      headWidth?: number;
      activation?: Activation;
      eps?: number;
    },
  ): Block {
    const [a, b] = random.splitKey(key) as [random.Key, random.Key];
    const { width, heads, hidden = 4 * width, activation = 'gelu', eps = 1e-6 } = options;
    return new Block(
      LayerNorm.init(width, eps),
      SelfAttention.init(a, width, heads, options),
      LayerNorm.init(width, eps),
      Mlp.init(b, width, hidden, activation),
    );
  }
  /** x [B, T, width]. */
  forward(x: Tensor, noise?: Noise): Tensor {
    const keys = noise ? random.splitKey(noise.key, 4) : [];
    const branch = (y: Tensor, i: number): Tensor => {
      let z = noise?.dropout ? dropout(keys[i]!, y, noise.dropout) : y;
      if (noise?.dropPath) z = dropPath(keys[i + 1]!, z, noise.dropPath);
      return z;
    };
    const h = add(x, branch(this.attention.forward(this.norm1.forward(x)), 0));
    return add(h, branch(this.mlp.forward(this.norm2.forward(h)), 2));
  }
}

/** Blocks in turn, each with a key of its own. Drop path grows linearly with depth, from 0 to that of `noise`. x [B, T, width]. */
export function forwardBlocks(blocks: readonly Pick<Block, 'forward'>[], x: Tensor, noise?: Noise): Tensor {
  const most = noise?.dropPath ?? 0;
  return blocks.reduce((h, block, i) => {
    const dropPath = (most * i) / Math.max(1, blocks.length - 1);
    return block.forward(h, noise && { ...noise, key: random.foldIn(noise.key, i), dropPath });
  }, x);
}

/** Drops the whole branch for a sample with probability p and scales the rest by 1/(1-p). x [B, ...]. */
export function dropPath(key: random.Key, x: Tensor, p: number): Tensor {
  if (!(p >= 0 && p < 1)) throw new RangeError(`[dropPath] p is ${p}; it must be at least 0 and below 1`);
  if (p === 0) return x;
  const keep = less(random.uniform(key, [x.shape[0]!, ...x.shape.slice(1).map(() => 1)]), 1 - p);
  return mul(x, div(cast(keep, x.dtype), 1 - p));
}
