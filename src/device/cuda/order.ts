/** Orders and running sums as launches: short rows in one, long ones in parts that fill the GPU. */
import { laneOf } from '../../tensor/dtype.ts';
import type { Call, View } from '../../tensor/lower/program.ts';
import { type Kernel, type Launch, rowPack, WORKSPACE_FLOATS } from './calls.ts';
import { laneType } from './codegen.ts';

/** Elements that a block sorts in shared memory. */
const TILE = 2048;

/** Tiles are sorted in shared memory (keys of up to 32 bits), then runs are merged, twice as long each time. */
export function argsort({ attrs: { rows, width, descending }, reads, writes }: Call<'argsort'>, kernel: Kernel): Launch[] {
  if (rows * width === 0) return [];
  const [x, out, work] = [reads[0]!, writes[0]!, writes[1]!];
  const tile = x.dtype === 'i64' ? 1 : Math.min(TILE, 2 ** Math.ceil(Math.log2(width)));
  const merges = tile > 1 ? Math.ceil(Math.log2(Math.ceil(width / tile))) : Math.max(1, Math.ceil(Math.log2(width)));
  const passes = merges + (tile > 1 ? 1 : 0);
  /** Both buffers in turn, so that the last pass ends in `out`. */
  const written = (pass: number): View => ((passes - pass) % 2 ? out : work);
  const tiles = tile > 1 ? rows * Math.ceil(width / tile) : 0;
  const sorted = kernel([x, written(0)], [tiles, 1, 1], (p) => `sort_tiles<${tile}>(${p(0)}, ${p(1)}, ${width}u, ${descending});`);
  return [
    ...sorted,
    ...Array.from({ length: merges }, (_, i) => {
      const pass = passes - merges + i;
      return kernel(
        [x, pass ? written(pass - 1) : null, written(pass)],
        [Math.ceil((rows * width) / 256), 1, 1],
        (p) => `merge_pass(${p(0)}, (const int *)${p(1)}, ${p(2)}, ${rows}ull, ${width}ull, ${tile * 2 ** i}ull, ${descending});`,
      );
    }).flat(),
  ];
}

/** Blocks of rows, and threads of columns, that fill a GPU. */
const BLOCKS = 256;
const THREADS = 1 << 17;

export function cumsum({ attrs: { outer, axis, inner }, reads, writes }: Call<'cumsum'>, kernel: Kernel): Launch[] {
  if (outer * axis * inner === 0) return [];
  const [x, out] = [reads[0]!, writes[0]!];
  const N = laneType[laneOf[x.dtype]];
  const rows = inner === 1;
  const width = rowPack(axis, [x, out]);
  // a long axis is shared out in chunks, whose sums come first; sums have up to 8 bytes
  const most = rows ? Math.min(BLOCKS / outer, axis / 8192) : Math.min(THREADS / (outer * inner), axis / 32);
  const wish = Math.max(1, Math.min(Math.ceil(most), Math.floor(WORKSPACE_FLOATS / 2 / (outer * inner))));
  const unit = rows ? 256 * width : 1;
  const chunk = Math.ceil(Math.ceil(axis / wish) / unit) * unit;
  const chunks = Math.ceil(axis / chunk);
  const sizes = rows ? `${axis}u, ${chunk}u, ${chunks}u` : `${outer * inner}ull, ${axis}u, ${inner}u, ${chunk}u`;
  const grid: [number, number, number] = rows ? [chunks * outer, 1, 1] : [Math.ceil((outer * inner) / 256), chunks, 1];
  const [sums, scan] = rows ? [`row_sums<${width}>`, `cumsum_rows<${width}>`] : ['column_sums', 'cumsum_columns'];
  return [
    ...(chunks > 1 ? kernel([x, 'workspace'], grid, (p) => `${sums}(${p(0)}, (${N} *)${p(1)}, ${sizes});`) : []),
    ...kernel([x, 'workspace', out], grid, (p) => `${scan}(${p(0)}, (const ${N} *)${p(1)}, ${p(2)}, ${sizes});`),
  ];
}
