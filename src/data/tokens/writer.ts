import { fileBytes } from '../../bytes/index.ts';
import { FrameReader, FrameWriter, type Json } from '../../io/frames.ts';
import { packBits } from './bits.ts';
import {
  attached,
  CODEBOOK,
  CODECS,
  type Description,
  headerOf,
  KIND,
  labelBits,
  labelsSection,
  MAX_SHARD_IMAGES,
  parseDescription,
  type TokenStoreConfig,
  tokensSection,
} from './description.ts';

export interface CreateOptions {
  /** [K, channels], row-major; required where channels > 0. */
  codebook?: Float32Array;
  /** Opaque sections to travel with the tokens, e.g. `{ decoder: bytes }`. */
  attachments?: Readonly<Record<string, Uint8Array>>;
  /** Replace an existing file. */
  overwrite?: boolean;
}

/**
 * Writes a token store, shard by shard. Every full shard is committed: after a kill, `resume` goes on at image `size`, and
 * images since the last commit are to be appended again.
 */
export class TokenStoreWriter {
  readonly path: string;
  readonly description: Description;
  readonly #frames: FrameWriter;
  readonly #tokensPerImage: number;
  readonly #tokens: Uint16Array;
  readonly #labels: Uint16Array;
  #committed: number;
  #held = 0;
  /** Images of a shard whose commit is under way, or failed. */
  #sealed = 0;
  #shard: number;

  /** Use `create` or `resume`. */
  constructor(frames: FrameWriter, description: Description, committed: number, shard: number) {
    this.path = frames.path;
    this.description = description;
    this.#frames = frames;
    this.#tokensPerImage = description.grid[0] * description.grid[1];
    this.#tokens = new Uint16Array(description.shardImages * this.#tokensPerImage);
    this.#labels = new Uint16Array(description.shardImages);
    this.#committed = committed;
    this.#shard = shard;
  }

  /** A new store; its codebook and attachments are durable when this returns. @throws RangeError for a configuration out of range; Error as `FrameWriter.create`. */
  static create(
    path: string,
    config: TokenStoreConfig,
    { codebook, attachments = {}, overwrite = false }: CreateOptions = {},
  ): TokenStoreWriter {
    const header = headerOf(config);
    const description = parseDescription(header.description, path);
    const { K, channels } = description;
    if ((codebook?.length ?? 0) !== K * channels)
      throw new RangeError(
        `[tokens] the codebook has ${codebook?.length ?? 0} numbers, K = ${K} codes of ${channels} channels have ${K * channels}`,
      );
    const frames = FrameWriter.create(path, header, { overwrite });
    try {
      if (codebook?.length) frames.append(CODEBOOK, littleEndian(codebook));
      for (const [name, bytes] of Object.entries(attachments)) frames.append(attached(name), bytes);
      frames.commit();
      return new TokenStoreWriter(frames, description, 0, 0);
    } catch (error) {
      frames.close();
      throw error;
    }
  }

  /** Goes on with a store, finished or not. @throws FormatError if it is damaged; Error if another process writes it. */
  static resume(path: string): TokenStoreWriter {
    const frames = FrameWriter.resume(path, KIND);
    try {
      using reader = new FrameReader(path, KIND);
      for (const section of reader.sections) reader.verify(section); // nobody would look at it again before it is read
      const shards = reader.sections.filter((section) => section.name.startsWith('tokens.'));
      const committed = shards.reduce((sum, section) => sum + imagesOf(section.meta), 0);
      return new TokenStoreWriter(frames, parseDescription(reader.header.description, path), committed, shards.length);
    } catch (error) {
      frames.close();
      throw error;
    }
  }

  /** Images appended, and images that a kill cannot take. */
  get size(): number {
    return this.#committed + this.#held;
  }

  get committed(): number {
    return this.#committed;
  }

  /** The note of the last commit. */
  get state(): Json {
    return this.#frames.state;
  }

  /**
   * Adds one image: `tokens` [h * w] row-major, and its class where the store has classes.
   * @throws RangeError for a wrong length, a token >= K or an unknown label; nothing is appended then.
   */
  append(tokens: ArrayLike<number>, label?: number): void {
    const { K, classes, shardImages } = this.description;
    const image = `[tokens] image ${this.size}`;
    if (this.#sealed > 0)
      throw new Error(`${image} cannot follow: the commit of ${this.#sealed} images failed; commit again, or resume ${this.path}`);
    if (tokens.length !== this.#tokensPerImage)
      throw new RangeError(
        `${image} has ${tokens.length} tokens, its grid ${this.description.grid.join(' x ')} has ${this.#tokensPerImage}`,
      );
    if (classes.length > 0 ? !(Number.isInteger(label) && label! >= 0 && label! < classes.length) : label !== undefined)
      throw new RangeError(`${image} has label ${label}; the store has ${classes.length} classes`);
    const at = this.#held * this.#tokensPerImage;
    for (let t = 0; t < tokens.length; t++) {
      const token = tokens[t]!;
      if (!(Number.isInteger(token) && token >= 0 && token < K)) throw new RangeError(`${image} has token ${token} at ${t}, K = ${K}`);
      this.#tokens[at + t] = token;
    }
    this.#labels[this.#held++] = label ?? 0;
    if (this.#held === shardImages) this.commit();
  }

  /** Makes all images so far durable. `state`: where to go on after a kill. A shard ends here: commit rarely (about 0.5 KiB each). */
  commit(state?: Json): void {
    this.#flush();
    this.#commit(false, state);
  }

  /** Makes the store complete and closes it. Returns its images and its measured bytes. */
  finish(state?: Json): { images: number; fileBytes: number } {
    this.#flush();
    this.#commit(true, state);
    this.close();
    return { images: this.#committed, fileBytes: fileBytes(this.path).apparent };
  }

  /** Ends writing; images since the last commit are dropped. */
  close(): void {
    this.#frames.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #flush(): void {
    const images = this.#held;
    if (images === 0) return;
    this.#sealed = images;
    const { K, codec, classes } = this.description;
    const shape = { images, tokens: this.#tokensPerImage, K };
    const [tokens, labels] = [tokensSection(this.#shard), labelsSection(this.#shard)];
    // After a full disk one of the two may be there already.
    if (!this.#frames.has(tokens))
      this.#frames.append(tokens, CODECS[codec].encode(this.#tokens.subarray(0, images * this.#tokensPerImage), shape), images);
    if (classes.length > 0 && !this.#frames.has(labels))
      this.#frames.append(labels, packBits(this.#labels.subarray(0, images), labelBits(classes.length)));
  }

  #commit(final: boolean, state: Json | undefined): void {
    this.#frames.commit({ final, ...(state !== undefined && { state }) });
    if (this.#sealed > 0) this.#shard++;
    this.#committed += this.#sealed;
    this.#held = this.#sealed = 0;
  }
}

/** Images of a shard, by the note beside its section. @throws RangeError where it is none. */
export function imagesOf(meta: Json | undefined): number {
  if (!Number.isInteger(meta) || (meta as number) < 1 || (meta as number) > MAX_SHARD_IMAGES)
    throw new RangeError(`[tokens] a shard of ${JSON.stringify(meta)} images`);
  return meta as number;
}

function littleEndian(numbers: Float32Array): Uint8Array {
  const view = new DataView(new ArrayBuffer(4 * numbers.length));
  numbers.forEach((number, i) => view.setFloat32(4 * i, number, true));
  return new Uint8Array(view.buffer);
}
