/** `packed`: every token in ceil(log2 K) bits, without gaps; image i begins at bit i * tokens * width. */
import { packBits, unpackBits } from './bits.ts';
import { bitsFor, checkTokens, malformed, type TokenCodec } from './codec.ts';

export const packed: TokenCodec = {
  id: 'packed',
  minK: 2,
  maxK: 65536,

  encode(tokens, shape) {
    checkTokens(packed, tokens, shape);
    return packBits(tokens, bitsFor(shape.K));
  },

  open(source, { images, tokens, K }) {
    const width = bitsFor(K);
    const bits = tokens * width;
    const expected = Math.ceil((images * bits) / 8);
    if (source.length !== expected)
      malformed('packed', `${source.length} bytes, ${images} images of ${tokens} tokens of ${width} bits take ${expected}`);
    return {
      indexBytes: 0,
      residentBytes: 0,
      spanBits: () => bits,
      read(i, out, at) {
        const from = Math.floor((i * bits) / 8);
        unpackBits(source.read(from, Math.ceil(((i + 1) * bits) / 8) - from), (i * bits) % 8, width, tokens, out, at);
        if (K < 2 ** width)
          for (let t = at; t < at + tokens; t++)
            if (out[t]! >= K) malformed('packed', `token ${out[t]} of image ${i} is not under K = ${K}`);
      },
    };
  },

  maxBytes: ({ images, tokens, K }) => Math.ceil((images * tokens * bitsFor(K)) / 8),
};
