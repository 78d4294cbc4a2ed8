/** The VQ tokenizer: encoder, codebook, decoder (ViT-VQGAN, Yu et al. 2022, arXiv 2110.04627; a convolutional one for small images). */

import { truncatedNormal } from '../../../nn/index.ts';
import { add, normalize, random, stopGradient, sub, type Tensor } from '../../../tensor/index.ts';
import type { TokenizerConfig } from './config.ts';
import { ConvDecoder, ConvEncoder } from './conv-coder.ts';
import { codesToGrid, gridToCodes } from './tokens.ts';
import { VitDecoder, VitEncoder } from './vit-coder.ts';

/** What an encoder is built from. */
export type CoderConfig = Pick<TokenizerConfig, 'kind' | 'patch' | 'grid' | 'codeDim' | 'width' | 'layers' | 'decoderLayers' | 'heads'>;

/** Images f32 [B, C, H, W] in 0..1 -> z [B, d_c, H/patch, W/patch]. */
export interface Encoder {
  forward(x: Tensor): Tensor;
}
/** Unit vectors [B, d_c, h, w] -> images [B, C, h*patch, w*patch]. */
export interface Decoder {
  forward(vectors: Tensor): Tensor;
}

/** A new encoder. @param channels of the images: 1 grey, 3 RGB. */
export const initEncoder = (key: random.Key, config: CoderConfig, channels: number): Encoder =>
  (config.kind === 'vit' ? VitEncoder : ConvEncoder).init(key, config, channels);

const initDecoder = (key: random.Key, config: CoderConfig, channels: number): Decoder =>
  (config.kind === 'vit' ? VitDecoder : ConvDecoder).init(key, config, channels);

export class Tokenizer {
  readonly encoder: Encoder;
  /** f32 [K, d_c]; what decoder and classifier see are its rows at unit length. */
  readonly codebook: Tensor;
  readonly decoder: Decoder | undefined;

  constructor(encoder: Encoder, codebook: Tensor, decoder?: Decoder) {
    this.encoder = encoder;
    this.codebook = codebook;
    this.decoder = decoder;
  }

  static init(key: random.Key, config: TokenizerConfig, channels: number): Tokenizer {
    const [a, b, c] = random.splitKey(key, 3) as [random.Key, random.Key, random.Key];
    const codebook = normalize(truncatedNormal(b, [config.codes, config.codeDim], 1));
    return new Tokenizer(initEncoder(a, config, channels), codebook, initDecoder(c, config, channels));
  }

  /** Without the decoder: all that new images need to become tokens. */
  withoutDecoder(): Tokenizer {
    return new Tokenizer(this.encoder, this.codebook);
  }

  /** x [B, C, H, W] in 0..1 -> z [B, d_c, h, w], not normalised. */
  encode(x: Tensor): Tensor {
    return this.encoder.forward(x);
  }

  /** z [B, d_c, h, w] -> index of the nearest code by cosine, i32 [B, h, w]. */
  nearest(z: Tensor): Tensor {
    return gridToCodes(z, this.codebook);
  }

  /** x [B, C, H, W] in 0..1 -> i32 [B, h, w]. */
  tokenize(x: Tensor): Tensor {
    return this.nearest(this.encode(x));
  }

  /** i32 [B, h, w] -> unit vectors [B, d_c, h, w]. */
  vectors(codes: Tensor): Tensor {
    return codesToGrid(codes, normalize(this.codebook));
  }

  /** Unit vectors [B, d_c, h, w] -> images [B, C, H, W], about 0..1. @throws Error where the tokenizer was stored without its decoder. */
  decode(vectors: Tensor): Tensor {
    if (!this.decoder) throw new Error('[seit-plus-plus] this tokenizer was stored without its decoder; use the file that learning wrote');
    return this.decoder.forward(vectors);
  }

  /** One pass of training: what the loss needs. All vectors [B, d_c, h, w] have unit length. */
  quantise(x: Tensor): { z: Tensor; quantised: Tensor; codes: Tensor; reconstruction: Tensor } {
    const z = normalize(this.encode(x), 1);
    const codes = this.nearest(stopGradient(z));
    const quantised = this.vectors(codes);
    const through = add(z, stopGradient(sub(quantised, z)));
    return { z, quantised, codes, reconstruction: this.decode(through) };
  }
}
