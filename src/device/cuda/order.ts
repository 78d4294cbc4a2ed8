/** Orders as launches: rows that fit into shared memory in one, long ones digit by digit, and the few first of long ones by selection. */
import { type DType, itemSize } from '../../tensor/dtype.ts';
import type { Call, View } from '../../tensor/lower/program.ts';
import type { Kernel, Launch } from './calls.ts';

/** Entries that a block sorts in shared memory. */
const ROW = 2048;
/** Entries that a block selects from, and how many of them at most. */
const SELECTED_FROM = 4096;
const SELECTED = SELECTED_FROM / 4;
/** Blocks that sort by digits: some for each multiprocessor, few enough for each to add up what the others counted. */
const BLOCKS = 1056;

/** The `first` entries of the order of each row. */
export interface Order {
  rows: number;
  width: number;
  first: number;
  descending: boolean;
  /** Bytes that tell the keys apart, from the lowest up. */
  digits: number;
}

const orderOf = ({ attrs, reads }: Pick<Call<'argsort'>, 'attrs' | 'reads'>): Order => ({ ...attrs, digits: itemSize[reads[0]!.dtype] });
export const argsortScratch = (call: Pick<Call<'argsort'>, 'attrs' | 'reads'>): number => orderScratch(call.reads[0]!.dtype, orderOf(call));
export function argsort(call: Call<'argsort'>, kernel: Kernel): Launch[] {
  return order(call.reads[0]!, call.writes[0]!, call.writes[1], orderOf(call), kernel);
}

/** Bytes that `order` needs. */
export const orderScratch = (dtype: DType, o: Order): number => partsOf(dtype, o).reduce((n, bytes) => n + aligned(bytes), 0);

export function order(x: View, out: View, scratch: View | undefined, o: Order, kernel: Kernel): Launch[] {
  if (o.rows * o.first === 0) return [];
  const parts = carve(scratch, partsOf(x.dtype, o));
  return byDigits(o) ? digitLaunches(x, out, parts, o, kernel) : selectionLaunches(x, out, parts, o, kernel);
}

const byDigits = ({ width, first }: Order): boolean => width > ROW && first > SELECTED;
export const launchCount = (o: Order): number => (byDigits(o) ? 2 * o.digits : candidatesOf(o).length + 1);

export const aligned = (bytes: number): number => Math.ceil(bytes / 16) * 16;
/** Views of one piece of scratch memory, one behind the other. */
export function carve(scratch: View | undefined, sizes: readonly number[]): View[] {
  let at = scratch ? scratch.offset * itemSize[scratch.dtype] : 0;
  return sizes.map((bytes) => {
    const part: View = { ...scratch!, dtype: 'i32', offset: at / 4 };
    at += aligned(bytes);
    return part;
  });
}

/** Lists of candidates; or counts of digits, then orders and keys of which two take turns. */
function partsOf(dtype: DType, o: Order): number[] {
  const { rows, width, digits } = o;
  if (!byDigits(o)) return candidatesOf(o).map((n) => 4 * rows * n);
  const { keyBytes, chunks } = digitShape(dtype, o);
  const turns = Array.from({ length: Math.min(2, digits - 1) });
  return [1024 * rows * chunks, ...turns.map(() => 4 * rows * width), ...turns.map(() => keyBytes * rows * width)];
}

/** Candidates of a row after each round of selection, until they are few enough to be sorted. */
function candidatesOf({ width, first }: Order): number[] {
  const candidates: number[] = [];
  for (let n = width; n > ROW; ) candidates.push((n = Math.ceil(n / SELECTED_FROM) * first));
  return candidates;
}
function selectionLaunches(x: View, out: View, lists: readonly View[], o: Order, kernel: Kernel): Launch[] {
  const { rows, width, first, descending } = o;
  const candidates = candidatesOf(o);
  const n = candidates.at(-1) ?? width;
  const P = Math.max(32, 2 ** Math.ceil(Math.log2(n)));
  return [
    ...lists.flatMap((to, i) => {
      const n = i ? candidates[i - 1]! : width;
      const chunks = Math.ceil(n / SELECTED_FROM);
      return kernel(
        [x, i ? lists[i - 1]! : null, to],
        [rows * chunks, 1, 1],
        (p) => `select<16>(${p(0)}, (const int *)${p(1)}, ${p(2)}, ${width}u, ${n}u, ${chunks}u, ${first}u, ${descending});`,
        { resident: 3 },
      );
    }),
    ...kernel(
      [x, lists.at(-1) ?? null, out],
      [Math.ceil(rows / (256 / Math.max(32, P / 8))), 1, 1],
      (p) => `sort_rows<${P}>(${p(0)}, (const int *)${p(1)}, ${p(2)}, ${rows}ull, ${width}u, ${n}u, ${first}u, ${descending});`,
    ),
  ];
}

/** Bytes of a key, keys of a thread, and how rows are shared out among blocks. */
function digitShape(dtype: DType, { rows, width }: Order): { keyBytes: number; items: number; chunk: number; chunks: number } {
  const keyBytes = Math.max(4, itemSize[dtype]);
  const items = (rows * width < 2 ** 17 ? 16 : 64) / keyBytes; // few in all are spread over more blocks
  const tiles = Math.ceil(width / (256 * items));
  const chunk = 256 * items * Math.ceil(tiles / Math.max(1, Math.floor(BLOCKS / rows)));
  return { keyBytes, items, chunk, chunks: Math.ceil(width / chunk) };
}
function digitLaunches(x: View, out: View, [counts, ...turns]: readonly View[], o: Order, kernel: Kernel): Launch[] {
  const { rows, width, first, descending, digits } = o;
  const { keyBytes, items, chunk, chunks } = digitShape(x.dtype, o);
  const [orders, keys] = [turns.slice(0, turns.length / 2), turns.slice(turns.length / 2)];
  const K = keyBytes === 8 ? 'u64' : 'u32';
  const sizes = `${width}u, ${chunk}u, ${chunks}u`;
  const grid = [rows * chunks, 1, 1] as const;
  return Array.from({ length: digits }, (_, d) => {
    const last = d === digits - 1;
    const [from, source] = d ? [keys[(d - 1) % 2]!, `(const ${K} *)`] : [x, ''];
    const shift = 8 * d; // given at the launch: the digits share their kernels
    return [
      ...kernel([from, counts!, shift], grid, (p) => `digit_counts(${source}${p(0)}, (u32 *)${p(1)}, ${sizes}, ${p(2)}, ${descending});`),
      ...kernel(
        [from, d ? orders[(d - 1) % 2]! : null, counts!, last ? null : keys[d % 2]!, last ? out : orders[d % 2]!, shift],
        grid,
        (p) =>
          `digit_scatter<${items}, ${!last}>(${source}${p(0)}, (const int *)${p(1)}, (const u32 *)${p(2)}, (${K} *)${p(3)}, ${p(4)}, ` +
          `${sizes}, ${last ? first : width}u, ${p(5)}, ${descending});`,
        { resident: 3 },
      ),
    ];
  }).flat();
}
