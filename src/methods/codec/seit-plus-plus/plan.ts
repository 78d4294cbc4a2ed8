/** What a stage of SeiT++ takes, before it runs; and the configuration that trains from a store. */

import type { ImageShape } from '../../../data/index.ts';
import { TokenStore } from '../../../data/tokens/index.ts';
import { planFor } from '../../../device/index.ts';
import { AdamW } from '../../../nn/index.ts';
import { type Device, empty, type Shape, type Tensor, typeOf, withDevice } from '../../../tensor/index.ts';
import { calibrate, estimateTraining, type Speed, secondsOf, type TrainStep } from '../../../train/index.ts';
import type { CodecTarget, PlanOptions, StagePlan } from '../../contracts/codec.ts';
import { blankClassifier, newVit, readSettings } from './classifier.ts';
import { Config, small } from './config.ts';
import { learnState, learnStep, mapsStep } from './learn.ts';
import { blankMaps } from './maps.ts';
import { batchOf, countSteps, type Recipe } from './phase.ts';
import { imagesAtOnce } from './pixels.ts';
import { predictor } from './predict.ts';
import { pixelTokenizer } from './store.ts';
import { storedTokenizer } from './store-layout.ts';
import { adaptState } from './token-adapt-train.ts';
import { blankTokenizer, type TokenizerSettings } from './tokenizer-file.ts';
import { type TokenBatch, trainStep } from './train.ts';
import { fineTuneRecipe, maskedState, maskedStep, pretrainRecipe, tuneState, tuneStep } from './train-masked.ts';

/** Of a device that is not here, or runs nothing. */
const unknown: Speed = { flopsPerSecond: Number.NaN, bytesPerSecond: Number.NaN, secondsPerCall: Number.NaN };

/** Where a plan is for, and how fast that is. */
function placeFor(name?: string): { device: Device; speed: Speed } {
  const { device, here } = planFor(name);
  return { device, speed: here?.holdsData ? calibrate(here) : unknown };
}

const pixelsOf = (batch: number, shape: ImageShape): Tensor => empty(typeOf([batch, ...shape], 'u8'));

type PhasePlan = Omit<StagePlan, 'what'>;

/** Learning, storing and training, in their order. Nothing is computed, and no memory is taken. */
export async function planStages(
  config: Config,
  { size, shape, classes: names }: CodecTarget,
  { effort = 1, device: name }: PlanOptions = {},
): Promise<StagePlan[]> {
  const { device, speed } = placeFor(name);
  const { tokenizer, tokenAdapt, train } = config;
  const { grid, codes, codeDim } = tokenizer;
  const channels = shape[2];
  const classes = names.length;
  const settings: TokenizerSettings = { config: tokenizer, channels };
  const ints = (...of: Shape) => empty(typeOf(of, 'i32'));
  const pixels = (batch: number) => pixelsOf(batch, shape);
  const tokens = (batch: number): TokenBatch => ({ codes: ints(batch, grid, grid), labels: ints(batch) });
  const phase = <S, B>(step: TrainStep<S, B>, state: S, batch: B, recipe: Pick<Recipe, 'epochs' | 'batch'>): PhasePlan => {
    const { steps } = countSteps(recipe, size, effort);
    const { peakBytes, seconds } = estimateTraining({ step, state, batch, steps, speed });
    return { steps, peakBytes, seconds };
  };
  return withDevice(device, () => {
    const blankTokens = blankTokenizer(settings);
    const maps = tokenAdapt ? blankMaps({ config: tokenizer, maps: tokenAdapt }, config.crop) : undefined;
    const { perEpoch } = countSteps(tokenizer, size, effort);
    const learning = [
      phase(
        learnStep(tokenizer, channels, perEpoch),
        learnState(tokenizer, channels, 0),
        pixels(Math.min(tokenizer.batch, size)),
        tokenizer,
      ),
    ];
    if (tokenAdapt && maps) {
      const step = mapsStep(blankTokens, tokenAdapt, tokenizer, channels);
      learning.push(phase(step, adaptState(maps), pixels(Math.min(tokenAdapt.batch, size)), tokenAdapt));
    }
    const batch = Math.min(imagesAtOnce(shape), size);
    const storing = pixelTokenizer(tokenizer, channels).plan(blankTokens.withoutDecoder(), pixels(batch));
    const codebook = empty(typeOf([codes, codeDim], 'f32'));
    const training: PhasePlan[] = [];
    if (config.recipe === 'mtm') {
      const known = { codebook, maps };
      const state = maskedState(config, 0);
      const [first, second] = [pretrainRecipe(config, known, size), fineTuneRecipe(config, known, size)];
      training.push(phase(maskedStep(config, known), state, tokens(first.batch), first));
      const tuning = tuneState(state.model.encoder, classes, 0);
      training.push(phase(tuneStep(config, known, classes), tuning, tokens(second.batch), second));
    } else {
      const model = newVit(config, classes, 0);
      const synonyms = ints(codes, Math.min(config.augment.synonyms, codes - 1));
      const state = { model, optimizer: new AdamW().init(model) };
      const images = batchOf(train.batch, size, maps);
      training.push(phase(trainStep(config, classes, { codebook, synonyms, maps }), state, tokens(images), { ...train, batch: images }));
    }
    return [
      together('tokenizer', learning),
      {
        what: 'store',
        steps: Math.ceil(size / batch),
        peakBytes: storing.peakBytes,
        seconds: (size / batch) * secondsOf(storing, speed),
      },
      together('classifier', training),
    ];
  });
}

/** Classes of images by the model file `path`: its weights stay on the disk. @throws FormatError for a file that is no such model. */
export async function planPredict(
  { size, shape }: CodecTarget,
  path: string,
  options: Pick<PlanOptions, 'device'> = {},
): Promise<StagePlan> {
  const settings = await readSettings(path);
  const { device, speed } = placeFor(options.device);
  const batch = Math.min(imagesAtOnce(shape), size);
  const plan = withDevice(device, () => predictor(settings).plan(blankClassifier(settings), pixelsOf(batch, shape)));
  return { what: 'predict', steps: Math.ceil(size / batch), peakBytes: plan.peakBytes, seconds: (size / batch) * secondsOf(plan, speed) };
}

/** The phases of a stage, one after another. */
const together = (what: StagePlan['what'], phases: PhasePlan[]): StagePlan => ({
  what,
  steps: phases.reduce((sum, { steps }) => sum + steps, 0),
  peakBytes: Math.max(...phases.map(({ peakBytes }) => peakBytes)),
  seconds: phases.reduce((sum, { seconds }) => sum + seconds, 0),
});

/**
 * The configuration to train from a store: the settings that it carries, and the recipe for its size. Small ones train on the labels from the first
 * step, with maps or without: in their few epochs, pre-training costs 11 points (bench.json, `demo`).
 */
export function configOfStore(path: string): Config {
  using store = new TokenStore(path);
  const {
    settings: { config: tokenizer, maps = null },
  } = storedTokenizer(store);
  const { codec, size } = store;
  if (tokenizer.kind === 'vit') return Config.parse({ tokenizer, codec, tokenAdapt: maps });
  return Config.parse({ ...small({ ...tokenizer, size }), tokenizer, codec, tokenAdapt: maps });
}
