/** What a token store says of itself, how its sections are named, and how many bytes it will take. */
import { FormatError } from '../../io/errors.ts';
import { type FrameHeader, type Json, planFrames } from '../../io/frames.ts';
import { bitsFor, type CodecId, checkK, type TokenCodec } from './codec.ts';
import { entropy } from './entropy.ts';
import { escape8 } from './escape8.ts';
import { packed } from './packed.ts';

export const KIND = 'tokens';
export const CODECS: Readonly<Record<CodecId, TokenCodec>> = { escape8, packed, entropy };
/** A shard is the unit of verification and of what a kill can lose. */
const SHARD_TOKENS = 1 << 19;
export const MAX_SHARD_IMAGES = 1 << 22;
const MAX_SHARD_TOKENS = 1 << 26;

export interface TokenStoreConfig {
  /** Size of the codebook; tokens are 0..K-1. */
  K: number;
  /** Rows and columns of one image's tokens. */
  grid: readonly [height: number, width: number];
  /** Numbers per code (d_c), 0 where tokens have no vectors (text). */
  channels: number;
  codec: CodecId;
  /** Names of the classes; empty for unlabelled data. */
  classes: readonly string[];
  /** Shape of the images behind the tokens, in pixels. */
  image?: { height: number; width: number; channels: number } | undefined;
  /** Images per shard; default: as many as make 2^19 tokens. */
  shardImages?: number | undefined;
  /** Who wrote it. */
  producer?: string | undefined;
  /** Anything else that readers should know: normalisation, tokenizer settings. */
  note?: Json | undefined;
}

/** What the file's header holds: the configuration with its defaults filled in. */
export interface Description extends Omit<TokenStoreConfig, 'producer'> {
  shardImages: number;
}

/** The configuration with its defaults. @throws RangeError that names what is out of range. */
export function describe(config: TokenStoreConfig): Description {
  const { K, grid, channels, codec, classes, image, note } = config;
  const codecOf = Object.hasOwn(CODECS, codec) ? CODECS[codec] : undefined;
  if (!codecOf) throw new RangeError(`[tokens] unknown codec '${codec}'; use ${Object.keys(CODECS).join(', ')}`);
  checkK(codecOf, K);
  const whole = (what: string, value: number, least: number, most: number): void => {
    if (!Number.isInteger(value) || value < least || value > most)
      throw new RangeError(`[tokens] ${what} is ${value}; it must be a whole number from ${least} to ${most}`);
  };
  if (!Array.isArray(grid) || grid.length !== 2) throw new RangeError('[tokens] grid must be [height, width]');
  whole('grid height', grid[0], 1, 1 << 16);
  whole('grid width', grid[1], 1, 1 << 16);
  const tokens = grid[0] * grid[1];
  whole('tokens per image', tokens, 1, MAX_SHARD_TOKENS);
  whole('channels', channels, 0, 1 << 16);
  if (!Array.isArray(classes) || !classes.every((name) => typeof name === 'string'))
    throw new RangeError('[tokens] classes must be a list of names');
  whole('number of classes', classes.length, 0, 1 << 16);
  if (image) for (const side of ['height', 'width', 'channels'] as const) whole(`image ${side}`, image[side], 1, 1 << 24);
  const shardImages = config.shardImages ?? Math.max(1, Math.min(MAX_SHARD_IMAGES, Math.floor(SHARD_TOKENS / tokens)));
  whole('images per shard', shardImages, 1, Math.min(MAX_SHARD_IMAGES, Math.max(1, Math.floor(MAX_SHARD_TOKENS / tokens))));
  return {
    K,
    grid: [grid[0], grid[1]],
    channels,
    codec,
    classes: [...classes],
    shardImages,
    ...(image && { image: { height: image.height, width: image.width, channels: image.channels } }),
    ...(note !== undefined && { note }),
  };
}

export function headerOf(config: TokenStoreConfig): FrameHeader {
  return { kind: KIND, producer: config.producer ?? 'thimble', description: describe(config) as unknown as Json };
}

/** The description in a header from a file. @throws FormatError where it is none. */
export function parseDescription(description: Json, path: string): Description {
  try {
    if (typeof description !== 'object' || description === null) throw new RangeError('it is no object');
    return describe(description as unknown as TokenStoreConfig);
  } catch (error) {
    throw new FormatError(`[tokens] ${path}: its description is malformed: ${(error as Error).message}`);
  }
}

/** Bits of one stored label; 0 without classes. */
export function labelBits(classes: number): number {
  return classes === 0 ? 0 : Math.max(1, bitsFor(classes));
}

export const CODEBOOK = 'codebook';
export const attached = (name: string): string => `+${name}`;
export const tokensSection = (shard: number): string => `tokens.${shard}`;
export const labelsSection = (shard: number): string => `labels.${shard}`;

export interface EstimateOptions {
  /** Bytes of attached sections by name, e.g. decoder weights. */
  attachments?: Readonly<Record<string, number>>;
  /** The longest resume note that will be committed. */
  state?: Json;
}

/**
 * Bytes of a store of N images before it is written, for a writer that commits only full shards: exact for `packed`, an upper
 * bound for the others (whose size depends on the tokens). Each additional commit adds about 0.5 KiB.
 */
export function estimateStoreBytes(config: TokenStoreConfig, N: number, { attachments = {}, state = null }: EstimateOptions = {}): number {
  const { K, grid, channels, codec, classes, shardImages } = describe(config);
  const shape = (images: number) => ({ images, tokens: grid[0] * grid[1], K });
  const first = Object.entries(attachments).map(([name, length]) => ({ name: attached(name), length }));
  if (channels > 0) first.unshift({ name: CODEBOOK, length: 4 * K * channels });
  const shards = Array.from({ length: Math.ceil(N / shardImages) }, (_, shard) => {
    const images = Math.min(shardImages, N - shard * shardImages);
    const sections: { name: string; length: number; meta?: Json }[] = [
      { name: tokensSection(shard), length: CODECS[codec].maxBytes(shape(images)), meta: images },
    ];
    if (classes.length > 0) sections.push({ name: labelsSection(shard), length: Math.ceil((images * labelBits(classes.length)) / 8) });
    return { sections, state };
  });
  const lastIsFull = N % shardImages === 0;
  return planFrames(headerOf(config), [{ sections: first }, ...shards, ...(lastIsFull ? [{ sections: [], state }] : [])]);
}
