/** Training of the tokenizer: reconstruction, codebook and commitment losses with a straight-through estimator (van den Oord et al. 2017, arXiv 1711.00937). */
import { batches, type DataPosition, type ImageSet } from '../../../data/index.ts';
import { AdamW, type AdamWState, initialize, meanSquaredError, warmupCosine } from '../../../nn/index.ts';
import {
  add, compile, equal, full, mul, normalize, random, reshape, scatterAdd, stopGradient, take, tensor, type Tensor, valueAndGrad, where, zeros,
} from '../../../tensor/index.ts';
import type { Run } from '../../contracts/run.ts';
import { imageSide, type TokenizerConfig } from './config.ts';
import { runLoop } from './loop.ts';
import { toInput } from './pixels.ts';
import { Tokenizer } from './tokenizer.ts';
import { writeTokenizer } from './tokenizer-file.ts';
import { channelsLast } from './tokens.ts';

interface State {
  model: Tokenizer;
  optimizer: AdamWState<Tokenizer>;
  /** f32 [K]: how often each code was chosen since the last reseeding. */
  usage: Tensor;
}

/** ||x - xhat||^2 + ||sg(z) - c||^2 + beta ||z - sg(c)||^2, each a mean over its elements; and the codes that were chosen. */
export function tokenizerLoss(model: Tokenizer, x: Tensor, beta: number): readonly [loss: Tensor, aux: { reconstruction: Tensor; codes: Tensor }] {
  const { z, quantised, codes, reconstruction } = model.quantise(x);
  const pixels = meanSquaredError(reconstruction, x);
  const codebook = meanSquaredError(stopGradient(z), quantised);
  const commitment = meanSquaredError(z, stopGradient(quantised));
  return [add(add(pixels, codebook), mul(commitment, beta)), { reconstruction: pixels, codes }];
}

/** Codes that nothing chose become the direction of a random z of the batch; their moments start anew. */
function reseed({ model, optimizer, usage }: State, x: Tensor, key: random.Key): State {
  const { codes: K, codeDim } = { codes: usage.size, codeDim: model.codebook.shape[1]! };
  const z = reshape(channelsLast(normalize(model.encode(x), 1)), [-1, codeDim]);
  const fresh = take(z, random.randint(key, [K], 0, z.shape[0]!));
  const dead = reshape(equal(usage, 0), [K, 1]);
  const withCodebook = (t: Tokenizer, codebook: Tensor): Tokenizer => new Tokenizer(t.encoder, codebook, t.decoder);
  const { step, m, v } = optimizer;
  return {
    model: withCodebook(model, where(dead, fresh, model.codebook)),
    optimizer: { step, m: withCodebook(m, where(dead, 0, m.codebook)), v: withCodebook(v, where(dead, 0, v.codebook)) },
    usage: zeros([K]),
  };
}

/** Trains a tokenizer on the pixels of `images` and writes it, with its decoder, to `path`. */
export async function learnTokenizer(images: ImageSet, config: TokenizerConfig, path: string, run: Run): Promise<void> {
  const channels = images.shape[2];
  const side = imageSide(config);
  const batchSize = Math.min(config.batch, images.size);
  const perEpoch = Math.floor(images.size / batchSize);
  const steps = Math.max(1, Math.round(config.epochs * perEpoch * (run.effort ?? 1)));
  const reseedEvery = Math.max(1, Math.round(config.reseed * perEpoch));
  const rate = warmupCosine({ peak: config.lr, steps, warmup: Math.min(steps, Math.ceil(perEpoch / 10)), start: config.lr / 10 });
  const optimizer = new AdamW({ weightDecay: config.weightDecay, beta2: 0.99 });
  const key = random.key(run.seed);

  const step = compile(
    ({ model, optimizer: state, usage }: State, pixels: Tensor, lr: Tensor) => {
      const x = toInput(pixels, side, channels);
      const [[loss, { reconstruction, codes }], gradients] = valueAndGrad(tokenizerLoss)(model, x, config.beta);
      const next = optimizer.update(model, gradients, state, lr);
      const chosen = scatterAdd(full([codes.size], 1), reshape(codes, [-1]), config.codes);
      return { state: { model: next.model, optimizer: next.state, usage: add(usage, chosen) }, figures: { loss, reconstruction } };
    },
    { donate: [0], name: 'learn tokenizer' },
  );
  const replaceDead = compile(
    (state: State, pixels: Tensor, index: Tensor) => reseed(state, toInput(pixels, side, channels), random.foldIn(key, index)),
    { donate: [0], name: 'reseed codes' },
  );

  const model = initialize((k) => Tokenizer.init(k, config, channels), run.seed);
  const start: State = { model, optimizer: optimizer.init(model), usage: tensor(new Float32Array(config.codes)) };
  const data = source(images, batchSize, run.seed, perEpoch);
  try {
    await runLoop<State>(
      {
        what: 'tokenizer',
        path,
        identity: JSON.stringify({ config, seed: run.seed, steps, size: images.size, shape: images.shape, labels: images.source }),
        steps,
        start,
        async step(state, index) {
          using pixels = tensor(await data.next(index), { shape: [batchSize, ...images.shape] });
          // The first codes are z's of the first batch, like all later replacements.
          using at = tensor(Int32Array.of(index));
          const ready = index % reseedEvery === 0 ? await replaceDead.async(state, pixels, at) : state;
          using lr = tensor(rate(index));
          if (index === 0) run.onPlan?.('tokenizer', step.plan(ready, pixels, lr));
          return step.async(ready, pixels, lr);
        },
        finish: ({ model: learned }) => writeTokenizer(path, learned, { config, channels }),
      },
      run,
    );
  } finally {
    await data.close();
  }
}

/** Pixels of the batch of a step, read ahead as long as steps follow each other. */
function source(images: ImageSet, batchSize: number, seed: number, perEpoch: number): { next(step: number): Promise<Uint8Array>; close(): Promise<void> } {
  let reader: ReturnType<typeof batches> | undefined;
  return {
    async next(step) {
      const position: DataPosition = { seed, epoch: Math.floor(step / perEpoch), index: (step % perEpoch) * batchSize };
      reader ??= batches(images, { batchSize, position });
      const { value } = await reader.next();
      return value!.pixels;
    },
    async close() {
      await reader?.return(undefined);
    },
  };
}
