/** Reduction kernels with a pointwise prologue, and into how many parts a reduction is split. */
import { itemSize, laneOf } from '../../tensor/dtype.ts';
import { type Expression, resultLane, type View } from '../../tensor/lower/program.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { laneType, statements } from './codegen.ts';
import { askFor } from './early.ts';
import { coordinates, indexType, Packs, packWidth, pointers } from './packs.ts';

/**
 * A reduction over [outer, count, inner]. inner = 1: a warp or a block a row. Otherwise neighbouring columns by several rows of threads.
 * Every sum is taken in an order that depends on the shape alone. For several members the kernel has one parameter, the pointers of each,
 * reads first, and its grid one row of blocks for each.
 */
export function reduceKernel(
  name: string,
  attrs: { dims: readonly number[]; expression: Expression; op: 'sum' | 'max'; outer: number; count: number; inner: number },
  reads: readonly View[],
  write: View,
  {
    multiprocessors,
    capability = 0,
    arg = false,
    members = 1,
  }: { multiprocessors: number; capability?: number; arg?: boolean; members?: number },
): { source: string; blocks: number; block: number; cluster?: number } {
  const { dims, expression: e, op, outer, count, inner } = attrs;
  const result = e.results[0]!;
  const type = result < e.loads ? laneType[laneOf[reads[result]!.dtype]] : laneType[resultLane(e.steps[result - e.loads]!)];
  const rows = inner === 1;
  let width = Math.min(8, packWidth(dims, reads));
  while (width > 1 && (dims.at(-1)! % width || (rows ? count : inner) % width)) width /= 2;
  const packs = new Packs(reads, width);
  const index = indexType(sizeOf(dims));
  const loads = reads.map((_, i) => `${packs.type(i)} a${i} = ${packs.read(i, `in${i}`)};`).join(' ');
  const body = statements(e, 'v', (i) => ({ code: packs.element(i, `a${i}`), lane: laneOf[reads[i]!.dtype] }), '(flat + k)');
  const value = `[&](${index} flat, ${type} (&r)[${width}]) { ${coordinates(dims, 'flat')} ${loads}
    #pragma unroll
    for (int k = 0; k < ${width}; k++) { ${body} r[k] = v${result}; } }`;
  const params = [...pointers(reads, 'in'), ...pointers([write], 'out')];
  const policy = arg ? `Arg<${type}>` : op === 'sum' ? `Sum<${type}>` : `Max<${type}>`;
  // which maximum is the first does not depend on how a row is shared out
  const threads = count <= LONG ? 32 : arg && rows && outer < FEW_BLOCKS ? 1024 : 256;
  const shared = arg || members > 1 ? undefined : togetherOf(outer, count, inner, capability);
  const block = shared ? TOGETHER : Math.max(256, threads);
  // a warp with one pack of a row for each lane reads two rows, so that more is on its way
  const together = threads === 32 && outer >= MANY_ROWS && count <= 32 * width ? 2 : 1;
  let lanes = 32;
  while (lanes > 1 && (lanes * width >= 2 * inner || (lanes > 8 && outer * Math.ceil(inner / (lanes * width)) < FEW_BLOCKS))) lanes /= 2;
  if (shared) lanes = Math.ceil(shared.columns / width);
  // rows that half of a thread's 64 registers hold
  const ahead = Math.max(1, Math.min(8, Math.floor(128 / (width * reads.reduce((n, v) => n + itemSize[v.dtype], 0)))));
  const code = shared
    ? `reduce_columns_together<${policy}, ${lanes}, ${width}, ${block}, ${shared.cluster}, ${ahead}>(${value}, out0, ${count}ull, ${inner}ull);`
    : rows
      ? `reduce_row<${policy}, ${threads}, ${width}, ${together}>(${value}, out0, ${outer}ull, ${count}ull);`
      : `reduce_columns<${policy}, ${lanes}, ${width}>(${value}, out0, ${count}ull, ${inner}ull);`;
  const own = params.map((p, i) => `${p} = (${p.replace(/\w+$/, '')})all.p[blockIdx.y * ${params.length} + ${i}];`).join(' ');
  const blocks = rows
    ? Math.ceil((Math.ceil(outer / together) * threads) / block)
    : Math.ceil(inner / (lanes * width)) * outer * (shared?.cluster ?? 1);
  const oneAfterAnother = reads.every((v) => v.strides.every((s, d) => dims[d] === 1 || s === sizeOf(dims.slice(d + 1))));
  const operands = reads.map((v, i) => ({ pointer: `in${i}`, rowBytes: count * itemSize[v.dtype] }));
  const ask =
    rows && oneAfterAnother && members === 1
      ? askFor(operands, { rows: outer, step: (together * block) / threads }, blocks, multiprocessors)
      : '';
  const kernel = (given: string, first = ''): string =>
    `extern "C" __global__ void ${shared ? `__cluster_dims__(${shared.cluster}, 1, 1) ` : ''}__launch_bounds__(${block}${shared ? ', 2' : ''}) ${name}(${given}) { ${ask} begin(); ${first} ${code} }`;
  const source =
    members === 1
      ? kernel(params.join(', '))
      : `struct ${name}_pointers { u64 p[${members * params.length}]; };\n${kernel(`const __grid_constant__ ${name}_pointers all`, own)}`;
  return { source, blocks, block, ...(shared && { cluster: shared.cluster }) };
}

/** Blocks below which a GPU is not filled; the same for all, so that they give the same bits. */
const FEW_BLOCKS = 128;
const MANY_BLOCKS = 1024;
/** Rows from which two a warp still fill a GPU. */
const MANY_ROWS = 8192;
/** Elements of a row from which a block adds it up, not a warp. */
const LONG = 8192;

/** Terms of columns that one block adds up in less time than a second launch takes. */
export const FEW_TERMS = 256;

/** Threads of blocks that add up columns together: two of them fit on a multiprocessor. */
const TOGETHER = 512;
/** Elements that are worth a cluster; fewer may run in one launch with others (group.ts). */
const MANY_TERMS = 2 ** 20;

/** The columns of a cluster and its blocks, sixteen at most on Hopper, where these share out a reduction over columns and need no second launch. */
function togetherOf(outer: number, count: number, inner: number, capability: number): { columns: number; cluster: number } | undefined {
  if (capability < 90 || inner === 1 || count <= FEW_TERMS || outer * count * inner < MANY_TERMS) return undefined;
  for (const columns of [128, 64]) {
    const clusters = outer * Math.ceil(inner / columns);
    const cluster = (capability === 90 ? [16, 8, 4] : [8, 4]).find((n) => n * clusters >= 96 && n * clusters <= 192);
    if (cluster) return { columns, cluster };
  }
  return undefined;
}

/** Parts that a reduction over [outer, count, inner] is wished to be split into, so that it has enough blocks. */
export function reduceParts(outer: number, count: number, inner: number, capability: number): number {
  const rows = inner === 1;
  if (togetherOf(outer, count, inner, capability)) return 1;
  if (outer * count * inner < 2 ** 18 || (!rows && count <= FEW_TERMS)) return 1;
  const blocks = outer * (rows ? (count > LONG ? 1 : 1 / 8) : Math.ceil(inner / 256));
  // a part is worth its own block from 64 rows of columns, or 8192 elements of a row
  return Math.max(1, Math.min(Math.ceil(MANY_BLOCKS / blocks), Math.floor(count / (rows ? LONG : 64))));
}
