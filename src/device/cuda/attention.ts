/** Attention by our own kernels (cuda/attention*.cuh): which it takes, with which tiles, and what is compiled in. */
import type { View } from '../../tensor/lower/program.ts';
import type { TensorType } from '../../tensor/shape.ts';
import { type Card, hopperForward, hopperGradient } from './attention-hopper.ts';
import { constant, storageType } from './codegen.ts';
import type { AttentionCall } from './cudnn.ts';
import type { Operand } from './launch.ts';
import { MAX_BLOCKS_Y } from './shared.ts';

export interface Kernel {
  views: readonly Operand[];
  grid: readonly [number, number, number];
  /** Statements over the parameters p(0), p(1), ..., one for each view. */
  body: (p: (i: number) => string) => string;
  block?: number;
  /** Bytes of dynamic shared memory. */
  shared?: number;
  /** Blocks that a multiprocessor should hold: bounds the registers of a thread. */
  resident?: number;
}

/** Heads of 16 to 128 features in half precision have kernels, as many as a grid may have; the rest runs as the reference. */
export function hasAttention([q, k, v]: readonly TensorType[]): boolean {
  const [B, , Hq, E] = q!.shape as [number, number, number, number];
  return (
    Math.max(B, Hq) <= MAX_BLOCKS_Y &&
    (q!.dtype === 'bf16' || q!.dtype === 'f16') &&
    E % 16 === 0 &&
    E <= 128 &&
    v!.shape[3] === E &&
    k!.shape[1]! > 0
  );
}

/** Bytes of a tile of `rows` rows of E halves (`Tile` of attention.cuh). */
const tileBytes = (rows: number, E: number): number => rows * ((E / 8) | 1) * 16;

/** Bytes of what each of 128 rows sees, and of lse and delta of two tiles of 64 queries. */
const RANGES = 1024;
const SUMS = 1024;
/** From here on blocks take large tiles: cards for servers have 164 KB and more, others 100. */
const ROOMY = 120 << 10;

/** A `Heads` of attention.cuh. */
export const headsOf = ({ strides: [b, t, h] }: View): string => `Heads{${b}ull, ${t}ull, ${h}ull}`;
/** Whether 16 bytes of a row can be read at once. */
export const alignedRows = (views: readonly View[]): boolean =>
  views.every((v) => v.offset % 8 === 0 && v.strides.slice(0, 3).every((s) => s % 8 === 0));
/** The forward pass: keys of a tile, and the shape of its launch. */
export function forwardTiles(E: number): { keys: number; shape: Pick<Kernel, 'block' | 'shared' | 'resident'> } {
  const keys = E > 64 ? 32 : 64;
  return { keys, shape: { block: 128, shared: tileBytes(128, E) + 4 * tileBytes(keys, E) + RANGES, resident: 2 } };
}

/** The launches of attention or its gradient, in order; none without elements. */
export function attentionKernels({ kernel, attrs, reads, writes }: AttentionCall, gpu: Card): Kernel[] {
  const { sharedBytes, capability } = gpu;
  const { scale, causal, window } = attrs;
  const [B, Tq, Hq, E] = reads[0]!.shape as [number, number, number, number];
  const [, Tk, Hkv] = reads[1]!.shape as [number, number, number];
  if (B * Tq * Hq * Tk === 0) return [];
  const T = storageType[reads[0]!.dtype];
  const [q, k, v] = reads as [View, View, View];
  const offsets = reads[kernel === 'attention' ? 3 : 6] ?? null;
  const sequences = offsets ? offsets.shape[0]! - 1 : 0;
  const shape = `Shape{${[B, Hq, Hkv, Tq, Tk, +causal, window].join(', ')}, ${constant(scale || 1e-30, 'f32')}, ${sequences}}`;
  /** The first four parameters. */
  const given = (p: (i: number) => string): string =>
    `${[q, k, v].map((x, i) => `${p(i)}, ${headsOf(x)}`).join(', ')}, ${offsets ? p(3) : '(const int *)nullptr'}`;
  const tail = `${shape}, ${alignedRows([q, k, v])}`;

  if (kernel === 'attention') {
    if (capability === 90 && alignedRows([q, k, v])) {
      const works = Math.ceil(Tq / 128) * Hq * B;
      const tiles = hopperForward({ T, E, shape, from: given, views: [q, k, v, offsets] }, works, writes[0]!, writes[1]!, gpu);
      if (tiles) return tiles;
    }
    const { keys, shape: launch } = forwardTiles(E);
    return [
      {
        views: [q, k, v, offsets, writes[0]!, writes[1]!],
        grid: [Math.ceil(Tq / 128), Hq, B],
        body: (p) => `attention<${T}, ${E}, ${keys}>(${given(p)}, ${p(4)}, ${p(5)}, ${tail});`,
        ...launch,
      },
    ];
  }
  const [, , , o, lse, dO] = reads as [View, View, View, View, View, View];
  const [dq, dk, dv, delta] = writes as [View, View, View, View];
  const lanes = E > 64 ? 16 : E > 32 ? 8 : E > 16 ? 4 : 2; // of a row of delta
  const [wide, roomy] = [E > 64, sharedBytes >= ROOMY];
  const M = wide && !roomy ? 64 : 128; // keys of a block
  const queries = wide && roomy ? 64 : 32; // of a tile beside them
  const keys = wide ? (roomy ? 32 : 16) : 64; // of a tile beside 128 queries
  const from = (p: (i: number) => string): string => `${given(p)}, ${p(4)}, ${p(5)}, ${p(6)}`;
  const deltas: Kernel = {
    views: [o, dO, delta],
    grid: [Math.ceil((B * Tq * Hq * lanes) / 256), 1, 1],
    body: (p) => `attention_delta<${T}, ${E}>(${p(0)}, ${p(1)}, ${p(2)}, ${shape});`,
  };
  const operands = [q, k, v, offsets, dO, lse, delta] as const;
  if (capability === 90 && alignedRows([q, k, v, dq, dk, dv])) {
    const works = [Math.ceil(Tk / 128) * Hkv * B, Math.ceil(Tq / 128) * Hq * B] as const;
    const tiles = hopperGradient({ T, E, shape, from, views: operands }, works, [dq, dk, dv], gpu);
    if (tiles) return [deltas, ...tiles];
  }
  return [
    deltas,
    {
      views: [...operands, dk, dv],
      grid: [Math.ceil(Tk / M), Hkv, B],
      body: (p) =>
        `attention_grad_kv<${T}, ${E}, ${M}, ${queries}>(${from(p)}, ${p(7)}, ${headsOf(dk)}, ${p(8)}, ${headsOf(dv)}, ${tail}, ${alignedRows([dk, dv])});`,
      block: wide ? 2 * M : M,
      shared: 2 * tileBytes(M, E) + 4 * tileBytes(queries, E) + SUMS + RANGES,
      resident: wide && roomy ? 1 : 2,
    },
    {
      views: [...operands, dq],
      grid: [Math.ceil(Tq / 128), Hq, B],
      body: (p) => `attention_grad_q<${T}, ${E}, ${keys}>(${from(p)}, ${p(7)}, ${headsOf(dq)}, ${tail}, ${alignedRows([dq])});`,
      block: 128,
      shared: 2 * tileBytes(128, E) + 4 * tileBytes(keys, E) + RANGES,
      resident: 2,
    },
  ];
}
