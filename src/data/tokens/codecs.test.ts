import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FormatError } from '../../io/errors.ts';
import { gammaDecode, gammaEncode, packBits, unpackBits } from './bits.ts';
import { bytesSource, type ShardShape, type TokenCodec } from './codec.ts';
import { CODECS } from './description.ts';
import { lawOf, quantise, rangeDecode, rangeEncode } from './range-coder.ts';
import { entropyBits } from './relabel.ts';

const codecs = Object.values(CODECS);

/** Tokens of a law that falls as power `skew` of the rank. */
function draw({ images, tokens, K }: ShardShape, skew: number, seed: number): Uint16Array {
  let x = seed >>> 0 || 1;
  return Uint16Array.from({ length: images * tokens }, () => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return Math.min(K - 1, Math.floor(K * (x / 2 ** 32) ** skew));
  });
}

function shapes(codec: TokenCodec) {
  return fc.record({
    images: fc.integer({ min: 1, max: 20 }),
    tokens: fc.integer({ min: 1, max: 70 }),
    K: fc.oneof(fc.integer({ min: 2, max: Math.min(codec.maxK, 600) }), fc.integer({ min: 2, max: codec.maxK })),
  });
}

for (const codec of codecs) {
  test(`${codec.id}: round trip, bytes = index + spans, random access = sequential, within the bound`, () => {
    fc.assert(
      fc.property(shapes(codec), fc.double({ min: 0.3, max: 9, noNaN: true }), fc.nat(), (shape, skew, seed) => {
        const tokens = draw(shape, skew, seed);
        const bytes = codec.encode(tokens, shape);
        assert.ok(bytes.length <= codec.maxBytes(shape), `${bytes.length} > ${codec.maxBytes(shape)}`);
        const shard = codec.open(bytesSource(bytes), shape);
        const out = new Uint16Array(tokens.length);
        let bits = 8 * shard.indexBytes;
        for (let n = 0; n < shape.images; n++) {
          const i = (n * 7 + seed) % shape.images; // some order
          shard.read(i, out, i * shape.tokens);
        }
        for (let i = 0; i < shape.images; i++) {
          shard.read(i, out, i * shape.tokens);
          bits += shard.spanBits(i);
        }
        assert.deepEqual(out, tokens);
        assert.equal(bytes.length, Math.ceil(bits / 8));
        assert.deepEqual(codec.encode(tokens, shape), bytes);
      }),
      { numRuns: 300 },
    );
  });

  test(`${codec.id}: every token of every K survives`, () => {
    const Ks =
      codec.maxK > 510
        ? [2, 3, 4, 5, 7, 8, 9, 255, 256, 257, 391, 511, 512, 513, 4096, 65535, 65536]
        : Array.from({ length: 509 }, (_, i) => i + 2);
    for (const K of Ks) {
      const shape = { images: K, tokens: 1, K };
      const all = Uint16Array.from({ length: K }, (_, t) => t);
      const shard = codec.open(bytesSource(codec.encode(all, shape)), shape);
      const out = new Int32Array(K);
      for (let i = 0; i < K; i++) shard.read(i, out, i);
      assert.ok(
        out.every((token, i) => token === i),
        `K = ${K}`,
      );
    }
  });

  test(`${codec.id}: shards cut, changed or made up are refused or decode to tokens under K, within their span`, () => {
    fc.assert(
      fc.property(
        shapes(codec),
        fc.nat(),
        fc.uint8Array({ maxLength: 60 }),
        fc.constantFrom('cut', 'change', 'noise'),
        (shape, seed, noise, how) => {
          const good = codec.encode(draw(shape, 1 + (seed % 5), seed), shape);
          const bytes = how === 'noise' ? noise : how === 'cut' ? good.subarray(0, seed % good.length) : Uint8Array.from(good);
          if (how === 'change') for (const value of noise) bytes[(value * 251 + seed) % bytes.length]! ^= 1 << (value & 7);
          const out = new Uint16Array(shape.tokens + 2).fill(0xabcd);
          try {
            const shard = codec.open(bytesSource(bytes), shape);
            for (let i = 0; i < shape.images; i++) {
              shard.read(i, out, 1);
              assert.ok(out.subarray(1, -1).every((token) => token < shape.K));
            }
            assert.notEqual(how, 'cut');
          } catch (error) {
            assert.ok(error instanceof FormatError, String(error));
          }
          assert.ok(out[0] === 0xabcd && out.at(-1) === 0xabcd);
        },
      ),
      { numRuns: 600 },
    );
  });

  test(`${codec.id}: refuses tokens and K out of range`, () => {
    assert.throws(() => codec.encode(Uint16Array.of(0, 5), { images: 1, tokens: 2, K: 5 }), /token 5 at 1 is not under K = 5/);
    assert.throws(() => codec.encode(Uint16Array.of(0), { images: 1, tokens: 2, K: 5 }), /1 tokens given for 1 images of 2; give 2/);
    assert.throws(() => codec.encode(Uint16Array.of(0), { images: 1, tokens: 1, K: codec.maxK + 1 }), /this codec takes 2 to/);
  });
}

test('escape8 writes the published bytes', () => {
  const shape = { images: 2, tokens: 3, K: 391 };
  const bytes = CODECS.escape8.encode(Uint16Array.of(0, 254, 255, 390, 256, 7), shape);
  assert.deepEqual([...bytes.slice(-9)], [0, 254, 255, 0, 255, 135, 255, 1, 7]);
});

test('packed is the plain arithmetic of bits', () => {
  assert.deepEqual(
    [...CODECS.packed.encode(Uint16Array.of(1, 2, 3, 4, 0, 4), { images: 2, tokens: 3, K: 5 })],
    [0b11010001, 0b00001000, 0b10].map((b) => b & 255),
  );
});

test('entropy comes within 4 % of the information of skewed images of 49 tokens, and under packed', () => {
  const shape = { images: 4000, tokens: 49, K: 256 };
  for (const [skew, over] of [
    [1.5, 1.04],
    [3, 1.045],
  ] as const) {
    const tokens = draw(shape, skew, 5);
    const counts = new Float64Array(256);
    tokens.forEach((token) => counts[token]!++);
    const information = (entropyBits(counts) * tokens.length) / 8;
    const bytes = CODECS.entropy.encode(tokens, shape).length;
    assert.ok(bytes < over * information, `${bytes} bytes, information ${information}`);
    assert.ok(bytes < CODECS.packed.encode(tokens, shape).length);
  }
});

test('a range code that decodes is the code that its symbols encode to', () => {
  let accepted = 0;
  fc.assert(
    fc.property(
      fc.array(fc.nat({ max: 50 }), { minLength: 2, maxLength: 9 }),
      fc.uint8Array({ maxLength: 12 }),
      fc.integer({ min: 0, max: 30 }),
      (counts, code, count) => {
        counts[0]!++;
        const law = lawOf(quantise(counts, 12), 12)!;
        const out = new Uint16Array(count);
        if (!rangeDecode(code, count, law, out, 0)) return;
        accepted++;
        const again = new Uint8Array(3 * count + 8);
        assert.deepEqual(again.slice(0, rangeEncode(out, law, again, 0)), code);
      },
    ),
    { numRuns: 5000 },
  );
  assert.ok(accepted > 100, `${accepted}`);
});

test('quantised frequencies sum exactly, keep what occurs, drop what does not', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.constant(0), fc.nat({ max: 1e6 })), { minLength: 1, maxLength: 300 }), (counts) => {
      counts[counts.length - 1]!++;
      const frequencies = quantise(counts, 12);
      assert.equal(
        frequencies.reduce((a, b) => a + b),
        4096,
      );
      frequencies.forEach((f, s) => assert.equal(f > 0, counts[s]! > 0));
    }),
  );
  assert.throws(() => quantise(new Array(4097).fill(1), 12), /4097 symbols do not fit/);
});

test('bit packing and gamma codes round-trip at every width and place', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 24 }),
      fc.array(fc.nat({ max: 2 ** 24 - 1 }), { minLength: 1, maxLength: 40 }),
      fc.nat(),
      (width, raw, cut) => {
        const values = raw.map((value) => value % 2 ** width);
        const bytes = packBits(values, width);
        const from = cut % values.length;
        const out = new Uint32Array(values.length - from);
        unpackBits(bytes, from * width, width, out.length, out);
        assert.deepEqual([...out], values.slice(from));
        assert.deepEqual([...gammaDecode(gammaEncode(values), new Uint32Array(values.length))!], values);
      },
    ),
  );
});
