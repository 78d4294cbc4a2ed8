/** Training of TokenAdapt's maps from pixels: once per tokenizer. */
import { AdamW, type AdamWState, decayMatricesOnly } from '../../../nn/index.ts';
import { compile, type Compiled, type random, stopGradient, type Tensor, valueAndGrad } from '../../../tensor/index.ts';
import { type TokenAdapt, tokenAdaptLoss } from './token-adapt.ts';
import { applyGeometry, drawGeometry, type Geometry, type GeometryConfig } from './token-adapt-params.ts';
import type { Tokenizer } from './tokenizer.ts';

/** What the maps learn from: the vectors of images, and the codes of the transformed images. */
export interface AdaptExample {
  /** f32 [B, d_c, h, w]. */
  vectors: Tensor;
  /** i32 [B, h', w']. */
  targets: Tensor;
}

/** The tokenizer reads images as they are and transformed. images f32 [B, C, H, W] in 0..1; out: tokens per column and row of the targets. */
export function adaptExample(tokenizer: Tokenizer, images: Tensor, geometry: Geometry, out: readonly [number, number]): AdaptExample {
  const codes = tokenizer.tokenize(images);
  const grid = codes.shape.slice(1) as [number, number];
  return {
    vectors: stopGradient(tokenizer.vectors(codes)),
    targets: tokenizer.tokenize(applyGeometry(images, geometry, grid, out)),
  };
}

export interface AdaptTraining {
  optimizer: AdamW;
  /** (maps, state, tokenizer, images f32 [B, C, H, W] in 0..1, key, learning rate f32 []) -> the next maps and state, and the loss before. */
  step: Compiled<
    [TokenAdapt, AdamWState<TokenAdapt>, Tokenizer, Tensor, random.Key, Tensor],
    { model: TokenAdapt; state: AdamWState<TokenAdapt>; loss: Tensor }
  >;
}

/**
 * A step of AdamW. The paper does not say how f and g were optimised; weight decay 0.05 with a cosine from 1e-3 is ours.
 * @param grid tokens per column and row of a whole image.
 */
export function adaptTraining(grid: readonly [number, number], geometry: GeometryConfig, weightDecay = 0.05): AdaptTraining {
  const optimizer = new AdamW({ group: decayMatricesOnly(weightDecay) });
  const step: AdaptTraining['step'] = compile(
    (maps, state, tokenizer, images, key, lr) => {
      const drawn = drawGeometry(key, images.shape[0]!, grid, geometry);
      const { vectors, targets } = adaptExample(tokenizer, images, drawn, maps.out);
      const [loss, gradients] = valueAndGrad(tokenAdaptLoss)(maps, vectors, drawn, targets);
      return { ...optimizer.update(maps, gradients, state, lr), loss };
    },
    { donate: [0, 1], name: 'TokenAdapt' },
  );
  return { optimizer, step };
}
