/**
 * The random geometry of TokenAdapt: a flip, rotation, translations and shears, then a crop. It is drawn as numbers first, so that the same
 * geometry can be given to pixels (for the targets of training) and to feature grids of any size.
 */
import {
  add,
  affineSample,
  bicubicCrop,
  bitAnd,
  broadcastTo,
  cast,
  concat,
  cos,
  div,
  full,
  matmul,
  mul,
  neg,
  random,
  reshape,
  sin,
  slice,
  stack,
  type Tensor,
  where,
} from '../../../tensor/index.ts';
import { cropBoxes } from './augment.ts';

export interface GeometryConfig {
  /** Probability of a horizontal flip. */
  flip: number;
  /** Probability that an image gets the affine list, and of each entry of the list then. */
  list: number;
  entry: number;
  /** Greatest rotation to either side, degrees. */
  rotate: number;
  /** Greatest translation to either side, of the image's side. */
  translate: number;
  /** Greatest shear, degrees; shears go from 0 to it. */
  shear: number;
  /** Least area that the crop keeps. */
  scale: number;
}

/** The list of the paper; `scale` is that of pre-training, fine-tuning takes 0.08. */
export const publishedGeometry: GeometryConfig = { flip: 0.5, list: 0.5, entry: 0.5, rotate: 30, translate: 0.2, shear: 15, scale: 0.2 };

/** The paper's, with a phase's own probability of the list and least area. */
export const geometryOf = ({ affine, scale }: { affine: number; scale: number }): GeometryConfig => ({
  ...publishedGeometry,
  list: affine,
  scale,
});

/** Only the crop's resize, or not even that: for measuring one operation alone. */
export const noGeometry: GeometryConfig = { flip: 0, list: 0, entry: 0, rotate: 0, translate: 0, shear: 0, scale: 1 };

/** What happens to each image of a batch. */
export interface Geometry {
  /** f32 [B, 2, 3], in the units of `affineGrid`: the place that each place of the result reads. */
  theta: Tensor;
  /** f32 [B, 4]: top, left, height and width of the crop in tokens, whole numbers. */
  boxes: Tensor;
}

/**
 * Draws the geometry of B images from a key.
 *
 * Flip, rotation, translation and shear are composed into one matrix, which is exact for maps, and the image is sampled once. Sampling after each,
 * as image pipelines do, would blur more and cut off what leaves the image in between; pixels and tokens are sampled alike here, so the
 * maps of TokenAdapt learn this definition.
 * @param grid tokens per column and row that the crop is cut from.
 */
export function drawGeometry(key: random.Key, B: number, grid: readonly [number, number], c: GeometryConfig): Geometry {
  const [a, b, d, e, crop] = random.splitKey(key, 5) as [random.Key, random.Key, random.Key, random.Key, random.Key];
  const mirror = where(random.bernoulli(a, [B], c.flip), -1, 1);
  const listed = cast(random.bernoulli(b, [B, 1], c.list), 'i32');
  const applied = bitAnd(repeat(listed, 5), cast(random.bernoulli(d, [B, 5], c.entry), 'i32'));
  const degree = Math.PI / 180;
  const u = random.uniform(e, [B, 5]);
  const entry = (i: number, low: number, high: number): Tensor => {
    const value = add(mul(column(u, i), high - low), low);
    return where(column(applied, i), value, 0);
  };
  const angle = entry(0, -c.rotate * degree, c.rotate * degree);
  // places run from -1 to 1, so a side is 2 long
  const moveX = entry(1, -2 * c.translate, 2 * c.translate);
  const moveY = entry(2, -2 * c.translate, 2 * c.translate);
  const [shearX, shearY] = [entry(3, 0, c.shear * degree), entry(4, 0, c.shear * degree)];
  const tangent = (x: Tensor): Tensor => div(sin(x), cos(x));
  const [one, zero] = [full([B], 1), full([B], 0)];
  const flip = matrix(mirror, zero, zero, one);
  const rotation = matrix(cos(angle), neg(sin(angle)), sin(angle), cos(angle));
  const shears = matmul(matrix(one, tangent(shearX), zero, one), matrix(one, zero, tangent(shearY), one));
  const linear = matmul(matmul(flip, rotation), shears);
  // a result place reads M (place - move): the content moves by `move`
  const move = reshape(stack([moveX, moveY], 1), [B, 2, 1]);
  return { theta: concat([linear, neg(matmul(linear, move))], 2), boxes: cropBoxes(crop, B, grid, c.scale) };
}

const column = (x: Tensor, i: number): Tensor => reshape(slice(x, null, [i, i + 1]), [x.shape[0]!]);
const repeat = (x: Tensor, n: number): Tensor => broadcastTo(x, [x.shape[0]!, n]);
/** [B, 2, 2] of four [B]. */
const matrix = (a: Tensor, b: Tensor, c: Tensor, d: Tensor): Tensor => reshape(stack([a, b, c, d], 1), [-1, 2, 2]);

/**
 * The geometry applied: x f32 [B, C, H, W] -> [B, C, h*s, w*s], where s = H / grid's height is how many pixels or cells of x make a token.
 * Bilinear for the affine part, with 0 outside; bicubic for the crop.
 * @param grid tokens of x per column and row; @param out tokens of the result.
 */
export function applyGeometry(
  x: Tensor,
  { theta, boxes }: Geometry,
  grid: readonly [number, number],
  out: readonly [number, number],
): Tensor {
  const [, , H, W] = x.shape as [number, number, number, number];
  const scale = H / grid[0];
  if (!Number.isInteger(scale) || W !== grid[1] * scale)
    throw new Error(
      `[seit-plus-plus] an input of ${H} x ${W} is no whole multiple of the ${grid[0]} x ${grid[1]} token grid; resize it first`,
    );
  return bicubicCrop(affineSample(x, theta, [H, W]), mul(boxes, scale), [out[0] * scale, out[1] * scale]);
}
