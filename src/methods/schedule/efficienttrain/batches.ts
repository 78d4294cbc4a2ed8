/** Batches of a run: read, augmented as strongly as their step says, and mixed with older ones where a replay buffer stands in for decoding. */
import type { Augmenter, ImageAugment } from '../../../data/augment/index.ts';
import { ahead, type DataPosition, DataRandom, EpochSampler, type ImageSet, readBatch } from '../../../data/index.ts';
import { type Recipe, strongestMagnitude } from './presets.ts';
import { type Replay, ReplayBuffer, type Samples } from './replay.ts';

/** The part of a run that trains at one side. */
export interface Part {
  side: number;
  /** First step, and the first that is no longer of this part. */
  start: number;
  end: number;
  replay: Replay;
}

export interface Batch extends Samples {
  /** Step of the run, from 0. */
  index: number;
  position: DataPosition;
}

/** Separates the random numbers of one use from those of another. */
const streams = { augmentation: 1, replay: 2 } as const;

/** What the host does to every image at a strength of 0..1. */
export const augmentOf = ({ resizedCrop, padCrop, flip, randAugment }: Recipe, strength: number): ImageAugment => ({
  resizedCrop,
  padCrop,
  flip,
  ...(randAugment && { randAugment: { magnitude: strongestMagnitude * strength } }),
});

export interface SourceOptions {
  set: ImageSet;
  batch: number;
  recipe: Recipe;
  seed: number;
  /** Strength of augmentation, 0..1, of a step of the run. */
  strength: (index: number) => number;
  augmenter: Augmenter;
}

/**
 * The batches of one part, from a place in it on. Without replay they are a function of the place: a resumed run sees what an unbroken one would. A
 * replay buffer is not saved; after a resume it fills again.
 *
 * @param seen fresh images that earlier parts have used
 */
export async function* batchesOf(
  part: Part,
  seen: number,
  from: DataPosition | undefined,
  options: SourceOptions,
): AsyncGenerator<Batch, void, undefined> {
  const { set, batch, recipe, seed, strength, augmenter } = options;
  if (batch > set.size) throw new RangeError(`[efficienttrain] a batch of ${batch} is more than the ${set.size} images; lower the batch`);
  const buffer = new ReplayBuffer(part.replay, new DataRandom(seed, streams.replay, part.start, from?.epoch ?? 0, from?.index ?? 0));
  const fresh = buffer.fresh(batch);
  const sampler = new EpochSampler(set.size, { batchSize: fresh, seed });
  const perEpoch = sampler.batchesPerEpoch * fresh;
  const start = Math.floor(seen / fresh) * fresh;
  sampler.seek(from ?? { seed, epoch: Math.floor(start / perEpoch), index: start % perEpoch });
  const passed = sampler.position.epoch * perEpoch + sampler.position.index - start;
  let index = part.start + passed / fresh;
  const read = async (): Promise<Batch> => {
    const step = index++;
    const indices = sampler.next();
    const { position } = sampler;
    const { pixels, labels } = await readBatch(set, indices);
    const augment = augmentOf(recipe, strength(step));
    const seeds = [seed, streams.augmentation, position.epoch];
    return { pixels: await augmenter.run({ pixels, shape: set.shape, augment, seeds, indices }), labels, index: step, position };
  };
  for await (const { index, position, ...samples } of ahead(read, augmenter.width)) yield { ...buffer.deal(samples), index, position };
}
