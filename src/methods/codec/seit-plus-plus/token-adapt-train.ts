/** Training of TokenAdapt's maps from pixels: once per tokenizer. */
import { AdamW, type AdamWState, decayMatricesOnly } from '../../../nn/index.ts';
import { compile, type random, type Tensor, valueAndGrad } from '../../../tensor/index.ts';
import type { TrainStep } from '../../../train/index.ts';
import { type TokenAdapt, tokenAdaptLoss } from './token-adapt.ts';
import { applyGeometry, drawGeometry, type Geometry, type GeometryConfig } from './token-adapt-params.ts';
import type { Tokenizer } from './tokenizer.ts';

/** What the maps learn from. */
export interface AdaptExample {
  /** f32 [B, d_c, h, w]: the images as code vectors. */
  vectors: Tensor;
  /** i32 [B, h', w']: the codes of the transformed images. */
  targets: Tensor;
}

/** The tokenizer reads images f32 [B, C, H, W] in 0..1 as they are and transformed. `out`: tokens per column and row of the targets. */
export function adaptExample(tokenizer: Tokenizer, images: Tensor, geometry: Geometry, out: readonly [number, number]): AdaptExample {
  const codes = tokenizer.tokenize(images);
  const grid = codes.shape.slice(1) as [number, number];
  return { vectors: tokenizer.vectors(codes), targets: tokenizer.tokenize(applyGeometry(images, geometry, grid, out)) };
}

export interface AdaptState {
  model: TokenAdapt;
  optimizer: AdamWState<TokenAdapt>;
}

/** The state at the start. */
export const adaptState = (model: TokenAdapt): AdaptState => ({ model, optimizer: new AdamW().init(model) });

export interface AdaptOptions<B> {
  /** Part of the program; not trained. */
  tokenizer: Tokenizer;
  geometry: GeometryConfig;
  /** Images f32 [B, C, H, W] in 0..1 of a batch as it is read. Traced into the step. */
  prepare: (batch: B) => Tensor;
  weightDecay?: number;
}

/** A step of AdamW. The paper does not say how f and g were optimised; weight decay 0.05, with a cosine from 1e-3, is ours. */
export function adaptStep<B>({ tokenizer, geometry, prepare, weightDecay = 0.05 }: AdaptOptions<B>): TrainStep<AdaptState, B> {
  const adamw = new AdamW({ group: decayMatricesOnly(weightDecay) });
  return compile(
    (state: AdaptState, batch: B, key: random.Key, lr: Tensor) => {
      const images = prepare(batch);
      const drawn = drawGeometry(key, images.shape[0]!, state.model.grid, geometry);
      const { vectors, targets } = adaptExample(tokenizer, images, drawn, state.model.out);
      const [loss, gradients] = valueAndGrad(tokenAdaptLoss)(state.model, vectors, drawn, targets);
      const { model, state: optimizer } = adamw.update(state.model, gradients, state.optimizer, lr);
      return { state: { model, optimizer }, loss };
    },
    { donate: [0], name: 'TokenAdapt' },
  );
}
