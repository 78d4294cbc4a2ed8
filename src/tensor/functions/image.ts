/** Resampling of images and grids, differentiable, as matrix products and gathers. */
import { axisOf, checkTensors, pairOf } from '../arguments.ts';
import { ShapeError, show } from '../shape.ts';
import type { Tensor } from '../tensor.ts';
import { take } from './indexing.ts';
import { permute, reshape, split, stack, transpose } from './layout.ts';
import { matmul } from './linear.ts';
import {
  add,
  bitAnd,
  broadcastTo,
  cast,
  clamp,
  div,
  equal,
  floor,
  full,
  iota,
  maximum,
  minimum,
  mul,
  shiftRight,
  sub,
  where,
} from './pointwise.ts';
import { sum } from './reduce.ts';

type Size = readonly [number, number];

/** Bicubic resize of two axes (default: the last two) to [h, w]: half-pixel centres, edges repeated, no antialiasing. */
export function bicubicResize(x: Tensor, size: Size, axes: Size = [-2, -1]): Tensor {
  const [h, w] = pairOf('bicubicResize', 'size', size);
  const [rows, columns] = pairOf('bicubicResize', 'axes', axes);
  const along = (y: Tensor, axis: number, to: number): Tensor => {
    const a = axisOf('bicubicResize', axis, x);
    const from = y.shape[a]!;
    if (from === to) return y;
    const m = bicubicMatrix(full([1, 1], 0), full([1, 1], from), from, to);
    const last = transpose(y, axis, -1);
    return transpose(matmul(last, transpose(m)), axis, -1);
  };
  return along(along(x, rows, h), columns, w);
}

/**
 * Crops a box of each image and resizes it to [h, w], bicubic: what `bicubicResize` makes of the crop, as in a random resized
 * crop. The boxes may be computed from random keys: they are weights of a matrix product, not shapes.
 * @param x [B, C, H, W].
 * @param boxes f32 [B, 4]: top, left, height and width in whole pixels, inside the image.
 */
export function bicubicCrop(x: Tensor, boxes: Tensor, size: Size): Tensor {
  checkTensors('bicubicCrop', [x, boxes]);
  const [h, w] = pairOf('bicubicCrop', 'size', size);
  const [B, , H, W] = imageShape('bicubicCrop', x);
  if (boxes.rank !== 2 || boxes.shape[0] !== B || boxes.shape[1] !== 4)
    throw new ShapeError(
      `[bicubicCrop] boxes ${show(boxes.shape)} do not fit images ${show(x.shape)}; they are [${B}, 4]: top, left, height, width`,
    );
  const [top, left, height, width] = split(reshape(cast(boxes, 'f32'), [B, 4, 1, 1]), 4, 1) as [Tensor, Tensor, Tensor, Tensor];
  return matmul(matmul(bicubicMatrix(top, height, H, h), x), transpose(bicubicMatrix(left, width, W, w)));
}

/** The free parameter of Keys' cubic convolution (1981, IEEE TASSP 29, eq. 15); -0.75 is what PyTorch and OpenCV use. */
const A = -0.75;

/**
 * [..., to, from]: row i interpolates output i from the pixels [start, start + size) of `from`; reads beyond them repeat the outermost.
 * start and size [..., 1, 1].
 */
function bicubicMatrix(start: Tensor, size: Tensor, from: number, to: number): Tensor {
  const at = sub(div(mul(add(reshape(iota(to, 'f32'), [to, 1]), 0.5), size), to), 0.5);
  const before = floor(at);
  const t = sub(at, before);
  const near = (d: Tensor): Tensor => add(mul(mul(sub(mul(d, A + 2), A + 3), d), d), 1); // distance d up to 1
  const far = (d: Tensor): Tensor => mul(sub(mul(add(mul(sub(d, 5), d), 8), d), 4), A); // 1 to 2
  const weights = [far(add(t, 1)), near(t), near(sub(1, t)), far(sub(2, t))];
  const taps = weights.map((weight, k) => {
    const pixel = minimum(maximum(add(before, k - 1), 0), sub(size, 1));
    return mul(cast(equal(add(pixel, start), iota(from, 'f32')), 'f32'), weight);
  });
  return taps.reduce((a, b) => add(a, b));
}

function imageShape(who: string, x: Tensor): [number, number, number, number] {
  if (x.rank !== 4) throw new ShapeError(`[${who}] needs images [B, C, H, W], not ${show(x.shape)}`);
  return x.shape as unknown as [number, number, number, number];
}

/** -1 + 1/n, ..., 1 - 1/n: the pixel centres of an axis of n, f32 [n]. */
const centres = (n: number): Tensor => sub(div(add(mul(iota(n, 'f32'), 2), 1), n), 1);

/**
 * The places that an affine map reads. Places are (x, y) in -1..1 from edge to edge of the image, so a result pixel (x, y) reads
 * theta (x, y, 1). Jaderberg et al. 2015, arXiv 1506.02025, eq. 1.
 * @param theta [B, 2, 3].
 * @returns [B, h, w, 2].
 */
export function affineGrid(theta: Tensor, size: Size): Tensor {
  checkTensors('affineGrid', [theta]);
  const [h, w] = pairOf('affineGrid', 'size', size);
  const [B] = theta.shape as [number];
  if (theta.rank !== 3 || theta.shape[1] !== 2 || theta.shape[2] !== 3)
    throw new ShapeError(`[affineGrid] needs maps [B, 2, 3], not ${show(theta.shape)}`);
  const x = broadcastTo(centres(w), [h, w]);
  const y = broadcastTo(reshape(centres(h), [h, 1]), [h, w]);
  const places = reshape(stack([x, y, full([h, w], 1)], -1), [h * w, 3]);
  return reshape(matmul(places, transpose(theta)), [B, h, w, 2]);
}

/**
 * Bilinear samples of images at places (affineGrid says in which units); what lies outside an image is 0. Differentiable in both.
 * Jaderberg et al. 2015, eq. 5 to 7.
 * @param x [B, C, H, W].
 * @param grid [B, h, w, 2] of (x, y).
 * @returns [B, C, h, w].
 */
export function gridSample(x: Tensor, grid: Tensor): Tensor {
  checkTensors('gridSample', [x, grid]);
  const [B, C, H, W] = imageShape('gridSample', x);
  if (grid.rank !== 4 || grid.shape[0] !== B || grid.shape[3] !== 2)
    throw new ShapeError(`[gridSample] places ${show(grid.shape)} do not fit images ${show(x.shape)}; they are [${B}, h, w, 2]`);
  const [, h, w] = grid.shape as [number, number, number];
  const n = h * w;
  const [u, v] = split(transpose(reshape(grid, [B, n, 2])), 2, 1) as [Tensor, Tensor];
  // the four pixels around a place: left above, right above, left below, right below
  const corner = reshape(iota(4), [4, 1]);
  const column = neighbours(u, W, bitAnd(corner, 1));
  const row = neighbours(v, H, shiftRight(corner, 1));
  const image = reshape(mul(iota(B), H * W), [B, 1, 1]);
  const index = add(image, add(mul(row.index, W), column.index));
  const pixels = take(reshape(permute(x, [0, 2, 3, 1]), [B * H * W, C]), reshape(index, [-1]));
  const weights = reshape(mul(row.weight, column.weight), [B, 4, n, 1]);
  return reshape(transpose(sum(mul(reshape(pixels, [B, 4, n, C]), weights), 1)), [B, C, h, w]);
}

/** The pixel of an axis before a place (`after` 0) or after it (1), and its weight. place [B, 1, n], after [4, 1] -> [B, 4, n]. */
function neighbours(place: Tensor, size: number, after: Tensor): { index: Tensor; weight: Tensor } {
  const at = sub(mul(add(place, 1), size / 2), 0.5);
  const before = floor(at);
  const t = sub(at, before);
  const pixel = add(before, after);
  const index = clamp(pixel, 0, size - 1);
  return { index: cast(index, 'i32'), weight: where(equal(pixel, index), where(after, t, sub(1, t)), 0) };
}

/** `gridSample` at the places of an affine map: theta [B, 2, 3]; [h, w] is the size of the result. */
export const affineSample = (x: Tensor, theta: Tensor, size: Size): Tensor => gridSample(x, affineGrid(theta, size));
