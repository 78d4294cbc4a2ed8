/** Training from a token store; here SeiT's own: supervised, a ViT over code vectors (Park et al. 2023, arXiv 2303.11114, section 3). */
import { smoothTargets } from '../../../data/augment/index.ts';
import { TokenStore } from '../../../data/tokens/index.ts';
import { AdamW, type AdamWState, decayMatricesOnly, mixedPrecision, softTargetLoss, type Vit } from '../../../nn/index.ts';
import { compile, random, type Tensor, tensor } from '../../../tensor/index.ts';
import type { TrainStep } from '../../../train/index.ts';
import type { CodecFiles } from '../../contracts/codec.ts';
import type { Run } from '../../contracts/run.ts';
import { centreCrop, noiseOrColor, randomResizedCrop } from './augment.ts';
import { Classifier, type ClassifierSettings, newVit, writeClassifier } from './classifier.ts';
import type { Config } from './config.ts';
import { nearestCodes, replaceSynonyms, swapSquares } from './eda.ts';
import { batchOf, indexBatches, type Phase, runPhase } from './phase.ts';
import { storedMaps, storedTokenizer } from './store-layout.ts';
import { cutMix } from './targets.ts';
import { adaptBatch, type TokenAdapt } from './token-adapt.ts';
import { geometryOf } from './token-adapt-params.ts';
import type { Tokenizer } from './tokenizer.ts';
import { codesToGrid, gridToCodes } from './tokens.ts';
import { trainMasked } from './train-masked.ts';

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
  /** TokenAdapt's, to the crop of training. */
  maps?: TokenAdapt | undefined;
}

/**
 * Augmented code vectors [B, d_c, crop, crop] of stored codes [B, h, w]: Token-EDA, crop, nearest codes again, then noise or colour. With maps,
 * half of the batch goes through TokenAdapt instead of the crop.
 */
export function augment(key: random.Key, codes: Tensor, { codebook, synonyms, maps }: Codes, { augment: how, crop }: Config): Tensor {
  const [a, b, c, d] = random.splitKey(key, 4) as [random.Key, random.Key, random.Key, random.Key];
  let seen = how.synonym > 0 ? replaceSynonyms(a, codes, synonyms, how.synonym) : codes;
  if (how.swap > 0) seen = swapSquares(b, seen, how.swap);
  if (maps && codes.shape[0]! > 1) seen = adaptBatch(c, maps, codesToGrid(seen, codebook), codebook, geometryOf(how));
  else if (how.scale < 1) seen = gridToCodes(randomResizedCrop(c, codesToGrid(seen, codebook), crop, how.scale), codebook);
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
  const precision = mixedPrecision({ compute: config.precision });
  const loss = (model: Vit, x: Tensor, targets: Tensor, key: random.Key): Tensor =>
    softTargetLoss(model.forward(x, dropPath > 0 ? { key, dropPath } : undefined), targets);
  return compile(
    (state: TrainState, { codes, labels }: TokenBatch, key: random.Key, lr: Tensor) => {
      const [a, b, c] = random.splitKey(key, 3) as [random.Key, random.Key, random.Key];
      const grid = augment(a, codes, known, config);
      const { x, targets } = cutMix(b, grid, smoothTargets(labels, classes, train.smoothing), config.augment.cutmix);
      const [value, gradients] = precision.valueAndGrad(loss)(state.model, precision.cast(x), targets, c);
      const { model, state: moments } = optimizer.update(state.model, gradients, state.optimizer, lr);
      return { state: { model, optimizer: moments }, loss: value };
    },
    { donate: [0], name: 'train on tokens' },
  );
}

type IndexBatch = ReturnType<typeof indexBatches> extends Generator<infer H> ? H : never;

/** What phases of training have in common: the stored tokens, and how they are read. */
export interface Stored {
  config: Config;
  /** Of the model file that comes out. */
  settings: Pick<ClassifierSettings, 'method' | 'tokenizer' | 'crop' | 'image' | 'model' | 'classes'>;
  tokenizer: Tokenizer;
  /** TokenAdapt's, to the crop of training. */
  maps: TokenAdapt | undefined;
  /** Of the store, for checkpoints. */
  description: unknown;
  source: Pick<Phase<unknown, TokenBatch, IndexBatch>, 'size' | 'batches' | 'prepare'>;
}

/** Trains a classifier from a token store alone, by the recipe asked for, and writes it with the encoder and the codebook of the store. */
export async function trainClassifier(files: Pick<CodecFiles, 'store' | 'model'>, asked: Config, run: Run): Promise<void> {
  run.signal?.throwIfAborted();
  using store = new TokenStore(files.store);
  const { tokenizer, settings } = storedTokenizer(store);
  const config: Config = { ...asked, tokenizer: settings.config, crop: Math.min(asked.crop, settings.config.grid) };
  const { crop, model } = config;
  const { image } = store.description;
  const labels = store.labels();
  const [h, w] = store.grid;
  const stored: Stored = {
    config,
    settings: {
      method: 'seit-plus-plus',
      tokenizer: { config: settings.config, channels: settings.channels },
      crop,
      ...(image && { image: [image.height, image.width, settings.channels] }),
      model,
      classes: [...store.classes],
    },
    tokenizer,
    maps: storedMaps(store, settings, crop),
    description: store.description,
    source: {
      size: store.size,
      batches: (batchSize, from) => indexBatches(store.size, batchSize, run.seed, from),
      prepare: ({ indices }) => ({
        codes: tensor(store.readBatch(indices, new Int32Array(indices.length * h * w)), { shape: [indices.length, h, w] }),
        labels: tensor(Int32Array.from(indices, (i) => labels[i]!)),
      }),
    },
  };
  await (config.recipe === 'mtm' ? trainMasked : trainSupervised)(stored, files.model, run);
}

/** SeiT's recipe: one phase. */
function trainSupervised({ config, settings, tokenizer, maps, description, source }: Stored, path: string, run: Run): Promise<void> {
  const { model, crop, augment, precision } = config;
  const train = { ...config.train, batch: batchOf(config.train.batch, source.size, maps) };
  const { codebook } = tokenizer;
  const classes = settings.classes.length;
  return runPhase<TrainState, TokenBatch, IndexBatch>(
    {
      what: 'classifier',
      path,
      config: { model, crop, augment, train, precision, store: description },
      recipe: { ...train, lr: (train.lr * train.batch) / 512 },
      ...source,
      state() {
        const vit = newVit(config, classes, run.seed);
        return { model: vit, optimizer: new AdamW().init(vit) };
      },
      step: trainStep(config, classes, {
        codebook,
        maps,
        synonyms: nearestCodes(codebook, Math.min(augment.synonyms, config.tokenizer.codes - 1)),
      }),
      finish: ({ model: vit }) => writeClassifier(path, new Classifier(tokenizer, vit), settings),
    },
    run,
  );
}
