/**
 * The op table: every operation that a program may contain, with its shape and dtype rule, its arithmetic and its traffic. `OpTable` is a mapped
 * type over the attributes (op-types.ts), so an op without one of its rules does not compile; the gradient rules (gradients.ts) are mapped over
 * the same names.
 */
import { isFloat } from './dtype.ts';
import { fusedOps } from './op-fused.ts';
import {
  binary,
  countable,
  equalShapes,
  like,
  matmulDims,
  needFloat,
  needInt,
  perInput,
  perOutput,
  reduce,
  resized,
  traffic,
  unary,
  windows,
  without,
  zero,
} from './op-rules.ts';
import type { OpTable } from './op-types.ts';
import { broadcastShapes, ShapeError, sameShape, show, typeOf } from './shape.ts';

export { bitOps, matmulDims, windows } from './op-rules.ts';
export * from './op-types.ts';

export const ops: OpTable = {
  input: { kind: 'leaf', infer: ({ type }) => [type], flops: zero, bytes: zero },
  full: {
    kind: 'pointwise',
    infer({ value, shape, dtype }) {
      if (!isFloat(dtype) && !Number.isFinite(value)) throw new ShapeError(`[full] ${value} is no number of ${dtype}; use a float type`);
      return [typeOf(shape, dtype)];
    },
    flops: zero,
    bytes: traffic,
  },
  iota: {
    kind: 'pointwise',
    infer({ size, dtype }) {
      if (dtype === 'i32') countable('iota', size, 'a range of i32');
      return [typeOf([size], dtype)];
    },
    flops: zero,
    bytes: traffic,
  },
  randomBits: {
    kind: 'pointwise',
    infer({ shape }, [k0, k1]) {
      for (const k of [k0!, k1!])
        if (k.dtype !== 'i32' || k.size !== 1)
          throw new ShapeError(`[random] a key is two i32 words, not ${k.key}; make one with random.key(seed)`);
      return [typeOf(shape, 'i32')];
    },
    flops: perOutput(40),
    bytes: traffic,
  },
  neg: unary('neg'),
  abs: unary('abs'),
  exp: unary('exp', 8),
  log: unary('log', 8),
  sqrt: unary('sqrt'),
  rsqrt: unary('rsqrt', 2),
  sin: unary('sin', 12),
  cos: unary('cos', 12),
  tanh: unary('tanh', 12),
  erf: unary('erf', 16),
  floor: unary('floor'),
  not: unary('not'),
  add: binary('add'),
  sub: binary('sub'),
  mul: binary('mul'),
  div: binary('div'),
  max: binary('max'),
  min: binary('min'),
  pow: binary('pow'),
  mod: binary('mod'),
  and: binary('and'),
  or: binary('or'),
  xor: binary('xor'),
  shl: binary('shl'),
  shr: binary('shr'),
  lt: binary('lt', true),
  le: binary('le', true),
  eq: binary('eq', true),
  where: {
    kind: 'pointwise',
    infer(_, [c, a, b]) {
      needInt('where', c!);
      if (a!.dtype !== b!.dtype) throw new ShapeError(`[where] dtypes ${a!.dtype} and ${b!.dtype} must be equal; cast one`);
      equalShapes('where', [c!, a!, b!]);
      return [a!];
    },
    flops: perOutput(1),
    bytes: traffic,
  },
  cast: { kind: 'pointwise', infer: ({ dtype }, [x]) => [typeOf(x!.shape, dtype)], flops: zero, bytes: traffic },

  reshape: { kind: 'view', infer: ({ shape }, [x]) => [typeOf(shape, x!.dtype)], flops: zero, bytes: zero },
  permute: {
    kind: 'view',
    infer: ({ axes }, [x]) => [
      typeOf(
        axes.map((a) => x!.shape[a]!),
        x!.dtype,
      ),
    ],
    flops: zero,
    bytes: zero,
  },
  broadcast: {
    kind: 'view',
    infer({ shape }, [x]) {
      if (!sameShape(broadcastShapes('broadcastTo', x!.shape, shape), shape))
        throw new ShapeError(`[broadcastTo] ${show(x!.shape)} does not fit into ${show(shape)}; only axes of size 1 stretch`);
      return [typeOf(shape, x!.dtype)];
    },
    flops: zero,
    bytes: zero,
  },
  slice: { kind: 'view', infer: ({ size }, [x]) => [typeOf(size, x!.dtype)], flops: zero, bytes: zero },
  flip: { kind: 'view', infer: like, flops: zero, bytes: zero },
  pad: {
    kind: 'copy',
    infer: ({ before, after }, [x]) => [
      typeOf(
        x!.shape.map((d, i) => d + before[i]! + after[i]!),
        x!.dtype,
      ),
    ],
    flops: zero,
    bytes: traffic,
  },
  concat: {
    kind: 'copy',
    infer({ axis }, inputs) {
      const [first] = inputs;
      for (const t of inputs)
        if (t.dtype !== first!.dtype || without(t.shape, axis) !== without(first!.shape, axis) || t.shape.length !== first!.shape.length)
          throw new ShapeError(`[concat] ${first!.key} and ${t.key} must agree in dtype and in all axes but ${axis}`);
      return [
        resized(
          first!,
          axis,
          inputs.reduce((n, t) => n + t.shape[axis]!, 0),
        ),
      ];
    },
    flops: zero,
    bytes: traffic,
  },

  sum: reduce('sum'),
  reduceMax: reduce('reduceMax'),
  argmax: {
    kind: 'reduce',
    infer({ axis }, [x]) {
      if (x!.shape[axis] === 0) throw new ShapeError(`[argmax] axis ${axis} of ${x!.key} has no entries, and none is the largest`);
      countable('argmax', x!.shape[axis] ?? 1, `axis ${axis} of ${x!.key}`);
      return [resized(x!, axis, 1, 'i32')];
    },
    flops: perInput(1),
    bytes: traffic,
  },
  cumsum: {
    kind: 'index',
    infer(_, [x]) {
      if (x!.dtype === 'f32' || x!.dtype === 'i32') return [x!];
      throw new ShapeError(`[cumsum] sums f32 and i32, not ${x!.key}; the function cumsum converts`);
    },
    flops: perInput(1),
    bytes: traffic,
  },

  matmul: {
    kind: 'contract',
    infer(_, [a, b]) {
      if (a!.dtype !== b!.dtype) throw new ShapeError(`[matmul] dtypes ${a!.dtype} and ${b!.dtype} must be equal; cast one`);
      const { m, n } = matmulDims(needFloat('matmul', a!).shape, b!.shape);
      return [typeOf([...a!.shape.slice(0, -2), m, n], a!.dtype)];
    },
    flops: (_, [a, b], [o]) => 2 * o!.size * matmulDims(a!.shape, b!.shape).k,
    bytes: traffic,
  },
  unfold: {
    kind: 'contract',
    infer(w, [x]) {
      if (x!.shape.length !== 4) throw new ShapeError(`[unfold] needs [B, C, H, W], not ${show(x!.shape)}`);
      const [B, C, H, W] = needFloat('unfold', x!).shape as [number, number, number, number];
      const [oh, ow] = windows(w, H, W);
      if (oh < 1 || ow < 1)
        throw new ShapeError(
          `[unfold] a ${w.kernel.join('x')} window does not fit into ${H}x${W} with padding ${w.padding.join('x')}; pad more or shrink the kernel`,
        );
      return [typeOf([B, C * w.kernel[0] * w.kernel[1], oh * ow], x!.dtype)];
    },
    flops: zero,
    bytes: traffic,
  },
  fold: {
    kind: 'contract',
    infer(w, [x]) {
      const [B, CK, L] = x!.shape as [number, number, number];
      const [oh, ow] = windows(w, w.height, w.width);
      const taps = w.kernel[0] * w.kernel[1];
      if (x!.shape.length !== 3 || CK % taps || L !== oh * ow)
        throw new ShapeError(
          `[fold] ${show(x!.shape)} is not [B, C*${taps}, ${oh * ow}], what ${w.kernel.join('x')} windows over ${w.height}x${w.width} give`,
        );
      return [typeOf([B, CK / taps, w.height, w.width], x!.dtype)];
    },
    flops: perInput(1),
    bytes: traffic,
  },

  take: {
    kind: 'index',
    infer({ axis }, [x, i]) {
      needInt('take', i!);
      if (i!.shape.length !== 1) throw new ShapeError(`[take] needs a vector of indices, not ${i!.key}`);
      return [resized(x!, axis, i!.size)];
    },
    flops: zero,
    bytes: (_, [, i], [o]) => 2 * o!.bytes + i!.bytes,
  },
  scatterAdd: {
    kind: 'index',
    infer({ axis, size }, [dy, i]) {
      needInt('scatterAdd', i!);
      return [resized(needFloat('scatterAdd', dy!), axis, size)];
    },
    flops: perInput(1),
    bytes: traffic,
  },
  takeAlong: {
    kind: 'index',
    infer({ axis }, [x, i]) {
      needInt('takeAlong', i!);
      if (x!.shape.length !== i!.shape.length || without(x!.shape, axis) !== without(i!.shape, axis))
        throw new ShapeError(`[takeAlong] index ${i!.key} must agree with ${x!.key} in all axes but ${axis}`);
      return [typeOf(i!.shape, x!.dtype)];
    },
    flops: zero,
    bytes: (_, [, i], [o]) => 2 * o!.bytes + i!.bytes,
  },
  scatterAlong: {
    kind: 'index',
    infer({ axis, size }, [dy, i]) {
      needInt('scatterAlong', i!);
      if (!sameShape(i!.shape, dy!.shape)) throw new ShapeError(`[scatterAlong] index ${i!.key} must have the shape of ${dy!.key}`);
      return [resized(needFloat('scatterAlong', dy!), axis, size)];
    },
    flops: perInput(1),
    bytes: traffic,
  },
  updateAt: {
    kind: 'index',
    infer({ axis }, [x, y, at]) {
      needInt('updateAt', at!);
      if (at!.size !== 1) throw new ShapeError(`[updateAt] needs one start, not ${at!.key}`);
      if (x!.dtype !== y!.dtype || x!.shape.length !== y!.shape.length || without(x!.shape, axis) !== without(y!.shape, axis))
        throw new ShapeError(`[updateAt] ${y!.key} must agree with ${x!.key} in dtype and in all axes but ${axis}`);
      if (y!.shape[axis]! > x!.shape[axis]!)
        throw new ShapeError(
          `[updateAt] ${y!.shape[axis]} entries do not fit into axis ${axis} of ${x!.key}, which holds ${x!.shape[axis]}`,
        );
      return [x!];
    },
    flops: zero,
    bytes: (_, [, y]) => 2 * y!.bytes,
  },
  argsort: {
    kind: 'index',
    infer({ first }, [x]) {
      countable('argsort', x!.shape.at(-1) ?? 1, `the last axis of ${x!.key}`);
      return [typeOf(x!.shape.length ? [...x!.shape.slice(0, -1), first] : [], 'i32')];
    },
    flops: (_, [x]) => x!.size * Math.ceil(Math.log2(Math.max(2, x!.shape.at(-1) ?? 1))),
    bytes: traffic,
  },

  stopGradient: { kind: 'view', infer: like, flops: zero, bytes: zero },
  // never simplified away: what is before it and what is after it are two expressions
  barrier: { kind: 'view', infer: like, flops: zero, bytes: zero },
  identity: { kind: 'view', infer: like, flops: zero, bytes: zero },
  custom: { kind: 'view', infer: ({ outputs }, inputs) => inputs.slice(0, outputs), flops: zero, bytes: zero },
  ...fusedOps,
};
