/** Sizes in bytes: reading what people write ('8MB', '1.5 GiB') and writing what people read. */

const UNITS: Record<string, bigint> = {
  '': 1n,
  b: 1n,
  kb: 10n ** 3n,
  mb: 10n ** 6n,
  gb: 10n ** 9n,
  tb: 10n ** 12n,
  pb: 10n ** 15n,
  kib: 2n ** 10n,
  mib: 2n ** 20n,
  gib: 2n ** 30n,
  tib: 2n ** 40n,
  pib: 2n ** 50n,
};
const IEC = ['KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;
const SI = ['kB', 'MB', 'GB', 'TB', 'PB'] as const;

/**
 * Bytes of a size. Strings take a decimal number and a unit: B, kB/MB/GB/TB/PB (powers of 1000) or KiB/MiB/... (powers of 1024),
 * any case, with or without a space; no unit means bytes. A fraction of a byte is dropped, so that a budget never grows.
 * @throws RangeError for bits ('8Mb'), bare letters ('8M': 1000 or 1024?), negative, non-finite or unsafe sizes.
 */
export function parseBytes(size: string | number): number {
  if (typeof size === 'number') {
    if (!Number.isFinite(size) || size < 0 || size > Number.MAX_SAFE_INTEGER)
      throw new RangeError(`[bytes] ${size} is not a size; give a number of bytes from 0 to 2^53-1`);
    return Math.floor(size);
  }
  if (typeof size !== 'string')
    throw new TypeError(`[bytes] ${String(size)} is not a size; give a number of bytes, or a text such as '8MB'`);
  const fail = (why: string): never => {
    throw new RangeError(`[bytes] cannot read the size ${JSON.stringify(size.slice(0, 40))}: ${why}`);
  };
  if (size.length > 64) fail('longer than 64 characters');
  const match = /^\s*(\d+)(?:\.(\d+))?\s*([a-zA-Z]*)\s*$/.exec(size);
  if (!match) return fail("write a number and a unit, such as '512KB', '8MB' or '1.5 GiB'");
  const [, whole = '', fraction = '', unit = ''] = match;
  if (/^[KMGTP]i?b$/.test(unit)) fail(`'${unit}' reads as bits; write '${unit.slice(0, -1)}B' for bytes`);
  if (/^[kmgtp]$/i.test(unit)) fail(`'${unit}' is ambiguous; write '${unit}B' (powers of 1000) or '${unit}iB' (powers of 1024)`);
  const scale = UNITS[unit.toLowerCase()];
  if (scale === undefined) return fail(`unknown unit '${unit}'; use B, kB, MB, GB, TB, PB or KiB, MiB, GiB, TiB, PiB`);
  const bytes = (BigInt(whole + fraction) * scale) / 10n ** BigInt(fraction.length);
  if (bytes > BigInt(Number.MAX_SAFE_INTEGER)) fail('more than 2^53-1 bytes');
  return Number(bytes);
}

/**
 * A size to read: '512 B', '2.0 KiB', '7.6 MiB'; one decimal, at most 0.05 of the printed unit away from `bytes`.
 * `units` 'si' prints kB, MB, ... instead. Negative differences keep their sign.
 */
export function printBytes(bytes: number, units: 'iec' | 'si' = 'iec'): string {
  if (!Number.isFinite(bytes)) return String(bytes);
  if (bytes < 0) return `-${printBytes(-bytes, units)}`;
  const base = units === 'iec' ? 1024 : 1000;
  const names = units === 'iec' ? IEC : SI;
  let value = Math.round(bytes);
  if (value < base) return `${value} B`;
  value /= base;
  let unit = 0;
  // Promote on the rounded value, so that 1048575 is '1.0 MiB' and not '1024.0 KiB'.
  while (Number(value.toFixed(1)) >= base && unit < names.length - 1) {
    value /= base;
    unit++;
  }
  return `${value.toFixed(1)} ${names[unit]}`;
}

/** The shortest text that parses back to exactly `bytes`: '8MB', '1.5KiB', '1234567B'. @throws RangeError as `parseBytes`. */
export function printExactBytes(bytes: number): string {
  const exact = parseBytes(bytes);
  let best = `${exact}B`;
  for (const [base, names] of [
    [1000, SI],
    [1024, IEC],
  ] as const) {
    for (let i = 0, scale = base; i < names.length; i++, scale *= base) {
      const text = `${exact / scale}${names[i]}`;
      if (text.length < best.length && /^\d+(\.\d+)?[a-z]/i.test(text) && parseBytes(text) === exact) best = text;
    }
  }
  return best;
}

/** Two sizes to compare in one sentence: exact where rounding would print them equal. */
export function printPair(a: number, b: number): [string, string] {
  const pair: [string, string] = [printBytes(a), printBytes(b)];
  return a !== b && pair[0] === pair[1] ? [`${a} B`, `${b} B`] : pair;
}
