/** Matrices that kernels copy in boxes (PTX ISA, "cp.async.bulk.tensor"): how their descriptions are made. */
import koffi from 'koffi';
import type { View } from '../../tensor/lower/program.ts';
import type { Driver } from './driver.ts';

/** Half precision [rows, columns], one row after the other from where `view` begins, and the rows of a box; a box has 64 columns. */
export interface Matrix {
  readonly view: View;
  readonly rows: number;
  readonly columns: number;
  readonly box: number;
}
export const isMatrix = (x: unknown): x is Matrix => typeof x === 'object' && x !== null && 'box' in x;

/** Of a CUtensorMap. */
export const MAP_BYTES = 128;
const [FLOAT16, BFLOAT16] = [6, 9]; // CUtensorMapDataType
const [SWIZZLE_128B, PROMOTION_L2_256B] = [3, 3];

/** Writes the description of a matrix at `address`: outside of it are zeros, and rows of a box lie 128 bytes apart with their chunks permuted. */
export function describe(d: Driver, { view, rows, columns, box }: Matrix, address: number, to: BigUint64Array): void {
  const aligned = new ArrayBuffer(256); // the driver writes to a multiple of 64 bytes
  const base = koffi.address(aligned);
  const at = Number(-base & 63n);
  const type = view.dtype === 'bf16' ? BFLOAT16 : FLOAT16;
  const words = (...x: number[]): BigUint64Array => BigUint64Array.from(x, BigInt);
  d.cuTensorMapEncodeTiled(
    base + BigInt(at),
    type,
    2,
    address,
    words(columns, rows),
    words(2 * columns),
    Uint32Array.of(64, box),
    Uint32Array.of(1, 1),
    0,
    SWIZZLE_128B,
    PROMOTION_L2_256B,
    0,
  );
  to.set(new BigUint64Array(aligned.slice(at, at + MAP_BYTES)));
}
