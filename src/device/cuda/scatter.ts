/**
 * Sums of rows by index as launches. Up to 16384 indices of many rows: one launch, whose blocks sort what names their rows (cuda/scatter-rows.cuh).
 * Else the indices are sorted, the result is cleared beside that, then neighbours in the order are added up.
 */
import { laneOf } from '../../tensor/dtype.ts';
import type { Call, View } from '../../tensor/lower/program.ts';
import { type Kernel, type Launch, rowPack } from './calls.ts';
import { laneType } from './codegen.ts';
import { aligned, carve, launchCount, type Order, order, orderScratch } from './order.ts';

type Scatter = Pick<Call<'scatterAdd'>, 'attrs' | 'reads'>;
/** Multiprocessors, and shared memory that a block may have. */
type Card = { multiprocessors: number; sharedBytes: number };

/** Terms that a warp adds up: as many as it has lanes. */
const CHUNK = 32;
/** Packs that a block clears. */
const CLEARED = 2048;

/** The order of the indices: as many bytes of them as the axis needs. */
const orderOf = ({ attrs: { axis, picks } }: Scatter): Order => ({
  rows: 1,
  width: picks,
  first: picks,
  descending: false,
  digits: Math.max(1, Math.ceil(Math.log2(axis) / 8)),
});

/** The order, what its sort needs, two partial sums of each chunk, and which row goes on beyond it. */
function partsOf(call: Scatter): number[] {
  const { outer, inner, picks } = call.attrs;
  const [dy, index] = call.reads as [View, View];
  const number = laneOf[dy.dtype] === 'i64' ? 8 : 4;
  const chunks = Math.ceil(picks / CHUNK);
  return [4 * picks, orderScratch(index.dtype, orderOf(call)), 2 * number * outer * chunks * inner, 4 * chunks];
}
export const scatterScratch = (call: Scatter, card: Card): number =>
  classesOf(call, card) ? 0 : partsOf(call).reduce((n, bytes) => n + aligned(bytes), 0);

/** Blocks of the one launch, which must be on the card all at once, and slices of columns. */
const [BLOCKS, SLICES] = [132, 6];
/** Threads of a block, and those of them that write zeros. */
const [THREADS, CLEARING] = [1024, 96];
/** Entries of a group of threads whose rows are on their way at once. */
const AHEAD = 8;
/** Indices of a list at most, and rows from which blocks have enough of them each. */
const LISTED = 16384;
const MANY_ROWS = 16 * BLOCKS;
/** Shared memory beside the lists: partial sums of a row for each group of threads. */
const PARTIAL_BYTES = 40 << 10;

interface Classes {
  /** Bits of an entry that are its place. */
  shift: number;
  /** Threads side by side, and how often that makes a row. */
  lanes: number;
  slices: number;
  classes: number;
  sharedBytes: number;
}
/** How rows are shared out in one launch; undefined where they are not. */
function classesOf({ attrs: { outer, axis, inner, picks }, reads: [dy] }: Scatter, card: Card): Classes | undefined {
  if (card.multiprocessors < BLOCKS || outer > 1 || picks === 0 || picks > LISTED || (axis < MANY_ROWS && 16 * axis < picks))
    return undefined;
  const packs = inner / rowPack(inner, [dy!]);
  const lanes = Math.min(512, Math.ceil(packs / SLICES));
  const slices = Math.ceil(packs / lanes);
  const classes = Math.min(axis, Math.max(1, Math.floor(BLOCKS / slices)));
  const shift = Math.ceil(Math.log2(picks));
  const rows = Math.ceil(axis / classes);
  const sharedBytes = 4 * (2 * 2 ** shift + 5 + rows + Math.ceil(rows / 32));
  return rows * 2 ** shift < 2 ** 32 && sharedBytes + PARTIAL_BYTES <= card.sharedBytes
    ? { shift, lanes, slices, classes, sharedBytes }
    : undefined;
}

function sumRows(
  { attrs: { axis, inner, picks }, reads: [dy, index], writes: [out] }: Call<'scatterAdd'>,
  c: Classes,
  kernel: Kernel,
): Launch[] {
  const width = rowPack(inner, [dy!]);
  return kernel(
    [dy!, index!, out!, 'bad'],
    [c.classes * c.slices, 1, 1],
    (p) =>
      `scatter_rows<${THREADS}, ${THREADS - CLEARING}, ${c.shift}, ${c.lanes}, ${width}, ${AHEAD}>(${[0, 1, 2, 3].map(p).join(', ')}, ` +
      `${axis}u, ${inner}u, ${picks}u, ${c.classes}u, ${c.slices}u);`,
    { block: THREADS, resident: 1, shared: c.sharedBytes },
  );
}

export function scatterAdd(call: Call<'scatterAdd'>, kernel: Kernel, card: Card): Launch[] {
  const { outer, axis, inner, picks } = call.attrs;
  const [dy, index, out, scratch] = [...call.reads, ...call.writes] as [View, View, View, View | undefined];
  if (outer * axis * inner === 0) return [];
  const width = rowPack(inner, [dy, out]);
  const classes = classesOf(call, card);
  if (classes) return sumRows(call, classes, kernel);
  const packs = (outer * axis * inner) / width;
  const clear = (p: string, first: number, end: number, block: string): string =>
    `clear<${width}>(${p}, ${first}ull, ${end}ull, ${block});`;
  if (picks === 0) return kernel([out], [Math.ceil(packs / CLEARED), 1, 1], (p) => clear(p(0), 0, packs, 'blockIdx.x'));

  const [sorted, sorting, partial, runs] = carve(scratch, partsOf(call)) as [View, View, View, View];
  const share = Math.ceil(packs / launchCount(orderOf(call)) / CLEARED) * CLEARED;
  let cleared = 0;
  /** Blocks behind those of the sort clear a share of the result. */
  const clearing: Kernel = (views, [blocks], body, options) => {
    const [first, end] = [cleared, Math.min(packs, cleared + share)];
    cleared = end;
    return kernel(
      [...views, out],
      [blocks + Math.ceil((end - first) / CLEARED), 1, 1],
      (p) => `if (blockIdx.x >= ${blocks}u) return ${clear(p(views.length), first, end, `blockIdx.x - ${blocks}u`)} ${body(p)}`,
      options,
    );
  };
  const chunks = Math.ceil(picks / CHUNK);
  const slices = Math.ceil(inner / (32 * width));
  const warps = outer * chunks * slices;
  const grid = [Math.ceil(warps / 8), 1, 1] as const;
  const numbers = laneType[laneOf[dy.dtype]];
  return [
    ...order(index, sorted, sorting, orderOf(call), clearing),
    ...kernel(
      [dy, index, sorted, out, partial, runs, 'bad'],
      grid,
      (p) =>
        `sum_runs<${CHUNK}, ${width}>(${p(0)}, ${p(1)}, ${p(2)}, ${p(3)}, (${numbers} *)${p(4)}, ${p(5)}, ${p(6)}, ` +
        `${warps}ull, ${axis}u, ${inner}u, ${picks}u, ${chunks}u, ${slices}u);`,
    ),
    ...kernel(
      [runs, out, partial],
      grid,
      (p) =>
        `join_runs<${width}>(${p(0)}, ${p(1)}, (const ${numbers} *)${p(2)}, ${warps}ull, ${axis}u, ${inner}u, ${chunks}u, ${slices}u);`,
    ),
  ];
}
