/** The kernels of cuda/rows.cuh: norms, softmax and cross-entropy of rows. */
import { itemSize } from '../../tensor/dtype.ts';
import type { Call, View } from '../../tensor/lower/program.ts';
import type { Kernel, Launch } from './calls.ts';
import { constant } from './codegen.ts';

type RowCall = Call<'norm'> | Call<'normGrad'> | Call<'softmax'> | Call<'softmaxGrad'> | Call<'crossEntropy'> | Call<'crossEntropyGrad'>;

const ceil = (a: number, b: number): number => Math.ceil(a / b);

/** How rows are shared out over blocks of 256 threads: a warp or a block each, or (too long for registers, or not aligned) a block that walks them. */
function rowLayout(
  rows: number,
  width: number,
  views: readonly (View | null)[],
): { fits: boolean; grid: readonly [number, number, number]; shape: string } {
  const threads = width <= 1024 ? 32 : 256;
  const fits = width > 0 && width <= 8192 && views.every((v) => !v || (v.offset * itemSize[v.dtype]) % 16 === 0);
  return { fits, grid: [fits ? ceil(rows * threads, 256) : rows, 1, 1], shape: `${width}, ${threads}` };
}

export function rowKernels(call: RowCall, kernel: Kernel): Launch[] {
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
      const together = width <= 1024 ? 2 : 1;
      const { fits, grid, shape } = rowLayout(ceil(rows, together), width, views);
      return fits
        ? kernel(views, grid, (p) => `norm<${shape}, ${together}>(${given(p)}, ${rows}ull, ${constant(eps, 'f32')}, ${rms});`, {
            resident: 3,
          })
        : kernel(views, [rows, 1, 1], (p) => `norm_long(${given(p)}, ${width}u, ${constant(eps, 'f32')}, ${rms});`);
    }
    case 'normGrad': {
      const { rows, width, rms, affine, rowsPerPart } = call.attrs;
      const [dy, x] = reads as [View, View];
      const gain = affine ? reads[2]! : null;
      const mean = rms ? null : reads.at(-2)!;
      const rstd = reads.at(-1)!;
      const [dGain, dBias] = [affine ? writes[1]! : null, affine > 1 ? writes[2]! : null];
      const parts = Math.ceil(rows / rowsPerPart);
      const { fits, shape } = rowLayout(rows, width, [...reads, ...writes]);
      if (fits)
        return kernel(
          [dy, x, gain, mean, rstd, writes[0]!, dGain, dBias],
          [parts, 1, 1],
          (p) => `norm_grad<${shape}>(${[0, 1, 2, 3, 4, 5, 6, 7].map(p).join(', ')}, ${rows}ull, ${rowsPerPart}ull, ${rms});`,
          { resident: 2 },
        );
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
