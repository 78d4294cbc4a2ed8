/**
 * One case for every op and for the functions whose lowering is of interest. All devices run them: forward and gradient against the
 * reference device, whose gradients are checked against finite differences of its own float64 values.
 */
import * as t from '../../tensor/index.ts';
import type { OpName } from '../../tensor/ops.ts';
import { type Case, floats, given, halves, type Input, ints } from './inputs.ts';
import { orders } from './orders.ts';
import { wide } from './wide.ts';

export type { Case } from './inputs.ts';

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
const forward = (c: Case): Case => ({ ...c, forwardOnly: true });

const pointwise: Case[] = [
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
    name: 'a chain cut by barriers',
    ops: ['barrier'],
    inputs: [floats([6, 300]), floats([300])],
    f: (x, b) => t.mul(t.barrier(t.tanh(t.add(x, b))), t.tanh(t.barrier(t.add(x, b)))),
  },
];

const layout: Case[] = [
  {
    name: 'reshape of a transpose',
    ops: ['reshape', 'permute'],
    inputs: [floats([3, 4, 5])],
    f: (x) => t.mul(t.reshape(t.permute(x, [2, 0, 1]), [5, 12]), t.reshape(x, [5, 12])),
  },
  { name: 'slice', ops: ['slice'], inputs: [floats([6, 7])], f: (x) => t.mul(t.slice(x, [1, 5], [2, -1]), t.slice(x, [0, 4], [3])) },
  { name: 'slice with steps', ops: ['slice', 'scatterAdd'], inputs: [floats([7, 9])], f: (x) => t.exp(t.slice(x, [1, 7, 3], [0, 9, 2])) },
  {
    name: 'split',
    ops: ['slice', 'concat', 'pad'],
    inputs: [floats([3, 12])],
    f: (x) => {
      const [a, b, c] = t.split(x, 3) as [Tensor, Tensor, Tensor];
      return t.add(t.mul(a, b), t.exp(c));
    },
  },
  {
    name: 'transpose of a wide matrix',
    ops: ['permute'],
    inputs: [floats([70, 96]), floats([96, 70]), floats([70])],
    f: (x, y, b) => t.mul(t.add(t.transpose(x), b), y),
  },
  { name: 'flip', ops: ['flip'], inputs: [floats([4, 5])], f: (x) => t.mul(t.flip(x, [0, 1]), x) },
  { name: 'pad', ops: ['pad'], inputs: [floats([3, 4])], f: (x) => t.exp(t.pad(x, [1, 0], [2, 3], 0.5)) },
  {
    name: 'concat of views',
    ops: ['concat'],
    inputs: [floats([3, 4]), floats([4, 3])],
    f: (a, b) => t.tanh(t.concat([t.exp(a), t.transpose(b), a], 1)),
  },
  {
    name: 'stack and broadcast',
    ops: ['concat', 'broadcast'],
    inputs: [floats([5]), floats([5])],
    f: (a, b) => t.mul(t.broadcastTo(t.stack([a, b]), [3, 2, 5]), 1.5),
  },
];

const reductions: Case[] = [
  { name: 'sum of rows', ops: ['sum'], inputs: [floats([5, 300])], f: (x) => t.sum(t.mul(x, x), 1) },
  { name: 'sum of columns', ops: ['sum'], inputs: [floats([300, 5])], f: (x) => t.sum(t.exp(x), 0) },
  { name: 'sum of columns, in parts', ops: ['sum'], inputs: [floats([1024, 48])], f: (x) => t.sum(t.mul(x, x), 0) },
  { name: 'sum of axes apart', ops: ['sum'], inputs: [floats([3, 4, 5, 6])], f: (x) => t.sum(t.exp(x), [0, 2]) },
  { name: 'mean of everything', ops: ['sum'], inputs: [floats([7, 11])], f: (x) => t.mean(t.mul(x, x)) },
  { name: 'variance', ops: ['sum'], inputs: [floats([4, 9])], f: (x) => t.variance(x, 1, { correction: 1 }) },
  { name: 'max', ops: ['reduceMax'], inputs: [floats([6, 7, 3])], f: (x) => t.max(x, 1) },
  { name: 'min of everything', ops: ['reduceMax'], inputs: [floats([6, 7])], f: (x) => t.min(x) },
  { name: 'logSumExp', ops: ['reduceMax', 'sum'], inputs: [floats([6, 70], -30, 30)], f: (x) => t.logSumExp(x, 1) },
  forward({ name: 'argmax', ops: ['argmax'], inputs: [floats([5, 33])], f: (x) => t.concat([t.argmax(x, 1), t.argmax(x, 0)]) }),
  { name: 'cumsum', ops: ['cumsum'], inputs: [floats([3, 8, 2])], f: (x) => t.cumsum(t.mul(x, x), 1) },
  forward({
    name: 'argsort',
    ops: ['argsort'],
    inputs: [ints([4, 37], 9)],
    f: (x) => t.concat([t.argsort(x), t.argsort(x, { descending: true })]),
  }),
  { name: 'topK', ops: ['argsort', 'takeAlong'], inputs: [floats([4, 37])], f: (x) => t.mul(t.topK(x, 5).values, 2) },
];

/** Products of few rows with what may be computed beside them: weights [out, in], rows from 1 on, sizes with rests. */
const fewRows: Case[] = [1, 2, 5, 8].flatMap((m) =>
  (['f32', 'bf16'] as const).flatMap((dtype): Case[] => {
    const [k, n] = [[2312, 1160][m - 1] ?? 72, 9 + m]; // some longer than what a warp reads at once
    const values = (...shape: number[]): Input => (dtype === 'f32' ? floats(shape, -1, 1) : halves(shape));
    const weights = (...shape: number[]): Input => {
      const scale = 2 ** -Math.floor(Math.log2(k!) / 2); // products of about 1: what is rounded on the way stays small beside them
      return dtype === 'f32' ? floats(shape, -scale, scale) : halves(shape, scale);
    };
    const tolerance = dtype === 'f32' ? {} : { tolerance: 2e-2 };
    const project = (x: Tensor, w: Tensor): Tensor => t.matmul(x, t.transpose(w));
    const wide = (y: Tensor): Tensor => t.cast(y, 'f32');
    const what = (name: string): Pick<Case, 'name' | 'ops' | 'tolerance'> => ({
      name: `${m} x ${k} x ${n} ${dtype}: ${name}`,
      ops: ['matmul'],
      ...tolerance,
    });
    return [
      { ...what('product'), inputs: [values(1, m, k), weights(n, k)], f: (x, w) => wide(project(x, w)) },
      {
        ...what('norm, product, residual'),
        inputs: [values(1, m, k), weights(n, k), values(1, m, n), floats([k], 0.5, 1.5)],
        f: (x, w, r, g) => wide(t.add(r, project(t.rmsNorm(x, g, 1e-3), w))),
      },
      {
        ...what('gated halves'),
        inputs: [values(1, m, k), weights(2 * n, k)],
        f: (x, w) => {
          const [gate, up] = t.split(project(t.rmsNorm(x), w), 2) as [Tensor, Tensor];
          return wide(t.mul(t.silu(gate), up));
        },
      },
      {
        ...what('of an expression, with a bias'),
        inputs: [values(m, k), weights(n, k), values(n)],
        f: (x, w, b) => wide(t.tanh(t.add(project(t.mul(x, t.sigmoid(x)), w), b))),
      },
    ];
  }),
);

const contractions: Case[] = [
  { name: 'matmul', ops: ['matmul'], inputs: [floats([7, 13]), floats([13, 5])], f: t.matmul },
  {
    name: 'matmul of transposes',
    ops: ['matmul'],
    inputs: [floats([13, 7]), floats([5, 13])],
    f: (a, b) => t.matmul(t.transpose(a), t.transpose(b)),
  },
  { name: 'matmul, one matrix for all', ops: ['matmul'], inputs: [floats([2, 3, 4]), floats([4, 5])], f: t.matmul },
  { name: 'matmul, batches broadcast', ops: ['matmul'], inputs: [floats([2, 1, 3, 4]), floats([3, 4, 5])], f: t.matmul },
  {
    name: 'matmul of heads',
    ops: ['matmul'],
    inputs: [floats([2, 6, 3, 4]), floats([2, 5, 3, 4])],
    f: (q, k) => t.matmul(t.permute(q, [0, 2, 1, 3]), t.permute(k, [0, 2, 3, 1])),
  },
  ...fewRows,
  {
    name: 'conv2d',
    ops: ['unfold', 'fold'],
    inputs: [floats([2, 3, 7, 6]), floats([4, 3, 3, 3], -1, 1), floats([4])],
    f: (x, w, b) => t.conv2d(x, w, b, { stride: [2, 1], padding: 1, dilation: [1, 2] }),
  },
  {
    name: 'conv2d of patches',
    ops: ['matmul'],
    inputs: [floats([2, 3, 6, 8]), floats([5, 3, 2, 4], -1, 1), floats([5])],
    f: (x, w, b) => t.conv2d(x, w, b, { stride: [2, 4] }),
  },
  {
    name: 'convTranspose2d',
    ops: ['fold', 'unfold'],
    inputs: [floats([2, 3, 4, 5]), floats([3, 2, 3, 3], -1, 1), floats([2])],
    f: (x, w, b) => t.convTranspose2d(x, w, b, { stride: 2, padding: 1, outputPadding: 1 }),
  },
  { name: 'avgPool2d', ops: ['unfold'], inputs: [floats([2, 3, 6, 6])], f: (x) => t.avgPool2d(x, 3, { stride: 2 }) },
];

const indexing: Case[] = [
  { name: 'take rows', ops: ['take', 'scatterAdd'], inputs: [floats([6, 5]), ints([9], 6)], f: (x, i) => t.exp(t.take(x, i)) },
  { name: 'take on a middle axis', ops: ['take'], inputs: [floats([3, 6, 4]), ints([2, 3], 6)], f: (x, i) => t.exp(t.take(x, i, 1)) },
  { name: 'take by i64', ops: ['take'], inputs: [floats([6, 5]), ints([4], 6, 'i64')], f: (x, i) => t.take(x, i) },
  { name: 'scatterAdd', ops: ['scatterAdd', 'take'], inputs: [floats([9, 5]), ints([9], 4)], f: (x, i) => t.exp(t.scatterAdd(x, i, 4)) },
  {
    name: 'takeAlong',
    ops: ['takeAlong', 'scatterAlong'],
    inputs: [floats([3, 6, 4]), ints([3, 5, 4], 6)],
    f: (x, i) => t.exp(t.takeAlong(x, i, 1)),
  },
  {
    name: 'scatterAlong',
    ops: ['scatterAlong', 'takeAlong'],
    inputs: [floats([3, 5]), ints([3, 5], 4)],
    f: (x, i) => t.exp(t.scatterAlong(x, i, 4)),
  },
  {
    name: 'updateAt',
    ops: ['updateAt', 'take'],
    inputs: [floats([7, 5]), floats([3, 5]), given([2], [])],
    f: (x, y, at) => t.exp(t.updateAt(x, y, at)),
  },
  {
    name: 'updateAt on a middle axis, over a value of the program, twice',
    ops: ['updateAt'],
    inputs: [floats([2, 6, 3]), floats([2, 2, 3]), given([4], [1], 'i64')],
    f: (x, y, at) => t.updateAt(t.updateAt(t.mul(x, 2), y, at, 1), t.exp(y), t.sub(at, 3), 1),
  },
  {
    name: 'updateAt beside a reader of the old value',
    ops: ['updateAt'],
    inputs: [floats([6, 3]), floats([2, 3]), given([1], [1])],
    f: (x, y, at) => {
      const h = t.exp(x);
      return t.mul(t.updateAt(h, y, at), h);
    },
  },
];

const q = (T: number, H: number, E = 4): Input => floats([2, T, H, E]);
const fused: Case[] = [
  {
    name: 'layerNorm',
    ops: ['norm', 'normGrad'],
    inputs: [floats([40, 19]), floats([19]), floats([19])],
    f: (x, g, b) => t.layerNorm(x, g, b),
  },
  { name: 'layerNorm without parameters', ops: ['norm', 'normGrad'], inputs: [floats([2, 3, 19])], f: (x) => t.mul(t.layerNorm(x), x) },
  { name: 'rmsNorm', ops: ['norm', 'normGrad'], inputs: [floats([5, 19]), floats([19])], f: (x, g) => t.rmsNorm(x, g) },
  { name: 'softmax', ops: ['softmax', 'softmaxGrad'], inputs: [floats([5, 33], -6, 6)], f: (x) => t.softmax(x) },
  { name: 'softmax over the first axis', ops: ['softmax', 'softmaxGrad'], inputs: [floats([5, 33], -6, 6)], f: (x) => t.softmax(x, 0) },
  {
    name: 'crossEntropy',
    ops: ['crossEntropy', 'crossEntropyGrad'],
    inputs: [floats([7, 11], -5, 5), given([0, 10, -1, 3, 11, 5, 5], [7])],
    f: (x, y) => t.crossEntropy(x, y),
  },
  { name: 'attention', ops: ['attention', 'attentionGrad'], inputs: [q(5, 2), q(5, 2), q(5, 2)], f: (a, b, c) => t.attention(a, b, c) },
  {
    name: 'attention, causal, fewer kv heads',
    ops: ['attention', 'attentionGrad'],
    inputs: [q(6, 4), q(6, 2), q(6, 2, 3)],
    f: (a, b, c) => t.attention(a, b, c, { causal: true }),
  },
  {
    name: 'attention, causal, more keys than queries',
    ops: ['attention', 'attentionGrad'],
    inputs: [q(3, 2), q(7, 2), q(7, 2)],
    f: (a, b, c) => t.attention(a, b, c, { causal: true }),
  },
  {
    name: 'attention, sliding window',
    ops: ['attention', 'attentionGrad'],
    inputs: [q(9, 1), q(9, 1), q(9, 1)],
    f: (a, b, c) => t.attention(a, b, c, { causal: true, window: 3, scale: 0.7 }),
  },
  ...[false, true].map(
    (causal): Case => ({
      name: `attention, packed sequences${causal ? ', causal' : ''}`,
      ops: ['attention', 'attentionGrad'],
      // an empty sequence, and tokens of none at both ends
      inputs: [floats([1, 9, 4, 3]), floats([1, 9, 2, 3]), floats([1, 9, 2, 3]), given([1, 4, 4, 5, 8], [5])],
      f: (a, b, c, offsets) => t.attention(a, b, c, { causal, offsets }),
    }),
  ),
  {
    name: 'attention from one projection',
    ops: ['attention', 'attentionGrad', 'concat'],
    inputs: [floats([2, 5, 24])],
    f: (x) => {
      const y = t.reshape(x, [2, 5, 3, 2, 4]);
      const part = (i: number): Tensor => t.reshape(t.slice(y, null, null, [i, i + 1]), [2, 5, 2, 4]);
      return t.attention(part(0), part(1), part(2));
    },
  },
  ...[
    [16, 70, 70, 2, 2, true, 0],
    [64, 130, 130, 4, 2, true, 0],
    [128, 65, 90, 2, 1, false, 0],
    [32, 100, 100, 2, 2, true, 40],
    [48, 20, 75, 2, 2, true, 0],
  ].map(
    ([E, Tq, Tk, Hq, Hkv, causal, window]): Case => ({
      name: `attention in bf16, ${Tq} x ${Tk}, ${Hq}/${Hkv} heads of ${E}${causal ? ', causal' : ''}${window ? `, window ${window}` : ''}`,
      ops: ['attention', 'attentionGrad'],
      tolerance: 2e-2,
      inputs: [
        halves([2, Tq as number, Hq as number, E as number]),
        halves([2, Tk as number, Hkv as number, E as number]),
        halves([2, Tk as number, Hkv as number, E as number]),
      ],
      f: (a, b, c) => t.cast(t.attention(a, b, c, { causal: causal as boolean, window: window as number }), 'f32'),
    }),
  ),
  ...[
    [64, 150, [0, 7, 70, 70, 134, 145], 2, 1, true, 0],
    [128, 132, [0, 66, 132], 1, 1, false, 0],
    [48, 140, [0, 15, 139], 1, 1, true, 30],
  ].map(
    ([E, T, offsets, Hq, Hkv, causal, window]): Case => ({
      name: `attention in bf16, ${(offsets as number[]).length - 1} sequences of ${T} tokens, ${Hq}/${Hkv} heads of ${E}${causal ? ', causal' : ''}${window ? `, window ${window}` : ''}`,
      ops: ['attention', 'attentionGrad'],
      tolerance: 2e-2,
      inputs: [
        halves([1, T as number, Hq as number, E as number]),
        halves([1, T as number, Hkv as number, E as number]),
        halves([1, T as number, Hkv as number, E as number]),
        given(offsets as number[], [(offsets as number[]).length]),
      ],
      f: (a, b, c, packed) => t.cast(t.attention(a, b, c, { causal: causal as boolean, window: window as number, offsets: packed }), 'f32'),
    }),
  ),
  {
    name: 'rope',
    ops: ['flip', 'sin', 'cos'],
    inputs: [floats([2, 3, 2, 6]), given([0, 5, 11], [3]), floats([3], 0.01, 1)],
    f: (x, p, w) => t.rope(x, t.rotation(p, w)),
  },
  {
    name: 'decodeAttention, one query',
    ops: ['decodeAttention'],
    inputs: [q(1, 4), q(9, 2), q(9, 2, 3), given([5], [])],
    f: (a, b, c, n) => t.decodeAttention(a, b, c, n),
  },
  {
    name: 'decodeAttention, three queries, window',
    ops: ['decodeAttention'],
    inputs: [q(3, 2), q(8, 1), q(8, 1), given([8], [1], 'i64')],
    f: (a, b, c, n) => t.decodeAttention(a, b, c, n, { window: 4, scale: 0.6 }),
  },
  ...[
    [64, 1, 200, 150, 4, 4],
    [64, 2, 300, 300, 8, 2],
    [128, 1, 700, 513, 4, 1],
    [16, 8, 70, 9, 2, 2],
    [96, 1, 40, 33, 2, 1],
  ].map(
    ([E, Tq, C, length, Hq, Hkv]): Case => ({
      name: `decodeAttention in bf16, ${Tq} of ${length} in ${C}, ${Hq}/${Hkv} heads of ${E}`,
      ops: ['decodeAttention'],
      tolerance: 2e-2,
      inputs: [halves([2, Tq!, Hq!, E!]), halves([2, C!, Hkv!, E!]), halves([2, C!, Hkv!, E!]), given([length!], [1])],
      f: (a, b, c, n) => t.cast(t.decodeAttention(a, b, c, n), 'f32'),
    }),
  ),
  {
    name: 'linearCrossEntropy',
    ops: ['linearCrossEntropy', 'linearCrossEntropyGrad'],
    inputs: [floats([5, 7]), floats([11, 7]), given([0, 10, -100, 3, 3], [5])],
    f: (e, c, y) => t.linearCrossEntropy(e, c, y, { reduction: 'none' }),
  },
  {
    name: 'linearCrossEntropy with a bias, a soft cap, a shift and a z-loss',
    ops: ['linearCrossEntropy', 'linearCrossEntropyGrad'],
    inputs: [floats([2, 4, 5]), floats([9, 5]), floats([9], -1, 1), given([0, 8, -1, 3, 3, 7, -1, 1], [2, 4])],
    f: (e, c, bias, y) => {
      const { loss, lse } = t.linearCrossEntropyWithLse(e, c, y, { bias, softCap: 3, shift: 1, ignoreIndex: -1 });
      return t.add(loss, t.mul(t.mean(t.square(lse)), 0.1));
    },
  },
  {
    name: 'linearCrossEntropy of no row that counts',
    ops: ['linearCrossEntropy', 'linearCrossEntropyGrad'],
    inputs: [floats([3, 4]), floats([6, 4]), given([-100, -100, -100], [3])],
    f: (e, c, y) => t.linearCrossEntropy(e, c, y),
  },
  {
    name: 'linearCrossEntropy in two shards',
    ops: ['linearCrossEntropy', 'linearCrossEntropyGrad'],
    inputs: [floats([6, 5]), floats([4, 5]), floats([7, 5]), given([0, 10, -100, 3, 4, 8], [6], 'i64')],
    f: (e, a, b, y) => {
      const shards = [t.vocabularyShard(e, a, y, { first: 0, total: 11 }), t.vocabularyShard(e, b, y, { first: 4, total: 11 })];
      const { loss, lse } = t.mergeVocabulary(shards, y, { reduction: 'none' });
      return t.add(loss, t.mul(lse, 0.3));
    },
  },
  {
    name: 'linearCrossEntropy over several tiles',
    ops: ['linearCrossEntropy', 'linearCrossEntropyGrad'],
    tolerance: 2e-5,
    inputs: [floats([60, 37], -0.5, 0.5), floats([600, 37], -0.5, 0.5), floats([600]), ints([60], 600)],
    f: (e, c, bias, y) => t.linearCrossEntropy(e, c, y, { bias, reduction: 'none', preset: 'exact', memory: 200_000 }),
  },
  ...(['cce', 'exact'] as const).map(
    (preset): Case => ({
      name: `linearCrossEntropy in bf16, ${preset}`,
      ops: ['linearCrossEntropy', 'linearCrossEntropyGrad'],
      tolerance: 2e-2,
      inputs: [halves([140, 32]), halves([600, 32]), ints([140], 600)],
      f: (e, c, y) => t.linearCrossEntropy(e, c, y, { preset, reduction: 'sum' }),
    }),
  ),
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
];

export const cases: readonly Case[] = [...pointwise, ...layout, ...reductions, ...contractions, ...indexing, ...fused, ...orders, ...wide];

/** The value of a case, and the gradients of sum(weights * value) for fixed uneven weights with respect to its float inputs. */
export function runCase(c: Case, xs: readonly Tensor[]): { value: Tensor; gradients: (Tensor | undefined)[] } {
  const value = t.compile((...ys: Tensor[]) => c.f(...ys), { name: c.name })(...xs);
  if (c.forwardOnly) return { value, gradients: [] };
  const gradients = t.compile((...ys: Tensor[]) => t.grad((zs: Tensor[]) => weighted(c.f(...zs)))(ys), { name: `${c.name} gradient` })(
    ...xs,
  );
  return { value, gradients };
}

/** sum_i w_i y_i with w_i = 1 + 0.1 sin(i) in row-major order. */
export function weighted(y: Tensor): Tensor {
  const w = t.add(1, t.mul(0.1, t.sin(t.iota(y.size, 'f32'))));
  return t.sum(t.mul(t.reshape(y, [-1]), w));
}

export const inputsOn = (c: Case, device: t.Device): Tensor[] =>
  c.inputs.map(({ shape, dtype, values }) => t.tensor(values, { shape, dtype, device }));
