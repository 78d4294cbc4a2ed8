/** What functions are given, checked before it is used: else plain JavaScript would speak of a property of undefined, and of no function. */
import { ShapeError } from './shape.ts';
import { Tensor } from './tensor.ts';

const named = (x: unknown): string => (Array.isArray(x) ? 'an array' : typeof x === 'object' && x ? 'an object' : String(x));

/** @throws TypeError for what is no tensor, nor a number where `orNumbers` */
export function checkTensors(op: string, xs: readonly unknown[], orNumbers = false): void {
  for (const x of xs)
    if (!(x instanceof Tensor) && !(orNumbers && typeof x === 'number'))
      throw new TypeError(`[${op}] ${named(x)} is ${orNumbers ? 'neither a tensor nor a number' : 'no tensor'}; make one with tensor(...)`);
}

/** @param what its elements, as the error calls them @throws TypeError for what is no array */
export function checkList(op: string, what: string, xs: unknown): void {
  if (!Array.isArray(xs)) throw new TypeError(`[${op}] ${named(xs)} is no array of ${what}`);
}

/**
 * An axis of x, counted from the left: -1 is the last.
 * @param added axes that the result has more than x, where it is the result's axis
 * @throws ShapeError out of range
 */
export function axisOf(op: string, axis: number, x: Tensor, added = 0): number {
  checkTensors(op, [x]);
  const rank = x.rank + added;
  const a = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(a) || a < 0 || a >= rank)
    throw new ShapeError(
      `[${op}] axis ${named(axis)} is out of range for a tensor of rank ${rank}; ${rank ? `use ${-rank}..${rank - 1}` : 'a single number has no axes'}`,
    );
  return a;
}

/** Axes of x in ascending order, without repeats; undefined means all of them. */
export function axesOf(op: string, axes: number | readonly number[] | undefined, x: Tensor): number[] {
  checkTensors(op, [x]);
  if (axes === undefined) return x.shape.map((_, i) => i);
  const list = typeof axes === 'number' ? [axes] : axes;
  checkList(op, 'axes', list);
  return [...new Set(list.map((a) => axisOf(op, a, x)))].sort((a, b) => a - b);
}

/** The two numbers of a size, or of anything else that is given for height and width. */
export function pairOf(op: string, what: string, pair: readonly [number, number]): readonly [number, number] {
  if (!Array.isArray(pair) || pair.length !== 2)
    throw new TypeError(`[${op}] ${what} ${named(pair)} is no pair of numbers [height, width]`);
  return pair;
}
