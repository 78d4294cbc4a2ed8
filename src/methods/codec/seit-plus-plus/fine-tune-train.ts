/** One step of fine-tuning, with rates that fall towards the stem. */
import { AdamW, type AdamWState, layerDecay, mixedPrecision, type ParameterGroup, softTargetLoss } from '../../../nn/index.ts';
import { compile, type Path, random, type Tensor } from '../../../tensor/index.ts';
import type { TrainStep } from '../../../train/index.ts';
import type { TokenClassifier } from './fine-tune.ts';

/** Peak learning rate: by the square root of the batch size, unlike that of pre-training. */
export const fineTuneRate = (batch: number, rate = 1e-3): number => (rate * Math.sqrt(batch)) / 8;

export interface LayerGroups {
  /** Blocks of the encoder. */
  layers: number;
  /** Factor on the rate per layer towards the stem. */
  layerDecay: number;
  weightDecay: number;
  /** The stem was not pre-trained (see `swapStem`) and learns at the full rate. */
  newStem?: boolean;
}

/** Stem and class token are layer 0, block i is layer i + 1, norm and head the last. Vectors are not decayed. */
export function layerGroups({
  layers,
  layerDecay: factor,
  weightDecay,
  newStem = false,
}: LayerGroups): (path: Path, parameter: Tensor) => ParameterGroup {
  return ([part, field, index], parameter) => {
    const layer = part !== 'encoder' ? layers + 1 : field === 'blocks' ? Number(index) + 1 : 0;
    const fresh = newStem && field === 'stem';
    return { lrScale: fresh ? 1 : layerDecay(factor, layer, layers + 1), weightDecay: parameter.rank > 1 ? weightDecay : 0 };
  };
}

export interface FineTuneState<M extends TokenClassifier = TokenClassifier> {
  model: M;
  optimizer: AdamWState<M>;
}

/** The state at the start. */
export const fineTuneState = <M extends TokenClassifier>(model: M): FineTuneState<M> => ({ model, optimizer: new AdamW().init(model) });

export interface FineTuneOptions<B> extends Partial<LayerGroups> {
  layers: number;
  /** What the stem reads of a batch as it is stored, and targets f32 [B, classes]: augmentation. Traced into the step. */
  prepare: (batch: B, key: random.Key) => { input: Tensor; targets: Tensor };
  /** Of the token vectors. */
  dropout?: number;
  dropPath?: number;
  /** What the model computes in; parameters stay f32. Default f32. */
  precision?: 'f32' | 'bf16';
}

/** A step of AdamW on the soft cross-entropy. */
export function fineTuneStep<B, M extends TokenClassifier = TokenClassifier>(options: FineTuneOptions<B>): TrainStep<FineTuneState<M>, B> {
  const { prepare, dropout = 0.1, dropPath = 0.1, layerDecay: factor = 0.65, weightDecay = 0.1, layers, newStem = false } = options;
  const precision = mixedPrecision({ compute: options.precision ?? 'f32' });
  const adamw = new AdamW({ group: layerGroups({ layers, layerDecay: factor, weightDecay, newStem }) });
  const lossOf = (model: M, input: Tensor, targets: Tensor, key: random.Key): Tensor =>
    softTargetLoss(model.forward(input, { key, dropout, dropPath }), targets);
  return compile(
    (state: FineTuneState<M>, batch: B, key: random.Key, lr: Tensor) => {
      const [prepareKey, noiseKey] = random.splitKey(key) as [random.Key, random.Key];
      const { input, targets } = prepare(batch, prepareKey);
      const [loss, gradients] = precision.valueAndGrad(lossOf)(state.model, precision.cast(input), targets, noiseKey);
      const { model, state: optimizer } = adamw.update(state.model, gradients, state.optimizer, lr);
      return { state: { model, optimizer }, loss };
    },
    { donate: [0], name: 'fine-tuning' },
  );
}
