/** Batches of a run: read, augmented as strongly as their step says, and mixed with older ones where a replay buffer stands in for decoding. */
import { flipRows, padCrop, randAugment, uniform } from '../../../data/augment/index.ts';
import { type DataPosition, DataRandom, EpochSampler, type ImageSet, imageBytes, readBatch } from '../../../data/index.ts';
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

/** [n, h, w, c] images, each mirrored, cropped and distorted on its own; written over. */
export function augmentBatch(
  pixels: Uint8Array,
  set: Pick<ImageSet, 'shape'>,
  strength: number,
  recipe: Recipe,
  random: DataRandom,
): Uint8Array {
  const bytes = imageBytes(set.shape);
  const magnitude = strongestMagnitude * strength;
  for (let at = 0; at < pixels.length; at += bytes) {
    const image = pixels.subarray(at, at + bytes);
    let out: Uint8Array = image;
    if (recipe.padCrop > 0) out = padCrop(out, set.shape, recipe.padCrop, random);
    if (recipe.flip > 0 && uniform(random) < recipe.flip) out = flipRows(out, set.shape);
    if (recipe.randAugment) out = randAugment(out, set.shape, { magnitude }, random);
    if (out !== image) image.set(out);
  }
  return pixels;
}

export interface SourceOptions {
  set: ImageSet;
  batch: number;
  recipe: Recipe;
  seed: number;
  /** Strength of augmentation, 0..1, of a step of the run. */
  strength: (index: number) => number;
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
  const { set, batch, recipe, seed, strength } = options;
  if (batch > set.size) throw new RangeError(`[efficienttrain] a batch of ${batch} is more than the ${set.size} images; lower the batch`);
  const buffer = new ReplayBuffer(part.replay, new DataRandom(seed, streams.replay, part.start, from?.epoch ?? 0, from?.index ?? 0));
  const fresh = buffer.fresh(batch);
  const sampler = new EpochSampler(set.size, { batchSize: fresh, seed });
  const perEpoch = sampler.batchesPerEpoch * fresh;
  const start = Math.floor(seen / fresh) * fresh;
  sampler.seek(from ?? { seed, epoch: Math.floor(start / perEpoch), index: start % perEpoch });
  const passed = sampler.position.epoch * perEpoch + sampler.position.index - start;
  for (let index = part.start + passed / fresh; ; index++) {
    const indices = sampler.next();
    const { position } = sampler;
    const read = await readBatch(set, indices);
    augmentBatch(read.pixels, set, strength(index), recipe, new DataRandom(seed, streams.augmentation, index));
    yield { ...buffer.deal(read), index, position };
  }
}
