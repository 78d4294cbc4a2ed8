/** The classifier over stored codes that starts from masked token modelling. SeiT++ (Lee et al. 2024, arXiv 2312.10105). */
import { type Conv2d, LayerNorm, Linear, sincosPositions, truncatedNormal, zerosParameter } from '../../../nn/index.ts';
import { add, cast, mean, narrow, random, type Tensor } from '../../../tensor/index.ts';
import { PixelStem, type Stem, TokenEncoder } from './mtm-encoder.ts';

/** Randomness of a training pass. */
export interface ClassifierNoise {
  key: random.Key;
  /** Of the token vectors. */
  dropout?: number;
  /** Of the last block; the first has none. */
  dropPath?: number;
}

/** The encoder of pre-training, the mean of its patch tokens, a LayerNorm, a linear head. */
export class TokenClassifier<S extends Stem = Stem> {
  readonly encoder: TokenEncoder<S>;
  readonly norm: LayerNorm;
  readonly head: Linear;

  constructor(encoder: TokenEncoder<S>, norm: LayerNorm, head: Linear) {
    this.encoder = encoder;
    this.norm = norm;
    this.head = head;
  }
  /** A new norm and head over an encoder, pre-trained or not. The head starts near zero. */
  static init<S extends Stem>(key: random.Key, encoder: TokenEncoder<S>, classes: number): TokenClassifier<S> {
    const features = encoder.cls.size;
    const head = new Linear(truncatedNormal(key, [features, classes], 2e-5), zerosParameter([classes]));
    return new TokenClassifier(encoder, LayerNorm.init(features), head);
  }
  /** What the stem reads (codes i32 [B, h, w], or pixels f32 [B, C, H, W]) -> logits [B, classes]. */
  forward(input: Tensor, noise?: ClassifierNoise): Tensor {
    const [stemKey, blocksKey] = noise ? random.splitKey(noise.key) : [];
    const { patches, grid } = this.encoder.patches(input, stemKey && { key: stemKey, dropout: noise?.dropout ?? 0 });
    const [, n, features] = patches.shape as [number, number, number];
    const placed = add(patches, cast(sincosPositions(grid, features), patches.dtype));
    const x = this.encoder.attend(placed, blocksKey && { key: blocksKey, dropPath: noise?.dropPath ?? 0 });
    return this.head.forward(this.norm.forward(mean(narrow(x, 1, 1, n), 1)));
  }
}

/** A model of tokens as one of pixels: class token, blocks, norm and head are the same tensors, the stem is to be learned anew. */
export function swapStem({ encoder, norm, head }: TokenClassifier, patchConv: Conv2d): TokenClassifier<PixelStem> {
  return new TokenClassifier(new TokenEncoder(new PixelStem(patchConv), encoder.cls, encoder.blocks), norm, head);
}
