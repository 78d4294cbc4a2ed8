/** Where each image of a shard lies, when codes differ in length: lengths less the shortest, packed to the fewest bits. */

import { packBits, unpackBits } from './bits.ts';
import { type ByteSource, bitsFor, type CodecId, malformed } from './codec.ts';

const FIXED = 5; // shortest:u32 width:u8

export function encodeSpans(lengths: Uint32Array): Uint8Array {
  const shortest = lengths.reduce((least, length) => Math.min(least, length), 0xffffffff);
  const longest = lengths.reduce((most, length) => Math.max(most, length), 0);
  const width = bitsFor(longest - shortest + 1);
  const packed = packBits(
    lengths.map((length) => length - shortest),
    width,
  );
  const out = new Uint8Array(FIXED + packed.length);
  new DataView(out.buffer).setUint32(0, shortest, true);
  out[4] = width;
  out.set(packed, FIXED);
  return out;
}

/** Most bytes of the index of `images` spans whose lengths differ by at most `spread`. */
export function maxSpanBytes(images: number, spread: number): number {
  return FIXED + Math.ceil((images * bitsFor(spread + 1)) / 8);
}

export interface Spans {
  /** Bytes of the index itself; the spans follow it. */
  indexBytes: number;
  /** [images + 1] starts of the spans within the source, in bytes. */
  starts: Uint32Array;
}

/** The index at the front of `source`. @throws FormatError unless it and the spans fill the source exactly. */
export function decodeSpans(codec: CodecId, source: ByteSource, images: number): Spans {
  if (source.length < FIXED) malformed(codec, `${source.length} bytes, its span index needs ${FIXED}`);
  const head = source.read(0, FIXED);
  const shortest = new DataView(head.buffer, head.byteOffset, FIXED).getUint32(0, true);
  const width = head[4]!;
  const indexBytes = FIXED + Math.ceil((images * width) / 8);
  if (width > 24 || indexBytes + images * shortest > source.length)
    malformed(codec, `${images} spans of at least ${shortest} bytes do not fit ${source.length} bytes`);
  const starts = new Uint32Array(images + 1);
  unpackBits(source.read(FIXED, indexBytes - FIXED), 0, width, images, starts, 1);
  let end = indexBytes;
  starts[0] = end;
  for (let i = 1; i <= images; i++) starts[i] = end += starts[i]! + shortest;
  if (end !== source.length) malformed(codec, `its spans end at ${end}, its bytes at ${source.length}`);
  return { indexBytes, starts };
}
