/**
 * Masked token modelling: predict the stored codes of masked patches from the others. SeiT++ (Lee et al. 2024, arXiv 2312.10105),
 * after MAGE (Li et al. 2023, arXiv 2211.09117).
 */
import { LayerNorm, sincosPositions, truncatedNormal } from '../../../nn/index.ts';
import {
  add,
  broadcastTo,
  cast,
  crossEntropy,
  div,
  iota,
  less,
  maximum,
  mean,
  mul,
  random,
  reshape,
  sum,
  type Tensor,
  take,
  where,
} from '../../../tensor/index.ts';
import { type DecoderConfig, MaskDecoder, publishedDecoder } from './mtm-decoder.ts';
import { type CodeStem, type EncoderConfig, patchesOf, publishedEncoder, TokenEncoder } from './mtm-encoder.ts';
import { gatherRows, keptPatches, type MaskOrder, maskOf, maskOrder } from './mtm-mask.ts';
import { droppedPatches, publishedRatio, type TruncatedNormal } from './mtm-ratio.ts';

export interface MtmConfig {
  encoder: EncoderConfig;
  decoder: DecoderConfig;
  ratio: TruncatedNormal;
  /** Dropout of the token vectors. */
  dropout: number;
}

export const publishedMtm: MtmConfig = { encoder: publishedEncoder, decoder: publishedDecoder, ratio: publishedRatio, dropout: 0.1 };

/** The model of pre-training. `encoder` is what fine-tuning keeps. */
export class MaskedTokenModel {
  readonly encoder: TokenEncoder<CodeStem>;
  /** f32 [features]: stands for a masked patch that is not dropped. */
  readonly mask: Tensor;
  readonly norm: LayerNorm;
  readonly decoder: MaskDecoder;
  readonly patches: number;
  /** Patches that the encoder never sees. */
  readonly dropped: number;
  readonly dropout: number;

  constructor(
    encoder: TokenEncoder<CodeStem>,
    mask: Tensor,
    norm: LayerNorm,
    decoder: MaskDecoder,
    options: { patches: number; dropped: number; dropout: number },
  ) {
    this.encoder = encoder;
    this.mask = mask;
    this.norm = norm;
    this.decoder = decoder;
    this.patches = options.patches;
    this.dropped = options.dropped;
    this.dropout = options.dropout;
  }

  static init(key: random.Key, c: MtmConfig): MaskedTokenModel {
    const [a, b, d] = random.splitKey(key, 3) as [random.Key, random.Key, random.Key];
    const [h, w] = patchesOf(c.encoder);
    const patches = h * w;
    return new MaskedTokenModel(
      TokenEncoder.init(a, c.encoder),
      truncatedNormal(b, [c.encoder.features]),
      LayerNorm.init(c.encoder.features),
      MaskDecoder.init(d, c.encoder, c.decoder),
      { patches, dropped: droppedPatches(patches, c.ratio), dropout: c.dropout },
    );
  }

  /**
   * Logits [B, h, w, K] of every token.
   * @param codes i32 [B, h, w]; those of masked patches are not looked at.
   * @param masked i32 []: number of masked patches, from `dropped` to all.
   * @param key of the dropouts; none in evaluation.
   */
  forward(codes: Tensor, order: MaskOrder, masked: Tensor, key?: random.Key): Tensor {
    const [stemKey, decoderKey] = key ? random.splitKey(key) : [];
    const { patches, grid } = this.encoder.patches(codes, stemKey && { key: stemKey, dropout: this.dropout });
    const D = patches.shape[2]!;
    const kept = keptPatches(order, this.dropped);
    const rank = add(reshape(iota(kept.shape[1]!), [1, -1, 1]), this.dropped);
    const own = gatherRows(patches, kept);
    const vectors = where(less(rank, masked), cast(broadcastTo(this.mask, own.shape), own.dtype), own);
    const positions = take(reshape(sincosPositions(grid, D), [-1, D]), kept);
    const seen = this.norm.forward(this.encoder.attend(add(vectors, cast(positions, own.dtype))));
    return this.decoder.forward(seen, order, masked, grid, this.encoder.stem.embedding.table, decoderKey);
  }
}

/**
 * Cross-entropy per token, its mean over the tokens of a patch, the mean of that over the masked patches. logits [B, h, w, K], codes i32
 * [B, h, w], mask f32 [B, n] with 1 for masked patches in raster order.
 */
export function maskedLoss(logits: Tensor, codes: Tensor, mask: Tensor, patch: number): Tensor {
  const [B, h, w] = codes.shape as [number, number, number];
  const perToken = reshape(crossEntropy(logits, codes), [B, h / patch, patch, w / patch, patch]);
  const perPatch = reshape(mean(perToken, [2, 4]), mask.shape);
  return div(sum(mul(perPatch, mask)), maximum(sum(mask), 1));
}

/**
 * The loss of one batch, f32 [].
 * @param codes i32 [B, h, w].
 * @param masked i32 [], see `maskedPatches`.
 * @param key decides the order of masking and, in training, the dropouts.
 */
export function mtmLoss(model: MaskedTokenModel, codes: Tensor, masked: Tensor, key: random.Key, training = true): Tensor {
  const [orderKey, noiseKey] = random.splitKey(key) as [random.Key, random.Key];
  const order = maskOrder(orderKey, codes.shape[0]!, model.patches);
  const logits = model.forward(codes, order, masked, training ? noiseKey : undefined);
  return maskedLoss(logits, codes, maskOf(order, masked), model.decoder.patch);
}
