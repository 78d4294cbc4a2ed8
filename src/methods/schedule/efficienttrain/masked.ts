/** Masked autoencoders under the schedule: their input is the cropped image, and so is what they reconstruct. */
import { add, div, mean, mul, permute, reshape, ShapeError, sqrt, square, sub, type Tensor } from '../../../tensor/index.ts';

/**
 * Reconstruction targets of images X' [b, c, B, B]: the pixels of each patch, [b, (B/p)^2, p^2 c], less their mean, over their standard
 * deviation (He et al. 2022, arXiv 2111.06377, section 3). The mask ratio is that of full-size images.
 *
 * @throws ShapeError where the images do not divide into patches, or a patch is one value, which has no deviation
 */
export function maskedTargets(images: Tensor, patch: number): Tensor {
  const [b = 0, c = 0, height = 0, width = 0] = images.shape;
  const whole = images.rank === 4 && Number.isInteger(patch) && patch >= 1 && height % patch === 0 && width % patch === 0;
  if (!whole || patch * patch * c < 2)
    throw new ShapeError(
      `[maskedTargets] images [${images.shape.join(', ')}] have no patches of ${patch} x ${patch}; give [b, c, height, width] with sides that are multiples of the patch, of two values or more`,
    );
  const [rows, columns] = [height / patch, width / patch];
  const grid = reshape(images, [b, c, rows, patch, columns, patch]);
  const patches = reshape(permute(grid, [0, 2, 4, 3, 5, 1]), [b, rows * columns, patch * patch * c]);
  const centred = sub(patches, mean(patches, -1, { keepDims: true }));
  const values = patch * patch * c;
  return div(centred, sqrt(add(mul(mean(square(centred), -1, { keepDims: true }), values / (values - 1)), 1e-6)));
}
