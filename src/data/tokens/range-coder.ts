/**
 * A byte-wise range coder (Martin 1979) over static integer frequencies that sum to 2^precision. Integers only: the same bytes
 * everywhere. A code ends with the fewest bytes whose continuation by zeros lies in the final interval, so that a code costs
 * half a byte more than its information on average; a decoder that accepts a code would encode its symbols to that same code.
 */

const TOP = 2 ** 32;
const BOTTOM = 2 ** 24;
const WHOLE = 0xffffffff;

/** Frequencies of the symbols, and what coding needs of them. */
export interface Law {
  precision: number;
  /** [K + 1] sums of the frequencies before each symbol. */
  cumulative: Uint32Array;
  /** [2^precision] the symbol of each slot. */
  symbols: Uint16Array;
}

/** The law of `frequencies`, or undefined unless they sum to 2^precision. */
export function lawOf(frequencies: Uint32Array, precision: number): Law | undefined {
  const total = 2 ** precision;
  const cumulative = new Uint32Array(frequencies.length + 1);
  const symbols = new Uint16Array(total);
  for (let s = 0, sum = 0; s < frequencies.length; s++) {
    const end = sum + frequencies[s]!;
    if (end > total) return undefined;
    symbols.fill(s, sum, end);
    cumulative[s + 1] = sum = end;
  }
  return cumulative.at(-1) === total ? { precision, cumulative, symbols } : undefined;
}

/**
 * Frequencies >= 1 for each symbol that occurs, 0 for the others, that sum to 2^precision: proportional shares of what is left
 * after 1 for each, by largest remainder (ties: lower symbol first). At most 2^precision symbols may occur.
 */
export function quantise(counts: ArrayLike<number>, precision: number): Uint32Array {
  const out = new Uint32Array(counts.length);
  let total = 0;
  let present = 0;
  for (let s = 0; s < counts.length; s++) {
    total += counts[s]!;
    if (counts[s]! > 0) present++;
  }
  const free = 2 ** precision - present;
  if (total === 0 || free < 0) throw new RangeError(`[entropy] ${present} symbols do not fit 2^${precision} slots`);
  const remainders: [symbol: number, remainder: number][] = [];
  let left = free;
  for (let s = 0; s < counts.length; s++) {
    if (counts[s]! === 0) continue;
    const share = Math.floor((counts[s]! * free) / total);
    out[s] = 1 + share;
    left -= share;
    remainders.push([s, counts[s]! * free - share * total]);
  }
  remainders.sort((a, b) => b[1] - a[1] || a[0] - b[0]);
  for (const [s] of remainders.slice(0, left)) out[s]!++;
  return out;
}

/** Writes the code of `symbols` to out[at ...] (room: 3 bytes per symbol and 8 more) and returns where it ends. */
export function rangeEncode(symbols: Uint16Array, law: Law, out: Uint8Array, at: number): number {
  const { precision, cumulative } = law;
  const total = 2 ** precision;
  const begin = at;
  let low = 0;
  let range = WHOLE;
  for (let i = 0; i < symbols.length; i++) {
    const from = cumulative[symbols[i]!]!;
    const to = cumulative[symbols[i]! + 1]!;
    const slot = range >>> precision;
    low += slot * from;
    range = to === total ? range - slot * from : slot * (to - from);
    if (low >= TOP) {
      low -= TOP;
      carry(out, at);
    }
    while (range < BOTTOM) {
      out[at++] = low >>> 24;
      low = (low << 8) >>> 0;
      range = (range << 8) >>> 0;
    }
  }
  let point = ending(low, range);
  if (point >= TOP) {
    point -= TOP;
    carry(out, at);
  }
  for (; point > 0; point = (point << 8) >>> 0) out[at++] = point >>> 24;
  while (at > begin && out[at - 1] === 0) at--;
  return at;
}

/** Decodes `count` symbols from the whole of `code` to out[at ...]; false where it is no code that `rangeEncode` writes. */
export function rangeDecode(code: Uint8Array, count: number, law: Law, out: Uint16Array | Int32Array, at: number): boolean {
  const { precision, cumulative, symbols } = law;
  const total = 2 ** precision;
  if (code.length > 0 && code[code.length - 1] === 0) return false;
  let next = 4;
  let window = (((code[0] ?? 0) << 24) | ((code[1] ?? 0) << 16) | ((code[2] ?? 0) << 8) | (code[3] ?? 0)) >>> 0;
  let value = window; // less the encoder's low
  let range = WHOLE;
  if (value >= range) return false;
  for (let i = 0; i < count; i++) {
    const slot = range >>> precision;
    const symbol = symbols[Math.min(total - 1, (value / slot) >>> 0)]!;
    const from = cumulative[symbol]!;
    const to = cumulative[symbol + 1]!;
    value -= slot * from;
    range = to === total ? range - slot * from : slot * (to - from);
    while (range < BOTTOM) {
      const byte = next < code.length ? code[next]! : 0;
      next++;
      value = ((value << 8) | byte) >>> 0;
      window = ((window << 8) | byte) >>> 0;
      range = (range << 8) >>> 0;
    }
    out[at + i] = symbol;
  }
  // The rest of the code is `window`: it must be the ending that the encoder would choose, and nothing may follow.
  const low = (window - value + TOP) % TOP;
  return next >= code.length && ending(low, range) % TOP === window;
}

/** The point of [low, low + range) with the fewest leading bytes that are not followed by zeros alone. */
function ending(low: number, range: number): number {
  for (let unit = TOP; ; unit /= 256) {
    const point = Math.ceil(low / unit) * unit;
    if (point < low + range) return point;
  }
}

/** Adds one to the number whose digits end before `at`. Codes are fractions under 1, so it never leaves the code. */
function carry(out: Uint8Array, at: number): void {
  do out[--at]!++;
  while (out[at] === 0); // 255 became 256, a zero and a carry
}
