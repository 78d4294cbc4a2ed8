/** One step of pre-training by masked token modelling, and its published rates. */
import { AdamW, type AdamWState, decayMatricesOnly } from '../../../nn/index.ts';
import { compile, type Compiled, type random, type Tensor, valueAndGrad } from '../../../tensor/index.ts';
import { type MaskedTokenModel, mtmLoss } from './mtm.ts';

/** Peak learning rate: linear in the batch size. Fine-tuning goes by its square root instead (see `fineTuneRate`). */
export const pretrainRate = (batch: number, per256 = 1.5e-4): number => (per256 * batch) / 256;

export interface PretrainState {
  model: MaskedTokenModel;
  state: AdamWState<MaskedTokenModel>;
}

export interface Pretraining {
  optimizer: AdamW;
  /** (model, state, codes i32 [B, h, w], masked i32 [], key, learning rate f32 []) -> the next model and state, and the loss before. */
  step: Compiled<[MaskedTokenModel, AdamWState<MaskedTokenModel>, Tensor, Tensor, random.Key, Tensor], PretrainState & { loss: Tensor }>;
}

/** One compiled step for all mask ratios: the number of masked patches is a tensor. */
export function pretraining(options: { weightDecay?: number; beta1?: number; beta2?: number } = {}): Pretraining {
  const { weightDecay = 0.05, beta1 = 0.9, beta2 = 0.95 } = options;
  const optimizer = new AdamW({ beta1, beta2, group: decayMatricesOnly(weightDecay) });
  const step: Pretraining['step'] = compile(
    (model, state, codes, masked, key, lr) => {
      const [loss, gradients] = valueAndGrad(mtmLoss)(model, codes, masked, key);
      return { ...optimizer.update(model, gradients, state, lr), loss };
    },
    { donate: [0, 1], name: 'masked token modelling' },
  );
  return { optimizer, step };
}
