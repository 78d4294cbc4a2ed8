/**
 * xoshiro128** 1.1, Blackman and Vigna 2021 (doi 10.1145/3460772): order of data, never weights (those have their own
 * counter-based keys). Its state is made from the seeds by SplitMix32 steps.
 */
export class DataRandom {
  readonly #state: Uint32Array;

  /** The same numbers for the same seeds, on every machine. */
  constructor(...seeds: number[]) {
    let mixed = 0;
    for (const seed of seeds) {
      mixed = splitMix(mixed ^ (seed >>> 0));
      mixed = splitMix(mixed ^ (Math.floor(seed / 2 ** 32) >>> 0));
    }
    this.#state = Uint32Array.from({ length: 4 }, (_, i) => splitMix(mixed + i * 0x9e3779b9));
  }

  static fromState(state: readonly [number, number, number, number]): DataRandom {
    const random = new DataRandom();
    random.#state.set(state);
    return random;
  }

  /** Uniform in 0 .. 2^32 - 1. */
  nextUint32(): number {
    const s = this.#state;
    const result = Math.imul(rotate(Math.imul(s[1]!, 5), 7), 9) >>> 0;
    const t = s[1]! << 9;
    s[2]! ^= s[0]!;
    s[3]! ^= s[1]!;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= t;
    s[3] = rotate(s[3]!, 11);
    return result;
  }

  /** Uniform in 0 .. n - 1, without bias. @throws RangeError where n is no whole number in 1 .. 2^32: no draw would ever be below it */
  below(n: number): number {
    if (!(Number.isInteger(n) && n >= 1 && n <= 2 ** 32))
      throw new RangeError(`[random] a number below ${n}; give a whole number in 1 .. 2^32`);
    const limit = 2 ** 32 - (2 ** 32 % n);
    for (;;) {
      const x = this.nextUint32();
      if (x < limit) return x % n;
    }
  }

  /** Fisher-Yates, in place. */
  shuffle<T extends { length: number; [i: number]: number }>(items: T): T {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      const kept = items[i]!;
      items[i] = items[j]!;
      items[j] = kept;
    }
    return items;
  }
}

const rotate = (x: number, k: number): number => (x << k) | (x >>> (32 - k));

/** One SplitMix step with the 32-bit finaliser of MurmurHash3. */
function splitMix(x: number): number {
  let z = (x + 0x9e3779b9) | 0;
  z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
  z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
  return (z ^ (z >>> 16)) >>> 0;
}
