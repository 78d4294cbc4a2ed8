/** Rotary positions (Su et al. 2021, arXiv 2104.09864, eq. 34): pairs of features turn by an angle that grows with the position. */
import { checkTensors } from '../arguments.ts';
import { ShapeError, show } from '../shape.ts';
import type { Tensor } from '../tensor.ts';
import { concat, flip, reshape, slice } from './layout.ts';
import { add, cast, cos, mul, neg, sin } from './pointwise.ts';

/** How far each pair of features turns at each position: the same for all layers, so it is worked out once. */
export interface Rotation {
  /** f32 [T, heads, 1, E/2]; heads is 1 where all turn alike. */
  readonly cos: Tensor;
  /** f32 [T, heads, 2, E/2]: with the sign that it has in the first and in the second half. */
  readonly sin: Tensor;
}

/**
 * @param positions integers [T].
 * @param frequencies radians a position, f32 [E/2], or [H, E/2] for each head; a head of frequencies 0 stays as it is.
 */
export function rotation(positions: Tensor, frequencies: Tensor): Rotation {
  checkTensors('rotation', [positions, frequencies]);
  if (positions.rank !== 1 || (frequencies.rank !== 1 && frequencies.rank !== 2))
    throw new ShapeError(
      `[rotation] positions ${show(positions.shape)} and frequencies ${show(frequencies.shape)} are not [T] and [E/2] or [H, E/2]`,
    );
  const [half, heads = 1] = [...frequencies.shape].reverse() as [number, number?];
  const angle = mul(reshape(cast(positions, 'f32'), [-1, 1, 1, 1]), reshape(frequencies, [heads, 1, half]));
  const s = sin(angle);
  return { cos: cos(angle), sin: concat([neg(s), s], 2) };
}

/** That of the positions `from` to before `to` among those it was worked out for. */
export const rotationOf = ({ cos, sin }: Rotation, from: number, to: number): Rotation => ({
  cos: slice(cos, [from, to]),
  sin: slice(sin, [from, to]),
});

/**
 * Turns feature i of every head together with feature i + E/2 (the halves of the published Llama weights). x [B, T, H, E] -> as x.
 * Pointwise, so it fuses with what is around it.
 */
export function rope(x: Tensor, rotation: Rotation): Tensor {
  checkTensors('rope', [x, rotation?.cos, rotation?.sin]);
  const { cos: c, sin: s } = rotation;
  const [B, T, H, E] = x.shape as [number, number, number, number];
  const [Tr, Hr, , half] = c.shape as [number, number, number, number];
  if (x.rank !== 4 || T !== Tr || (Hr !== 1 && Hr !== H) || E !== 2 * half)
    throw new ShapeError(
      `[rope] x ${show(x.shape)} does not fit a rotation of ${Tr} positions, ${Hr} heads and ${half} pairs as [B, T, H, E]`,
    );
  const halves = reshape(x, [B, T, H, 2, half]);
  return reshape(cast(add(mul(halves, c), mul(flip(halves, 3), s)), x.dtype), x.shape);
}
