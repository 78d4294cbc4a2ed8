/** How numbers, dtypes and places are written as the 64-bit words of a program. */
import { type DType, dtypes } from '../../tensor/dtype.ts';
import type { View } from '../../tensor/lower/program.ts';

/** A step's words, and how far and in which chunks its work is counted. */
export interface Encoded {
  extent: number;
  grain: number;
  words: bigint[];
}

/** The two words of a view: the slot of its buffer, and bytes from there. */
export type Ref = (v: View) => bigint[];
/** In place of a view that is not there. */
export const NONE: bigint[] = [-1n, 0n];

export const code = (dtype: DType): bigint => BigInt(dtypes.indexOf(dtype));
export const ints = (...xs: number[]): bigint[] => xs.map(BigInt);

const bits = new DataView(new ArrayBuffer(8));
/** The word of these 64 bits. */
export function double(x: number): bigint {
  bits.setFloat64(0, x);
  return bits.getBigInt64(0);
}
