import { fileBytes } from '../../bytes/index.ts';
import { FormatError } from '../../io/errors.ts';
import { FrameReader, type Json, type Section } from '../../io/frames.ts';
import { unpackBits } from './bits.ts';
import { bytesSource, type CodecId, type TokenShard } from './codec.ts';
import {
  attached,
  CODEBOOK,
  CODECS,
  type Description,
  KIND,
  labelBits,
  labelsSection,
  parseDescription,
  tokensSection,
} from './description.ts';
import { imagesOf } from './writer.ts';

export interface OpenOptions {
  /** Bytes of shards to keep in memory; shards beyond are read from the file, image by image. Default 8 MiB. */
  cacheBytes?: number;
  /** Read a store whose writer has not finished. */
  unfinished?: boolean;
}

/**
 * A token store, read by position: opening costs a few small reads. A shard's checksum is verified when the shard is first touched;
 * `verify` does all at once.
 */
export class TokenStore {
  readonly path: string;
  readonly producer: string;
  readonly description: Description;
  /** Number of images. */
  readonly size: number;
  readonly tokensPerImage: number;
  /** The writer called `finish`. */
  readonly finished: boolean;
  readonly #reader: FrameReader;
  readonly #sections: Section[];
  /** [shards + 1] index of the first image of each shard. */
  readonly #starts: Float64Array;
  readonly #open = new Map<number, TokenShard>();
  readonly #cacheBytes: number;
  #cached = 0;
  #labels: Uint16Array | undefined;

  /** @throws FormatError for a file that is no token store, is damaged, or is unfinished (unless allowed). */
  constructor(path: string, { cacheBytes = 8 << 20, unfinished = false }: OpenOptions = {}) {
    this.path = path;
    this.#cacheBytes = cacheBytes;
    this.#reader = new FrameReader(path, KIND);
    try {
      this.producer = this.#reader.header.producer;
      this.description = parseDescription(this.#reader.header.description, path);
      this.tokensPerImage = this.description.grid[0] * this.description.grid[1];
      this.finished = this.#reader.final;
      this.#sections = this.#reader.sections.filter((section) => section.name.startsWith('tokens.'));
      this.#starts = new Float64Array(this.#sections.length + 1);
      for (const [shard, section] of this.#sections.entries()) {
        const images = this.#checkShard(shard, section);
        this.#starts[shard + 1] = this.#starts[shard]! + images;
      }
      this.size = this.#starts.at(-1)!;
      if (!this.finished && !unfinished)
        throw new FormatError(
          `[tokens] ${path} is unfinished or cut off: ${this.size} images are committed; restore it from a copy, write it anew, or open it with { unfinished: true }`,
        );
    } catch (error) {
      this.#reader.close();
      throw error;
    }
  }

  get K(): number {
    return this.description.K;
  }

  get grid(): readonly [number, number] {
    return this.description.grid;
  }

  get channels(): number {
    return this.description.channels;
  }

  get codec(): CodecId {
    return this.description.codec;
  }

  get classes(): readonly string[] {
    return this.description.classes;
  }

  /** Bytes of the file, measured. */
  get fileBytes(): number {
    return fileBytes(this.path).apparent;
  }

  /** All bytes of the file, codebook and overhead included, per image. */
  get bytesPerImage(): number {
    return this.fileBytes / this.size;
  }

  /** Memory that cached shards, their indices and the labels hold now. */
  get residentBytes(): number {
    let bytes = this.#cached + this.#starts.byteLength + (this.#labels?.byteLength ?? 0);
    for (const shard of this.#open.values()) bytes += shard.residentBytes;
    return bytes;
  }

  /** The note of the last commit. */
  get state(): Json {
    return this.#reader.state;
  }

  /** [K, channels], row-major; its checksum verified. @throws FormatError where the store has none or it is damaged. */
  codebook(): Float32Array {
    const section = this.#reader.get(CODEBOOK);
    const { K, channels } = this.description;
    if (section.length !== 4 * K * channels)
      this.#fail(`its codebook has ${section.length} bytes, K = ${K} codes of ${channels} channels take ${4 * K * channels}`);
    const bytes = this.#reader.readVerified(section);
    return Float32Array.from({ length: K * channels }, (_, i) => bytes.readFloatLE(4 * i));
  }

  /** An attached section, its checksum verified; undefined if there is none. */
  attachment(name: string): Uint8Array | undefined {
    const section = this.#reader.find(attached(name));
    return section && this.#reader.readVerified(section);
  }

  /** [h * w] tokens of image i, row-major. @throws RangeError outside 0..size-1; FormatError if its shard is damaged. */
  read(i: number): Uint16Array {
    const out = new Uint16Array(this.tokensPerImage);
    this.#readInto(i, out, 0);
    return out;
  }

  /** Tokens of the images `indices` to out [indices.length, h * w]. @throws as `read`; RangeError if `out` has another size. */
  readBatch(indices: ArrayLike<number>, out: Int32Array): Int32Array {
    if (out.length !== indices.length * this.tokensPerImage)
      throw new RangeError(
        `[tokens] out has room for ${out.length} tokens, ${indices.length} images of ${this.tokensPerImage} have ${indices.length * this.tokensPerImage}`,
      );
    for (let b = 0; b < indices.length; b++) this.#readInto(indices[b]!, out, b * this.tokensPerImage);
    return out;
  }

  /** [size] class of each image. Read once, 2 bytes per image. @throws RangeError where the store has no classes; FormatError if damaged. */
  labels(): Uint16Array {
    return (this.#labels ??= this.#readLabels());
  }

  *[Symbol.iterator](): Generator<{ index: number; tokens: Uint16Array; label: number | undefined }> {
    const labels = this.classes.length > 0 ? this.labels() : undefined;
    for (let index = 0; index < this.size; index++) yield { index, tokens: this.read(index), label: labels?.[index] };
  }

  /** Reads the whole file through: every checksum, every token, every label. @throws FormatError at the first damage. */
  verify(): void {
    for (const section of this.#reader.sections) this.#reader.verify(section);
    const out = new Uint16Array(this.tokensPerImage);
    for (let i = 0; i < this.size; i++) this.#readInto(i, out, 0);
    if (this.classes.length > 0) this.labels();
    if (this.channels > 0) this.codebook();
  }

  close(): void {
    this.#reader.close();
    this.#open.clear();
    this.#cached = 0;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #readInto(i: number, out: Uint16Array | Int32Array, at: number): void {
    if (!Number.isInteger(i) || i < 0 || i >= this.size)
      throw new RangeError(`[tokens] image ${i} of ${this.path}, which has ${this.size}`);
    const shard = this.#shardOf(i);
    (this.#open.get(shard) ?? this.#openShard(shard)).read(i - this.#starts[shard]!, out, at);
  }

  #shardOf(i: number): number {
    let low = 0;
    for (let high = this.#sections.length - 1; low < high; ) {
      const middle = (low + high + 1) >> 1;
      if (this.#starts[middle]! <= i) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** First touch: verifies, and keeps the bytes while there is room. Nothing is evicted, so random access never reloads shards. */
  #openShard(shard: number): TokenShard {
    const section = this.#sections[shard]!;
    const keep = this.#cached + section.length <= this.#cacheBytes;
    const bytes = keep ? this.#reader.readVerified(section) : this.#reader.verify(section);
    const source = bytes
      ? bytesSource(bytes)
      : { length: section.length, read: (from: number, length: number) => this.#reader.read(section, from, length) };
    const opened = CODECS[this.codec].open(source, {
      images: this.#starts[shard + 1]! - this.#starts[shard]!,
      tokens: this.tokensPerImage,
      K: this.K,
    });
    if (keep) this.#cached += section.length;
    this.#open.set(shard, opened);
    return opened;
  }

  /** Checks what is known without reading: names in order, image counts that the configuration allows, lengths that they take. */
  #checkShard(shard: number, section: Section): number {
    const { shardImages, classes, codec, K } = this.description;
    let images: number;
    try {
      images = imagesOf(section.meta);
    } catch (error) {
      return this.#fail((error as Error).message);
    }
    const most = CODECS[codec].maxBytes({ images, tokens: this.tokensPerImage, K });
    if (section.name !== tokensSection(shard) || images > shardImages || section.length > most)
      this.#fail(
        `section '${section.name}' (shard ${shard}) has ${images} images in ${section.length} bytes; at most ${shardImages} images in ${most} bytes`,
      );
    if (classes.length > 0) {
      const labels = this.#reader.get(labelsSection(shard));
      const expected = Math.ceil((images * labelBits(classes.length)) / 8);
      if (labels.length !== expected) this.#fail(`section '${labels.name}' has ${labels.length} bytes, ${images} labels take ${expected}`);
    }
    return images;
  }

  #readLabels(): Uint16Array {
    const classes = this.classes.length;
    if (classes === 0) throw new RangeError(`[tokens] ${this.path} was written without classes`);
    const labels = new Uint16Array(this.size);
    for (let shard = 0; shard < this.#sections.length; shard++) {
      const from = this.#starts[shard]!;
      const bytes = this.#reader.readVerified(this.#reader.get(labelsSection(shard)));
      unpackBits(bytes, 0, labelBits(classes), this.#starts[shard + 1]! - from, labels, from);
    }
    const bad = labels.findIndex((label) => label >= classes);
    if (bad >= 0) this.#fail(`label ${labels[bad]} of image ${bad} is not under ${classes} classes`);
    return labels;
  }

  #fail(why: string): never {
    throw new FormatError(`[tokens] ${this.path}: ${why}`);
  }
}
