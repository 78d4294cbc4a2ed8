/** Training of the tokenizer: reconstruction, codebook and commitment losses, straight-through (van den Oord et al. 2017, arXiv 1711.00937, eq. 3). */
import { batches, type ImageSet } from '../../../data/index.ts';
import { AdamW, type AdamWState, initialize, meanSquaredError } from '../../../nn/index.ts';
import {
  add,
  bitAnd,
  cast,
  compile,
  equal,
  full,
  mod,
  mul,
  random,
  reshape,
  scatterAdd,
  stopGradient,
  sub,
  type Tensor,
  take,
  tensor,
  valueAndGrad,
  where,
} from '../../../tensor/index.ts';
import type { TrainStep } from '../../../train/index.ts';
import type { Run } from '../../contracts/run.ts';
import { type Config, imageSide, MapSizes, type TokenizerConfig } from './config.ts';
import { mapsConfig } from './maps.ts';
import { countSteps, type Phase, type Recipe, runPhase, trainPhase } from './phase.ts';
import { toInput } from './pixels.ts';
import { TokenAdapt } from './token-adapt.ts';
import { publishedGeometry } from './token-adapt-params.ts';
import { type AdaptState, adaptState, adaptStep } from './token-adapt-train.ts';
import { Tokenizer } from './tokenizer.ts';
import { writeTokenizer } from './tokenizer-file.ts';
import { channelsLast } from './tokens.ts';

export interface LearnState {
  model: Tokenizer;
  optimizer: AdamWState<Tokenizer>;
  /** f32 [K]: how often each code was chosen since codes were last replaced. */
  usage: Tensor;
}

/** ||x - xhat||^2 + ||sg(z) - c||^2 + beta ||z - sg(c)||^2, each a mean over its elements; z [B, d_c, h, w] has unit length. */
function tokenizerLoss(
  model: Tokenizer,
  x: Tensor,
  beta: number,
): readonly [loss: Tensor, aux: { reconstruction: Tensor; codes: Tensor; z: Tensor }] {
  const { z, quantised, codes, reconstruction } = model.quantise(x);
  const pixels = meanSquaredError(reconstruction, x);
  const codebook = meanSquaredError(stopGradient(z), quantised);
  const commitment = meanSquaredError(z, stopGradient(quantised));
  return [add(add(pixels, codebook), mul(commitment, beta)), { reconstruction: pixels, codes, z }];
}

/**
 * At every `every`-th step (counted by the optimiser, from 0), codes that nothing has chosen since the last time become random z's of the batch,
 * and their moments start anew. So the first codes are z's of the first batch.
 */
function replaceDead(next: LearnState, before: LearnState, z: Tensor, key: random.Key, every: number): LearnState {
  const K = before.usage.size;
  const rows = reshape(channelsLast(z), [-1, z.shape[1]!]);
  const fresh = take(rows, random.randint(key, [K], 0, rows.shape[0]!));
  const due = equal(mod(before.optimizer.step, every), 0);
  const dead = reshape(bitAnd(cast(due, 'i32'), cast(equal(before.usage, 0), 'i32')), [K, 1]);
  const withCodebook = (t: Tokenizer, codebook: Tensor): Tokenizer => new Tokenizer(t.encoder, codebook, t.decoder);
  const { step, m, v } = next.optimizer;
  return {
    model: withCodebook(next.model, where(dead, fresh, next.model.codebook)),
    optimizer: { step, m: withCodebook(m, where(dead, 0, m.codebook)), v: withCodebook(v, where(dead, 0, v.codebook)) },
    usage: add(next.usage, mul(before.usage, sub(1, cast(due, 'f32')))),
  };
}

/** One step of learning, from pixels u8 [B, H, W, C]. */
export function learnStep(config: TokenizerConfig, channels: number, every: number): TrainStep<LearnState, Tensor> {
  const optimizer = new AdamW({ weightDecay: config.weightDecay, beta2: 0.99 });
  const side = imageSide(config);
  return compile(
    (state: LearnState, pixels: Tensor, key: random.Key, lr: Tensor) => {
      const x = toInput(pixels, side, channels);
      const [[loss, { reconstruction, codes, z }], gradients] = valueAndGrad(tokenizerLoss)(state.model, x, config.beta);
      const { model, state: moments } = optimizer.update(state.model, gradients, state.optimizer, lr);
      const chosen = scatterAdd(full([codes.size], 1), reshape(codes, [-1]), config.codes);
      const next = replaceDead({ model, optimizer: moments, usage: chosen }, state, z, key, every);
      return { state: next, loss, metrics: { reconstruction } };
    },
    { donate: [0], name: 'learn tokenizer' },
  );
}

/** Structure and first numbers of what learning works on. */
export function learnState(config: TokenizerConfig, channels: number, seed: number): LearnState {
  const model = initialize((key) => Tokenizer.init(key, config, channels), seed);
  return { model, optimizer: new AdamW().init(model), usage: tensor(new Float32Array(config.codes)) };
}

type PixelBatch = ReturnType<typeof batches> extends AsyncIterable<infer H> ? H : never;

/** Images of a set, batch after batch. */
const pixelSource = (images: ImageSet, { seed }: Run): Pick<Phase<unknown, Tensor, PixelBatch>, 'size' | 'batches' | 'prepare'> => ({
  size: images.size,
  batches: (batchSize, from) => batches(images, { batchSize, seed, ...(from && { position: from }) }),
  prepare: ({ pixels, labels }) => tensor(pixels, { shape: [labels.length, ...images.shape] }),
});

const recipeOf = ({ epochs, batch, lr }: Pick<TokenizerConfig, 'epochs' | 'batch' | 'lr'>): Recipe => ({
  epochs,
  warmup: 0.1,
  batch,
  lr,
  minLr: 0,
});

/** Trains a tokenizer on the pixels of `images`, then the maps that are asked for, and writes them, with the decoder, to `path`. */
export async function learnTokenizer(
  images: ImageSet,
  { tokenizer: config, tokenAdapt, crop }: Pick<Config, 'tokenizer' | 'tokenAdapt' | 'crop'>,
  path: string,
  run: Run,
): Promise<void> {
  const channels = images.shape[2];
  const source = pixelSource(images, run);
  const recipe = recipeOf(config);
  const every = Math.max(1, Math.round(config.reseed * countSteps(recipe, images.size).perEpoch));
  const first = {
    what: 'tokenizer',
    path: tokenAdapt ? `${path}.tokenizer` : path,
    config: { tokenizer: config, shape: images.shape, source: images.source },
    recipe,
    ...source,
    state: () => learnState(config, channels, run.seed),
    step: learnStep(config, channels, every),
  };
  if (!tokenAdapt) {
    await runPhase({ ...first, finish: ({ model }: LearnState) => writeTokenizer(path, model, { config, channels }) }, run);
    return;
  }
  const { model: tokenizer } = await trainPhase(first, run);
  await runPhase(
    {
      what: 'TokenAdapt',
      path,
      config: { ...first.config, crop, tokenAdapt },
      recipe: recipeOf(tokenAdapt),
      ...source,
      state: () => adaptState(initialize((key) => TokenAdapt.init(key, mapsConfig(tokenAdapt, config, crop)), run.seed)),
      step: mapsStep(tokenizer, tokenAdapt, config, channels),
      finish: ({ model }: AdaptState) => writeTokenizer(path, tokenizer, { config, channels, maps: MapSizes.parse(tokenAdapt) }, model),
    },
    run,
    [first],
  );
}

/** One step of learning the maps of a tokenizer, from pixels u8 [B, H, W, C]. */
export const mapsStep = (
  tokenizer: Tokenizer,
  { affine, weightDecay }: Pick<NonNullable<Config['tokenAdapt']>, 'affine' | 'weightDecay'>,
  config: TokenizerConfig,
  channels: number,
): TrainStep<AdaptState, Tensor> =>
  adaptStep({
    tokenizer,
    geometry: { ...publishedGeometry, list: affine },
    prepare: (pixels: Tensor) => toInput(pixels, imageSide(config), channels),
    weightDecay,
  });
