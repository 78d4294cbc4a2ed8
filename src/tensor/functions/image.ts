/** Resampling of images and grids, differentiable, as matrix products and gathers. */
import { type Tensor, tensor } from '../tensor.ts';
import { transpose } from './layout.ts';
import { matmul } from './linear.ts';

/** Keys' cubic convolution kernel with a = -0.75 at distance |x|. */
function cubic(x: number): number {
  const a = -0.75;
  const d = Math.abs(x);
  if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? a * (((d - 5) * d + 8) * d - 4) : 0;
}

/** f32 [to, from]: row i interpolates output i from the inputs; half-pixel centres, edges repeated, no antialiasing. */
export function bicubicMatrix(from: number, to: number, start = 0, size = from): Float32Array {
  const m = new Float32Array(to * from);
  for (let i = 0; i < to; i++) {
    const x = start + ((i + 0.5) * size) / to - 0.5;
    const x0 = Math.floor(x);
    for (let k = -1; k <= 2; k++) {
      const at = Math.min(from - 1, Math.max(0, x0 + k));
      m[i * from + at]! += cubic(x - (x0 + k));
    }
  }
  return m;
}

/** Bicubic resize of two axes (default: the last two) to [h, w]. */
export function bicubicResize(x: Tensor, [h, w]: readonly [number, number], [rows, columns]: readonly [number, number] = [x.rank - 2, x.rank - 1]): Tensor {
  const along = (y: Tensor, axis: number, to: number): Tensor => {
    const from = y.shape[axis]!;
    if (from === to) return y;
    const m = tensor(bicubicMatrix(from, to), { shape: [to, from] });
    const last = transpose(y, axis, -1);
    return transpose(matmul(last, transpose(m)), axis, -1);
  };
  return along(along(x, rows, h), columns, w);
}
