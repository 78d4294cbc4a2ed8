/** The replay buffer of EfficientTrain++, for machines that decode images more slowly than the model trains. */
import type { DataRandom } from '../../../data/index.ts';

/** How much is replayed: every batch is one part fresh and `times - 1` parts from the last `batches` fresh ones. */
export interface Replay {
  times: number;
  batches: number;
}

/** The published phases: the smallest stage of ++ replays most, the full-size ones not at all. By stage of 10; other numbers scale. */
export function publishedReplay(stage: number, stages: number): Replay {
  const tenth = Math.floor((10 * stage) / stages);
  if (tenth < 2) return { times: 4, batches: 1920 };
  return tenth < 6 ? { times: 2, batches: 256 } : { times: 1, batches: 0 };
}

/** Samples of one kind: `bytes` of pixels and a label each. */
export interface Samples {
  /** [n, bytes] */
  pixels: Uint8Array;
  /** [n] */
  labels: Int32Array;
}

/**
 * Keeps the last fresh batches, decoded and augmented, in pieces of 1/32 batch, and deals mixtures of fresh and old. Memory is bounded by
 * `maxBytes`, and `bytes` of it are in use.
 */
export class ReplayBuffer {
  readonly #replay: Replay;
  readonly #pieces: number;
  readonly #random: DataRandom;
  /** A ring: the oldest piece is overwritten. */
  readonly #kept: Samples[] = [];
  #next = 0;

  /** @param pieces parts of a fresh batch that are drawn on their own; 32 as published */
  constructor(replay: Replay, random: DataRandom, pieces = 32) {
    const { times, batches } = replay;
    if (!(Number.isInteger(times) && times >= 1 && Number.isInteger(batches) && (times === 1 || batches >= 1)))
      throw new RangeError(`[replay] ${times} times from ${batches} batches: give whole numbers, and at least one batch to replay from`);
    this.#replay = replay;
    this.#pieces = pieces;
    this.#random = random;
  }

  /** Samples that must be fresh in a batch of `batch`. @throws where the batch does not divide */
  fresh(batch: number): number {
    const count = batch / this.#replay.times;
    if (!Number.isInteger(count)) throw new RangeError(`[replay] a batch of ${batch} does not divide by ${this.#replay.times} replays`);
    return count;
  }

  /** Bytes of pixels and labels that are kept. */
  get bytes(): number {
    return this.#kept.reduce((sum, { pixels, labels }) => sum + pixels.byteLength + labels.byteLength, 0);
  }

  /** Bytes when full, for fresh batches of `fresh` samples of `sampleBytes` pixels each. */
  maxBytes(fresh: number, sampleBytes: number): number {
    return this.#replay.batches * fresh * (sampleBytes + Int32Array.BYTES_PER_ELEMENT);
  }

  /**
   * Remembers a fresh batch and returns one of `times` its size: the fresh samples first, then pieces drawn with replacement from all that is
   * kept, the fresh ones among it.
   */
  deal(fresh: Samples): Samples {
    const { times } = this.#replay;
    if (times === 1) return fresh;
    const count = fresh.labels.length;
    const pieces = Math.min(this.#pieces, count);
    this.#remember(fresh, pieces);
    const bytes = fresh.pixels.byteLength / count;
    const out: Samples = { pixels: new Uint8Array(times * count * bytes), labels: new Int32Array(times * count) };
    out.pixels.set(fresh.pixels);
    out.labels.set(fresh.labels);
    for (let at = count; at < times * count; ) {
      const { pixels, labels } = this.#kept[this.#random.below(this.#kept.length)]!;
      const take = Math.min(labels.length, times * count - at); // pieces differ by one sample where 32 does not divide the batch
      out.pixels.set(pixels.subarray(0, take * bytes), at * bytes);
      out.labels.set(labels.subarray(0, take), at);
      at += take;
    }
    return out;
  }

  #remember({ pixels, labels }: Samples, pieces: number): void {
    const count = labels.length;
    const bytes = pixels.byteLength / count;
    for (let p = 0; p < pieces; p++) {
      const [from, to] = [Math.floor((p * count) / pieces), Math.floor(((p + 1) * count) / pieces)];
      this.#kept[this.#next] = { pixels: pixels.slice(from * bytes, to * bytes), labels: labels.slice(from, to) };
      this.#next = (this.#next + 1) % (this.#replay.batches * pieces);
    }
  }
}
