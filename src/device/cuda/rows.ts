/** The kernels of cuda/rows.cuh and cuda/norms.cuh: norms, softmax and cross-entropy of rows. */
import { itemSize } from '../../tensor/dtype.ts';
import type { Call, View } from '../../tensor/lower/program.ts';
import { type Kernel, type Launch, rowPack } from './calls.ts';
import { constant } from './codegen.ts';
import { askFor } from './early.ts';

type RowCall = Call<'norm'> | Call<'normGrad'> | Call<'softmax'> | Call<'softmaxGrad'> | Call<'crossEntropy'> | Call<'crossEntropyGrad'>;

const ceil = (a: number, b: number): number => Math.ceil(a / b);

/** How rows are shared out over blocks of 256 threads: a warp or a block each, or (too long for registers, or not aligned) a block that walks them. */
function rowLayout(
  rows: number,
  width: number,
  views: readonly (View | null)[],
): { fits: boolean; threads: number; grid: readonly [number, number, number]; shape: string } {
  const threads = width <= 1024 ? 32 : 256;
  const fits = width > 0 && width <= 8192 && views.every((v) => !v || (v.offset * itemSize[v.dtype]) % 16 === 0);
  return { fits, threads, grid: [fits ? ceil(rows * threads, 256) : rows, 1, 1], shape: `${width}, ${threads}` };
}

/** Bytes that a multiprocessor should have on their way to hide the latency of memory: a few times what it reads in that time. */
const IN_FLIGHT = 56 << 10;

/** Elements of a row of `width` that each of its `threads` holds, in whole packs. */
function elementsOf(width: number, threads: number, x: View): number {
  const pack = rowPack(width, [x]);
  return ceil(width, threads * pack) * pack;
}
/** How many rows of each of `operands` a thread has on their way to shared memory, with so many blocks beside each other, and the bytes of one. */
function stagesOf(
  elements: number,
  operands: readonly View[],
  resident: number,
  sharedBytes: number,
): { stages: number; stageBytes: number } {
  const stageBytes = 256 * elements * operands.reduce((n, v) => n + itemSize[v.dtype], 0);
  const most = Math.floor(sharedBytes / resident / stageBytes);
  return { stages: Math.max(1, Math.min(8, most, ceil(IN_FLIGHT, resident * stageBytes))), stageBytes };
}

export function rowKernels(call: RowCall, kernel: Kernel, gpu: { sharedBytes: number; multiprocessors: number }): Launch[] {
  const { reads, writes } = call;
  switch (call.kernel) {
    case 'norm': {
      const { rows, width, eps, rms, affine } = call.attrs;
      const views = [
        reads[0]!,
        affine > 0 ? reads[1]! : null,
        affine > 1 ? reads[2]! : null,
        writes[0]!,
        rms ? null : writes[1]!,
        writes[2]!,
      ];
      const given = (p: (i: number) => string): string => [0, 1, 2, 3, 4, 5].map(p).join(', ');
      const { fits, threads, grid } = rowLayout(rows, width, views);
      if (!fits) return kernel(views, [rows, 1, 1], (p) => `norm_long(${given(p)}, ${width}u, ${constant(eps, 'f32')}, ${rms});`);
      const body = (p: (i: number) => string, stages: number): string =>
        `norm<${width}, ${threads}, ${stages}>(${given(p)}, ${rows}ull, ${constant(eps, 'f32')}, ${rms});`;
      // as many blocks as have registers for the parameters and a row
      const elements = elementsOf(width, threads, reads[0]!);
      const held = elements * (threads > 32 ? affine + 1 : 3);
      const resident = held <= 24 ? 5 : held <= 32 ? 4 : held <= 48 ? 3 : 2;
      const ahead = stagesOf(elements, [reads[0]!], resident, gpu.sharedBytes);
      const stages = threads > 32 ? 1 : ahead.stages; // blocks with a row each have others beside them
      const blocks = Math.min(grid[0], gpu.multiprocessors * resident);
      return kernel(views, [blocks, 1, 1], (p) => body(p, stages), {
        resident,
        shared: stages * ahead.stageBytes,
        early: (p) =>
          askFor(
            [{ pointer: p(0), rowBytes: width * itemSize[reads[0]!.dtype] }],
            { rows, step: 256 / threads },
            blocks,
            gpu.multiprocessors,
          ),
      });
    }
    case 'normGrad': {
      const { rows, width, rms, affine, rowsPerPart } = call.attrs;
      const [dy, x] = reads as [View, View];
      const gain = affine ? reads[2]! : null;
      const mean = rms ? null : reads.at(-2)!;
      const rstd = reads.at(-1)!;
      const [dGain, dBias] = [affine ? writes[1]! : null, affine > 1 ? writes[2]! : null];
      const parts = Math.ceil(rows / rowsPerPart);
      const { fits } = rowLayout(rows, width, [...reads, ...writes]);
      if (fits) {
        // a warp a row up to 24 elements a thread, then more threads with 16
        const threads = [32, 64, 128].find((n) => elementsOf(width, n, x) <= (n === 32 ? 24 : 16)) ?? 256;
        const elements = elementsOf(width, threads, x);
        const ahead = stagesOf(elements, [dy, x], 1, gpu.sharedBytes / 2);
        // warps do not wait for each other: one row ahead is enough, where that leaves registers for the sums
        const stages = threads > 32 ? ahead.stages : +(elements * itemSize[x.dtype] <= 48 && ahead.stageBytes <= gpu.sharedBytes / 2);
        return kernel(
          [dy, x, gain, mean, rstd, writes[0]!, dGain, dBias],
          [parts, 1, 1],
          (p) =>
            `norm_grad<${width}, ${threads}, ${stages}, ${affine}>(${[0, 1, 2, 3, 4, 5, 6, 7].map(p).join(', ')}, ${rows}ull, ${rowsPerPart}ull, ${rms});`,
          {
            resident: 2,
            shared: stages * ahead.stageBytes,
            early: (p) =>
              askFor(
                [dy, x].map((v, i) => ({ pointer: p(i), rowBytes: width * itemSize[v.dtype] })),
                { rows, step: rowsPerPart, first: Math.min(256 / threads, rowsPerPart) },
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
          [Math.ceil(width / 32), parts, 1],
          (p) => `norm_grad_parameters_long(${[0, 1, 2, 3, 4, 5].map(p).join(', ')}, ${rows}ull, ${width}ull, ${rowsPerPart}ull, ${rms});`,
        ),
      ];
    }
    case 'softmax':
    case 'softmaxGrad': {
      const { rows, width } = call.attrs;
      const views = [...reads, writes[0]!];
      const f = call.kernel === 'softmax' ? 'softmax' : 'softmax_grad';
      const { fits, grid, shape } = rowLayout(rows, width, views);
      return kernel(views, grid, (p) => {
        const given = views.map((_, i) => p(i)).join(', ');
        return fits ? `${f}<${shape}>(${given}, ${rows}ull);` : `${f}_long(${given}, ${width}u);`;
      });
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
