/** Sums, extremes, scans and orders along axes. */

import { axesOf, axisOf, checkTensors } from '../arguments.ts';
import { isFloat } from '../dtype.ts';
import { ShapeError } from '../shape.ts';
import type { Tensor } from '../tensor.ts';
import { apply } from '../trace.ts';
import { flip, narrow, pad, reshape } from './layout.ts';
import { add, cast, div, equal, exp, log, mul, neg, not, sqrt, stopGradient, sub, where } from './pointwise.ts';

export interface ReduceOptions {
  /** Keep the reduced axes as size 1. */
  keepDims?: boolean;
}
type Axes = number | readonly number[];

function finish(x: Tensor, axes: readonly number[], reduced: Tensor, keepDims = false): Tensor {
  return keepDims
    ? reduced
    : reshape(
        reduced,
        x.shape.filter((_, i) => !axes.includes(i)),
      );
}
const count = (x: Tensor, axes: readonly number[]): number => axes.reduce((n, a) => n * x.shape[a]!, 1);

/** @param axes default: all. Halves are summed in f32 and rounded once; bytes are refused, they would overflow. */
export function sum(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  const a = axesOf('sum', axes, x);
  return finish(x, a, a.length ? apply('sum', { axes: a }, [x]) : x, options.keepDims);
}
export function max(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  const a = axesOf('max', axes, x);
  return finish(x, a, a.length ? apply('reduceMax', { axes: a }, [x]) : x, options.keepDims);
}
export const min = (x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor => mirrored(max(mirrored(x, 'min'), axes, options));

/** Turns the order of all values of a type around, and back: the least integer has no negative, and u8 and bool have none at all. */
function mirrored(x: Tensor, op = ''): Tensor {
  checkTensors(op, [x]);
  if (isFloat(x.dtype)) return neg(x);
  return x.dtype === 'bool' ? not(x) : sub(x.dtype === 'u8' ? 255 : -1, x);
}
/** Of integers f32. */
export function mean(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  const n = count(x, axesOf('mean', axes, x));
  const exact = cast(x, 'f32'); // a sum of halves would overflow, or be rounded before it is divided
  return cast(mul(sum(exact, axes, options), 1 / n), isFloat(x.dtype) ? x.dtype : 'f32');
}
/** Variance with `correction` taken from the count (1: the unbiased estimator). */
export function variance(x: Tensor, axes?: Axes, options: ReduceOptions & { correction?: number } = {}): Tensor {
  const a = axesOf('variance', axes, x);
  const n = count(x, a) - (options.correction ?? 0);
  if (n <= 0) throw new ShapeError(`[variance] ${count(x, a)} elements leave nothing after a correction of ${options.correction}`);
  const f = cast(x, 'f32');
  const d = sub(f, mean(f, a, { keepDims: true }));
  return cast(mul(sum(mul(d, d), a, options), 1 / n), isFloat(x.dtype) ? x.dtype : 'f32');
}
export const std = (x: Tensor, axes?: Axes, options: ReduceOptions & { correction?: number } = {}): Tensor =>
  sqrt(variance(x, axes, options));

/** Index (i32) of the first maximum along an axis. */
export function argmax(x: Tensor, axis = -1, options: ReduceOptions = {}): Tensor {
  const a = axisOf('argmax', axis, x);
  return finish(x, [a], apply('argmax', { axis: a }, [x]), options.keepDims);
}
export const argmin = (x: Tensor, axis = -1, options: ReduceOptions = {}): Tensor => argmax(mirrored(x, 'argmin'), axis, options);

/** log(sum(exp(x))) without overflow. */
export function logSumExp(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  const a = axesOf('logSumExp', axes, x);
  const top = stopGradient(max(x, a, { keepDims: true }));
  const finite = where(equal(sub(top, top), 0), top, 0); // inf - inf is NaN: a row of -inf must give -inf, not NaN
  return finish(x, a, add(log(sum(exp(sub(x, finite)), a, { keepDims: true })), finite), options.keepDims);
}
/** x - logSumExp(x) along an axis, exact for large x too: the maximum is taken out first. */
export function logSoftmax(x: Tensor, axis = -1): Tensor {
  checkTensors('logSoftmax', [x]);
  const d = sub(x, stopGradient(max(x, axis, { keepDims: true })));
  return sub(d, log(sum(exp(d), axis, { keepDims: true })));
}

/** Running sum along an axis; of halves it is summed in f32, integers wrap as their storage does. */
export function cumsum(x: Tensor, axis = -1, options: { reverse?: boolean } = {}): Tensor {
  const a = axisOf('cumsum', axis, x);
  if (options.reverse) return flip(cumsum(flip(x, a), a), a);
  if (x.dtype === 'i64') return runningSums(x, a);
  return cast(apply('cumsum', { axis: a }, [cast(x, isFloat(x.dtype) ? 'f32' : 'i32')]), x.dtype);
}

/** By doubling: after each pass an entry holds the sum of twice as many. Kernels have no scan of 8-byte integers. */
function runningSums(x: Tensor, axis: number): Tensor {
  const length = x.shape[axis]!;
  const only = (width: number): number[] => x.shape.map((_, i) => (i === axis ? width : 0));
  let sums = x;
  for (let by = 1; by < length; by *= 2) sums = add(sums, pad(narrow(sums, axis, 0, length - by), only(by), only(0)));
  return sums;
}

/** Stable order (i32) along the last axis; NaN comes last. */
export function argsort(x: Tensor, options: { descending?: boolean } = {}): Tensor {
  const last = axisOf('argsort', -1, x);
  return apply('argsort', { descending: options.descending ?? false, first: x.shape[last]! }, [x]);
}

/** Sorted values and their indices along the last axis; gradients flow to the values. */
export function sort(x: Tensor, options: { descending?: boolean } = {}): { values: Tensor; indices: Tensor } {
  const indices = argsort(x, options);
  return { values: apply('takeAlong', { axis: x.rank - 1 }, [x, indices]), indices };
}
/** The k largest along the last axis, largest first. */
export function topK(x: Tensor, k: number): { values: Tensor; indices: Tensor } {
  const last = axisOf('topK', -1, x);
  const d = x.shape[last]!;
  if (k > d) throw new ShapeError(`[topK] k = ${k} is more than the ${d} entries of the last axis; lower k`);
  const indices = apply('argsort', { descending: true, first: k }, [x]);
  return { values: apply('takeAlong', { axis: x.rank - 1 }, [x, indices]), indices };
}

/** x / sqrt(|x|^2 + eps^2) along an axis: a vector of zeros stays one. */
export function normalize(x: Tensor, axis = -1, eps = 1e-12): Tensor {
  checkTensors('normalize', [x]);
  const f = cast(x, 'f32'); // eps^2 is 0 as a half
  const square = sum(mul(f, f), axis, { keepDims: true });
  return cast(div(f, sqrt(add(square, eps * eps))), x.dtype);
}
