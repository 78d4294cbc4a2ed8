/** The blocks of rows and of the vocabulary that the gradient of linearCrossEntropy works in, solved for the memory that it may take. */
import { BudgetError } from '../../bytes/index.ts';
import type { LinearCrossEntropyAttrs } from '../../tensor/ops.ts';

/** Thread blocks at a time: an H100 has as many multiprocessors, and a block fills one. */
export const AT_ONCE = 132;
export const ceil = (a: number, b: number): number => Math.ceil(a / b);

export interface Blocks {
  /** Of e: a multiple of 128. */
  rows: number;
  /** Of the vocabulary: a multiple of 256. */
  columns: number;
  /** Width of the tiles of de and of dc. */
  e: 192 | 256;
  c: 192 | 256;
}

/** Where the parts of the scratch begin, in bytes: the gradient of a block's logits, the lower halves of de's sums, flags, positions in the order. */
export function layout(
  b: Pick<Blocks, 'rows' | 'columns'>,
  V: number,
  D: number,
  sort: boolean,
): { low: number; flags: number; positions: number; bytes: number } {
  const low = b.rows * b.columns * 2;
  const flags = low + b.rows * D * 2;
  const positions = flags + ceil((b.rows / 128) * (b.columns / 128), 16) * 16;
  return { low, flags, positions, bytes: positions + (sort ? 4 * V : 0) };
}

/**
 * The fastest blocks by a model of time (tiles that run at once; traffic of the sums) whose scratch is within `memory`. dc is rounded once a
 * block of rows: where it must be exact, one block holds all rows.
 */
export function blocksFor(
  N: number,
  V: number,
  D: number,
  { memory, sort, filter }: Pick<LinearCrossEntropyAttrs, 'memory' | 'sort' | 'filter'>,
): Blocks {
  // measured on an H100: what a multiprocessor multiplies, what a tile takes to be stored, what a launch takes to begin and end
  const tiles = (count: number, macs: number): number => ceil(count, AT_ONCE) * ((2 * macs) / 4.1e12 + 5e-6) + 8e-6;
  const widths = [256, 192] as const;
  const all = ceil(N, 128) * 128;
  let best: { blocks: Blocks; seconds: number } | undefined;
  for (let parts = 1; parts <= (filter.c ? all / 128 : 1); parts++) {
    const rows = ceil(ceil(N, parts), 128) * 128;
    for (let columns = 256; columns < V + 256; columns += 256) {
      if (layout({ rows, columns }, V, D, sort).bytes > memory) break;
      const choose = (down: number, depth: number): [192 | 256, number] =>
        widths.map((w): [192 | 256, number] => [w, tiles(down * ceil(D, w), 128 * w * depth)]).reduce((a, b) => (b[1] < a[1] ? b : a));
      const [e, forE] = choose(rows / 128, columns);
      const [c, forC] = choose(columns / 128, rows);
      const each = tiles(((rows / 128) * columns) / 256, 128 * 256 * D) + forE + forC + (rows * D * 8 + columns * D * 4) / 2.5e12;
      const seconds = each * ceil(N, rows) * ceil(V, columns);
      if (!best || seconds < best.seconds) best = { blocks: { rows, columns, e, c }, seconds };
    }
  }
  if (best) return best.blocks;
  const needed = layout({ rows: filter.c ? 128 : all, columns: 256 }, V, D, sort).bytes;
  throw new BudgetError({
    who: 'linearCrossEntropy',
    budget: memory,
    needed,
    because: `${filter.c ? 128 : all} x 256 logits and the sums of as many gradients of ${D} features`,
    wayOut: filter.c ? 'raise memory' : "raise memory or use the preset 'cce', which works in smaller blocks",
  });
}
