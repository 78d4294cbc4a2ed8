/** Attention over a cache (cuda/decode.cuh): how it is shared out, and what is compiled into it of the calls before. */
import { itemSize, laneOf } from '../../tensor/dtype.ts';
import type { Call, View } from '../../tensor/lower/program.ts';
import { alignedRows, forwardTiles, headsOf } from './attention.ts';
import { constant, statements, storageType } from './codegen.ts';
import type { GemvTarget } from './gemv.ts';
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
/** Bytes of shared memory of a block that are not dynamic, at most. */
const MAX_STATIC_BYTES = 18 << 10;

/** Warps of a block that takes halves on tensor cores, the keys of a tile, and the bytes of tiles on their way: more than half of what a multiprocessor has. */
const STREAM = { warps: 8, keys: 16, bytes: 128 << 10 };

/** How a block goes through keys: all that a grid depends on. */
interface Walk {
  /** Of cuda/decode-any.cuh or cuda/decode-halves.cuh. */
  name: string;
  threads: number;
  /** Keys that a block reads at once. */
  chunk: number;
  /** Blocks that fill a multiprocessor. */
  resident: number;
  /** Its own template argument, and its dynamic shared memory, of a block that takes so many chunks. */
  shape(chunks: number): { argument: string | number | boolean; shared: number };
}

/** Three queries and more of a head of halves go through tensor cores, where a multiprocessor has room for two tiles of each warp. */
function walkOf(E: number, { dtype }: View, aligned: boolean, Q: number, { capability, sharedBytes }: GemvTarget): Walk {
  const packs = E / (16 / itemSize[dtype]);
  const { warps, keys, bytes } = STREAM;
  const stage = warps * (2 * Math.ceil(packs / 4) + 4 * Math.ceil(packs / 8)) * 512;
  const stages = Math.floor(Math.min(bytes, sharedBytes - MAX_STATIC_BYTES) / stage);
  if (aligned && itemSize[dtype] === 2 && capability >= 80 && Q > 2 && stages >= 2)
    return {
      name: 'decode_stream',
      threads: 32 * warps,
      chunk: keys * warps,
      resident: 1,
      shape(chunks) {
        const used = Math.min(stages, chunks);
        return { argument: used, shared: used * stage };
      },
    };
  return {
    name: 'decode_attention',
    threads: 128,
    chunk: (4 * 128) / 2 ** Math.ceil(Math.log2(packs)),
    resident: 4,
    // blocks that are launched early take what room there is: not more than four, or some multiprocessors have six of them and others two
    shape: () => ({ argument: aligned, shared: Q > 2 ? 0 : Math.floor(sharedBytes / 5) }),
  };
}

/** The launch of a call; none without elements. */
export function decodeKernels(call: Call<'decodeAttention'> | Call<'appendAttention'>, target: GemvTarget): Kernel[] {
  const { capability, multiprocessors } = target;
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
  const pack = 16 / itemSize[k.dtype];
  const aligned = [k, v].every((x) => x.offset % pack === 0 && x.strides.slice(0, 3).every((s) => s % pack === 0));
  const walk = walkOf(E, k, aligned, Q, target);
  // as many blocks as fill the GPU once, each with at least one chunk of keys
  const most = walk.resident * multiprocessors;
  const chunks = Math.ceil(C / walk.chunk);
  const left = Q * (E + 2);
  const room = Math.floor(WORKSPACE_FLOATS / (B * rows * left));
  const splits = B * rows > TICKETS ? 1 : Math.max(1, Math.min(chunks, Math.floor(most / (B * rows)), room));
  // the blocks of a cluster find room beside each other only in a GPU that they do not fill
  const fitsCluster = splits > 1 && splits <= MAX_TOGETHER && splits * left <= MAX_INBOX_FLOATS && 2 * B * rows * splits <= most;
  const together = capability >= 90 && fitsCluster ? splits : 0;
  const tokens = appended ? appended.entries.shape[1]! : 0;
  const { argument, shared: sharedBytes } = walk.shape(Math.ceil(chunks / splits));
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
      block: walk.threads,
      shared: sharedBytes,
      ...(walk.name === 'decode_attention' && Q > 2 ? {} : { resident: walk.resident }),
      ...(together ? { cluster: together } : {}),
      early(p) {
        const ask = `const long long guess = decode_ask<${E}, ${Q}, ${walk.chunk}, ${walk.threads}, ${aligned}>(${cache(p)}, ${p(first + 2)}, ${shape});`;
        return together ? `${ask} Inbox<${together}, ${left}>::open();` : ask;
      },
      body(p) {
        const given = `${cache(p)}, ${p(first + 2)}, guess, ${[out, out + 1, shared, shared + 1, shared + 2].map(p)}, ${shape}`;
        const [before, ask, made] = appended ? making(call as Call<'appendAttention'>, p) : reading(p(0), reads[0]!);
        return `${before} ${walk.name}<${T}, ${E}, ${Q}, ${tokens}, ${argument}, ${together}>(${ask}, ${made}, ${given});`;
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
  const loads = reads.slice(3);
  const load = (i: number) => ({ code: `load(${p(3 + i)}[${offsetOf(loads[i]!)}])`, lane: laneOf[loads[i]!.dtype] });
  const body = `${coordinates(dims, 'flat')} ${statements(expression, 'v', load, 'flat')} return rounded<${storageType[k.dtype]}>(v${expression.results[0]});`;
  const head = (x: View): number => (x.offset - writes[2]!.offset) / x.strides[2]!; // the first one of keys or values among the cache's
  return [
    `auto make = [&](u32 flat) -> float { ${body} };`,
    `[&](u32 b, u32 t, u32 h, u32 e) -> float { return make(${query.offset}u + ${at(query, ['b', 't', 'h', 'e'])}); }`,
    `[&](u32 b, u32 t, u32 h, u32 e, bool value) -> float { return make(${entries.offset}u + ${at(entries, ['b', 't', `(h + (value ? ${head(v)}u : ${head(k)}u))`, 'e'])}); }`,
  ];
}
