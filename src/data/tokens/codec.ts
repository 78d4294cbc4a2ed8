/** The contract of a token codec: how the code indices of a shard of images become bytes, with random access per image. */
import { FormatError } from '../../io/errors.ts';

/** A shard holds `images` x `tokens` indices in 0..K-1, image after image. */
export interface ShardShape {
  images: number;
  /** Tokens per image. */
  tokens: number;
  /** Size of the codebook. */
  K: number;
}

/** Bytes that may lie in memory or in a file: read by position. */
export interface ByteSource {
  readonly length: number;
  /** Bytes [from, from + length). @throws RangeError outside the source. */
  read(from: number, length: number): Uint8Array;
}

/** A shard open for reading. Its bytes are: index, then the spans of its images, then less than one byte of padding. */
export interface TokenShard {
  /** Bytes of tables and offsets in the file. */
  readonly indexBytes: number;
  /** Memory that the open shard holds. */
  readonly residentBytes: number;
  /** Length of image i's code, in bits. */
  spanBits(i: number): number;
  /** Writes the tokens of image i to out[at ...]. @throws FormatError where its span is malformed. */
  read(i: number, out: Uint16Array | Int32Array, at: number): void;
}

export type CodecId = 'escape8' | 'packed' | 'entropy';

export interface TokenCodec {
  readonly id: CodecId;
  readonly minK: number;
  readonly maxK: number;
  /** `tokens` [images * tokens] as bytes. The same input gives the same bytes on every machine. @throws RangeError for a token >= K. */
  encode(tokens: Uint16Array, shape: ShardShape): Uint8Array;
  /** @throws FormatError where the bytes cannot be a shard of this shape. */
  open(source: ByteSource, shape: ShardShape): TokenShard;
  /** No shard of this shape takes more bytes. */
  maxBytes(shape: ShardShape): number;
}

/** Smallest number of bits that tells `count` things apart. */
export function bitsFor(count: number): number {
  return count <= 1 ? 0 : 32 - Math.clz32(count - 1);
}

/** @throws RangeError for a K that the codec does not take, a wrong count of tokens, or a token >= K. */
export function checkTokens(codec: TokenCodec, tokens: Uint16Array, { images, tokens: perImage, K }: ShardShape): void {
  checkK(codec, K);
  if (tokens.length !== images * perImage)
    throw new RangeError(`[${codec.id}] ${tokens.length} tokens given for ${images} images of ${perImage}; give ${images * perImage}`);
  for (let i = 0; i < tokens.length; i++)
    if (tokens[i]! >= K) throw new RangeError(`[${codec.id}] token ${tokens[i]} at ${i} is not under K = ${K}`);
}

export function checkK(codec: TokenCodec, K: number): void {
  if (!Number.isInteger(K) || K < codec.minK || K > codec.maxK)
    throw new RangeError(
      `[${codec.id}] K = ${K}; this codec takes ${codec.minK} to ${codec.maxK}; shrink the codebook or choose another codec`,
    );
}

export function bytesSource(bytes: Uint8Array): ByteSource {
  return {
    length: bytes.length,
    read(from, length) {
      if (from < 0 || length < 0 || from + length > bytes.length)
        throw new RangeError(`bytes ${from}..${from + length} of ${bytes.length}`);
      return bytes.subarray(from, from + length);
    },
  };
}

/** A part of a source, from `from` to its end. */
export function tail(source: ByteSource, from: number): ByteSource {
  return { length: source.length - from, read: (at, length) => source.read(from + at, length) };
}

export function malformed(codec: CodecId, why: string): never {
  throw new FormatError(`[${codec}] malformed shard: ${why}`);
}
