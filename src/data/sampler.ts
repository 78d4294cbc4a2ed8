import { DataRandom } from './random.ts';

/** Where a run stands in its data: `index` images of `epoch` are used. Plain, so that a checkpoint can hold it. */
export interface DataPosition {
  seed: number;
  epoch: number;
  index: number;
}

export interface SamplerOptions {
  batchSize: number;
  seed?: number;
  /** A new order every epoch, from seed and epoch. Default true. */
  shuffle?: boolean;
  /** Leave out the last, smaller batch of an epoch. Default true. */
  dropLast?: boolean;
  /** Continue from here; its seed wins. */
  position?: DataPosition;
}

/** An endless sequence of batches of indices 0..size-1. Its whole state is `position`: the order is recomputed, not stored. */
export class EpochSampler {
  readonly size: number;
  /** At most `size`. */
  readonly batchSize: number;
  readonly #shuffle: boolean;
  readonly #dropLast: boolean;
  #position: DataPosition;
  #order: Uint32Array | undefined;

  constructor(size: number, { batchSize, seed = 0, shuffle = true, dropLast = true, position }: SamplerOptions) {
    if (!(Number.isInteger(size) && size > 0)) throw new RangeError(`[data] cannot draw batches from ${size} images`);
    if (!(Number.isInteger(batchSize) && batchSize > 0)) throw new RangeError(`[data] batch size ${batchSize}: give a whole number from 1`);
    this.size = size;
    this.batchSize = Math.min(batchSize, size);
    this.#shuffle = shuffle;
    this.#dropLast = dropLast;
    this.#position = { seed, epoch: 0, index: 0 };
    if (position) this.seek(position);
  }

  /** Batches of an epoch. */
  get batchesPerEpoch(): number {
    return this.#dropLast ? Math.floor(this.size / this.batchSize) : Math.ceil(this.size / this.batchSize);
  }

  /** Where the next batch begins. */
  get position(): DataPosition {
    return { ...this.#position };
  }

  /** Jumps to a saved position. */
  seek(position: DataPosition): void {
    const { seed, epoch, index } = position;
    if (![seed, epoch, index].every(Number.isSafeInteger) || epoch < 0 || index < 0 || index > this.size) {
      throw new RangeError(`[data] position ${JSON.stringify(position)} does not fit ${this.size} images; was it saved with other data?`);
    }
    this.#position = { seed, epoch, index };
    this.#order = undefined;
  }

  /** The next batch: [batchSize] indices, fewer only at an epoch's end without `dropLast`. */
  next(): Uint32Array {
    const left = this.size - this.#position.index;
    if (left < (this.#dropLast ? this.batchSize : 1)) {
      this.#position = { ...this.#position, epoch: this.#position.epoch + 1, index: 0 };
      this.#order = undefined;
    }
    const { seed, epoch, index } = this.#position;
    this.#order ??= epochOrder(this.size, this.#shuffle ? [seed, epoch] : undefined);
    const batch = this.#order.slice(index, index + this.batchSize);
    this.#position.index += batch.length;
    return batch;
  }
}

function epochOrder(size: number, seeds: [number, number] | undefined): Uint32Array {
  const order = Uint32Array.from({ length: size }, (_, i) => i);
  return seeds ? new DataRandom(...seeds).shuffle(order) : order;
}
