/** The part that pre-training and fine-tuning share: a stem that makes patches, a class token, transformer blocks. */
import { Block, Conv2d, Embedding, forwardBlocks, gridToSequence, LayerNorm, type Noise, truncatedNormal } from '../../../nn/index.ts';
import { broadcastTo, cast, concat, dropout, permute, random, reshape, type Tensor } from '../../../tensor/index.ts';

export interface EncoderConfig {
  /** Codes of the tokenizer, K. */
  codes: number;
  /** Features of a token's learned vector, d_c. */
  vector: number;
  /** Tokens per column and row. */
  grid: readonly [number, number];
  /** Side of a patch in tokens. Patches do not overlap: a stem that overlaps would show masked tokens to their neighbours. */
  patch: number;
  /** Features inside the blocks. */
  features: number;
  layers: number;
  heads: number;
}

/** The published ViT-B on 28 x 28 of 391 codes. */
export const publishedEncoder: EncoderConfig = { codes: 391, vector: 32, grid: [28, 28], patch: 2, features: 768, layers: 12, heads: 12 };

export function patchesOf({ grid: [h, w], patch }: Pick<EncoderConfig, 'grid' | 'patch'>): [number, number] {
  if (h % patch || w % patch)
    throw new Error(
      `[seit-plus-plus] a ${h} x ${w} token grid does not divide into patches of ${patch}; crop the grid or choose another patch`,
    );
  return [h / patch, w / patch];
}

/** Randomness of a stem in training. */
export interface StemNoise {
  key: random.Key;
  dropout: number;
}

/** What turns an input into a grid of patches [B, features, h, w]. */
export interface Stem {
  forward(input: Tensor, noise?: StemNoise): Tensor;
}

/** Codes -> learned vectors -> LayerNorm -> dropout -> patch convolution. */
export class CodeStem implements Stem {
  readonly embedding: Embedding;
  readonly norm: LayerNorm;
  readonly conv: Conv2d;

  constructor(embedding: Embedding, norm: LayerNorm, conv: Conv2d) {
    this.embedding = embedding;
    this.norm = norm;
    this.conv = conv;
  }
  static init(key: random.Key, c: EncoderConfig): CodeStem {
    const [a, b] = random.splitKey(key) as [random.Key, random.Key];
    const conv = Conv2d.init(b, c.vector, c.features, c.patch, { stride: c.patch });
    return new CodeStem(Embedding.init(a, c.codes, c.vector), LayerNorm.init(c.vector, 1e-6), conv);
  }
  /** codes i32 [B, h, w] -> [B, features, h/patch, w/patch]. */
  forward(codes: Tensor, noise?: StemNoise): Tensor {
    const vectors = this.norm.forward(this.embedding.forward(codes));
    return this.conv.forward(permute(noise ? dropout(noise.key, vectors, noise.dropout) : vectors, [0, 3, 1, 2]));
  }
}

/** Pixels -> patch convolution. */
export class PixelStem implements Stem {
  readonly conv: Conv2d;
  constructor(conv: Conv2d) {
    this.conv = conv;
  }
  /** pixels f32 [B, C, H, W]. */
  forward(pixels: Tensor): Tensor {
    return this.conv.forward(pixels);
  }
}

/** The class token and the blocks behind a stem. */
export class TokenEncoder<S extends Stem = Stem> {
  readonly stem: S;
  /** f32 [features]; takes no position. */
  readonly cls: Tensor;
  readonly blocks: Block[];

  constructor(stem: S, cls: Tensor, blocks: Block[]) {
    this.stem = stem;
    this.cls = cls;
    this.blocks = blocks;
  }
  static init(key: random.Key, c: EncoderConfig): TokenEncoder<CodeStem> {
    const [a, b, d] = random.splitKey(key, 3) as [random.Key, random.Key, random.Key];
    const blocks = Array.from({ length: c.layers }, (_, i) => Block.init(random.foldIn(d, i), { width: c.features, heads: c.heads }));
    return new TokenEncoder(CodeStem.init(a, c), truncatedNormal(b, [c.features]), blocks);
  }
  /** The patches of an input, [B, n, features] without positions, and their grid. */
  patches(input: Tensor, noise?: StemNoise): { patches: Tensor; grid: readonly [number, number] } {
    const grid = this.stem.forward(input, noise);
    return { patches: gridToSequence(grid), grid: grid.shape.slice(2) as [number, number] };
  }
  /** Patches with positions [B, T, features] -> class token and patches [B, 1 + T, features], not normalised. Drop path grows linearly with depth. */
  attend(patches: Tensor, noise?: Noise): Tensor {
    const [B, , D] = patches.shape as [number, number, number];
    const cls = cast(broadcastTo(reshape(this.cls, [1, 1, D]), [B, 1, D]), patches.dtype);
    return forwardBlocks(this.blocks, concat([cls, patches], 1), noise);
  }
}
