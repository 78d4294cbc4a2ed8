/** Attention over whole, windowed and packed sequences, and over a cache's first tokens. */
import * as t from '../../../tensor/index.ts';
import { apart, type Case, floats, given, halves, type Input } from '../inputs.ts';

type Tensor = t.Tensor;

/** Attention in bf16 with its gradient; `offsets` say where packed sequences begin. */
function inHalves(
  what: string,
  [B, Tq, Tk, Hq, Hkv, E]: readonly [number, number, number, number, number, number],
  options: { causal: boolean; window: number },
  offsets?: readonly number[],
): Case {
  const { causal, window } = options;
  return {
    name: `attention in bf16, ${what}, ${Hq}/${Hkv} heads of ${E}${causal ? ', causal' : ''}${window ? `, window ${window}` : ''}`,
    ops: ['attention', 'attentionGrad'],
    tolerance: 2e-2,
    inputs: [
      halves([B, Tq, Hq, E]),
      halves([B, Tk, Hkv, E]),
      halves([B, Tk, Hkv, E]),
      ...(offsets ? [given([...offsets], [offsets.length])] : []),
    ],
    f: (a, b, c, packed) => t.cast(t.attention(a, b, c, { ...options, ...(packed && { offsets: packed }) }), 'f32'),
  };
}

const q = (T: number, H: number, E = 4): Input => floats([2, T, H, E]);
export const attention: Case[] = apart((): Case[] => [
  { name: 'attention', ops: ['attention', 'attentionGrad'], inputs: [q(5, 2), q(5, 2), q(5, 2)], f: (a, b, c) => t.attention(a, b, c) },
  {
    name: 'attention, causal, fewer kv heads',
    ops: ['attention', 'attentionGrad'],
    inputs: [q(6, 4), q(6, 2), q(6, 2, 3)],
    f: (a, b, c) => t.attention(a, b, c, { causal: true }),
  },
  {
    name: 'attention, causal, more keys than queries',
    ops: ['attention', 'attentionGrad'],
    inputs: [q(3, 2), q(7, 2), q(7, 2)],
    f: (a, b, c) => t.attention(a, b, c, { causal: true }),
  },
  {
    name: 'attention, sliding window',
    ops: ['attention', 'attentionGrad'],
    inputs: [q(9, 1), q(9, 1), q(9, 1)],
    f: (a, b, c) => t.attention(a, b, c, { causal: true, window: 3, scale: 0.7 }),
  },
  ...[false, true].map(
    (causal): Case => ({
      name: `attention, packed sequences${causal ? ', causal' : ''}`,
      ops: ['attention', 'attentionGrad'],
      // an empty sequence, and tokens of none at both ends
      inputs: [floats([1, 9, 4, 3]), floats([1, 9, 2, 3]), floats([1, 9, 2, 3]), given([1, 4, 4, 5, 8], [5])],
      f: (a, b, c, offsets) => t.attention(a, b, c, { causal, offsets }),
    }),
  ),
  ...(
    [
      [16, 70, 70, 2, 2, true, 0],
      [64, 130, 130, 4, 2, true, 0],
      [128, 65, 90, 2, 1, false, 0],
      [32, 100, 100, 2, 2, true, 40],
      [128, 200, 200, 4, 2, true, 70],
      [48, 20, 75, 2, 2, true, 0],
      [64, 400, 330, 2, 1, true, 0], // more tiles than are under way at once, and queries that see no key
      [128, 300, 420, 1, 1, true, 150],
    ] as const
  ).map(([E, Tq, Tk, Hq, Hkv, causal, window]) => inHalves(`${Tq} x ${Tk}`, [2, Tq, Tk, Hq, Hkv, E], { causal, window })),
  ...(
    [
      [64, 150, [0, 7, 70, 70, 134, 145], 2, 1, true, 0],
      [128, 132, [0, 66, 132], 1, 1, false, 0],
      [48, 140, [0, 15, 139], 1, 1, true, 30],
    ] as const
  ).map(([E, T, offsets, Hq, Hkv, causal, window]) =>
    inHalves(`${offsets.length - 1} sequences of ${T} tokens`, [1, T, T, Hq, Hkv, E], { causal, window }, offsets),
  ),
  ...(
    [
      ['attention from one projection', [2, 5, 2, 4], floats([2, 5, 24])],
      ['attention from one projection, bf16 heads of 64', [2, 140, 2, 64], halves([2, 140, 384])],
    ] as const
  ).map(
    ([name, [B, T, H, E], x]): Case => ({
      name,
      ops: ['attention', 'attentionGrad', 'concat'],
      ...(x.dtype === 'bf16' && { tolerance: 2e-2 }),
      inputs: [x],
      f: (a) => {
        const y = t.reshape(a, [B, T, 3, H, E]);
        const part = (i: number): Tensor => t.reshape(t.slice(y, null, null, [i, i + 1]), [B, T, H, E]);
        return t.cast(t.attention(part(0), part(1), part(2), { causal: x.dtype === 'bf16' }), 'f32');
      },
    }),
  ),
  {
    name: 'decodeAttention, one query',
    ops: ['decodeAttention'],
    inputs: [q(1, 4), q(9, 2), q(9, 2, 3), given([5], [])],
    f: (a, b, c, n) => t.decodeAttention(a, b, c, n),
  },
  {
    name: 'decodeAttention, three queries, window',
    ops: ['decodeAttention'],
    inputs: [q(3, 2), q(8, 1), q(8, 1), given([8], [1], 'i64')],
    f: (a, b, c, n) => t.decodeAttention(a, b, c, n, { window: 4, scale: 0.6 }),
  },
  ...[
    [64, 1, 200, 150, 4, 4],
    [64, 2, 300, 300, 8, 2],
    [128, 1, 700, 513, 4, 1],
    [16, 8, 70, 9, 2, 2],
    [96, 1, 40, 33, 2, 1],
    [64, 1, 700, 600, 4, 2, 90],
    [80, 1, 300, 290, 4, 1],
    [128, 3, 600, 500, 4, 2, 200],
    [64, 2, 1100, 1050, 8, 1],
    // many at once: from the start, after others, in part, with a window, in heads that have no tiles
    [64, 150, 300, 150, 4, 2],
    [128, 40, 400, 333, 2, 1],
    [32, 130, 300, 131, 6, 3, 50],
    [16, 24, 90, 90, 2, 2],
    [24, 20, 70, 51, 4, 2],
    [64, 12, 40, 5, 2, 2],
  ].map(
    ([E, Tq, C, length, Hq, Hkv, window = 0]): Case => ({
      name: `decodeAttention in bf16, ${Tq} of ${length} in ${C}, ${Hq}/${Hkv} heads of ${E}${window ? `, window ${window}` : ''}`,
      ops: ['decodeAttention'],
      tolerance: 2e-2,
      inputs: [halves([2, Tq!, Hq!, E!]), halves([2, C!, Hkv!, E!]), halves([2, C!, Hkv!, E!]), given([length!], [1])],
      f: (a, b, c, n) => t.cast(t.decodeAttention(a, b, c, n, { window }), 'f32'),
    }),
  ),
  ...[
    [20, 60, 45, 4, 2, 0],
    [33, 200, 190, 2, 1, 7],
  ].map(
    ([Tq, C, length, Hq, Hkv, window]): Case => ({
      name: `decodeAttention of ${Tq} queries of ${length} in ${C}, window ${window}`,
      ops: ['decodeAttention'],
      forwardOnly: true,
      inputs: [floats([2, Tq!, Hq!, 16], -1, 1), floats([2, C!, Hkv!, 16], -1, 1), floats([2, C!, Hkv!, 16], -1, 1), given([length!], [])],
      f: (a, b, c, n) => t.decodeAttention(a, b, c, n, { window: window! }),
    }),
  ),
]);
