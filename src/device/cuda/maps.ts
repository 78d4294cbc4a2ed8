/** Pointwise kernels, with their shapes as constants: over packs of neighbours, over tiles where operands lie across, over many tensors. */
import { itemSize, laneOf } from '../../tensor/dtype.ts';
import { type Expression, resultLane, type View } from '../../tensor/lower/program.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { laneType, statements, storageType } from './codegen.ts';
import { alignment, coordinates, indexType, offsetOf, Packs, packWidth, pointers } from './packs.ts';

/** The pieces of a pointwise kernel: how a thread reads its packs, computes, and writes. `t` numbers the packs, `u` those of one thread. */
function mapBody(
  dims: readonly number[],
  e: Expression,
  reads: readonly View[],
  writes: readonly View[],
  width: number,
): { declare(unroll: number): string; loads: string; compute: string; element: string } {
  const packs = new Packs([...reads, ...writes], width);
  const values = (load: (i: number) => string, flat: string): string =>
    statements(e, 'v', (i) => ({ code: load(i), lane: laneOf[reads[i]!.dtype] }), flat);
  const laneAt = (id: number): string => laneType[id < e.loads ? laneOf[reads[id]!.dtype] : resultLane(e.steps[id - e.loads]!)];
  const space = coordinates(dims, `t * ${width}u`);
  const results = writes.map((_, i) => `${laneAt(e.results[i]!)} r${i}[${width}];`).join(' ');
  const stores = writes.map((v, i) => {
    const step = v.strides.at(-1)!;
    if (step === 1) return `put<${alignment(v, width)}>(out${i} + (${offsetOf(v)}), r${i});`;
    return `for (int k = 0; k < ${width}; k++) store(out${i}[${offsetOf(v)} + k * (long long)${step}], r${i}[k]);`;
  });
  const kept = writes.map((_, i) => `r${i}[k] = v${e.results[i]};`).join(' ');
  return {
    declare: (unroll) => reads.map((_, i) => `${packs.type(i)} a${i}[${unroll}];`).join(' '),
    loads: `${space} ${reads.map((_, i) => `a${i}[u] = ${packs.read(i, `in${i}`)};`).join(' ')}`,
    compute: `${space} ${results}
    #pragma unroll
    for (int k = 0; k < ${width}; k++) { ${values((i) => packs.element(i, `a${i}[u]`), `(t * ${width}u + k)`)} ${kept} }
    ${stores.join(' ')}`,
    element: `${values((i) => `load(in${i}[${offsetOf(reads[i]!)}])`, 'c0')} ${writes.map((v, i) => `store(out${i}[${offsetOf(v)}], v${e.results[i]});`).join(' ')}`,
  };
}

/** The axis along which operands lie that do not lie along the last: they are turned in shared memory. Undefined where that does not pay. */
function turnedAxis(dims: readonly number[], reads: readonly View[], writes: readonly View[]): number | undefined {
  const last = dims.length - 1;
  const across = reads.filter((v) => v.strides[last] !== 0 && v.strides[last] !== 1);
  if (!across.length || across.length > 3 || dims[last]! < 16 || writes.some((v) => v.strides[last] !== 1)) return undefined;
  const axis = across[0]!.strides.indexOf(1);
  return axis >= 0 && dims[axis]! >= 16 && across.every((v) => v.strides[axis] === 1) ? axis : undefined;
}

/** A map over tiles of two axes: operands that lie along `axis` are read along it, and all else along the last axis. */
function turningKernel(
  name: string,
  dims: readonly number[],
  e: Expression,
  reads: readonly View[],
  writes: readonly View[],
  axis: number,
): { source: string; blocks: number } {
  const last = dims.length - 1;
  const side = Math.max(...reads.map((v) => itemSize[v.dtype])) > 4 ? 32 : 64;
  const turned = reads.map((v) => v.strides[last] !== 0 && v.strides[last] !== 1);
  const grid = dims.map((d, i) => (i === axis || i === last ? Math.ceil(d / side) : d));
  const space = coordinates(grid, 'blockIdx.x').replaceAll(/\bc(\d+)\b/g, 'b$1');
  const others = dims.map((_, i) => (i === axis || i === last ? '' : `u32 c${i} = b${i};`)).join(' ');
  // two halves side by side move together, where both axes have whole pairs: accesses of 4 bytes
  const wide = dims[axis]! % 2 || dims[last]! % 2 || reads.some((v, i) => turned[i] && itemSize[v.dtype] > 2) ? 1 : 2;
  const packs = new Packs(reads, wide);
  const at = (x: number, y: number): string =>
    `u32 c${x} = b${x} * ${side}u + x, c${y} = b${y} * ${side}u + y + j; if (c${x} < ${dims[x]}u && c${y} < ${dims[y]}u)`;
  const flat = dims.map((_, i) => `(u64)c${i} * ${sizeOf(dims.slice(i + 1))}ull`).join(' + ');
  const tiles = reads.map((v, i) => {
    const pitch = side + Math.max(1, 4 / itemSize[v.dtype]); // neighbours of a column lie in different banks
    return turned[i] ? `__shared__ alignas(16) ${storageType[v.dtype]} tile${i}[${side}][${pitch}];` : '';
  });
  const fill = reads.map((v, i) => {
    const along = { ...v, strides: [...v.strides.filter((_, d) => d !== axis), 1] };
    const type = `pack<${storageType[v.dtype]}, ${wide}, ${alignment(along, wide)}>`;
    return turned[i] ? `*(${type} *)&tile${i}[y + j][x] = *(const ${type} *)(in${i} + (${offsetOf(v)}));` : '';
  });
  const straight = reads.map((_, i) => (turned[i] ? '' : `${packs.type(i)} a${i} = ${packs.read(i, `in${i}`)};`)).join(' ');
  const body = statements(
    e,
    'v',
    (i) => ({ code: turned[i] ? `load(tile${i}[x + k][y + j])` : packs.element(i, `a${i}`), lane: laneOf[reads[i]!.dtype] }),
    `(${flat} + k)`,
  );
  const laneAt = (id: number): string => laneType[id < e.loads ? laneOf[reads[id]!.dtype] : resultLane(e.steps[id - e.loads]!)];
  const results = writes.map((_, i) => `${laneAt(e.results[i]!)} r${i}[${wide}];`).join(' ');
  const kept = writes.map((_, i) => `r${i}[k] = v${e.results[i]};`).join(' ');
  const stores = writes.map((v, i) => `put<${alignment(v, wide)}>(out${i} + (${offsetOf(v)}), r${i});`).join(' ');
  const across = side / wide;
  const step = 256 / across;
  const source = `extern "C" __global__ void __launch_bounds__(256) ${name}(${[...pointers(reads, 'in'), ...pointers(writes, 'out')].join(', ')}) {
  begin(); ${tiles.join(' ')} u32 x = threadIdx.x % ${across}u * ${wide}u, y = threadIdx.x / ${across}u; ${space} ${others}
  #pragma unroll
  for (u32 j = 0; j < ${side}u; j += ${step}u) { ${at(axis, last)} { ${fill.join(' ')} } }
  __syncthreads();
  #pragma unroll
  for (u32 j = 0; j < ${side}u; j += ${step}u) { ${at(last, axis)} { ${straight} ${results}
    #pragma unroll
    for (int k = 0; k < ${wide}; k++) { ${body} ${kept} } ${stores} } }
}`;
  return { source, blocks: sizeOf(grid) };
}

/** Ops of twenty instructions and more. */
const BUSY: ReadonlySet<string> = new Set(['tanh', 'erf', 'sin', 'cos', 'pow']);

/** A map kernel over `dims`, and the blocks of 256 threads to launch. */
export function mapKernel(
  name: string,
  dims: readonly number[],
  e: Expression,
  reads: readonly View[],
  writes: readonly View[],
): { source: string; blocks: number } {
  const axis = turnedAxis(dims, reads, writes);
  if (axis !== undefined) return turningKernel(name, dims, e, reads, writes, axis);
  const n = sizeOf(dims);
  const width = packWidth(dims, [...reads, ...writes]);
  const body = mapBody(dims, e, reads, writes, width);
  const count = Math.floor(n / width);
  const perPack = reads.reduce((b, v) => b + (v.strides.every((s) => s !== 0) ? width * itemSize[v.dtype] : 0), 0);
  // 16 bytes in flight for each thread hide the latency of memory; where it has much to compute, the next pack travels meanwhile
  const busy = e.steps.some(({ op }) => BUSY.has(op));
  const unroll = count < 2 ** 18 || perPack === 0 ? 1 : Math.max(busy ? 2 : 1, Math.floor(16 / perPack));
  const index = indexType(n);
  const guard = count % (256 * unroll) === 0 ? '' : `if (t < ${count}u) `;
  const rest = n - count * width;
  const tail = rest
    ? `if (blockIdx.x == 0 && threadIdx.x < ${rest}u) { ${index} c0 = ${count * width}u + threadIdx.x; ${body.element} }`
    : '';
  const source = `extern "C" __global__ void __launch_bounds__(256) ${name}(${[...pointers(reads, 'in'), ...pointers(writes, 'out')].join(', ')}) {
  begin(); ${index} first = blockIdx.x * ${256 * unroll}${n < 2 ** 32 ? 'u' : 'ull'} + threadIdx.x; ${body.declare(unroll)}
  #pragma unroll
  for (u32 u = 0; u < ${unroll}; u++) { ${index} t = first + u * 256u; ${guard}{ ${body.loads} } }
  #pragma unroll
  for (u32 u = 0; u < ${unroll}; u++) { ${index} t = first + u * 256u; ${guard}{ ${body.compute} } }
  ${tail}
}`;
  return { source, blocks: Math.ceil(count / (256 * unroll)) };
}

/**
 * Packs of a block among many tensors: as many as leave blocks to fill a GPU, up to where finding its tensor, by slow indexed constants, no
 * longer shows.
 */
const chunkOf = (packs: number): number => Math.min(1024, Math.max(256, Math.ceil(packs / FULL / 256) * 256));
const FULL = 1024;

/**
 * One map over several tensors of `sizes` elements, walked flat. The kernel has one parameter: for each tensor its pointers, reads first,
 * then the pointers to the numbers that all share. `reads` and `writes` are those of the first tensor and stand for the others.
 */
export function manyMapsKernel(
  name: string,
  sizes: readonly number[],
  e: Expression,
  reads: readonly View[],
  writes: readonly View[],
): { source: string; blocks: number } {
  const views = [...reads, ...writes];
  const width = packWidth([2 ** 20], views);
  const body = mapBody([Math.max(...sizes)], e, reads, writes, width);
  const chunk = chunkOf(sizes.reduce((n, size) => n + size, 0) / width);
  const starts = [0];
  for (const n of sizes) starts.push(starts.at(-1)! + Math.max(1, Math.ceil(Math.floor(n / width) / chunk)));
  const own = views.filter((v) => v.strides[0] !== 0).length;
  let [walked, shared] = [0, own * sizes.length];
  const operands = views.map((v, i) => {
    const at = v.strides[0] === 0 ? `${shared++}` : `m * ${own} + ${walked++}`;
    return `${storageType[v.dtype]} *${i < reads.length ? `in${i}` : `out${i - reads.length}`} = (${storageType[v.dtype]} *)all.p[${at}];`;
  });
  const source = `__constant__ u32 ${name}_starts[] = {${starts.join()}}, ${name}_sizes[] = {${sizes.join()}};
struct ${name}_pointers { u64 p[${shared}]; };
extern "C" __global__ void __launch_bounds__(256) ${name}(const __grid_constant__ ${name}_pointers all) {
  begin(); u32 m = 0;
  for (u32 step = ${2 ** Math.floor(Math.log2(sizes.length))}u; step; step /= 2) if (m + step < ${sizes.length}u && ${name}_starts[m + step] <= blockIdx.x) m += step;
  u32 block = blockIdx.x - ${name}_starts[m], n = ${name}_sizes[m], end = min(n / ${width}u, (block + 1) * ${chunk}u);
  ${operands.join(' ')}
  for (u32 t = block * ${chunk}u + threadIdx.x; t < end; t += 256) { const u32 u = 0; ${body.declare(1)} { ${body.loads} } { ${body.compute} } }
  if (block == 0 && threadIdx.x < n % ${width}u) { u32 c0 = n / ${width}u * ${width}u + threadIdx.x; ${body.element} }
}`;
  return { source, blocks: starts.at(-1)! };
}
