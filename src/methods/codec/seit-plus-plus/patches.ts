/** Images as sequences of patches, and back. */
import { permute, reshape, ShapeError, type Tensor } from '../../../tensor/index.ts';

/** [B, C, h*p, w*p] -> [B, h*w, C*p*p], patches in raster order. @throws ShapeError where p does not divide the sides. */
export function patchify(x: Tensor, p: number): Tensor {
  const [B, C, H, W] = x.shape as [number, number, number, number];
  if (H % p || W % p)
    throw new ShapeError(`[seit-plus-plus] an image of ${H} x ${W} does not split into patches of ${p}; resize it to a multiple`);
  const [h, w] = [H / p, W / p];
  return reshape(permute(reshape(x, [B, C, h, p, w, p]), [0, 2, 4, 1, 3, 5]), [B, h * w, C * p * p]);
}

/** [B, h*w, C*p*p] -> [B, C, h*p, w*p]. */
export function unpatchify(x: Tensor, [h, w]: readonly [number, number], p: number): Tensor {
  const B = x.shape[0]!;
  const C = x.shape[2]! / (p * p);
  return reshape(permute(reshape(x, [B, h, w, C, p, p]), [0, 3, 1, 4, 2, 5]), [B, C, h * p, w * p]);
}
