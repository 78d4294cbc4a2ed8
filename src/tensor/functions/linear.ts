/** Contractions: matrix products and convolutions. */

import { checkTensors } from '../arguments.ts';
import { promote } from '../dtype.ts';
import { type Window2d, windows } from '../ops.ts';
import { broadcastShapes, ShapeError, show, sizeOf } from '../shape.ts';
import type { Tensor } from '../tensor.ts';
import { apply } from '../trace.ts';
import { permute, reshape, slice, transpose } from './layout.ts';
import { add, broadcastTo, cast } from './pointwise.ts';

/** [..., m, k] x [..., k, n] -> [..., m, n]; batch axes broadcast. f32 accumulation. */
export function matmul(a: Tensor, b: Tensor): Tensor {
  checkTensors('matmul', [a, b]);
  const dtype = promote(a.dtype, b.dtype);
  const [x, y] = [cast(a, dtype), cast(b, dtype)];
  if (x.rank < 2 || y.rank < 2) return apply('matmul', {}, [x, y]); // throws with both shapes
  const [m, k] = x.shape.slice(-2) as [number, number];
  // one matrix on the right: all rows of a in one product
  if (y.rank === 2 && x.rank > 2 && k === y.shape[0])
    return reshape(apply('matmul', {}, [reshape(x, [sizeOf(x.shape.slice(0, -1)), k]), y]), [...x.shape.slice(0, -2), m, y.shape[1]!]);
  const batch = broadcastShapes('matmul', x.shape.slice(0, -2), y.shape.slice(0, -2));
  return apply('matmul', {}, [broadcastTo(x, [...batch, ...x.shape.slice(-2)]), broadcastTo(y, [...batch, ...y.shape.slice(-2)])]);
}

export interface ConvOptions {
  stride?: number | readonly [number, number];
  padding?: number | readonly [number, number];
  dilation?: number | readonly [number, number];
}
const pair = (x: number | readonly [number, number] | undefined, otherwise: number): readonly [number, number] =>
  x === undefined ? [otherwise, otherwise] : typeof x === 'number' ? [x, x] : x;

/** @throws ShapeError where a window would not move, or between two pixels */
function window(op: string, kernel: readonly [number, number], o: ConvOptions): Window2d {
  const w = { kernel, stride: pair(o.stride, 1), padding: pair(o.padding, 0), dilation: pair(o.dilation, 1) };
  for (const [name, least] of [
    ['kernel', 1],
    ['stride', 1],
    ['padding', 0],
    ['dilation', 1],
  ] as const)
    if (!w[name].every((n) => Number.isInteger(n) && n >= least))
      throw new ShapeError(`[${op}] ${name} ${w[name].join(' x ')} must be whole numbers from ${least}`);
  return w;
}

/** y + bias in the type of y: under mixed precision a bias stays f32 and the activations do not. Widened first, so that its gradient is summed in f32. */
const biased = (y: Tensor, bias: Tensor): Tensor => add(y, cast(broadcastTo(bias, y.shape), y.dtype));

/**
 * 2-D cross-correlation. x [B, C, H, W], weight [O, C, kh, kw], bias [O] -> [B, O, oh, ow].
 * Kernels that tile the image (stride = kernel, no padding) become one matrix product without a copy of the windows.
 */
export function conv2d(x: Tensor, weight: Tensor, bias?: Tensor, options: ConvOptions = {}): Tensor {
  checkTensors('conv2d', [x, weight]);
  if (x.rank !== 4 || weight.rank !== 4 || x.shape[1] !== weight.shape[1])
    throw new ShapeError(`[conv2d] x ${show(x.shape)} and weight ${show(weight.shape)} do not fit [B, C, H, W] and [O, C, kh, kw]`);
  const [B, C, H, W] = x.shape as [number, number, number, number];
  const [O, , kh, kw] = weight.shape as [number, number, number, number];
  const w = window('conv2d', [kh, kw], options);
  const tiles = w.stride[0] === kh && w.stride[1] === kw && !w.padding[0] && !w.padding[1] && w.dilation[0] === 1 && w.dilation[1] === 1;
  let y: Tensor;
  if (tiles && H >= kh && W >= kw) {
    const [oh, ow] = [Math.floor(H / kh), Math.floor(W / kw)];
    const whole = slice(x, null, null, [0, oh * kh], [0, ow * kw]);
    const patches = reshape(permute(reshape(whole, [B, C, oh, kh, ow, kw]), [0, 2, 4, 1, 3, 5]), [B * oh * ow, C * kh * kw]);
    const rows = matmul(patches, transpose(reshape(weight, [O, C * kh * kw])));
    y = permute(reshape(bias ? biased(rows, bias) : rows, [B, oh, ow, O]), [0, 3, 1, 2]);
    return y;
  }
  const columns = apply('unfold', w, [x]); // [B, C*kh*kw, oh*ow]
  y = reshape(matmul(reshape(weight, [1, O, C * kh * kw]), columns), [B, O, ...windows(w, H, W)]);
  return bias ? biased(y, reshape(bias, [1, O, 1, 1])) : y;
}

/** The adjoint of conv2d. x [B, C, H, W], weight [C, O, kh, kw], bias [O] -> [B, O, (H-1)*stride - 2*padding + dilation*(k-1) + 1, ...]. */
export function convTranspose2d(
  x: Tensor,
  weight: Tensor,
  bias?: Tensor,
  options: ConvOptions & { outputPadding?: number | readonly [number, number] } = {},
): Tensor {
  checkTensors('convTranspose2d', [x, weight]);
  if (x.rank !== 4 || weight.rank !== 4 || x.shape[1] !== weight.shape[0])
    throw new ShapeError(
      `[convTranspose2d] x ${show(x.shape)} and weight ${show(weight.shape)} do not fit [B, C, H, W] and [C, O, kh, kw]`,
    );
  const [B, C, H, W] = x.shape as [number, number, number, number];
  const [, O, kh, kw] = weight.shape as [number, number, number, number];
  const w = window('convTranspose2d', [kh, kw], options);
  const extra = pair(options.outputPadding, 0);
  const size = (n: number, i: 0 | 1): number => (n - 1) * w.stride[i] - 2 * w.padding[i] + w.dilation[i] * (w.kernel[i] - 1) + 1 + extra[i];
  const [height, width] = [size(H, 0), size(W, 1)];
  if (!(Number.isInteger(height) && Number.isInteger(width) && height >= 0 && width >= 0))
    throw new ShapeError(
      `[convTranspose2d] x ${show(x.shape)} and weight ${show(weight.shape)} give an image of ${height} x ${width} with padding ${w.padding.join('x')}; pad less`,
    );
  const columns = matmul(transpose(reshape(weight, [1, C, O * kh * kw])), reshape(x, [B, C, H * W]));
  const y = apply('fold', { ...w, height, width }, [columns]);
  return bias ? biased(y, reshape(bias, [1, O, 1, 1])) : y;
}

/** Mean over windows. x [B, C, H, W]. */
export function avgPool2d(x: Tensor, kernel: number, options: { stride?: number } = {}): Tensor {
  checkTensors('avgPool2d', [x]);
  const s = options.stride ?? kernel;
  const [B, C, H, W] = x.shape as [number, number, number, number];
  const columns = apply('unfold', window('avgPool2d', [kernel, kernel], { stride: s }), [x]);
  const oh = Math.floor((H - kernel) / s) + 1;
  const ow = Math.floor((W - kernel) / s) + 1;
  const summed = apply('sum', { axes: [2] }, [reshape(columns, [B, C, kernel * kernel, oh * ow])]);
  return reshape(
    apply('mul', {}, [
      summed,
      broadcastTo(cast(apply('full', { shape: [], value: 1 / (kernel * kernel), dtype: 'f32' }, []), x.dtype), summed.shape),
    ]),
    [B, C, oh, ow],
  );
}
