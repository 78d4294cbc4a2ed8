/** Running sums as launches: long axes in parts that fill the GPU. */
import { laneOf } from '../../tensor/dtype.ts';
import type { Call } from '../../tensor/lower/program.ts';
import { type Kernel, type Launch, rowPack } from './calls.ts';
import { laneType } from './codegen.ts';
import { MAX_BLOCKS_Y, WORKSPACE_FLOATS } from './shared.ts';

/** Blocks of rows, and threads of columns, that fill a GPU. */
const BLOCKS = 256;
const THREADS = 1 << 17;
/** Columns that a block takes from top to bottom, rows that are worth it, and how many such strips fill a GPU. */
const STRIP_COLUMNS = [32, 16];
const STRIP_ROWS = 128;
const STRIPS = 96;

export function cumsum({ attrs: { outer, axis, inner }, reads, writes }: Call<'cumsum'>, kernel: Kernel): Launch[] {
  if (outer * axis * inner === 0) return [];
  const [x, out] = [reads[0]!, writes[0]!];
  const N = laneType[laneOf[x.dtype]];
  const rows = inner === 1;
  const width = rowPack(axis, [x, out]);
  const across = STRIP_COLUMNS.find((L) => outer * Math.ceil(inner / L) >= STRIPS);
  if (!rows && axis >= STRIP_ROWS && across) {
    const strips = Math.ceil(inner / across);
    return kernel(
      [x, out],
      [outer * strips, 1, 1],
      (p) => `cumsum_strips<${across}, 8>(${p(0)}, ${p(1)}, ${axis}u, ${inner}u, ${strips}u);`,
      { block: 1024 },
    );
  }
  // a long axis is shared out in chunks, whose sums come first; sums have up to 8 bytes
  const most = rows ? Math.min(BLOCKS / outer, axis / 8192) : Math.min(THREADS / (outer * inner), axis / 32, MAX_BLOCKS_Y);
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
