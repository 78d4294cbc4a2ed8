/** Arithmetic on strided views: what the view ops do without moving a byte. */
import { is, type Node } from '../graph.ts';
import type { OpAttrs } from '../ops.ts';
import { type Shape, sameShape, sizeOf, stridesOf } from '../shape.ts';
import type { View } from './program.ts';

export function isContiguous(v: View): boolean {
  let step = 1;
  for (let i = v.shape.length - 1; i >= 0; i--) {
    if (v.shape[i] !== 1 && v.strides[i] !== step) return false;
    step *= v.shape[i]!;
  }
  return true;
}

export const permuteView = (v: View, axes: readonly number[]): View => ({
  ...v,
  shape: axes.map((a) => v.shape[a]!),
  strides: axes.map((a) => v.strides[a]!),
});

export function broadcastView(v: View, shape: Shape): View {
  const extra = shape.length - v.shape.length;
  return { ...v, shape, strides: shape.map((d, i) => (i < extra || (v.shape[i - extra] === 1 && d !== 1) ? 0 : v.strides[i - extra]!)) };
}

export function sliceView(v: View, { start, size, step }: OpAttrs['slice']): View {
  return {
    ...v,
    offset: v.offset + start.reduce((n, s, i) => n + s * v.strides[i]!, 0),
    shape: size,
    strides: v.strides.map((s, i) => s * step[i]!),
  };
}

export function flipView(v: View, axes: readonly number[]): View {
  const turned = (i: number): boolean => axes.includes(i);
  return {
    ...v,
    offset: v.offset + axes.reduce((n, a) => n + Math.max(0, v.shape[a]! - 1) * v.strides[a]!, 0),
    strides: v.strides.map((s, i) => (turned(i) ? -s : s)),
  };
}

/** The view under another shape, or undefined when no strides can express it. */
export function reshapeView(v: View, shape: Shape): View | undefined {
  if (sameShape(v.shape, shape)) return v;
  if (isContiguous(v)) return { ...v, shape, strides: stridesOf(shape) };
  if (sizeOf(shape) === 0) return undefined;
  // merge the old axes into contiguous blocks, then cut the blocks from the right; a new axis must not cross a block
  const {
    dims,
    strides: [steps],
  } = collapse(v.shape, [v.strides]);
  const strides = new Array<number>(shape.length).fill(1);
  let block = dims.length - 1;
  let left = dims[block]!;
  let step = steps![block]!;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const d = shape[axis]!;
    if (d === 1) continue;
    if (left === 1 && block > 0) {
      left = dims[--block]!;
      step = steps![block]!;
    }
    if (left % d) return undefined;
    strides[axis] = step;
    step *= d;
    left /= d;
  }
  return { ...v, shape, strides };
}

/**
 * An iteration space and its operands with as few axes as possible: axes of size 1 go, neighbours that all operands walk as one merge.
 */
export function collapse(shape: Shape, operands: readonly (readonly number[])[]): { dims: number[]; strides: number[][] } {
  const dims: number[] = [];
  const strides = operands.map(() => [] as number[]);
  shape.forEach((d, i) => {
    if (d === 1) return;
    const last = dims.length - 1;
    if (last >= 0 && operands.every((s, o) => strides[o]![last] === s[i]! * d)) {
      dims[last]! *= d;
      operands.forEach((s, o) => {
        strides[o]![last] = s[i]!;
      });
    } else {
      dims.push(d);
      operands.forEach((s, o) => {
        strides[o]!.push(s[i]!);
      });
    }
  });
  if (!dims.length) {
    dims.push(1);
    for (const s of strides) s.push(0);
  }
  return { dims, strides };
}

/** What a view op makes of the view of its operand; undefined when no strides can express it, and for any other op. */
export function viewOf(node: Node, x: View): View | undefined {
  if (is(node, 'barrier')) return x;
  if (is(node, 'permute')) return permuteView(x, node.attrs.axes);
  if (is(node, 'broadcast')) return broadcastView(x, node.attrs.shape);
  if (is(node, 'slice')) return sliceView(x, node.attrs);
  if (is(node, 'flip')) return flipView(x, node.attrs.axes);
  return is(node, 'reshape') ? reshapeView(x, node.outputs[0]!.type.shape) : undefined;
}
