/** Reading and writing at computed places. An index outside its axis is an error that the device reports. */
import { axisOf, checkTensors } from '../arguments.ts';
import { ShapeError, show } from '../shape.ts';
import type { Tensor } from '../tensor.ts';
import { apply } from '../trace.ts';
import { reshape } from './layout.ts';
import { cast, equal, iota } from './pointwise.ts';

/** out[..., j, ...] = x[..., index[j], ...] along `axis`; an index of rank r puts r axes there. */
export function take(x: Tensor, index: Tensor, axis = 0): Tensor {
  const a = axisOf('take', axis, x);
  checkTensors('take', [index]);
  const y = apply('take', { axis: a }, [x, reshape(index, [-1])]);
  return reshape(y, [...x.shape.slice(0, a), ...index.shape, ...x.shape.slice(a + 1)]);
}

/** Rows of a table: table [V, D], ids of any shape -> [...ids, D]. */
export const embedding = (table: Tensor, ids: Tensor): Tensor => take(table, ids, 0);

/** out[i][j][k] = x[index[i][j][k]][j][k] for axis 0, and so on; x and index agree in the other axes. */
export const takeAlong = (x: Tensor, index: Tensor, axis = -1): Tensor =>
  apply('takeAlong', { axis: axisOf('takeAlong', axis, x) }, [x, index]);

/** Zeros of `size` along `axis`, with updates[j] added at index[j] (a vector). Repeated indices add up. */
export const scatterAdd = (updates: Tensor, index: Tensor, size: number, axis = 0): Tensor => {
  const a = axisOf('scatterAdd', axis, updates);
  checkTensors('scatterAdd', [index]);
  if (index.rank !== 1 || index.size !== updates.shape[a])
    throw new ShapeError(
      `[scatterAdd] index ${show(index.shape)} must be a vector of the ${updates.shape[a]} entries of axis ${axis} of ${show(updates.shape)}`,
    );
  return apply('scatterAdd', { axis: a, size }, [updates, index]);
};

/** The adjoint of takeAlong: zeros of `size` along `axis` plus updates at their own indices. */
export const scatterAlong = (updates: Tensor, index: Tensor, size: number, axis = -1): Tensor =>
  apply('scatterAlong', { axis: axisOf('scatterAlong', axis, updates), size }, [updates, index]);

/**
 * x with `values` in place of the entries [at, at + n) of `axis`; `at` holds one integer. A compiled program writes them where x lies when
 * nothing else reads x afterwards (x a donated argument, or a value of the program).
 */
export const updateAt = (x: Tensor, values: Tensor, at: Tensor, axis = 0): Tensor =>
  apply('updateAt', { axis: axisOf('updateAt', axis, x) }, [x, values, at]);

/** labels of any shape -> [...labels, classes] with one 1 in each row (none for a label outside 0..classes-1). */
export function oneHot(labels: Tensor, classes: number, dtype: 'f32' | 'bf16' | 'f16' = 'f32'): Tensor {
  checkTensors('oneHot', [labels]);
  return cast(equal(reshape(labels, [...labels.shape, 1]), iota(classes)), dtype);
}
