/** The kernels of linearCrossEntropy and its gradient on Hopper (cuda/linear_xent.cuh, linear_xent-grad.cuh). */
import { itemSize } from '../../tensor/dtype.ts';
import type { Call, View } from '../../tensor/lower/program.ts';
import type { LinearCrossEntropyAttrs } from '../../tensor/ops.ts';
import type { TensorType } from '../../tensor/shape.ts';
import { constant, storageType } from './codegen.ts';
import { AT_ONCE, blocksFor, ceil, layout } from './cross-entropy-blocks.ts';
import type { Operand } from './launch.ts';

/** A block of threads, and its shared memory: the ring of wgmma.cuh and its alignment. */
const TILED = { block: 384, shared: 4 * 49152 + 1024 };

interface Kernel {
  views: readonly Operand[];
  grid: readonly [number, number, number];
  /** Statements over the parameters p(0), p(1), ..., one for each view. */
  body: (p: (i: number) => string) => string;
  block?: number;
  shared?: number;
}

/** Half precision on compute capability 9.0, rows of a multiple of 16 bytes. */
export const crossEntropyFits = ([e]: readonly TensorType[], capability: number): boolean =>
  capability === 90 && (e!.dtype === 'bf16' || e!.dtype === 'f16') && e!.shape[1]! % 8 === 0 && e!.shape[0]! > 0 && e!.shape[1]! > 0;

/** Bytes besides operands: places in the vocabulary's order, and for the gradient its blocks. */
export function crossEntropyScratch({ kernel, attrs, reads: [e, c] }: Call<'linearCrossEntropy'> | Call<'linearCrossEntropyGrad'>): number {
  const [N, D] = e!.shape as [number, number];
  const V = c!.shape[0]!;
  return kernel === 'linearCrossEntropyGrad' ? layout(blocksFor(N, V, D, attrs), V, D, attrs.sort).bytes : attrs.sort ? 4 * V : 0;
}

function problem({ ignore, first, total, softCap }: LinearCrossEntropyAttrs, N: number, V: number, D: number): string {
  return `Problem{${[N, V, D, ignore, first, total].join(', ')}, ${constant(softCap, 'f32')}}`;
}
const none = (type: string): string => `(const ${type} *)nullptr`;
const list = (p: (i: number) => string, from: number, to: number): string =>
  Array.from({ length: to - from }, (_, i) => p(from + i)).join(', ');

/** positions[order[j]] = j, where there is an order. */
const positionsKernel = (order: View | null, positions: View | null, V: number): Kernel[] =>
  positions
    ? [{ views: [order, positions], grid: [ceil(V, 256), 1, 1], body: (p) => `linear_xent_positions(${list(p, 0, 2)}, ${V});` }]
    : [];

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
  const down = ceil(N, 128);
  const splits = Math.max(1, Math.min(Math.floor(AT_ONCE / down), ceil(V, 256)));
  const P = problem(attrs, N, V, D);
  const optional = (v: View | null, type: string, p: string): string => (v ? p : none(type));
  return [
    ...positionsKernel(order, positions, V),
    {
      views: [e, c, targets, bias, order, positions, logit, keep, 'workspace'],
      grid: [down, splits, 1],
      body: (p) =>
        `linear_xent(${list(p, 0, 4)}, ${optional(order, 'int', p(4))}, ${optional(positions, 'int', p(5))}, ${p(6)}, ${keep ? p(7) : '(unsigned char *)nullptr'}, (float2 *)${p(8)}, ${P}, ${constant(Math.log(attrs.eps || 1), 'f32')});`,
      ...TILED,
    },
    {
      views: ['workspace', targets, logit, lse, 'bad'],
      grid: [ceil(N, 256), 1, 1],
      body: (p) => `linear_xent_merge((const float2 *)${list(p, 0, 5)}, ${P}, ${splits});`,
    },
  ];
}

export function crossEntropyGradKernels({ attrs, reads, writes }: Call<'linearCrossEntropyGrad'>): Kernel[] {
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
  const persistent = (tiles: number): [number, number, number] => [Math.min(AT_ONCE, tiles), 1, 1];

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
          `linear_xent_g(${list(p, 0, 7)}, ${places(p(7))}, ${places(p(8))}, ${keep ? p(9) : none('unsigned char')}, ${list(p, 10, 12)}, ${block(p, 12)}, ${constant(attrs.eps, 'f32')});`,
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
