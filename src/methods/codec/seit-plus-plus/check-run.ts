/** What the checks of SeiT++'s parts share: short trainings in this process, a small tokenizer, the tokens of a set. */
import { EpochSampler, type ImageSet, readBatch } from '../../../data/index.ts';
import { warmupCosine } from '../../../nn/index.ts';
import { compile, random, type Tensor, tensor } from '../../../tensor/index.ts';
import { type Placed, type TrainStep, train } from '../../../train/index.ts';
import type { Run } from '../../contracts/run.ts';
import { imageSide, type TokenizerConfig } from './config.ts';
import { learnState, learnStep } from './learn.ts';
import { toInput } from './pixels.ts';
import type { Tokenizer } from './tokenizer.ts';

export interface Short<S, B> {
  what: string;
  state: () => S;
  step: TrainStep<S, B>;
  steps: number;
  batch: number;
  /** Peak learning rate: a tenth of the steps up to it, then a cosine to 0. */
  lr: number;
  /** Examples to draw batches from. */
  size: number;
  prepare: (indices: Uint32Array) => B | Promise<B>;
}

/** Trains without files. `effort` is the share of the steps that is taken. */
export async function trainShort<S, B>(
  { what, lr, batch, size, prepare, ...rest }: Short<S, B>,
  { seed, effort = 1, signal, onStep, onProgress }: Run,
): Promise<S> {
  const steps = Math.max(1, Math.round(rest.steps * effort));
  function* source(): Generator<Placed & { indices: Uint32Array }> {
    const sampler = new EpochSampler(size, { batchSize: batch, seed });
    for (;;) yield { indices: sampler.next(), position: sampler.position };
  }
  const { state } = await train<S, B, Placed & { indices: Uint32Array }>({
    ...rest,
    steps,
    key: random.key(seed),
    batches: source,
    prepare: ({ indices }) => prepare(indices),
    schedule: warmupCosine({ peak: lr, steps, warmup: Math.ceil(steps / 10), start: lr / 100 }),
    ...(signal && { signal }),
    onProgress({ step, loss }) {
      onStep?.(what, step, { loss });
      onProgress?.(what, step, steps);
    },
  });
  return state;
}

/** Pixels u8 [B, H, W, C] of some images. */
export async function pixelsOf(images: ImageSet, indices: ArrayLike<number>): Promise<Tensor> {
  const { pixels } = await readBatch(images, indices);
  return tensor(pixels, { shape: [indices.length, ...images.shape] });
}

/** A tokenizer learnt from `images` in `config.epochs`. */
export async function shortTokenizer(images: ImageSet, config: TokenizerConfig, run: Run): Promise<Tokenizer> {
  const channels = images.shape[2];
  const perEpoch = Math.floor(images.size / config.batch);
  const { model } = await trainShort(
    {
      what: 'tokenizer',
      state: () => learnState(config, channels, run.seed),
      step: learnStep(config, channels, perEpoch),
      steps: Math.round(perEpoch * config.epochs),
      batch: config.batch,
      lr: config.lr,
      size: images.size,
      prepare: (indices) => pixelsOf(images, indices),
    },
    run,
  );
  return model;
}

/** The codes of all images, i32 [images, grid, grid] in raster order. */
export async function codesOf(images: ImageSet, tokenizer: Tokenizer, config: TokenizerConfig): Promise<Int32Array> {
  const perImage = config.grid * config.grid;
  const tokenize = compile((pixels: Tensor) => tokenizer.tokenize(toInput(pixels, imageSide(config), images.shape[2])));
  const out = new Int32Array(images.size * perImage);
  const sampler = new EpochSampler(images.size, { batchSize: 250, shuffle: false, dropLast: false });
  for (let done = 0; done < images.size; ) {
    const indices = sampler.next();
    using pixels = await pixelsOf(images, indices);
    using codes = tokenize(pixels);
    out.set(codes.data() as Int32Array, done * perImage);
    done += indices.length;
  }
  return out;
}
