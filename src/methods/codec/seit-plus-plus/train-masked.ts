/** SeiT++: masked token modelling on all stored tokens, then fine-tuning on their labels; half of each batch by TokenAdapt where the store holds its maps. */
import { smoothTargets } from '../../../data/augment/index.ts';
import { initialize } from '../../../nn/index.ts';
import { random, squeeze, type Tensor, unsqueeze } from '../../../tensor/index.ts';
import { copyTree, type TrainStep } from '../../../train/index.ts';
import type { Run } from '../../contracts/run.ts';
import { cropToCodes, noiseOrColor } from './augment.ts';
import { Classifier, encoderConfig, writeClassifier } from './classifier.ts';
import type { Config } from './config.ts';
import { TokenClassifier } from './fine-tune.ts';
import { fineTuneBatch } from './fine-tune-mix.ts';
import { type FineTuneState, fineTuneRate, fineTuneState, fineTuneStep } from './fine-tune-train.ts';
import { MaskedTokenModel } from './mtm.ts';
import type { CodeStem, TokenEncoder } from './mtm-encoder.ts';
import { type PretrainState, pretrainRate, pretrainState, pretrainStep } from './mtm-train.ts';
import { batchOf, type Recipe, runPhase, trainPhase } from './phase.ts';
import { cutMix } from './targets.ts';
import { adaptBatch, type TokenAdapt } from './token-adapt.ts';
import { geometryOf } from './token-adapt-params.ts';
import { codesToGrid } from './tokens.ts';
import type { Stored, TokenBatch } from './train.ts';

/** What augmentation knows of the codes. */
export interface Known {
  /** f32 [K, d_c] */
  codebook: Tensor;
  maps: TokenAdapt | undefined;
}

/** Phases as configured, for so many images. */
export const pretrainRecipe = ({ mtm }: Config, { maps }: Pick<Known, 'maps'>, size: number): Recipe => {
  const batch = batchOf(mtm.batch, size, maps);
  return { ...mtm, batch, lr: pretrainRate(batch, mtm.lr) };
};

export const fineTuneRecipe = ({ fineTune }: Config, { maps }: Pick<Known, 'maps'>, size: number): Recipe => {
  const batch = batchOf(fineTune.batch, size, maps);
  return { ...fineTune, batch, lr: fineTuneRate(batch, fineTune.lr) };
};

/** One step of pre-training, from stored codes. */
export function maskedStep({ mtm, crop, precision }: Config, { codebook, maps }: Known): TrainStep<PretrainState, TokenBatch> {
  const { ratio, weightDecay, beta2 } = mtm;
  return pretrainStep<TokenBatch>({
    ratio,
    weightDecay,
    beta2,
    precision,
    prepare({ codes }, key) {
      const vectors = codesToGrid(codes, codebook);
      const halves = maps && codes.shape[0]! > 1;
      return halves ? adaptBatch(key, maps, vectors, codebook, geometryOf(mtm)) : cropToCodes(key, vectors, codebook, crop, mtm.scale);
    },
  });
}

export const maskedState = (config: Config, seed: number): PretrainState =>
  pretrainState(initialize((key) => MaskedTokenModel.init(key, { ...config.mtm, encoder: encoderConfig(config) }), seed));

type Fine = TokenClassifier<CodeStem>;

/** One step of fine-tuning, from stored codes and labels. */
export function tuneStep(
  { fineTune, mtm, model, crop, precision }: Config,
  { codebook, maps }: Known,
  classes: number,
): TrainStep<FineTuneState<Fine>, TokenBatch> {
  const { scale, mix, dropPath, layerDecay, weightDecay } = fineTune;
  return fineTuneStep<TokenBatch, Fine>({
    layers: model.layers,
    dropout: mtm.dropout,
    dropPath,
    layerDecay,
    weightDecay,
    precision,
    prepare({ codes, labels }, key) {
      const vectors = codesToGrid(codes, codebook);
      const targets = smoothTargets(labels, classes, 0);
      if (maps && codes.shape[0]! > 1) {
        const made = fineTuneBatch(key, maps, vectors, targets, codebook, { ...fineTune, geometry: geometryOf(fineTune) });
        return { input: made.codes, targets: made.targets };
      }
      const [noise, crops, cut] = random.splitKey(key, 3) as [random.Key, random.Key, random.Key];
      const seen = cropToCodes(crops, noiseOrColor(noise, vectors, fineTune), codebook, crop, scale);
      const mixed = cutMix(cut, unsqueeze(seen, 1), targets, mix);
      return { input: squeeze(mixed.x, 1), targets: mixed.targets };
    },
  });
}

/** A new head over a copy of the encoder: steps take the memory of their state. */
export const tuneState = (encoder: TokenEncoder<CodeStem>, classes: number, seed: number): FineTuneState<Fine> =>
  fineTuneState(TokenClassifier.init(random.key(seed), copyTree(encoder), classes));

/** Both phases, each with its own checkpoint, and the model file. */
export async function trainMasked(stored: Stored, path: string, run: Run): Promise<void> {
  const { config, settings, tokenizer, maps, description, source } = stored;
  const { mtm, fineTune, model, crop, precision } = config;
  const known: Known = { codebook: tokenizer.codebook, maps };
  const classes = settings.classes.length;
  const pretraining = {
    what: 'masked tokens',
    path: `${path}.masked`,
    config: { model, crop, mtm, precision, store: description },
    recipe: pretrainRecipe(config, known, source.size),
    ...source,
    state: () => maskedState(config, run.seed),
    step: maskedStep(config, known),
  };
  const { model: pretrained } = await trainPhase(pretraining, run);
  await runPhase(
    {
      what: 'classifier',
      path,
      config: { ...pretraining.config, fineTune },
      recipe: fineTuneRecipe(config, known, source.size),
      ...source,
      state: () => tuneState(pretrained.encoder, classes, run.seed),
      step: tuneStep(config, known, classes),
      finish: ({ model: vit }: FineTuneState<Fine>) =>
        writeClassifier(path, new Classifier(tokenizer, vit), { ...settings, mtm: { patch: mtm.patch, vector: mtm.vector } }),
    },
    run,
    [pretraining],
  );
}
