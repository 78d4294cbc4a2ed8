/** Orders of every dtype and their first entries: many ties, and the ends of what the dtype holds; rows that one block sorts and rows in parts. */
import type { DType } from '../../../tensor/index.ts';
import * as t from '../../../tensor/index.ts';
import { apart, type Case, given, ints } from '../inputs.ts';

const { NaN: nan, POSITIVE_INFINITY: inf } = Number;
/** What each dtype has at its ends, with neighbours that only their last or their first bits tell apart. */
const ends: Record<DType, number[]> = {
  f32: [nan, inf, -inf, 0, -0, 1, 1 + 2 ** -23, -1, -1 - 2 ** -23, 2 ** -149, -(2 ** -149), 3e38, -3e38],
  bf16: [nan, inf, -inf, 0, -0, 1, 1 + 2 ** -7, -1, -1 - 2 ** -7, 2 ** -133, -(2 ** -133)],
  f16: [nan, inf, -inf, 0, -0, 1, 1 + 2 ** -10, -1, -1 - 2 ** -10, 65504, -65504],
  i32: [0, 1, -1, 255, 256, -256, 2 ** 24, 2 ** 31 - 1, -(2 ** 31)],
  i64: [0, 1, -1, 2 ** 31, -(2 ** 31), 2 ** 32, 2 ** 32 + 1, -(2 ** 32), -(2 ** 32) - 1, 2 ** 53, -(2 ** 53)],
  u8: [0, 1, 127, 128, 255],
  i8: [0, 1, -1, 127, -128],
  bool: [0, 1],
};

export const orders: Case[] = apart(() =>
  Object.entries(ends).flatMap(([dtype, few]) =>
    [61, 4501].map((width): Case => {
      const picked = ints([2, width], few.length).values.map((i) => few[i]!);
      return {
        name: `orders of ${width} ${dtype}`,
        ops: ['argsort'],
        inputs: [given(picked, [2, width], dtype as DType)],
        f: (x) =>
          t.concat(
            [t.argsort(x), t.argsort(x, { descending: true }), ...[1, 50, 1100].flatMap((k) => (k <= width ? t.topK(x, k).indices : []))],
            1,
          ),
        forwardOnly: true,
      };
    }),
  ),
);
