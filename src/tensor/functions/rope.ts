/** Rotary positions (Su et al. 2021, arXiv 2104.09864, eq. 34): pairs of features turn by an angle that grows with the position. */
import { ShapeError, show } from '../shape.ts';
import type { Tensor } from '../tensor.ts';
import { flip, reshape } from './layout.ts';
import { add, cast, cos, equal, iota, mul, sin, where } from './pointwise.ts';

/**
 * Turns feature i of every head together with feature i + E/2 (the halves of the published Llama weights). x [B, T, H, E], positions [T]
 * integers, frequencies f32 [E/2] in radians a position -> as x. Pointwise, so it fuses with what is around it.
 */
export function rope(x: Tensor, positions: Tensor, frequencies: Tensor): Tensor {
  const [B, T, H, E] = x.shape as [number, number, number, number];
  if (x.rank !== 4 || positions.rank !== 1 || positions.size !== T || frequencies.size * 2 !== E)
    throw new ShapeError(
      `[rope] x ${show(x.shape)}, positions ${show(positions.shape)} and frequencies ${show(frequencies.shape)} do not fit [B, T, H, E], [T] and [E/2]`,
    );
  const angle = mul(reshape(cast(positions, 'f32'), [T, 1, 1, 1]), reshape(frequencies, [1, E / 2]));
  const sign = where(equal(reshape(iota(2), [2, 1]), 0), -1, 1);
  const halves = reshape(x, [B, T, H, 2, E / 2]);
  const turned = add(mul(halves, cos(angle)), mul(flip(halves, 3), mul(sin(angle), cast(sign, 'f32'))));
  return reshape(cast(turned, x.dtype), x.shape);
}
