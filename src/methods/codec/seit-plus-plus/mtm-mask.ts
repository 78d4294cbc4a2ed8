/**
 * Which patches of each image are masked. The counts shape nothing but the number of dropped patches, which is constant: a patch is masked
 * when its rank in the image's random order is below a threshold that is a tensor, so one compiled step serves every ratio.
 */
import { add, argsort, broadcastTo, cast, iota, less, mul, narrow, random, reshape, type Tensor, take } from '../../../tensor/index.ts';

export interface MaskOrder {
  /** i32 [B, n]: patch at each rank; the first are dropped, the next masked, the rest seen. */
  order: Tensor;
  /** i32 [B, n]: rank of each patch, the inverse of `order`. */
  rank: Tensor;
}

/** A random order per image. The sort is stable, so equal random numbers still give an order, and the counts are exact. */
export function maskOrder(key: random.Key, images: number, patches: number): MaskOrder {
  const order = argsort(random.uniform(key, [images, patches]));
  return { order, rank: argsort(order) };
}

/** Patches that the encoder sees, in rank order: i32 [B, n - dropped]. */
export const keptPatches = ({ order }: MaskOrder, dropped: number): Tensor => narrow(order, 1, dropped, order.shape[1]! - dropped);

/** f32 [B, n]: 1 where a patch is masked. masked: i32 [], the number of masked patches. */
export const maskOf = ({ rank }: MaskOrder, masked: Tensor): Tensor => cast(less(rank, masked), 'f32');

/** Rows of each image: x [B, T, D], index i32 [B, m] -> [B, m, D]. */
export function gatherRows(x: Tensor, index: Tensor): Tensor {
  const [B, T, D] = x.shape as [number, number, number];
  const start = broadcastTo(reshape(mul(iota(B), T), [B, 1]), index.shape);
  return take(reshape(x, [B * T, D]), add(index, start));
}
