/** Philox-4x32-10 (Salmon et al. 2011), in BigInt-free 32-bit arithmetic. */

function mulHigh(a: number, b: number): number {
  const [ah, al] = [a >>> 16, a & 0xffff];
  const [bh, bl] = [b >>> 16, b & 0xffff];
  const low = al * bl;
  const mid = ah * bl + Math.floor(low / 65536);
  const mid2 = al * bh + (mid % 65536);
  return (ah * bh + Math.floor(mid / 65536) + Math.floor(mid2 / 65536)) >>> 0;
}

/** The four output words of a counter under a key. */
export function philoxBlock(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): [number, number, number, number] {
  let [x0, x1, x2, x3] = counter.map((x) => x >>> 0) as [number, number, number, number];
  let [k0, k1] = key.map((x) => x >>> 0) as [number, number];
  for (let round = 0; round < 10; round++) {
    const [h0, l0] = [mulHigh(0xd2511f53, x0), Math.imul(0xd2511f53, x0) >>> 0];
    const [h1, l1] = [mulHigh(0xcd9e8d57, x2), Math.imul(0xcd9e8d57, x2) >>> 0];
    [x0, x1, x2, x3] = [(h1 ^ x1 ^ k0) >>> 0, l1, (h0 ^ x3 ^ k1) >>> 0, l0];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [x0, x1, x2, x3];
}

/** Word `index % 4` of counter `floor(index / 4)`, as i32: what randomBits gives at `index`. */
export function philox(k0: number, k1: number, index: number): number {
  const counter = Math.floor(index / 4);
  return philoxBlock([counter >>> 0, Math.floor(counter / 2 ** 32), 0, 0], [k0, k1])[index % 4]! | 0;
}
