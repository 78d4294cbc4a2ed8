/** The kernels of linearCrossEntropy and its gradient on Hopper (cuda/linear_xent.cuh, linear_xent-grad.cuh). */
import { itemSize } from '../../tensor/dtype.ts';
import type { Call, View } from '../../tensor/lower/program.ts';
import type { LinearCrossEntropyAttrs } from '../../tensor/ops.ts';
import type { TensorType } from '../../tensor/shape.ts';
import { constant, storageType } from './codegen.ts';
import { AT_ONCE, blocksFor, ceil, layout } from './cross-entropy-blocks.ts';
import { type DenseBlock, denseBlocks, denseProducts, denseScratch, gradientOf, pitchOf, sumsOf } from './cross-entropy-dense.ts';
import type { Operand } from './launch.ts';
import { WORKSPACE_FLOATS } from './shared.ts';
import type { Matrix } from './tensor-map.ts';

/** A block of threads, and its shared memory: the ring of wgmma.cuh and its alignment. */
const TILED = { block: 384, shared: 4 * 49152 + 1024 };
/** Two blocks that copy for each other. */
const PAIRED = { ...TILED, cluster: 2 };
/** Tiles of columns beside each other at a time in the forward pass, so that what the tiles of a moment read is in the second-level cache. */
const WAVE = 8;

interface Kernel {
  views: readonly Operand[];
  grid: readonly [number, number, number];
  /** Statements over the parameters p(0), p(1), ..., one for each view. */
  body: (p: (i: number) => string) => string;
  block?: number;
  shared?: number;
  cluster?: number;
}

/** Half precision on compute capability 9.0, rows of a multiple of 16 bytes. */
export const crossEntropyFits = ([e]: readonly TensorType[], capability: number): boolean =>
  capability === 90 && (e!.dtype === 'bf16' || e!.dtype === 'f16') && e!.shape[1]! % 8 === 0 && e!.shape[0]! > 0 && e!.shape[1]! > 0;

/** Bytes besides operands: places in the vocabulary's order, and for the gradient its blocks. */
export function crossEntropyScratch({ kernel, attrs, reads: [e, c] }: Call<'linearCrossEntropy'> | Call<'linearCrossEntropyGrad'>): number {
  const [N, D] = e!.shape as [number, number];
  const V = c!.shape[0]!;
  if (kernel === 'linearCrossEntropy') return attrs.sort ? 4 * V : 0;
  return denseScratch(N, V, attrs) ?? layout(blocksFor(N, V, D, attrs), V, D, attrs.sort).bytes;
}

function problem({ ignore, first, total, softCap }: LinearCrossEntropyAttrs, N: number, V: number, D: number): string {
  return `Problem{${[N, V, D, ignore, first, total].join(', ')}, ${constant(softCap, 'f32')}}`;
}
const none = (type: string): string => `(const ${type} *)nullptr`;
const list = (p: (i: number) => string, from: number, to: number): string =>
  Array.from({ length: to - from }, (_, i) => p(from + i)).join(', ');

const persistent = (tiles: number): [number, number, number] => [Math.min(AT_ONCE, tiles), 1, 1];

/** positions[order[j]] = j, where there is an order. */
const positionsKernel = (order: View | null, positions: View | null, V: number): Kernel[] =>
  positions
    ? [{ views: [order, positions], grid: [ceil(V, 256), 1, 1], body: (p) => `linear_xent_positions(${list(p, 0, 2)}, ${V});` }]
    : [];

/** Operands as boxes of 128 rows: where the vocabulary has no order. */
const boxed = (v: View): Matrix => ({ view: v, rows: v.shape[0]!, columns: v.shape[1]!, box: 128 });

/** Tiles without an element of eps are left out of everything only where both gradients may do without them. */
const keeps = ({ eps, filter }: LinearCrossEntropyAttrs): boolean => eps > 0 && filter.e && filter.c;

export function crossEntropyKernels({ attrs, reads, writes }: Call<'linearCrossEntropy'>): Kernel[] {
  const [e, c, targets, ...rest] = reads as [View, View, View, ...View[]];
  const [logit, lse, tiles, scratch] = writes as [View, View, View, View | undefined];
  const [N, D] = e.shape as [number, number];
  const V = c.shape[0]!;
  const bias = attrs.bias ? rest[0]! : null;
  const order = attrs.sort ? rest.at(-1)! : null;
  const positions: View | null = order && { ...scratch!, dtype: 'i32' };
  const keep = keeps(attrs) ? tiles : null;
  const boxes = !order && !keep;
  const down = ceil(N, boxes ? 256 : 128);
  const wanted = boxes ? Math.max(WAVE, Math.floor(AT_ONCE / 2 / down)) : Math.floor(AT_ONCE / down);
  const splits = Math.max(1, Math.min(wanted, ceil(V, 256), Math.floor(WORKSPACE_FLOATS / (2 * N))));
  const P = problem(attrs, N, V, D);
  const T = storageType[e.dtype];
  const optional = (v: View | null, type: string, p: string): string => (v ? p : none(type));
  return [
    ...positionsKernel(order, positions, V),
    {
      views: [e, c, targets, bias, logit],
      grid: [ceil(N, 8), 1, 1],
      body: (p) => `linear_xent_target(${list(p, 0, 5)}, ${P});`,
    },
    {
      views: [boxes ? boxed(e) : e, boxes ? boxed(c) : c, targets, bias, order, positions, logit, keep, 'workspace'],
      grid: [boxes ? 2 * splits : splits, down, 1],
      body: (p) =>
        `linear_xent<${T}>(${boxes ? `Boxes{${list(p, 0, 2)}}` : `Gathered<${T}>{${list(p, 0, 2)}, ${optional(order, 'int', p(4))}}`}, ${list(p, 2, 4)}, ${optional(order, 'int', p(4))}, ${optional(positions, 'int', p(5))}, ${p(6)}, ${keep ? p(7) : '(unsigned char *)nullptr'}, (float2 *)${p(8)}, ${P}, ${constant(Math.log(attrs.eps || 1), 'f32')});`,
      ...(boxes ? PAIRED : TILED),
    },
    {
      views: ['workspace', targets, lse, 'bad'],
      grid: [ceil(N, 256), 1, 1],
      body: (p) => `linear_xent_merge((const float2 *)${list(p, 0, 4)}, ${P}, ${splits});`,
    },
  ];
}

/** In blocks of rows and of the vocabulary, by our own products, which leave tiles out. */
function filteredKernels({ attrs, reads, writes }: Call<'linearCrossEntropyGrad'>): Kernel[] {
  const [e, c, targets, lse, dLogit, dLse, tiles, ...rest] = reads as [View, View, View, View, View, View, View, ...View[]];
  const [dE, dC, dBias, skipped, scratch] = writes as [View, View, View, View, View];
  const [N, D] = e.shape as [number, number];
  const V = c.shape[0]!;
  const bias = attrs.bias ? rest[0]! : null;
  const order = attrs.sort ? rest.at(-1)! : null;
  const blocks = blocksFor(N, V, D, attrs);
  const { columns } = blocks;
  const at = layout(blocks, V, D, attrs.sort);
  const part = (bytes: number, dtype: View['dtype']): View => ({
    ...scratch,
    dtype,
    offset: bytes / itemSize[dtype],
    shape: [0],
    strides: [1],
  });
  const g = part(0, e.dtype);
  const low = part(at.low, 'i32');
  const flags = part(at.flags, 'u8');
  const positions = order && part(at.positions, 'i32');
  const keep = keeps(attrs) ? tiles : null;
  const T = storageType[e.dtype];
  const P = problem(attrs, N, V, D);
  const places = (p: string): string => (order ? p : none('int'));

  /** What is done for one block. All blocks share the kernels: where a block lies is a parameter. */
  const blockAt = (i0: number, j0: number): Kernel[] => {
    const where = [i0, Math.min(blocks.rows, N - i0), j0];
    const down = ceil(where[1]!, 128);
    const block = (p: (i: number) => string, from: number): string =>
      `${P}, Block{${[0, 1, 2].map((i) => `(int)${p(from + i)}`).join(', ')}, ${columns}}`;
    return [
      {
        views: [e, c, targets, lse, dLogit, dLse, bias, order, positions, keep, g, flags, ...where],
        grid: persistent((down * columns) / 256),
        body: (p) =>
          `linear_xent_g<${T}>(Gathered<${T}>{${list(p, 0, 2)}, ${places(p(7))}}, ${list(p, 2, 7)}, ${places(p(7))}, ${places(p(8))}, ${keep ? p(9) : none('unsigned char')}, ${list(p, 10, 12)}, ${block(p, 12)}, ${constant(attrs.eps, 'f32')});`,
        ...TILED,
      },
      {
        views: [g, flags, e, order, dC, ...where],
        grid: persistent((columns / 128) * ceil(D, blocks.c)),
        body: (p) => `linear_xent_dc<${T}, ${blocks.c}>(${list(p, 0, 3)}, ${places(p(3))}, ${p(4)}, ${block(p, 5)}, ${attrs.filter.c});`,
        ...TILED,
      },
      {
        views: [g, flags, c, order, dE, low, ...where],
        grid: persistent(down * ceil(D, blocks.e)),
        body: (p) =>
          `linear_xent_de<${T}, ${blocks.e}>(${list(p, 0, 3)}, ${places(p(3))}, ${p(4)}, (u32 *)${p(5)}, ${block(p, 6)}, ${attrs.filter.e});`,
        ...TILED,
      },
      ...(bias
        ? [
            {
              views: [g, flags, order, dBias, ...where],
              grid: [columns / 32, 1, 1] as const,
              body: (p: (i: number) => string) =>
                `linear_xent_dbias(${list(p, 0, 2)}, ${places(p(2))}, ${p(3)}, ${block(p, 4)}, ${keep !== null});`,
            },
          ]
        : []),
      {
        views: [flags, skipped, ...where],
        grid: [ceil(columns / 128, 256), 1, 1],
        body: (p) => `linear_xent_skipped(${list(p, 0, 2)}, ${block(p, 2)}, ${attrs.eps > 0});`,
      },
    ];
  };

  const kernels = positionsKernel(order, positions, V);
  for (let i0 = 0; i0 < N; i0 += blocks.rows) for (let j0 = 0; j0 < V; j0 += columns) kernels.push(...blockAt(i0, j0));
  return kernels;
}

/** In blocks of the vocabulary, by the library's products (cross-entropy-dense.ts). */
function denseKernels({ attrs, reads, writes }: Call<'linearCrossEntropyGrad'>): (Kernel | Call<'gemm'>)[] {
  const [e, c, targets, lse, dLogit, dLse, , bias = null] = reads as [View, View, View, View, View, View, View, View?];
  const [dE, dC, dBias, skipped, scratch] = writes as [View, View, View, View, View];
  const [N, D] = e.shape as [number, number];
  const V = c.shape[0]!;
  const P = problem(attrs, N, V, D);
  const T = storageType[e.dtype];
  const sums = sumsOf(dC, N, V, D);
  const forBlock = (b: DenseBlock, fresh: boolean): (Kernel | Call<'gemm'>)[] => {
    const pitch = pitchOf(b.columns);
    const g = gradientOf(b, N, dC, scratch);
    const block = (p: (i: number) => string, from: number): string => `${P}, Block{0, ${N}, (int)${p(from)}, (int)${p(from + 1)}}`;
    return [
      {
        views: [boxed(e), boxed(c), targets, lse, dLogit, dLse, bias, g, b.first, pitch],
        grid: [2 * Math.min(AT_ONCE / 2, (ceil(N, 256) * pitch) / 256), 1, 1],
        body: (p) =>
          `linear_xent_g<${T}>(Boxes{${list(p, 0, 2)}}, ${list(p, 2, 7)}, ${none('int')}, ${none('int')}, ${none('unsigned char')}, ${p(7)}, (unsigned char *)nullptr, ${block(p, 8)}, 0);`,
        ...PAIRED,
      },
      ...denseProducts(b, g, { e, c, dC, sums }, fresh),
      ...(bias && b.dc
        ? [
            {
              views: [g, dBias, b.first, pitch],
              grid: [pitch / 32, 1, 1] as const,
              body: (p: (i: number) => string) =>
                `linear_xent_dbias(${p(0)}, ${none('unsigned char')}, ${none('int')}, ${p(1)}, ${block(p, 2)}, false);`,
            },
          ]
        : []),
    ];
  };
  const blocks = denseBlocks(N, V, D, attrs.memory);
  const last = blocks.findLastIndex((b) => b.de);
  const rounding: Kernel = {
    views: [sums, dE],
    grid: [ceil(N * D, 1024), 1, 1],
    body: (p) => `linear_xent_round(${p(0)}, ${p(1)}, ${N * D});`,
  };
  const nothing: Kernel = {
    views: [skipped],
    grid: [ceil(ceil(V, 128), 256), 1, 1],
    body: (p) => `linear_xent_skipped(${none('unsigned char')}, ${p(0)}, ${P}, Block{0, ${N}, 0, ${pitchOf(V)}}, false);`,
  };
  return [...blocks.flatMap((b, i) => [...forBlock(b, i === 0), ...(i === last ? [rounding] : [])]), nothing];
}

export const crossEntropyGradKernels = (call: Call<'linearCrossEntropyGrad'>): (Kernel | Call<'gemm'>)[] => {
  const [e, c] = call.reads as [View, View];
  return denseScratch(e.shape[0]!, c.shape[0]!, call.attrs) === undefined ? filteredKernels(call) : denseKernels(call);
};
