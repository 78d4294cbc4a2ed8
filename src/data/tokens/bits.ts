/** Fixed-width and gamma-coded numbers in a stream of bits, least significant bit first. */

/** `values`, each under 2^width (width 0..24), packed without gaps. */
export function packBits(values: ArrayLike<number>, width: number): Uint8Array {
  const out = new Uint8Array(Math.ceil((values.length * width) / 8));
  let held = 0;
  let bits = 0;
  let at = 0;
  for (let i = 0; i < values.length; i++) {
    held |= values[i]! << bits;
    for (bits += width; bits >= 8; bits -= 8, held >>>= 8) out[at++] = held;
  }
  if (bits > 0) out[at] = held;
  return out;
}

/** Unpacks `count` values of `width` bits (0..24) that start at bit `from` of `bytes`, to out[at ...]. */
export function unpackBits(
  bytes: Uint8Array,
  from: number,
  width: number,
  count: number,
  out: Uint8Array | Uint16Array | Uint32Array | Int32Array,
  at = 0,
): void {
  const mask = 2 ** width - 1;
  let next = from >>> 3;
  let held = 0;
  let bits = 0;
  if (from & 7) {
    held = bytes[next++]! >>> (from & 7);
    bits = 8 - (from & 7);
  }
  for (let i = 0; i < count; i++) {
    for (; bits < width; bits += 8) held |= bytes[next++]! << bits;
    out[at + i] = held & mask;
    held >>>= width;
    bits -= width;
  }
}

/** Elias gamma codes (Elias 1975) of values + 1: small numbers take few bits, zero takes one. Values are under 2^24. */
export function gammaEncode(values: ArrayLike<number>): Uint8Array {
  const out: number[] = [];
  let at = 0;
  const put = (bit: number): void => {
    if ((at & 7) === 0) out.push(0);
    out[at >> 3]! |= bit << (at & 7);
    at++;
  };
  for (let i = 0; i < values.length; i++) {
    const value = values[i]! + 1;
    const length = 31 - Math.clz32(value);
    for (let k = 0; k < length; k++) put(0);
    for (let k = length; k >= 0; k--) put((value >>> k) & 1);
  }
  return Uint8Array.from(out);
}

/** Inverse of `gammaEncode`: fills `out`, or returns undefined unless `bytes` hold exactly that many codes. */
export function gammaDecode(bytes: Uint8Array, out: Uint32Array): Uint32Array | undefined {
  const end = bytes.length * 8;
  let at = 0;
  const take = (): number => {
    const bit = at < end ? (bytes[at >> 3]! >>> (at & 7)) & 1 : 1; // ones behind the end stop every loop; see the last line
    at++;
    return bit;
  };
  for (let i = 0; i < out.length; i++) {
    let length = 0;
    while (take() === 0) length++;
    if (length > 24) return undefined;
    let value = 1;
    for (let k = 0; k < length; k++) value = (value << 1) | take();
    out[i] = value - 1;
  }
  return Math.ceil(at / 8) === bytes.length ? out : undefined;
}
