/** SeiT: supervised training of a ViT from stored tokens (Park et al. 2023, arXiv 2303.11114, section 3). */
import { TokenStore } from '../../../data/tokens/index.ts';
import { AdamW, type AdamWState, decayMatricesOnly, softTargetLoss, type Vit } from '../../../nn/index.ts';
import { compile, random, type Tensor, tensor, valueAndGrad } from '../../../tensor/index.ts';
import type { TrainStep } from '../../../train/index.ts';
import type { CodecFiles } from '../../contracts/codec.ts';
import type { Run } from '../../contracts/run.ts';
import { centreCrop, noiseOrColor, randomResizedCrop } from './augment.ts';
import { Classifier, newVit, writeClassifier } from './classifier.ts';
import type { Config } from './config.ts';
import { nearestCodes, replaceSynonyms, swapSquares } from './eda.ts';
import { indexBatches, runPhase } from './phase.ts';
import { storedTokenizer } from './store-layout.ts';
import { cutMix, smoothTargets } from './targets.ts';
import { codesToGrid, gridToCodes } from './tokens.ts';

export interface TrainState {
  model: Vit;
  optimizer: AdamWState<Vit>;
}

export interface TokenBatch {
  /** i32 [B, h, w] */
  codes: Tensor;
  /** i32 [B] */
  labels: Tensor;
}

/** What augmentation knows of the codes. */
export interface Codes {
  /** f32 [K, d_c] */
  codebook: Tensor;
  /** i32 [K, n]: nearest other codes. */
  synonyms: Tensor;
}

/** Augmented code vectors [B, d_c, crop, crop] of stored codes [B, h, w]: Token-EDA, crop, nearest codes again, then noise or colour. */
export function augment(key: random.Key, codes: Tensor, { codebook, synonyms }: Codes, { augment: how, crop }: Config): Tensor {
  const [a, b, c, d] = random.splitKey(key, 4) as [random.Key, random.Key, random.Key, random.Key];
  let seen = how.synonym > 0 ? replaceSynonyms(a, codes, synonyms, how.synonym) : codes;
  if (how.swap > 0) seen = swapSquares(b, seen, how.swap);
  if (how.scale < 1) seen = gridToCodes(randomResizedCrop(c, codesToGrid(seen, codebook), crop, how.scale), codebook);
  else seen = centreCrop(seen, crop);
  return noiseOrColor(d, codesToGrid(seen, codebook), how);
}

/** One step from codes and labels. */
export function trainStep(config: Config, classes: number, known: Codes): TrainStep<TrainState, TokenBatch> {
  const {
    train,
    model: { dropPath },
  } = config;
  const optimizer = new AdamW({ beta2: train.beta2, group: decayMatricesOnly(train.weightDecay) });
  const loss = (model: Vit, x: Tensor, targets: Tensor, key: random.Key): Tensor =>
    softTargetLoss(model.forward(x, dropPath > 0 ? { key, dropPath } : undefined), targets);
  return compile(
    (state: TrainState, { codes, labels }: TokenBatch, key: random.Key, lr: Tensor) => {
      const [a, b, c] = random.splitKey(key, 3) as [random.Key, random.Key, random.Key];
      const grid = augment(a, codes, known, config);
      const { x, targets } = cutMix(b, grid, smoothTargets(labels, classes, train.smoothing), config.augment.cutmix);
      const [value, gradients] = valueAndGrad(loss)(state.model, x, targets, c);
      const { model, state: moments } = optimizer.update(state.model, gradients, state.optimizer, lr);
      return { state: { model, optimizer: moments }, loss: value };
    },
    { donate: [0], name: 'train on tokens' },
  );
}

/** Trains a classifier from a token store alone and writes it, with the encoder and the codebook of the store. */
export async function trainClassifier(files: Pick<CodecFiles, 'store' | 'model'>, asked: Config, run: Run): Promise<void> {
  run.signal?.throwIfAborted();
  using store = new TokenStore(files.store);
  const { tokenizer, ...settings } = storedTokenizer(store);
  const config: Config = { ...asked, tokenizer: settings.config, crop: Math.min(asked.crop, settings.config.grid) };
  const { classes } = store;
  const { codebook } = tokenizer;
  const labels = store.labels();
  const [h, w] = store.grid;
  const { train } = config;
  await runPhase<TrainState, TokenBatch, ReturnType<typeof indexBatches> extends Generator<infer H> ? H : never>(
    {
      what: 'classifier',
      path: files.model,
      config: { model: config.model, crop: config.crop, augment: config.augment, train, store: store.description as never },
      recipe: { ...train, lr: (train.lr * Math.min(train.batch, store.size)) / 512 },
      size: store.size,
      state() {
        const model = newVit(config, classes.length, run.seed);
        return { model, optimizer: new AdamW().init(model) };
      },
      step: trainStep(config, classes.length, {
        codebook,
        synonyms: nearestCodes(codebook, Math.min(config.augment.synonyms, store.K - 1)),
      }),
      batches: (batchSize, from) => indexBatches(store.size, batchSize, run.seed, from),
      prepare: ({ indices }) => ({
        codes: tensor(store.readBatch(indices, new Int32Array(indices.length * h * w)), { shape: [indices.length, h, w] }),
        labels: tensor(Int32Array.from(indices, (i) => labels[i]!)),
      }),
      finish: ({ model }) =>
        writeClassifier(files.model, new Classifier(tokenizer, model), {
          method: 'seit-plus-plus',
          tokenizer: settings,
          crop: config.crop,
          model: config.model,
          classes: [...classes],
        }),
    },
    run,
  );
}
