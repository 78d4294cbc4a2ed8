/**
 * Do tokens buy more accuracy than pixels of the same bytes, and what do token-domain augmentation and masked token modelling add? Every arm trains
 * the same transformer for the same steps from what it stored, and is judged on the same test images.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileBytes } from '../../../bytes/index.ts';
import { firstImages, type ImageSet, type PackedImages } from '../../../data/index.ts';
import type { CodecFiles } from '../../contracts/codec.ts';
import type { Run } from '../../contracts/run.ts';
import { between, type SeedRun } from '../../seeds.ts';
import type { Config } from './config.ts';
import { learnTokenizer } from './learn.ts';
import { countSteps } from './phase.ts';
import { pixelAccuracy, pixelBytes, reduced, sideWithin, subsetWithin } from './pixel-arms.ts';
import { predictClasses } from './predict.ts';
import { writeStore } from './store.ts';
import { trainClassifier } from './train.ts';

export interface ArmsCheck {
  /** Of the arm `tokens`; without `tokenAdapt`. Pre-training and fine-tuning of the arm `masked` take the steps of `train` together. */
  config: Config;
  /** Maps of the arms that have them. */
  tokenAdapt: NonNullable<Config['tokenAdapt']>;
  /** Probability of ColorAdapt in the arms that have it. */
  color: number;
  /** Side in pixels of the patches by which whole images are read. */
  patch: number;
}

interface Measured {
  images: number;
  fileBytes: number;
  /** Shares that are named rightly: of the test images, and of the first of those that it learnt from, as many. */
  accuracy: number;
  trainAccuracy: number;
}

export interface Arm extends Measured {
  name: string;
  steps: number;
  seconds: number;
}

/** Points of accuracy, null where an arm was not run. */
export interface ArmsFigures {
  tokensOverSubset: number | null;
  tokensOverDownsampled: number | null;
  colorAdaptGain: number | null;
  tokenAdaptGain: number | null;
  bothGain: number | null;
  maskedGain: number | null;
}

export const armNames = ['tokens', 'subset', 'downsampled', 'colorAdapt', 'tokenAdapt', 'both', 'masked'] as const;
export type ArmName = (typeof armNames)[number];

/** Steps of the classifier of every arm, pre-training included. */
export const armSteps = ({ config }: ArmsCheck, images: number, effort?: number): number => countSteps(config.train, images, effort).steps;

/** What the arms of one seed share. Its files lie in `folder`, also those that a run which was cut short goes on from. */
export class TokenArms {
  readonly #images: ImageSet;
  readonly #test: ImageSet;
  readonly #check: ArmsCheck;
  readonly #plain: Store;
  readonly #withMaps: Store;

  constructor(images: ImageSet, test: ImageSet, check: ArmsCheck, folder: string) {
    [this.#images, this.#test, this.#check] = [images, test, check];
    this.#plain = new Store(join(folder, 'plain'), images, check.config);
    this.#withMaps = new Store(join(folder, 'maps'), images, { ...check.config, tokenAdapt: check.tokenAdapt });
  }

  /** Trains and judges one arm. Pixels get the bytes of the token store, which is made for them where `tokens` has not run. */
  async run(name: ArmName, run: Run): Promise<Arm> {
    const began = performance.now();
    const measured = await this.#arms[name](run);
    const steps = armSteps(this.#check, this.#images.size, run.effort);
    return { name, ...measured, steps, seconds: (performance.now() - began) / 1000 };
  }

  readonly #arms: Record<ArmName, (run: Run) => Promise<Measured>> = {
    tokens: (run) => this.#fromTokens(this.#plain, 0, run),
    colorAdapt: (run) => this.#fromTokens(this.#plain, this.#check.color, run),
    tokenAdapt: (run) => this.#fromTokens(this.#withMaps, 0, run),
    both: (run) => this.#fromTokens(this.#withMaps, this.#check.color, run),
    masked: (run) => this.#fromTokens(this.#plain, 0, run, 'mtm'),
    subset: async (run) => {
      const { patch } = this.#check;
      return this.#fromPixels(await subsetWithin(this.#images, await this.#budget(run), run.seed), this.#test, patch, patch, run);
    },
    downsampled: async (run) => {
      const side = sideWithin(this.#images, await this.#budget(run));
      return this.#fromPixels(await reduced(this.#images, side), await reduced(this.#test, side), 1, 0, run);
    },
  };

  async #fromTokens(store: Store, color: number, run: Run, recipe: Config['recipe'] = 'seit'): Promise<Measured> {
    const [images, test, { config }] = [this.#images, this.#test, this.#check];
    const stored = await store.files(run);
    const files = { ...stored, model: `${stored.model}.${recipe}.${color}` };
    await trainClassifier(files, { ...config, recipe, augment: { ...config.augment, color } }, run);
    const accuracyOn = async (set: ImageSet): Promise<number> => {
      const found = await predictClasses(set, files.model, { seed: run.seed });
      return found.reduce((sum, label, i) => sum + Number(label === set.labels[i]), 0) / set.size;
    };
    const [accuracy, trainAccuracy] = [await accuracyOn(test), await accuracyOn(firstImages(images, test.size))];
    return { images: images.size, fileBytes: fileBytes(files.store).apparent, accuracy, trainAccuracy };
  }

  async #fromPixels(images: PackedImages, test: ImageSet, patch: number, padCrop: number, run: Run): Promise<Measured> {
    const { config } = this.#check;
    const steps = armSteps(this.#check, this.#images.size, run.effort);
    const measured = await pixelAccuracy({ images, test, patch, augment: { padCrop, flip: 0.5 }, config, steps }, run);
    return { images: images.size, fileBytes: pixelBytes(images), ...measured };
  }

  async #budget(run: Run): Promise<number> {
    return fileBytes((await this.#plain.files(run)).store).apparent;
  }
}

/** A token store that is made when it is first wanted; one that is there already is taken. */
class Store {
  readonly #make: (run: Run) => Promise<CodecFiles>;
  #files: Promise<CodecFiles> | undefined;
  constructor(path: string, images: ImageSet, config: Config) {
    const files = { tokenizer: `${path}.tokenizer`, store: `${path}.tokens`, model: `${path}.model` };
    this.#make = async (run) => {
      if (!existsSync(files.tokenizer)) await learnTokenizer(images, config, files.tokenizer, run);
      await writeStore(images, files, config.codec, run);
      return files;
    };
  }
  files(run: Run): Promise<CodecFiles> {
    return (this.#files ??= this.#make(run));
  }
}

export function armsFigures({ setting, arms }: SeedRun<Arm>): SeedRun<Arm> & ArmsFigures {
  const gain = (a: string, b: string): number | null => between(arms, a, b, (x, y) => 100 * (x.accuracy - y.accuracy));
  return {
    setting,
    arms,
    tokensOverSubset: gain('tokens', 'subset'),
    tokensOverDownsampled: gain('tokens', 'downsampled'),
    colorAdaptGain: gain('colorAdapt', 'tokens'),
    tokenAdaptGain: gain('tokenAdapt', 'tokens'),
    bothGain: gain('both', 'tokens'),
    maskedGain: gain('masked', 'tokens'),
  };
}
