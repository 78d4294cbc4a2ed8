/** One step of pre-training by masked token modelling, and its published rates. */
import { AdamW, type AdamWState, decayMatricesOnly, mixedPrecision } from '../../../nn/index.ts';
import { compile, random, type Tensor } from '../../../tensor/index.ts';
import type { TrainStep } from '../../../train/index.ts';
import { type MaskedTokenModel, mtmLoss } from './mtm.ts';
import { maskedPatches, publishedRatio, type TruncatedNormal } from './mtm-ratio.ts';

/** Peak learning rate: linear in the batch size. Fine-tuning goes by its square root instead (see `fineTuneRate`). */
export const pretrainRate = (batch: number, per256 = 1.5e-4): number => (per256 * batch) / 256;

export interface PretrainState {
  model: MaskedTokenModel;
  optimizer: AdamWState<MaskedTokenModel>;
}

export interface PretrainOptions<B> {
  /** The codes i32 [B, h, w] that the model sees of a batch as it is stored: augmentation. Traced into the step. */
  prepare: (batch: B, key: random.Key) => Tensor;
  ratio?: TruncatedNormal;
  weightDecay?: number;
  beta1?: number;
  beta2?: number;
  /** What the model computes in; parameters stay f32. Default f32. */
  precision?: 'f32' | 'bf16';
}

/** The state at the start. */
export const pretrainState = (model: MaskedTokenModel): PretrainState => ({ model, optimizer: new AdamW().init(model) });

/** A step of AdamW. The mask ratio of the batch is drawn in it. */
export function pretrainStep<B>(options: PretrainOptions<B>): TrainStep<PretrainState, B> {
  const { prepare, ratio = publishedRatio, weightDecay = 0.05, beta1 = 0.9, beta2 = 0.95, precision: compute = 'f32' } = options;
  const precision = mixedPrecision({ compute });
  const adamw = new AdamW({ beta1, beta2, group: decayMatricesOnly(weightDecay) });
  return compile(
    (state: PretrainState, batch: B, key: random.Key, lr: Tensor) => {
      const [prepareKey, ratioKey, lossKey] = random.splitKey(key, 3) as [random.Key, random.Key, random.Key];
      const codes = prepare(batch, prepareKey);
      const masked = maskedPatches(random.uniform(ratioKey, []), state.model.patches, ratio);
      const [loss, gradients] = precision.valueAndGrad(mtmLoss)(state.model, codes, masked, lossKey);
      const { model, state: optimizer } = adamw.update(state.model, gradients, state.optimizer, lr);
      return { state: { model, optimizer }, loss };
    },
    { donate: [0], name: 'masked token modelling' },
  );
}
