/** What a stage of SeiT++ takes, before it runs; and the configuration that trains from a store. */

import { TokenStore } from '../../../data/tokens/index.ts';
import { AdamW } from '../../../nn/index.ts';
import { empty, type Shape, typeOf, withDevice } from '../../../tensor/index.ts';
import { calibrate, estimateTraining } from '../../../train/index.ts';
import type { CodecTarget, StagePlan } from '../../contracts/codec.ts';
import { newVit } from './classifier.ts';
import { Config, small } from './config.ts';
import { learnState, learnStep } from './learn.ts';
import { countSteps } from './phase.ts';
import { pixelTokenizer } from './store.ts';
import { storedTokenizer } from './store-layout.ts';
import { blankTokenizer, type TokenizerSettings } from './tokenizer-file.ts';
import { trainStep } from './train.ts';

/** Learning, storing and training, in their order. On the null device: nothing is computed, and no memory is taken. */
export async function planStages(config: Config, { size, shape, classes }: CodecTarget, effort = 1): Promise<StagePlan[]> {
  const flopsPerSecond = calibrate();
  const { tokenizer, crop, train } = config;
  const channels = shape[2];
  const settings: TokenizerSettings = { config: tokenizer, channels };
  const ints = (...of: Shape) => empty(typeOf(of, 'i32'));
  const pixels = (batch: number) => empty(typeOf([batch, ...shape], 'u8'));
  return withDevice('null', async () => {
    const learning = countSteps(tokenizer, size, effort);
    const learn = await estimateTraining({
      step: learnStep(tokenizer, channels, learning.perEpoch),
      state: learnState(tokenizer, channels, 0),
      batch: pixels(Math.min(tokenizer.batch, size)),
      steps: learning.steps,
      flopsPerSecond,
    });
    const batch = Math.min(256, size);
    const storing = pixelTokenizer(tokenizer, channels).plan(blankTokenizer(settings), pixels(batch));
    const { steps } = countSteps(train, size, effort);
    const model = newVit(config, classes.length, 0);
    const { grid, codes, codeDim } = tokenizer;
    const training = await estimateTraining({
      step: trainStep({ ...config, crop }, classes.length, {
        codebook: empty(typeOf([codes, codeDim], 'f32')),
        synonyms: ints(codes, Math.min(config.augment.synonyms, codes - 1)),
      }),
      state: { model, optimizer: new AdamW().init(model) },
      batch: { codes: ints(Math.min(train.batch, size), grid, grid), labels: ints(Math.min(train.batch, size)) },
      steps,
      flopsPerSecond,
    });
    return [
      { what: 'tokenizer', steps: learning.steps, peakBytes: learn.peakBytes, seconds: learn.seconds },
      {
        what: 'store',
        steps: Math.ceil(size / batch),
        peakBytes: storing.peakBytes,
        seconds: ((size / batch) * storing.flops) / flopsPerSecond,
      },
      { what: 'classifier', steps, peakBytes: training.peakBytes, seconds: training.seconds },
    ];
  });
}

/** The configuration to train from a store: the settings that it carries, and the recipe for its size. */
export function configOfStore(path: string): Config {
  using store = new TokenStore(path);
  const { config } = storedTokenizer(store);
  const { codec, size } = store;
  return Config.parse(config.kind === 'conv' ? { ...small({ ...config, size }), tokenizer: config, codec } : { tokenizer: config, codec });
}
