/**
 * TokenAdapt: geometric augmentation of stored tokens. A token's vector is entangled with its neighbours and the layout inside its patch is hidden,
 * so flipping or rotating the grid of tokens is not the grid of the flipped or rotated image. Two small frozen maps make it so: f spreads
 * tokens out to a grid of features on which pixel operations make sense, g reads codes back. SeiT++ (Lee et al. 2024, arXiv 2312.10105).
 */
import { Block, Conv2d, ConvTranspose2d, gridToSequence, LayerNorm, Linear, sequenceToGrid, sincosPositions } from '../../../nn/index.ts';
import { add, argmax, concat, crossEntropy, mean, random, reshape, slice, stopGradient, type Tensor } from '../../../tensor/index.ts';
import { cropToCodes } from './augment.ts';
import { applyGeometry, drawGeometry, type Geometry, type GeometryConfig } from './token-adapt-params.ts';

export interface TokenAdaptConfig {
  /** K. */
  codes: number;
  /** d_c, numbers per code vector. */
  vector: number;
  /** Tokens per column and row that go in. */
  grid: readonly [number, number];
  /** Tokens that come out: the crop of training. */
  out: readonly [number, number];
  width: number;
  heads: number;
  headWidth: number;
  hidden: number;
}

export const publishedTokenAdapt: TokenAdaptConfig = {
  codes: 391,
  vector: 32,
  grid: [32, 32],
  out: [28, 28],
  width: 384,
  heads: 6,
  headWidth: 64,
  hidden: 1536,
};

const blockOf = (key: random.Key, { width, heads, headWidth, hidden }: TokenAdaptConfig): Block =>
  Block.init(key, { width, heads, headWidth, hidden, qkvBias: false, activation: 'tanh' });

/** f: code vectors [B, d_c, h, w] -> features [B, d_c, 2h, 2w]. */
export class TokenSpread {
  readonly enter: Linear;
  readonly block: Block;
  readonly norm: LayerNorm;
  readonly spread: ConvTranspose2d;
  constructor(enter: Linear, block: Block, norm: LayerNorm, spread: ConvTranspose2d) {
    this.enter = enter;
    this.block = block;
    this.norm = norm;
    this.spread = spread;
  }
  static init(key: random.Key, c: TokenAdaptConfig): TokenSpread {
    const [a, b, d] = random.splitKey(key, 3) as [random.Key, random.Key, random.Key];
    const spread = ConvTranspose2d.init(d, c.width, c.vector, 2, { stride: 2 });
    return new TokenSpread(Linear.init(a, c.vector, c.width), blockOf(b, c), LayerNorm.init(c.width), spread);
  }
  forward(vectors: Tensor): Tensor {
    const grid = vectors.shape.slice(2) as [number, number];
    const tokens = this.enter.forward(gridToSequence(vectors));
    const x = this.block.forward(add(tokens, sincosPositions(grid, tokens.shape[2]!)));
    return this.spread.forward(sequenceToGrid(this.norm.forward(x), grid));
  }
}

/** g: features [B, d_c, 2h, 2w] -> logits over codes [B, h, w, K]. */
export class TokenGather {
  readonly gather: Conv2d;
  readonly block: Block;
  readonly norm: LayerNorm;
  readonly head: Linear;
  constructor(gather: Conv2d, block: Block, norm: LayerNorm, head: Linear) {
    this.gather = gather;
    this.block = block;
    this.norm = norm;
    this.head = head;
  }
  static init(key: random.Key, c: TokenAdaptConfig): TokenGather {
    const [a, b, d] = random.splitKey(key, 3) as [random.Key, random.Key, random.Key];
    return new TokenGather(
      Conv2d.init(a, c.vector, c.width, 2, { stride: 2 }),
      blockOf(b, c),
      LayerNorm.init(c.width),
      Linear.init(d, c.width, c.codes),
    );
  }
  forward(features: Tensor): Tensor {
    const cells = this.gather.forward(features);
    const [B, width, h, w] = cells.shape as [number, number, number, number];
    const x = this.block.forward(add(gridToSequence(cells), sincosPositions([h, w], width)));
    return reshape(this.head.forward(this.norm.forward(x)), [B, h, w, -1]);
  }
}

/** Both maps. They belong to a tokenizer and serve every data set that it encodes. */
export class TokenAdapt {
  readonly f: TokenSpread;
  readonly g: TokenGather;
  /** Tokens per column and row that go in, and that come out. */
  readonly grid: readonly [number, number];
  readonly out: readonly [number, number];
  constructor(f: TokenSpread, g: TokenGather, { grid, out }: Pick<TokenAdaptConfig, 'grid' | 'out'>) {
    this.f = f;
    this.g = g;
    this.grid = grid;
    this.out = out;
  }
  static init(key: random.Key, c: TokenAdaptConfig): TokenAdapt {
    const [a, b] = random.splitKey(key) as [random.Key, random.Key];
    return new TokenAdapt(TokenSpread.init(a, c), TokenGather.init(b, c), c);
  }
  /** Logits [B, h', w', K] of the codes of the transformed image. `between` may change the features on their way (mixing images at fine-tuning). */
  logits(vectors: Tensor, geometry: Geometry, between: (features: Tensor) => Tensor = (x) => x): Tensor {
    return this.g.forward(between(applyGeometry(this.f.forward(vectors), geometry, this.grid, this.out)));
  }
}

/** Codes i32 [B, h', w'] of the transformed images, from code vectors [B, d_c, h, w]. No gradient passes. */
export function applyTokenAdapt(adapt: TokenAdapt, vectors: Tensor, geometry: Geometry, between?: (features: Tensor) => Tensor): Tensor {
  return argmax(stopGradient(adapt.logits(vectors, geometry, between)));
}

/** The mean cross-entropy of g(A(f(Z_x))) against the codes of A(x), f32 []. vectors [B, d_c, h, w] of the images, targets i32 [B, h', w'] of the transformed ones. */
export const tokenAdaptLoss = (adapt: TokenAdapt, vectors: Tensor, geometry: Geometry, targets: Tensor): Tensor =>
  mean(crossEntropy(adapt.logits(vectors, geometry), targets));

/**
 * A batch of training as codes: the first half of the images by `cropToCodes`, the second by TokenAdapt.
 * @param vectors f32 [B, d_c, h, w] of the stored codes, B even.
 * @param codebook f32 [K, d_c].
 * @param between see `TokenAdapt.logits`.
 * @returns codes i32 [B, h', w'].
 */
export function adaptBatch(
  key: random.Key,
  adapt: TokenAdapt,
  vectors: Tensor,
  codebook: Tensor,
  geometry: GeometryConfig,
  between?: (features: Tensor) => Tensor,
): Tensor {
  const B = vectors.shape[0]!;
  if (B % 2) throw new Error(`[seit-plus-plus] a batch of ${B} has no two halves; take an even batch size`);
  const [a, b] = random.splitKey(key) as [random.Key, random.Key];
  const cropped = cropToCodes(a, slice(vectors, [0, B / 2]), codebook, adapt.out[0], geometry.scale);
  const adapted = applyTokenAdapt(adapt, slice(vectors, [B / 2, B]), drawGeometry(b, B / 2, adapt.grid, geometry), between);
  return concat([cropped, adapted], 0);
}
