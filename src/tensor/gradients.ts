/**
 * The gradient table: for each op, the cotangents of its inputs from those of its outputs, written with other ops. `null` says that no
 * gradient passes; `'reference'` that the op's reference is differentiated (second derivatives of fused ops, and their further outputs).
 */
import { isFloat } from './dtype.ts';
import { flip, narrow, pad, permute, reshape, slice, transpose } from './functions/layout.ts';
import { matmul } from './functions/linear.ts';
import {
  add,
  broadcastTo,
  cast,
  cos,
  div,
  equal,
  exp,
  full,
  iota,
  less,
  log,
  mul,
  neg,
  pow,
  sin,
  square,
  sub,
  where,
  zerosLike,
} from './functions/pointwise.ts';
import { cumsum, sum } from './functions/reduce.ts';
import type { OpAttrs, OpName } from './ops.ts';
import { ShapeError } from './shape.ts';
import type { Tensor } from './tensor.ts';
import { apply, applyAll } from './trace.ts';

interface At<A> {
  attrs: A;
  inputs: readonly Tensor[];
  outputs: readonly Tensor[];
  /** Cotangents of all outputs; the first is always there when the op has one output. */
  gs: readonly (Tensor | undefined)[];
}
type Cotangents = readonly (Tensor | undefined)[];
export type GradientRule<A> = ((g: Tensor, at: At<A>) => Cotangents | 'reference') | null | 'reference';
export type CustomVjp = (gs: readonly (Tensor | undefined)[], inputs: readonly Tensor[], outputs: readonly Tensor[]) => Cotangents;

const selected = (a: Tensor, b: Tensor, g: Tensor): Cotangents => {
  // ties share the gradient, as the mean of the two one-sided derivatives
  const first = add(cast(less(b, a), g.dtype), mul(cast(equal(a, b), g.dtype), 0.5));
  return [mul(g, first), mul(g, sub(1, first))];
};

/** g [out] summed back to the shape of what was broadcast. */
function unbroadcast(g: Tensor, shape: readonly number[]): Tensor {
  const extra = g.rank - shape.length;
  const axes = g.shape.flatMap((d, i) => (i < extra || (shape[i - extra] === 1 && d !== 1) ? [i] : []));
  return reshape(sum(g, axes, { keepDims: true }), shape);
}

function sliceGradient(g: Tensor, { attrs, inputs: [x] }: At<OpAttrs['slice']>): Cotangents {
  let y = g;
  attrs.step.forEach((step, axis) => {
    if (step === 1) return;
    const index = mul(iota(attrs.size[axis]!), step);
    y = apply('scatterAdd', { axis, size: Math.max(0, (attrs.size[axis]! - 1) * step + 1) }, [y, index]);
  });
  return [
    pad(
      y,
      attrs.start,
      x!.shape.map((d, i) => d - attrs.start[i]! - y.shape[i]!),
    ),
  ];
}

export const gradients: { [K in OpName]: GradientRule<OpAttrs[K]> } = {
  input: null,
  full: null,
  iota: null,
  randomBits: null,
  stopGradient: null,
  floor: null,
  not: null,
  mod: null,
  and: null,
  or: null,
  xor: null,
  shl: null,
  shr: null,
  lt: null,
  le: null,
  eq: null,
  argmax: null,
  argsort: null,

  neg: (g) => [neg(g)],
  abs: (g, { inputs: [x] }) => [mul(g, sub(cast(less(0, x!), g.dtype), cast(less(x!, 0), g.dtype)))],
  exp: (g, { outputs: [y] }) => [mul(g, y!)],
  log: (g, { inputs: [x] }) => [div(g, x!)],
  sqrt: (g, { outputs: [y] }) => [div(mul(g, 0.5), y!)],
  rsqrt: (g, { inputs: [x], outputs: [y] }) => [mul(mul(g, -0.5), div(y!, x!))],
  sin: (g, { inputs: [x] }) => [mul(g, cos(x!))],
  cos: (g, { inputs: [x] }) => [neg(mul(g, sin(x!)))],
  tanh: (g, { outputs: [y] }) => [mul(g, sub(1, square(y!)))],
  erf: (g, { inputs: [x] }) => [mul(g, mul(2 / Math.sqrt(Math.PI), exp(neg(square(x!)))))],
  add: (g) => [g, g],
  sub: (g) => [g, neg(g)],
  mul: (g, { inputs: [a, b] }) => [mul(g, b!), mul(g, a!)],
  div: (g, { inputs: [, b], outputs: [y] }) => [div(g, b!), neg(div(mul(g, y!), b!))],
  max: (g, { inputs: [a, b] }) => selected(a!, b!, g),
  min: (g, { inputs: [a, b] }) => selected(neg(a!), neg(b!), g),
  pow: (g, { inputs: [a, b], outputs: [y] }) => [
    mul(g, mul(b!, pow(a!, where(equal(b!, 0), 1, sub(b!, 1))))), // x^0 is constant, at 0 too
    mul(g, mul(y!, log(where(less(0, a!), a!, 1)))), // 0^b and (-a)^n are constant in b where they are defined at all
  ],
  where: (g, { inputs: [c] }) => [undefined, where(c!, g, 0), where(c!, 0, g)],
  cast: (g, { inputs: [x] }) => [isFloat(x!.dtype) ? cast(g, x!.dtype) : undefined],

  reshape: (g, { inputs: [x] }) => [reshape(g, x!.shape)],
  permute(g, { attrs: { axes } }) {
    const back = new Array<number>(axes.length);
    axes.forEach((a, i) => {
      back[a] = i;
    });
    return [permute(g, back)];
  },
  broadcast: (g, { inputs: [x] }) => [unbroadcast(g, x!.shape)],
  slice: sliceGradient,
  flip: (g, { attrs }) => [flip(g, attrs.axes)],
  pad: (g, { attrs, inputs: [x] }) => [slice(g, ...x!.shape.map((d, i) => [attrs.before[i]!, attrs.before[i]! + d] as const))],
  concat(g, { attrs: { axis }, inputs }) {
    let at = 0;
    return inputs.map((x) => narrow(g, axis, (at += x.shape[axis]!) - x.shape[axis]!, x.shape[axis]!));
  },

  sum: (g, { inputs: [x] }) => [broadcastTo(g, x!.shape)],
  reduceMax(g, { attrs: { axes }, inputs: [x], outputs: [y] }) {
    const hit = cast(equal(x!, broadcastTo(y!, x!.shape)), g.dtype);
    const share = div(g, apply('sum', { axes }, [hit]));
    return [mul(hit, broadcastTo(share, x!.shape))];
  },
  cumsum: (g, { attrs }) => [cumsum(g, attrs.axis, { reverse: true })],
  matmul: (g, { inputs: [a, b] }) => [matmul(g, transpose(b!)), matmul(transpose(a!), g)],
  unfold: (g, { attrs, inputs: [x] }) => [apply('fold', { ...attrs, height: x!.shape[2]!, width: x!.shape[3]! }, [g])],
  fold: (g, { attrs: { kernel, stride, padding, dilation } }) => [apply('unfold', { kernel, stride, padding, dilation }, [g])],

  take: (g, { attrs: { axis }, inputs: [x, i] }) => [apply('scatterAdd', { axis, size: x!.shape[axis]! }, [g, i!]), undefined],
  scatterAdd: (g, { attrs: { axis }, inputs: [, i] }) => [apply('take', { axis }, [g, i!]), undefined],
  takeAlong: (g, { attrs: { axis }, inputs: [x, i] }) => [apply('scatterAlong', { axis, size: x!.shape[axis]! }, [g, i!]), undefined],
  scatterAlong: (g, { attrs: { axis }, inputs: [, i] }) => [apply('takeAlong', { axis }, [g, i!]), undefined],

  updateAt(g, { attrs: { axis }, inputs: [, y, at] }) {
    const places = add(iota(y!.shape[axis]!), reshape(cast(at!, 'i32'), [1]));
    return [apply('updateAt', { axis }, [g, zerosLike(y!), at!]), apply('take', { axis }, [g, places]), undefined];
  },

  identity: (g) => [g],
  barrier: (g) => [g],
  custom(_, { attrs, inputs, gs }) {
    const values = inputs.slice(0, attrs.outputs);
    const own = (attrs.vjp as CustomVjp)(gs, inputs.slice(attrs.outputs), values);
    if (own.length > inputs.length - values.length)
      throw new ShapeError(`[customVjp] the vjp gives ${own.length} cotangents, for ${inputs.length - values.length} inputs`);
    return [...values.map(() => undefined), ...own];
  },

  norm(_, { attrs: { rms, affine }, inputs: [x, ...params], outputs: [, mean, rstd], gs: [g, ...saved] }) {
    if (!g || saved.some((s) => s)) return 'reference';
    return applyAll('normGrad', { rms, affine }, [g, x!, ...(affine ? [params[0]!] : []), mean!, rstd!]).slice(0, 1 + affine);
  },
  softmax: (g, { outputs: [y] }) => [apply('softmaxGrad', {}, [g, y!])],
  crossEntropy(_, { inputs: [logits, labels], outputs: [, lse], gs: [g, gLse] }) {
    let d = apply('crossEntropyGrad', {}, [logits!, labels!, lse!, g ?? zerosLike(lse!)]);
    if (gLse)
      d = add(
        d,
        mul(
          cast(reshape(gLse, [...gLse.shape, 1]), logits!.dtype),
          exp(sub(logits!, cast(reshape(lse!, [...lse!.shape, 1]), logits!.dtype))),
        ),
      );
    return [d, undefined];
  },
  attention(_, { attrs, inputs, outputs: [o, lse], gs: [g, gLse] }) {
    if (gLse) return 'reference';
    const [q, k, v, ...offsets] = inputs;
    return applyAll('attentionGrad', attrs, [q!, k!, v!, o!, lse!, g ?? full(o!.shape, 0, o!.dtype), ...offsets]).slice(0, 3);
  },
  linearCrossEntropy(_, { attrs, inputs: [e, c, targets, ...rest], outputs: [, lse, tiles], gs: [dLogit, dLse] }) {
    const zeros = zerosLike(lse!);
    const saved = [e!, c!, targets!, lse!, dLogit ?? zeros, dLse ?? zeros, tiles!, ...rest];
    const [dE, dC, dBias] = applyAll('linearCrossEntropyGrad', attrs, saved);
    return [dE, dC, undefined, ...(attrs.bias ? [dBias] : []), ...(attrs.sort ? [undefined] : [])];
  },
  normGrad: 'reference',
  softmaxGrad: 'reference',
  crossEntropyGrad: 'reference',
  attentionGrad: 'reference',
  decodeAttention: () => 'reference',
  linearCrossEntropyGrad: 'reference',
};
