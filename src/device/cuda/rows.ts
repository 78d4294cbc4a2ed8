/** The kernels of cuda/rows.cuh and cuda/norms.cuh: norms, softmax and cross-entropy of rows. */
import { type DType, itemSize } from '../../tensor/dtype.ts';
import type { Call, View } from '../../tensor/lower/program.ts';
import { sizeOf, type TensorType } from '../../tensor/shape.ts';
import type { Kernel, Launch } from './calls.ts';
import { constant } from './codegen.ts';
import { askFor } from './early.ts';

type RowCall = Call<'norm'> | Call<'normGrad'> | Call<'softmax'> | Call<'softmaxGrad'> | Call<'crossEntropy'> | Call<'crossEntropyGrad'>;

const ceil = (a: number, b: number): number => Math.ceil(a / b);

/** The longest rows that a block holds in registers. */
const LONGEST = 16384;
const fits = (width: number, views: readonly (View | null)[]): boolean =>
  width > 0 && width <= LONGEST && views.every((v) => !v || (v.offset * itemSize[v.dtype]) % 16 === 0);

/** How rows are shared out over blocks: a warp or a block each, or (too long for registers, or not aligned) a block that walks them. */
function rowLayout(
  rows: number,
  width: number,
  views: readonly (View | null)[],
): { held: boolean; threads: number; block: number; grid: readonly [number, number, number]; shape: string } {
  const threads = width <= 1024 ? 32 : width <= 8192 ? 256 : 512;
  const held = fits(width, views);
  const block = held ? Math.max(256, threads) : 256;
  return { held, threads, block, grid: [held ? ceil(rows * threads, block) : rows, 1, 1], shape: `${width}, ${threads}` };
}

/** Bytes that a multiprocessor should have on their way to hide the latency of memory: a few times what it reads in that time. */
const IN_FLIGHT = 56 << 10;
/** Bytes of each operand that a norm's gradient asks for before its turn: the sums of the one before leave memory idle. */
const ASKED = 3 << 20;
/** Bytes of shared memory that the kernels have at most beside their rows. */
const OWN_SHARED = 1024;

/** Neighbours of a row that one access moves. */
function packOf(width: number, dtype: DType): number {
  let pack = 16 / itemSize[dtype];
  while (width % pack) pack /= 2;
  return pack;
}
/** Elements of a row of `width` that each of its `threads` holds, in whole packs. */
function elementsOf(width: number, threads: number, dtype: DType): number {
  const pack = packOf(width, dtype);
  return ceil(width, threads * pack) * pack;
}
/** How many rows a block has on their way to shared memory, `stageBytes` each, with so many blocks beside each other; none where there is no room. */
function stagesOf(stageBytes: number, resident: number, sharedBytes: number): number {
  return Math.min(8, Math.floor((sharedBytes - OWN_SHARED) / resident / stageBytes), ceil(IN_FLIGHT, resident * stageBytes));
}

/** Elements of dy and of x that a thread has registers for, beside its part of the sums (norm_grad in norms.cuh). */
const inRegisters = (dtype: DType): number => (itemSize[dtype] > 2 ? 16 : 24);
/**
 * A norm's gradient: the threads of a row, which hold their part of the sums over the rows as well; those of a block, of which a multiprocessor has
 * one; how many rows it has on their way; and the bytes of these, and of both sums of its groups of threads.
 */
function gradLayout(width: number, dtype: DType, sharedBytes: number) {
  const threads = [16, 32, 64, 128, 256].find((n) => elementsOf(width, n, dtype) <= inRegisters(dtype)) ?? 512;
  const elements = elementsOf(width, threads, dtype);
  const room = sharedBytes - OWN_SHARED;
  const sizes = (block: number): { block: number; rowBytes: number; sumBytes: number } => ({
    block,
    rowBytes: 2 * block * elements * itemSize[dtype],
    sumBytes: block > threads ? (block / threads) * 2 * 4 * width : 0,
  });
  const large = sizes(512);
  const sized = threads > 256 || large.rowBytes + large.sumBytes <= room ? large : sizes(256);
  // a row that is taken into registers makes room for the next at once
  const stages = Math.min(elements <= inRegisters(dtype) ? 1 : 2, Math.floor((room - sized.sumBytes) / sized.rowBytes));
  return { threads, stages, ...sized };
}
/** Each block has a part of the sums. */
export function normGradParts({ shape, dtype }: TensorType, card: { sharedBytes: number; multiprocessors: number }): number {
  const { threads, block } = gradLayout(shape.at(-1)!, dtype, card.sharedBytes);
  return Math.min(card.multiprocessors, ceil(sizeOf(shape.slice(0, -1)), block / threads));
}

export function rowKernels(call: RowCall, kernel: Kernel, gpu: { sharedBytes: number; multiprocessors: number }): Launch[] {
  const { reads, writes } = call;
  switch (call.kernel) {
    case 'norm': {
      const { rows, width, eps, rms, affine } = call.attrs;
      const [x] = reads as [View];
      const views = [x, affine > 0 ? reads[1]! : null, affine > 1 ? reads[2]! : null, writes[0]!, rms ? null : writes[1]!, writes[2]!];
      const given = (p: (i: number) => string): string => [0, 1, 2, 3, 4, 5].map(p).join(', ');
      const { held, threads, block, grid } = rowLayout(rows, width, views);
      if (!held) return kernel(views, grid, (p) => `norm_long(${given(p)}, ${width}u, ${constant(eps, 'f32')}, ${rms});`);
      const body = (p: (i: number) => string, stages: number): string =>
        `norm<${width}, ${threads}, ${stages}>(${given(p)}, ${rows}ull, ${constant(eps, 'f32')}, ${rms});`;
      // as many blocks as have registers for the parameters and a row
      const elements = elementsOf(width, threads, x.dtype);
      const numbers = elements * (threads > 32 ? affine + 1 : 3);
      const resident = Math.floor(((numbers <= 24 ? 5 : numbers <= 32 ? 4 : numbers <= 48 ? 3 : 2) * 256) / block);
      const stageBytes = block * elements * itemSize[x.dtype];
      const ahead = stagesOf(stageBytes, resident, gpu.sharedBytes);
      const stages = threads > 32 ? Math.min(1, ahead) : ahead; // blocks with a row each have others beside them
      const blocks = Math.min(grid[0], gpu.multiprocessors * resident);
      return kernel(views, [blocks, 1, 1], (p) => body(p, stages), {
        block,
        resident,
        shared: stages * stageBytes,
        early: (p) =>
          askFor([{ pointer: p(0), rowBytes: width * itemSize[x.dtype] }], { rows, step: block / threads }, blocks, gpu.multiprocessors),
      });
    }
    case 'normGrad': {
      const { rows, width, rms, affine, parts } = call.attrs;
      const [dy, x] = reads as [View, View];
      const gain = affine ? reads[2]! : null;
      const mean = rms ? null : reads.at(-2)!;
      const rstd = reads.at(-1)!;
      const [dGain, dBias] = [affine ? writes[1]! : null, affine > 1 ? writes[2]! : null];
      if (fits(width, [...reads, ...writes])) {
        const { threads, stages, block, rowBytes, sumBytes } = gradLayout(width, x.dtype, gpu.sharedBytes);
        const steps = ceil(ASKED, parts * (block / threads) * width * itemSize[x.dtype]);
        return kernel(
          [dy, x, gain, mean, rstd, writes[0]!, dGain, dBias],
          [parts, 1, 1],
          (p) =>
            `norm_grad<${width}, ${threads}, ${block}, ${stages}, ${affine}>(${[0, 1, 2, 3, 4, 5, 6, 7].map(p).join(', ')}, ${rows}ull, ${rms});`,
          {
            block,
            resident: 1,
            shared: stages * rowBytes + (affine / 2) * sumBytes,
            early: (p) =>
              askFor(
                [dy, x].map((v, i) => ({ pointer: p(i), rowBytes: width * itemSize[v.dtype] })),
                { rows, step: steps * (block / threads), most: 2 * ASKED },
                parts,
                gpu.multiprocessors,
              ),
          },
        );
      }
      const dx = kernel(
        [dy, x, gain, mean, rstd, writes[0]!],
        [rows, 1, 1],
        (p) => `norm_grad_x_long(${[0, 1, 2, 3, 4, 5].map(p).join(', ')}, ${width}u, ${rms});`,
      );
      if (!affine) return dx;
      return [
        ...dx,
        ...kernel(
          [dy, x, mean, rstd, dGain, dBias],
          [ceil(width, 32), parts, 1],
          (p) =>
            `norm_grad_parameters_long(${[0, 1, 2, 3, 4, 5].map(p).join(', ')}, ${rows}ull, ${width}ull, ${ceil(rows, parts)}ull, ${rms});`,
        ),
      ];
    }
    case 'softmax':
    case 'softmaxGrad': {
      const { rows, width } = call.attrs;
      const views = [...reads, writes[0]!];
      const f = call.kernel === 'softmax' ? 'softmax' : 'softmax_grad';
      const { held, block, grid, shape } = rowLayout(rows, width, views);
      return kernel(
        views,
        grid,
        (p) => {
          const given = views.map((_, i) => p(i)).join(', ');
          return held ? `${f}<${shape}>(${given}, ${rows}ull);` : `${f}_long(${given}, ${width}u);`;
        },
        { block },
      );
    }
    case 'crossEntropy':
      return kernel(
        [...reads, ...writes],
        [call.attrs.rows, 1, 1],
        (p) => `cross_entropy(${[0, 1, 2, 3].map(p).join(', ')}, ${call.attrs.width}u);`,
      );
    case 'crossEntropyGrad':
      return kernel(
        [...reads, writes[0]!],
        [call.attrs.rows, 1, 1],
        (p) => `cross_entropy_grad(${[0, 1, 2, 3, 4].map(p).join(', ')}, ${call.attrs.width}u);`,
        { block: 512 },
      );
  }
}
