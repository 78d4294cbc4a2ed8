/** Masked autoencoders under the schedule: their input is the cropped image, and so is what they reconstruct. */
import { add, div, mean, mul, permute, reshape, sqrt, square, sub, type Tensor } from '../../../tensor/index.ts';

/**
 * Reconstruction targets of images X' [b, c, B, B]: the pixels of each patch, [b, (B/p)^2, p^2 c], less their mean, over their standard
 * deviation (He et al. 2022, arXiv 2111.06377, section 3). The mask ratio is that of full-size images.
 */
export function maskedTargets(images: Tensor, patch: number): Tensor {
  const [b, c, height, width] = images.shape as [number, number, number, number];
  const [rows, columns] = [height / patch, width / patch];
  const grid = reshape(images, [b, c, rows, patch, columns, patch]);
  const patches = reshape(permute(grid, [0, 2, 4, 3, 5, 1]), [b, rows * columns, patch * patch * c]);
  const centred = sub(patches, mean(patches, -1, { keepDims: true }));
  const values = patch * patch * c;
  return div(centred, sqrt(add(mul(mean(square(centred), -1, { keepDims: true }), values / (values - 1)), 1e-6)));
}
