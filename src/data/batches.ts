import { ahead } from './ahead.ts';
import { type ImageSet, imageBytes } from './image-set.ts';
import { forEachParallel } from './parallel.ts';
import { type DataPosition, EpochSampler, type SamplerOptions } from './sampler.ts';

export interface ImageBatch {
  /** [n, h, w, c], 0 to 255. */
  pixels: Uint8Array;
  /** [n] */
  labels: Int32Array;
  /** [n] places in the set. */
  indices: Uint32Array;
  /** Where the next batch begins: save it with what this batch trained. */
  position: DataPosition;
}

export interface BatchOptions extends SamplerOptions {
  /** Stop when this many epochs (counted from epoch 0) are through; default never. */
  epochs?: number;
  signal?: AbortSignal;
}

/** Reads the given images into one array. */
export async function readBatch(
  set: ImageSet,
  indices: ArrayLike<number>,
  signal?: AbortSignal,
): Promise<{ pixels: Uint8Array; labels: Int32Array }> {
  const bytes = imageBytes(set.shape);
  const pixels = new Uint8Array(indices.length * bytes);
  const labels = new Int32Array(indices.length);
  if (set.at) {
    signal?.throwIfAborted();
    for (let k = 0; k < indices.length; k++) {
      pixels.set(set.at(indices[k]!), k * bytes);
      labels[k] = set.labels[indices[k]!]!;
    }
    return { pixels, labels };
  }
  await forEachParallel(indices.length, 'decode', signal ? { signal } : {}, async (k) => {
    labels[k] = (await set.read(indices[k]!, pixels.subarray(k * bytes, (k + 1) * bytes))).label;
  });
  return { pixels, labels };
}

/** Batches for training: shuffled, endless unless `epochs` is given. The next batch is decoded while this one is used. */
export async function* batches(set: ImageSet, options: BatchOptions): AsyncGenerator<ImageBatch, void, undefined> {
  const sampler = new EpochSampler(set.size, options);
  const epochs = options.epochs ?? Number.POSITIVE_INFINITY;
  const load = async (): Promise<ImageBatch | undefined> => {
    const indices = sampler.next();
    // The place of this batch: a sampler steps into the next epoch when it is asked for more.
    const position = sampler.position;
    if (position.epoch >= epochs) return undefined;
    return { ...(await readBatch(set, indices, options.signal)), indices, position };
  };
  yield* ahead(load);
}

/** Every image once, in order: for evaluation. */
export function inOrder(set: ImageSet, batchSize: number, signal?: AbortSignal): AsyncGenerator<ImageBatch, void, undefined> {
  return batches(set, { batchSize, shuffle: false, dropLast: false, epochs: 1, ...(signal ? { signal } : {}) });
}
