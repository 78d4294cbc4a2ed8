/**
 * `escape8`: the byte stream of SeiT's published token files (Park et al. 2023, arXiv 2303.11114). A token t < 255 is the byte t,
 * another the two bytes 255, t - 255; hence K <= 510, and codes should be numbered by descending frequency (relabel.ts).
 */
import { checkTokens, malformed, type TokenCodec } from './codec.ts';
import { decodeSpans, encodeSpans, maxSpanBytes } from './spans.ts';

const ESCAPE = 255;

export const escape8: TokenCodec = {
  id: 'escape8',
  minK: 2,
  maxK: 2 * ESCAPE,

  encode(tokens, shape) {
    checkTokens(escape8, tokens, shape);
    const lengths = new Uint32Array(shape.images);
    const stream = new Uint8Array(2 * tokens.length);
    let end = 0;
    for (let i = 0; i < shape.images; i++) {
      const from = end;
      end = encodeEscape8(tokens.subarray(i * shape.tokens, (i + 1) * shape.tokens), stream, end);
      lengths[i] = end - from;
    }
    const index = encodeSpans(lengths);
    const out = new Uint8Array(index.length + end);
    out.set(index);
    out.set(stream.subarray(0, end), index.length);
    return out;
  },

  open(source, { images, tokens, K }) {
    const { indexBytes, starts } = decodeSpans('escape8', source, images);
    return {
      indexBytes,
      residentBytes: starts.byteLength,
      spanBits: (i) => 8 * (starts[i + 1]! - starts[i]!),
      read: (i, out, at) => decodeEscape8(source.read(starts[i]!, starts[i + 1]! - starts[i]!), tokens, K, out, at),
    };
  },

  maxBytes: ({ images, tokens, K }) =>
    K <= ESCAPE ? maxSpanBytes(images, 0) + images * tokens : maxSpanBytes(images, tokens) + 2 * images * tokens,
};

/** Writes `tokens` (each under 510) to out[at ...]; returns where they end. */
export function encodeEscape8(tokens: Uint16Array, out: Uint8Array, at: number): number {
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i]!;
    if (token >= ESCAPE) out[at++] = ESCAPE;
    out[at++] = token < ESCAPE ? token : token - ESCAPE;
  }
  return at;
}

/** Reads exactly `count` tokens from the whole of `span`. @throws FormatError if it holds fewer or more, or a token >= K. */
export function decodeEscape8(span: Uint8Array, count: number, K: number, out: Uint16Array | Int32Array, at: number): void {
  let next = 0;
  for (let i = 0; i < count; i++) {
    if (next >= span.length) malformed('escape8', `a span of ${span.length} bytes ends after ${i} of ${count} tokens`);
    let token = span[next++]!;
    if (token === ESCAPE) {
      if (next >= span.length) malformed('escape8', `a span of ${span.length} bytes ends within token ${i} of ${count}`);
      token += span[next++]!;
    }
    if (token >= K) malformed('escape8', `token ${token} is not under K = ${K}`);
    out[at + i] = token;
  }
  if (next !== span.length) malformed('escape8', `a span of ${span.length} bytes holds more than ${count} tokens (${next} bytes)`);
}
