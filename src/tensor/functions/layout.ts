/** The same numbers under other indices: views where possible, copies where not. */
import { axesOf, axisOf, checkList, checkTensors } from '../arguments.ts';
import { resolveReshape, type Shape, ShapeError, sameShape, show } from '../shape.ts';
import type { Tensor } from '../tensor.ts';
import { apply } from '../trace.ts';

/** New shape, same order of elements; one -1 is worked out. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  checkTensors('reshape', [x]);
  const to = resolveReshape(x.shape, shape);
  return sameShape(to, x.shape) ? x : apply('reshape', { shape: to }, [x]);
}

/** Axis i of the result is axis axes[i] of x. */
export function permute(x: Tensor, axes: readonly number[]): Tensor {
  checkTensors('permute', [x]);
  checkList('permute', 'axes', axes);
  const to = axes.map((a) => axisOf('permute', a, x));
  if (to.length !== x.rank || new Set(to).size !== x.rank)
    throw new ShapeError(`[permute] ${show(axes)} is no permutation of the ${x.rank} axes of ${show(x.shape)}`);
  return to.every((a, i) => a === i) ? x : apply('permute', { axes: to }, [x]);
}

/** Swaps two axes (default: the last two). */
export function transpose(x: Tensor, a = -2, b = -1): Tensor {
  const [i, j] = [axisOf('transpose', a, x), axisOf('transpose', b, x)];
  const axes = x.shape.map((_, k) => k);
  axes[i] = j;
  axes[j] = i;
  return permute(x, axes);
}

export function squeeze(x: Tensor, axis: number): Tensor {
  const a = axisOf('squeeze', axis, x);
  if (x.shape[a] !== 1) throw new ShapeError(`[squeeze] axis ${axis} of ${show(x.shape)} has size ${x.shape[a]}, not 1`);
  return reshape(
    x,
    x.shape.filter((_, i) => i !== a),
  );
}

/** Puts a new axis of size 1 at `axis` of the result. */
export function unsqueeze(x: Tensor, axis: number): Tensor {
  const a = axisOf('unsqueeze', axis, x, 1);
  return reshape(x, [...x.shape.slice(0, a), 1, ...x.shape.slice(a)]);
}

/**
 * A window [start, end) per axis, as `slice(x, [0, 2], null, [1, -1])`; null or a missing axis keeps all of it, negative numbers count
 * from the end, a third number is a step >= 1.
 */
export function slice(x: Tensor, ...ranges: (readonly [number, number?, number?] | null)[]): Tensor {
  checkTensors('slice', [x]);
  if (ranges.length > x.rank) throw new ShapeError(`[slice] ${ranges.length} ranges for ${show(x.shape)} of rank ${x.rank}`);
  const start: number[] = [];
  const size: number[] = [];
  const step: number[] = [];
  x.shape.forEach((d, i) => {
    const [a = 0, b = d, by = 1] = ranges[i] ?? [];
    const from = a < 0 ? a + d : a;
    const to = b < 0 ? b + d : b;
    if (![from, to, by].every(Number.isInteger) || from < 0 || to > d || from > to || by < 1)
      throw new ShapeError(`[slice] [${a}, ${b}) by ${by} is outside axis ${i} of ${show(x.shape)}`);
    start.push(from);
    step.push(by);
    size.push(Math.ceil((to - from) / by));
  });
  return sameShape(size, x.shape) ? x : apply('slice', { start, size, step }, [x]);
}

/** `size` consecutive entries of one axis from `start`. */
export function narrow(x: Tensor, axis: number, start: number, size: number): Tensor {
  const a = axisOf('narrow', axis, x);
  return slice(x, ...x.shape.map((_, i) => (i === a ? ([start, start + size] as const) : null)));
}

/** Cuts an axis into equal parts, or into parts of the given sizes. */
export function split(x: Tensor, parts: number | readonly number[], axis = -1): Tensor[] {
  const a = axisOf('split', axis, x);
  const d = x.shape[a]!;
  const whole = typeof parts !== 'number' || (Number.isInteger(parts) && parts > 0);
  const sizes = typeof parts !== 'number' ? parts : new Array<number>(whole ? parts : 0).fill(d / parts);
  checkList('split', 'sizes', sizes);
  if (!whole || sizes.reduce((n, s) => n + s, 0) !== d || sizes.some((s) => !Number.isInteger(s)))
    throw new ShapeError(
      `[split] axis ${axis} of ${show(x.shape)} has size ${d}; it does not split into ${typeof parts === 'number' ? `${parts} equal parts` : show(sizes)}`,
    );
  let at = 0;
  return sizes.map((s) => narrow(x, a, (at += s) - s, s));
}

/** Reverses the given axes. */
export function flip(x: Tensor, axes: number | readonly number[]): Tensor {
  return apply('flip', { axes: axesOf('flip', axes, x) }, [x]);
}

/** Adds `before[i]` and `after[i]` elements of `value` at the ends of axis i. */
export function pad(x: Tensor, before: readonly number[], after: readonly number[], value = 0): Tensor {
  checkTensors('pad', [x]);
  checkList('pad', 'widths', before);
  checkList('pad', 'widths', after);
  if (before.length !== x.rank || after.length !== x.rank)
    throw new ShapeError(`[pad] needs ${x.rank} widths on both sides for ${show(x.shape)}`);
  if ([...before, ...after].some((n) => n < 0))
    throw new ShapeError(`[pad] widths ${show(before)}, ${show(after)} must be >= 0; use slice to cut`);
  return [...before, ...after].every((n) => n === 0) ? x : apply('pad', { before, after, value }, [x]);
}

/** Joins along an existing axis. */
export function concat(xs: readonly Tensor[], axis = 0): Tensor {
  checkList('concat', 'tensors', xs);
  const [first] = xs;
  if (!xs.length) throw new ShapeError('[concat] needs at least one tensor');
  const a = axisOf('concat', axis, first!);
  return xs.length === 1 ? first! : apply('concat', { axis: a }, xs);
}

/** Joins along a new axis. */
export function stack(xs: readonly Tensor[], axis = 0): Tensor {
  checkList('stack', 'tensors', xs);
  return concat(
    xs.map((x) => unsqueeze(x, axis)),
    axis,
  );
}
