/** Attention over a cache (cuda/decode.cuh): how it is shared out, and what is compiled into it of the calls before. */
import { itemSize, laneOf } from '../../tensor/dtype.ts';
import type { Call, View } from '../../tensor/lower/program.ts';
import { alignedRows, forwardTiles, headsOf } from './attention.ts';
import { constant, statements, storageType } from './codegen.ts';
import { coordinates, offsetOf } from './packs.ts';
import { type Shared, TICKETS, WORKSPACE_FLOATS } from './shared.ts';

interface Kernel {
  views: readonly (View | Shared)[];
  grid: readonly [number, number, number];
  body: (p: (i: number) => string) => string;
  block?: number;
  shared?: number;
  resident?: number;
  early?: (p: (i: number) => string) => string;
  cluster?: number;
}

/** New tokens that are attended for in one pass over the keys, and whose entries can be taken in; more come in tiles where there are some. */
export const FEW_TOKENS = 8;

/** Blocks of a cluster on any card that has clusters, and numbers that they may leave for the first. */
const MAX_TOGETHER = 8;
const MAX_INBOX_FLOATS = 3 << 10;

/** The launch of a call; none without elements. @param capability compute capability x 10. */
export function decodeKernels(call: Call<'decodeAttention'> | Call<'appendAttention'>, capability: number): Kernel[] {
  if (call.kernel === 'decodeAttention' && hasTiles(call, capability)) return tiles(call);
  const { attrs, reads, writes } = call;
  const appended = 'query' in attrs ? attrs : undefined;
  const [k, v] = (appended ? reads : reads.slice(1)) as [View, View];
  const q = appended ? appended.query : reads[0]!;
  const [B, Tq, Hq, E] = q.shape as [number, number, number, number];
  const [, C, Hkv] = k.shape as [number, number, number];
  const queries = (Hq / Hkv) * Tq;
  const Q = Math.min(8, queries);
  const rows = Hkv * Math.ceil(queries / Q);
  if (B * rows === 0) return [];
  // enough blocks to fill a large GPU, each with at least one chunk of keys
  const pack = 16 / itemSize[k.dtype];
  const chunk = (4 * 128) / 2 ** Math.ceil(Math.log2(E / pack));
  const room = Math.floor(WORKSPACE_FLOATS / (B * rows * Q * (E + 2)));
  const splits = B * rows > TICKETS ? 1 : Math.max(1, Math.min(Math.ceil(C / chunk), Math.ceil(512 / (B * rows)), room));
  const fitsCluster = splits > 1 && splits <= MAX_TOGETHER && splits * Q * (E + 2) <= MAX_INBOX_FLOATS;
  const together = capability >= 90 && fitsCluster ? splits : 0;
  const aligned = [k, v].every((x) => x.offset % pack === 0 && x.strides.slice(0, 3).every((s) => s % pack === 0));
  const T = storageType[k.dtype];
  const steps = (x: View): string => `Steps{${x.strides.slice(0, 3).map((s) => `${s}ull`)}}`;
  const shape = `DecodeShape{${[Hq, Hkv, Tq, C, attrs.window]}, ${constant(attrs.scale, 'f32')}}`;
  const first = appended ? 0 : 1;
  const cache = (p: (i: number) => string): string => `${p(first)}, ${steps(k)}, ${p(first + 1)}, ${steps(v)}`;
  const [out, shared] = [reads.length, reads.length + 2];
  return [
    {
      views: [...reads, ...writes.slice(0, 2), 'workspace', 'tickets', 'bad'],
      grid: [splits, rows, B],
      block: 128,
      ...(Q <= 2 ? { resident: 4 } : {}),
      ...(together ? { cluster: together } : {}),
      early(p) {
        const ask = `const long long guess = decode_ask<${T}, ${E}, ${Q}, ${aligned}>(${cache(p)}, ${p(first + 2)}, ${shape});`;
        return together ? `${ask} Inbox<${together}, ${Q * (E + 2)}>::open();` : ask;
      },
      body(p) {
        const given = `${cache(p)}, ${p(first + 2)}, guess, ${[out, out + 1, shared, shared + 1, shared + 2].map(p)}, ${shape}`;
        const tokens = appended ? appended.entries.shape[1]! : 0;
        const [before, ask, made] = appended ? making(call as Call<'appendAttention'>, p) : reading(p(0), reads[0]!);
        return `${before} decode_attention<${T}, ${E}, ${Q}, ${tokens}, ${aligned}, ${together}>(${ask}, ${made}, ${given});`;
      },
    },
  ];
}

const hasTiles = ({ reads: [q] }: Call<'decodeAttention'>, capability: number): boolean =>
  q!.shape[1]! > FEW_TOKENS && itemSize[q!.dtype] === 2 && q!.shape[3]! % 16 === 0 && capability >= 80;

/** Queries 128 at a time beside tiles of keys, as in attention without a cache: the scores never reach memory, whatever there is room for. */
function tiles({ attrs, reads, writes }: Call<'decodeAttention'>): Kernel[] {
  const [q, k, v] = reads as [View, View, View];
  const [B, Tq, Hq, E] = q.shape as [number, number, number, number];
  const [, C, Hkv] = k.shape as [number, number, number];
  const { keys, shape: launch } = forwardTiles(E);
  const shape = `Shape{${[B, Hq, Hkv, Tq, C, 1, attrs.window].join(', ')}, ${constant(attrs.scale || 1e-30, 'f32')}, 0}`;
  return [
    {
      views: [...reads, ...writes.slice(0, 2)],
      grid: [Math.ceil(Tq / 128), Hq, B],
      body: (p) =>
        `decode_tiles<${storageType[q.dtype]}, ${E}, ${keys}>(${[q, k, v].map((x, i) => `${p(i)}, ${headsOf(x)}`).join(', ')}, ${[3, 4, 5].map(p)}, ${shape}, ${alignedRows([q, k, v])});`,
      ...launch,
    },
  ];
}

/** Elements of a view of four axes from its own place on. */
const at = ({ strides }: Pick<View, 'strides'>, coordinates: readonly string[]): string =>
  strides.map((s, i) => `${coordinates[i]} * ${s}u`).join(' + ');

type Code = readonly [before: string, ask: string, made: string];

/** Queries that lie in memory, beside a cache that holds all keys. */
const reading = (pointer: string, q: View): Code => [
  '',
  `[&](u32 b, u32 t, u32 h, u32 e) -> float { return load(${pointer}[${at(q, ['b', 't', 'h', 'e'])}]); }`,
  '[&](u32, u32, u32, u32, bool) -> float { return 0; }',
];

/** Queries and entries that an expression makes, rounded as they would be in memory. */
function making({ attrs, reads, writes }: Call<'appendAttention'>, p: (i: number) => string): Code {
  const { dims, expression, query, entries } = attrs;
  const [k, v] = reads as [View, View];
  const E = entries.shape[3]!;
  const loads = reads.slice(3);
  const load = (i: number) => ({ code: `load(${p(3 + i)}[${offsetOf(loads[i]!)}])`, lane: laneOf[loads[i]!.dtype] });
  const body = `${coordinates(dims, 'flat')} ${statements(expression, 'v', load, 'flat')} return rounded<${storageType[k.dtype]}>(v${expression.results[0]});`;
  const head = (x: View): number => (x.offset - writes[2]!.offset) / E; // the first one of keys or values among the cache's
  return [
    `auto make = [&](u32 flat) -> float { ${body} };`,
    `[&](u32 b, u32 t, u32 h, u32 e) -> float { return make(${query.offset}u + ${at(query, ['b', 't', 'h', 'e'])}); }`,
    `[&](u32 b, u32 t, u32 h, u32 e, bool value) -> float { return make(${entries.offset}u + ${at(entries, ['b', 't', `(h + (value ? ${head(v)}u : ${head(k)}u))`, 'e'])}); }`,
  ];
}
