/**
 * Do tokens buy more accuracy than pixels of the same bytes, and what do token-domain augmentation and masked token modelling add? Every arm trains
 * the same transformer for the same steps from what it stored, and is judged on the same test images.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileBytes } from '../../../bytes/index.ts';
import type { ImageSet, PackedImages } from '../../../data/index.ts';
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
  accuracy: number;
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

/**
 * Runs the arms of one seed. Pixels get the bytes of the token store, which is made for them where `tokens` is not asked for.
 *
 * @param onArm told of each arm when it is done; `together`: all train side by side, which keeps a GPU busy
 */
export async function checkArms(
  images: ImageSet,
  test: ImageSet,
  check: ArmsCheck,
  names: readonly ArmName[],
  run: Run,
  { onArm, together = false }: { onArm?: (arm: Arm) => void; together?: boolean } = {},
): Promise<Arm[]> {
  const { config } = check;
  const { steps } = countSteps(config.train, images.size, run.effort);
  const folder = await mkdtemp(join(tmpdir(), 'thimble-arms-'));
  const plain = new Store(join(folder, 'plain'), images, config, run);
  const withMaps = new Store(join(folder, 'maps'), images, { ...config, tokenAdapt: check.tokenAdapt }, run);

  const fromTokens = async (store: Store, color: number, recipe: Config['recipe'] = 'seit'): Promise<Measured> => {
    const stored = await store.files();
    const files = { ...stored, model: `${stored.model}.${recipe}.${color}` };
    await trainClassifier(files, { ...config, recipe, augment: { ...config.augment, color } }, run);
    const found = await predictClasses(test, files.model, { seed: run.seed });
    const right = found.reduce((sum, label, i) => sum + Number(label === test.labels[i]), 0);
    return { images: images.size, fileBytes: fileBytes(files.store).apparent, accuracy: right / test.size };
  };
  const fromPixels = async (kept: PackedImages, seen: ImageSet, patch: number, padCrop: number): Promise<Measured> => ({
    images: kept.size,
    fileBytes: pixelBytes(kept),
    accuracy: await pixelAccuracy({ images: kept, test: seen, patch, augment: { padCrop, flip: 0.5 }, config, steps }, run),
  });
  const budget = async (): Promise<number> => fileBytes((await plain.files()).store).apparent;
  const arms: Record<ArmName, () => Promise<Measured>> = {
    tokens: () => fromTokens(plain, 0),
    colorAdapt: () => fromTokens(plain, check.color),
    tokenAdapt: () => fromTokens(withMaps, 0),
    both: () => fromTokens(withMaps, check.color),
    masked: () => fromTokens(plain, 0, 'mtm'),
    subset: async () => fromPixels(await subsetWithin(images, await budget(), run.seed), test, check.patch, check.patch),
    async downsampled() {
      const side = sideWithin(images, await budget());
      return fromPixels(await reduced(images, side), await reduced(test, side), 1, 0);
    },
  };
  try {
    const results: Arm[] = [];
    const runArm = async (name: ArmName): Promise<void> => {
      const began = performance.now();
      const measured = await arms[name]();
      const arm = { name, ...measured, steps, seconds: (performance.now() - began) / 1000 };
      results.push(arm);
      onArm?.(arm);
    };
    if (together) await Promise.all(names.map(runArm));
    else for (const name of names) await runArm(name);
    return results;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A token store that is made when it is first wanted. */
class Store {
  readonly #make: () => Promise<CodecFiles>;
  #files: Promise<CodecFiles> | undefined;
  constructor(path: string, images: ImageSet, config: Config, run: Run) {
    const files = { tokenizer: `${path}.tokenizer`, store: `${path}.tokens`, model: `${path}.model` };
    this.#make = async () => {
      await learnTokenizer(images, config, files.tokenizer, run);
      await writeStore(images, files, config.codec, run);
      return files;
    };
  }
  files(): Promise<CodecFiles> {
    return (this.#files ??= this.#make());
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
