/** CutMix of stored tokens, drawn on the device. */
import {
  add,
  bitAnd,
  cast,
  clamp,
  flip,
  floor,
  full,
  greaterEqual,
  iota,
  less,
  mean,
  mul,
  random,
  reshape,
  slice,
  sqrt,
  sub,
  type Tensor,
  where,
} from '../../../tensor/index.ts';

/**
 * CutMix (Yun et al. 2019, arXiv 1905.04899) with lambda ~ U(0, 1): with probability p a box of the batch is taken from the batch reversed, the
 * same box for all images, and targets are mixed by its area. x [B, C, H, W], targets [B, classes].
 */
export function cutMix(key: random.Key, x: Tensor, targets: Tensor, p: number): { x: Tensor; targets: Tensor } {
  if (p === 0) return { x, targets };
  const [H, W] = x.shape.slice(2) as [number, number];
  const u = random.uniform(key, [4]);
  const at = (i: number): Tensor => slice(u, [i, i + 1]);
  const side = mul(sqrt(at(0)), cast(less(at(1), p), 'f32'));
  const inside = (n: number, centre: Tensor): Tensor => {
    const half = mul(side, n / 2);
    const low = clamp(floor(add(sub(mul(centre, n), half), 0.5)), 0, n);
    const high = clamp(floor(add(add(mul(centre, n), half), 0.5)), 0, n);
    const cell = iota(n, 'f32');
    return bitAnd(cast(greaterEqual(cell, low), 'i32'), cast(less(cell, high), 'i32'));
  };
  const box = bitAnd(reshape(inside(H, at(2)), [1, 1, H, 1]), reshape(inside(W, at(3)), [1, 1, 1, W]));
  const share = mean(cast(box, 'f32'));
  return { x: where(box, flip(x, 0), x), targets: add(mul(targets, sub(full([], 1), share)), mul(flip(targets, 0), share)) };
}
