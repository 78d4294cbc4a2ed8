/** Large batches in little memory: gradients of micro-batches, added up. */
import { add, barrier, cast, mapTree, mul, narrow, ShapeError, type Tensor } from '../tensor/index.ts';

/** The loss and the gradients of a model on a batch: what `valueAndGrad` of a mean loss makes. */
export type LossAndGradients<M, B> = (model: M, batch: B) => [loss: Tensor, gradients: M];

/**
 * As `of`, in `parts` micro-batches inside the same program: each tensor of the batch is cut along its first axis, and what is kept for
 * the backward pass of one micro-batch is gone before the next begins. Losses and gradients are means over the parts, in f32: where `of` takes a
 * mean over samples, those of the whole batch up to rounding. Costs one f32 copy of the gradients.
 * @throws ShapeError when `parts` does not divide the first axes.
 */
export function accumulate<M, B>(of: LossAndGradients<M, B>, parts: number): LossAndGradients<M, B> {
  if (!Number.isSafeInteger(parts) || parts < 1) throw new RangeError(`[accumulate] ${parts} parts; give a whole number from 1`);
  if (parts === 1) return of;
  return (model, batch) => {
    let loss: Tensor | undefined;
    let sums: M | undefined;
    for (let i = 0; i < parts; i++) {
      const [l, gradients] = of(model, partOf(batch, i, parts));
      loss = loss ? add(loss, cast(l, 'f32')) : cast(l, 'f32');
      // a sum that waited for its last term would keep the gradients of every part
      sums = mapTree(gradients, (g, _, s) => barrier(s ? add(s, cast(g, 'f32')) : cast(g, 'f32')), sums);
    }
    return [mul(loss!, 1 / parts), mapTree(sums!, (s) => mul(s, 1 / parts))];
  };
}

function partOf<B>(batch: B, part: number, parts: number): B {
  return mapTree(batch, (t, path) => {
    const rows = t.shape[0] ?? 0;
    if (!rows || rows % parts)
      throw new ShapeError(
        `[accumulate] ${path.join('.') || 'the batch'} ${t.type.key} does not divide into ${parts} parts along its first axis; choose a divisor of ${rows}`,
      );
    return narrow(t, 0, (part * rows) / parts, rows / parts);
  });
}
