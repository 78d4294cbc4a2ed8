/**
 * `entropy`: a range coder with one law per shard, fitted to the shard's own tokens; each image is a code of its own, so that any
 * one is read alone. A shard that would not shrink is stored packed: never more than one byte above `packed`.
 *
 *     0, packed shard      or      1, precision:u8, length:u32, law[length] (gamma codes of the frequencies), spans, codes
 */
import { gammaDecode, gammaEncode } from './bits.ts';
import { bitsFor, checkTokens, malformed, type TokenCodec, tail } from './codec.ts';
import { packed } from './packed.ts';
import { lawOf, quantise, rangeDecode, rangeEncode } from './range-coder.ts';
import { decodeSpans, encodeSpans } from './spans.ts';

const FIXED = 6;

/** Four bits finer than uniform codes, so that rounding costs little; coarse enough that the law is small beside the shard. */
const precisionFor = (K: number): number => Math.min(16, Math.max(12, bitsFor(K) + 4));

export const entropy: TokenCodec = {
  id: 'entropy',
  minK: 2,
  maxK: 65536,

  encode(tokens, shape) {
    checkTokens(entropy, tokens, shape);
    const counts = new Uint32Array(shape.K);
    for (let i = 0; i < tokens.length; i++) counts[tokens[i]!]!++;
    const precision = precisionFor(shape.K);
    const frequencies = quantise(counts, precision);
    const law = lawOf(frequencies, precision)!;
    const table = gammaEncode(frequencies);
    const codes = new Uint8Array(3 * tokens.length + 8 * shape.images);
    const lengths = new Uint32Array(shape.images);
    let end = 0;
    for (let i = 0; i < shape.images; i++) {
      const from = end;
      end = rangeEncode(tokens.subarray(i * shape.tokens, (i + 1) * shape.tokens), law, codes, end);
      lengths[i] = end - from;
    }
    const spans = encodeSpans(lengths);
    const bytes = FIXED + table.length + spans.length + end;
    if (bytes > packed.maxBytes(shape)) return prefixed(0, packed.encode(tokens, shape));
    const out = new Uint8Array(bytes);
    out[0] = 1;
    out[1] = precision;
    new DataView(out.buffer).setUint32(2, table.length, true);
    out.set(table, FIXED);
    out.set(spans, FIXED + table.length);
    out.set(codes.subarray(0, end), bytes - end);
    return out;
  },

  open(source, shape) {
    if (source.length < 1) malformed('entropy', 'it is empty');
    const mode = source.read(0, 1)[0]!;
    if (mode === 0) {
      const shard = packed.open(tail(source, 1), shape);
      return { ...shard, indexBytes: 1 + shard.indexBytes };
    }
    if (mode !== 1 || source.length < FIXED) malformed('entropy', `mode ${mode} in ${source.length} bytes`);
    const head = source.read(0, FIXED);
    const precision = head[1]!;
    const length = new DataView(head.buffer, head.byteOffset, FIXED).getUint32(2, true);
    if (precision !== precisionFor(shape.K)) malformed('entropy', `precision ${precision}, K = ${shape.K} has ${precisionFor(shape.K)}`);
    if (length > source.length - FIXED) malformed('entropy', `a law of ${length} bytes in ${source.length}`);
    const frequencies = gammaDecode(source.read(FIXED, length), new Uint32Array(shape.K));
    const law = frequencies && lawOf(frequencies, precision);
    if (!law) return malformed('entropy', `its ${shape.K} frequencies do not sum to 2^${precision}`);
    const spanSource = tail(source, FIXED + length);
    const { indexBytes, starts } = decodeSpans('entropy', spanSource, shape.images);
    return {
      indexBytes: FIXED + length + indexBytes,
      residentBytes: starts.byteLength + law.cumulative.byteLength + law.symbols.byteLength,
      spanBits: (i) => 8 * (starts[i + 1]! - starts[i]!),
      read(i, out, at) {
        const code = spanSource.read(starts[i]!, starts[i + 1]! - starts[i]!);
        if (!rangeDecode(code, shape.tokens, law, out, at))
          malformed('entropy', `the ${code.length} bytes of image ${i} are no code of ${shape.tokens} tokens`);
      },
    };
  },

  maxBytes: (shape) => 1 + packed.maxBytes(shape),
};

function prefixed(mode: number, bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(1 + bytes.length);
  out[0] = mode;
  out.set(bytes, 1);
  return out;
}
