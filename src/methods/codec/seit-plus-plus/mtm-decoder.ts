/** The decoder of masked token modelling: from the patches that the encoder saw to logits over the codes of every token. */
import { Block, LayerNorm, Linear, truncatedNormal, zerosParameter } from '../../../nn/index.ts';
import {
  add,
  broadcastTo,
  concat,
  dropout,
  gelu,
  less,
  matmul,
  maximum,
  mul,
  narrow,
  permute,
  random,
  reshape,
  slice,
  softmax,
  stopGradient,
  sub,
  type Tensor,
  transpose,
  unsqueeze,
  where,
} from '../../../tensor/index.ts';
import { type EncoderConfig, patchesOf } from './mtm-encoder.ts';
import { gatherRows, type MaskOrder } from './mtm-mask.ts';

export interface DecoderConfig {
  features: number;
  layers: number;
  heads: number;
  /** Probability for branches and attention weights alike. */
  dropout: number;
}

export const publishedDecoder: DecoderConfig = { features: 512, layers: 4, heads: 16, dropout: 0.1 };

/**
 * Tokens of patches in raster order: [B, n, p*p*d] with the p x p tokens of a patch row by row -> [B, h*p, w*p, d]. The patch at row y, column x
 * holds tokens (y*p + i, x*p + j), as the patch convolution read them.
 */
export function tokensOfPatches(x: Tensor, [h, w]: readonly [number, number], p: number): Tensor {
  const B = x.shape[0]!;
  return reshape(permute(reshape(x, [B, h, w, p, p, -1]), [0, 1, 3, 2, 4, 5]), [B, h * p, w * p, -1]);
}

export class MaskDecoder {
  readonly enter: Linear;
  /** f32 [1 + n, features], learned; the class token's first. */
  readonly positions: Tensor;
  readonly blocks: Block[];
  readonly norm: LayerNorm;
  readonly split: Linear;
  readonly tokenNorm: LayerNorm;
  /** f32 [K]. */
  readonly bias: Tensor;
  readonly patch: number;
  readonly dropout: number;

  constructor(
    enter: Linear,
    positions: Tensor,
    blocks: Block[],
    norm: LayerNorm,
    split: Linear,
    tokenNorm: LayerNorm,
    bias: Tensor,
    options: { patch: number; dropout: number },
  ) {
    this.enter = enter;
    this.positions = positions;
    this.blocks = blocks;
    this.norm = norm;
    this.split = split;
    this.tokenNorm = tokenNorm;
    this.bias = bias;
    this.patch = options.patch;
    this.dropout = options.dropout;
  }

  static init(key: random.Key, c: EncoderConfig, d: DecoderConfig): MaskDecoder {
    const [a, b, e, f] = random.splitKey(key, 4) as [random.Key, random.Key, random.Key, random.Key];
    const [h, w] = patchesOf(c);
    return new MaskDecoder(
      Linear.init(a, c.features, d.features, { std: 0.02 }),
      truncatedNormal(b, [1 + h * w, d.features]),
      Array.from({ length: d.layers }, (_, i) => Block.init(random.foldIn(e, i), { width: d.features, heads: d.heads })),
      LayerNorm.init(d.features),
      Linear.init(f, d.features, c.patch * c.patch * c.vector),
      LayerNorm.init(c.vector, 1e-6),
      zerosParameter([c.codes]),
      { patch: c.patch, dropout: d.dropout },
    );
  }

  /**
   * Logits [B, h, w, K] over the codes of every token.
   * @param seen [B, 1 + n - dropped, features]: class token, then the kept patches in rank order.
   * @param masked i32 []: patches of lower rank take the class token's features in place of their own.
   * @param table f32 [K, d_c], the embedding of the encoder; no gradient passes to it.
   * @param key of the dropout; none in evaluation.
   */
  forward(seen: Tensor, { rank }: MaskOrder, masked: Tensor, grid: readonly [number, number], table: Tensor, key?: random.Key): Tensor {
    const n = rank.shape[1]!;
    const x = this.enter.forward(seen);
    const kept = x.shape[1]! - 1;
    const cls = narrow(x, 1, 0, 1);
    const own = gatherRows(narrow(x, 1, 1, kept), maximum(sub(rank, n - kept), 0));
    const slots = concat([cls, where(less(unsqueeze(rank, 2), masked), broadcastTo(cls, own.shape), own)], 1);
    let y = add(slots, this.positions);
    this.blocks.forEach((block, i) => {
      y = key ? dropoutBlock(block, y, random.foldIn(key, i), this.dropout) : block.forward(y);
    });
    const patches = this.split.forward(narrow(this.norm.forward(y), 1, 1, n));
    const tokens = this.tokenNorm.forward(gelu(tokensOfPatches(patches, grid, this.patch)));
    return add(matmul(tokens, transpose(stopGradient(table))), this.bias);
  }
}

/** A transformer block in training, with dropout on the attention weights too: these have to exist, so this is not the fused attention. */
function dropoutBlock(block: Block, x: Tensor, key: random.Key, p: number): Tensor {
  const [a, b, c] = random.splitKey(key, 3) as [random.Key, random.Key, random.Key];
  const { qkv, out, heads } = block.attention;
  const [B, T] = x.shape as [number, number];
  const all = permute(reshape(qkv.forward(block.norm1.forward(x)), [B, T, 3, heads, -1]), [2, 0, 3, 1, 4]);
  const [q, k, v] = [0, 1, 2].map((i) => reshape(slice(all, [i, i + 1]), all.shape.slice(1))) as [Tensor, Tensor, Tensor];
  const weights = softmax(mul(matmul(q, transpose(k)), 1 / Math.sqrt(q.shape.at(-1)!)));
  const mixed = reshape(permute(matmul(dropout(a, weights, p), v), [0, 2, 1, 3]), [B, T, -1]);
  const h = add(x, dropout(b, out.forward(mixed), p));
  return add(h, dropout(c, block.mlp.forward(block.norm2.forward(h)), p));
}
