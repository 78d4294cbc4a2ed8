/** A decoder's step over its cache: positions are put in, new keys and values written, and all of them attended over. */
import * as t from '../../../tensor/index.ts';
import { apart, type Case, floats, given, halves, type Input } from '../inputs.ts';

export const decoder: Case[] = apart(() =>
  (
    [
      [64, 1, 200, 150, 4, 4, 'bf16'],
      [64, 1, 40, 0, 2, 2, 'f32'],
      [16, 3, 70, 9, 8, 2, 'bf16'],
      [128, 8, 300, 292, 2, 1, 'f32'],
      [64, 45, 200, 100, 4, 2, 'bf16'],
      [16, 9, 30, 0, 2, 2, 'f32'],
      [16, 2, 1700, 1690, 32, 32, 'bf16'], // more keys of a head than a block has under way
    ] as const
  ).map(([E, T, C, start, Hq, Hkv, dtype]): Case => {
    const values = (...shape: number[]): Input => (dtype === 'bf16' ? halves(shape) : floats(shape, -1, 1));
    return {
      name: `a decoder's step in ${dtype}: ${T} after ${start} of ${C}, ${Hq}/${Hkv} heads of ${E}`,
      ops: ['decodeAttention', 'updateAt', 'flip'],
      forwardOnly: true,
      ...(dtype === 'bf16' ? { tolerance: 2e-2 } : {}),
      inputs: [values(2, T, Hq + 2 * Hkv, E), values(2, 2 * Hkv, C, E), given([start], []), floats([E / 2], 0.001, 0.1)],
      f: (x, cache, at, frequencies) => {
        const turned = t.rope(x, t.rotation(t.add(t.iota(T), at), frequencies));
        const [q, k, v] = t.split(turned, [Hq, Hkv, Hkv], 2) as [t.Tensor, t.Tensor, t.Tensor];
        const headFirst = (y: t.Tensor): t.Tensor => t.permute(y, [0, 2, 1, 3]);
        const entries = t.updateAt(cache, headFirst(t.concat([k, v], 2)), at, 2);
        const [keys, values] = t.split(headFirst(entries), 2, 2) as [t.Tensor, t.Tensor];
        const y = t.decodeAttention(q, keys, values, t.add(at, T));
        return t.cast(t.concat([t.reshape(y, [-1]), t.reshape(entries, [-1])]), 'f32');
      },
    };
  }),
);
