/** Expressions: every pointwise op with broadcasting, integers, casts, and chains that fuse. */
import * as t from '../../../tensor/index.ts';
import type { OpName } from '../../../tensor/ops.ts';
import { apart, type Case, floats, forward, given, ints } from '../inputs.ts';

type Tensor = t.Tensor;

const unary = (op: OpName, f: (x: Tensor) => Tensor, low = -2, high = 2, shape: readonly number[] = [3, 5, 7]): Case => ({
  name: op,
  ops: [op],
  inputs: [floats(shape, low, high)],
  f,
});
const binary = (op: OpName, f: (a: Tensor, b: Tensor) => Tensor, low = -2, high = 2): Case => ({
  name: op,
  ops: [op, 'broadcast'],
  inputs: [floats([4, 1, 6], low, high), floats([3, 1], low, high)],
  f,
});

export const pointwise: Case[] = apart((): Case[] => [
  unary('neg', t.neg),
  unary('abs', t.abs),
  unary('exp', t.exp),
  unary('log', t.log, 0.1, 4),
  unary('sqrt', t.sqrt, 0.1, 4),
  unary('rsqrt', t.rsqrt, 0.1, 4),
  unary('sin', t.sin, -9, 9),
  unary('cos', t.cos, -9, 9),
  unary('tanh', t.tanh, -4, 4),
  unary('erf', t.erf, -3, 3),
  forward(unary('floor', t.floor)),
  binary('add', t.add),
  binary('sub', t.sub),
  binary('mul', t.mul),
  binary('div', t.div, 0.3, 3),
  binary('max', t.maximum),
  binary('min', t.minimum),
  binary('pow', t.pow, 0.3, 2.5),
  forward(binary('mod', t.mod)),
  forward(binary('lt', t.less)),
  forward(binary('le', t.lessEqual)),
  forward(binary('eq', t.equal)),
  { name: 'where', ops: ['where'], inputs: [ints([4, 5], 2), floats([4, 5]), floats([5])], f: (c, a, b) => t.where(c, a, b) },
  {
    name: 'where over constants and casts',
    ops: ['where', 'cast', 'full'],
    inputs: [floats([4, 9])],
    f: (a) => t.mul(a, t.cast(t.where(t.less(a, 0), 2, 3), 'f32')),
  },
  forward({
    name: 'integer arithmetic',
    ops: ['div', 'mod', 'and', 'or', 'xor', 'shl', 'shr', 'not'],
    inputs: [ints([40], 100, 'i32', -100), ints([40], 9, 'i32', -9)],
    f: (a, b) =>
      t.stack([
        t.div(a, b),
        t.mod(a, b),
        t.bitAnd(a, b),
        t.bitOr(a, b),
        t.bitXor(a, b),
        t.shiftLeft(a, 3),
        t.shiftRight(a, 3),
        t.shiftLeft(a, t.mul(b, 5)), // by 32 and more, and by less than nothing
        t.shiftRight(a, t.mul(b, 5)),
        t.cast(t.not(b), 'i32'),
        t.maximum(a, b),
        t.abs(b),
        t.neg(a),
      ]),
  }),
  forward({
    name: 'i64 arithmetic',
    ops: ['add', 'mul', 'cast'],
    inputs: [ints([30], 1000, 'i64', -1000)],
    f: (a) => t.cast(t.add(t.mul(a, 100000), t.div(a, 7)), 'f32'),
  }),
  forward({
    name: 'casts',
    ops: ['cast'],
    inputs: [floats([60], -300, 300)],
    f: (a) => t.concat((['i32', 'u8', 'i8', 'bool', 'i64'] as const).map((d) => t.cast(t.cast(t.cast(a, 'i32'), d), 'f32'))),
  }),
  forward({
    name: 'casts of i64',
    ops: ['cast'],
    inputs: [given([0, -1, 300, 2 ** 31, 2 ** 40 + 5, -(2 ** 33) - 7], [6], 'i64')],
    f: (a) => t.concat((['i32', 'u8', 'i8', 'bool', 'f32'] as const).map((d) => t.cast(t.cast(a, d), 'f32'))),
  }),
  forward({
    name: 'casts to halves round inside a kernel',
    ops: ['cast', 'sub'],
    inputs: [floats([4, 67])],
    f: (a) => t.concat((['bf16', 'f16'] as const).map((d) => t.mul(t.sub(t.cast(t.cast(a, d), 'f32'), a), 1000))),
  }),
  forward({ name: 'iota', ops: ['iota'], inputs: [floats([5, 7])], f: (a) => t.add(a, t.mul(t.cast(t.iota(7), 'f32'), t.iota(7, 'f32'))) }),
  forward({ name: 'randomBits', ops: ['randomBits'], inputs: [given([12345, -678], [2])], f: (k) => t.random.bits(k, [3, 37]) }),
  {
    name: 'a chain that fuses',
    ops: ['identity', 'stopGradient'],
    inputs: [floats([6, 300]), floats([300]), ints([6, 300], 5)],
    f: (x, b, k) => {
      const h = t.add(x, b);
      return t.mul(t.gelu(h), t.add(t.sigmoid(h), t.stopGradient(t.exp(t.neg(t.cast(k, 'f32'))))));
    },
  },
  {
    name: 'GELUs',
    ops: ['tanh', 'erf'],
    inputs: [floats([5, 67], -7, 7), given([-30, -9.5, -1e-3, 0, 1e-3, 9.5, 30], [7])],
    f: (x, far) => t.concat([t.geluTanh(x), t.gelu(x), t.geluTanh(far), t.gelu(far)].map((y) => t.reshape(y, [-1]))),
  },
  {
    name: 'a tanh that is read beside its sum with 1',
    ops: ['tanh'],
    inputs: [floats([5, 67], -4, 4)],
    f: (x) => {
      const y = t.tanh(x);
      return t.mul(t.add(1, y), t.sub(t.sub(1, t.square(y)), y));
    },
  },
  {
    name: 'a chain cut by barriers',
    ops: ['barrier'],
    inputs: [floats([6, 300]), floats([300])],
    f: (x, b) => t.mul(t.barrier(t.tanh(t.add(x, b))), t.tanh(t.barrier(t.add(x, b)))),
  },
  {
    name: 'rope',
    ops: ['flip', 'sin', 'cos'],
    inputs: [floats([2, 3, 2, 6]), given([0, 5, 11], [3]), floats([3], 0.01, 1)],
    f: (x, p, w) => t.rope(x, t.rotation(p, w)),
  },
  {
    name: 'custom gradient',
    ops: ['custom'],
    inputs: [floats([9], 0.2, 2)],
    f: (x) =>
      t.customVjp(
        (a) => [t.log(a)],
        ([g], [a]) => [t.div(g!, a!)],
      )(x)[0]!,
  },
]);
