import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../../device/index.ts';
import { assembleTraced } from '../assemble-traced.ts';
import * as t from '../index.ts';

type Tensor = t.Tensor;
type Tree = Tensor | { [k: string]: Tree } | Tree[];
const nothing = t.device('null');

/** The calls of a program over f32 arguments of the given shapes, and its plan. */
function programOf(f: (...xs: Tensor[]) => Tree, ...shapes: (readonly number[])[]) {
  const types = shapes.map((shape) => t.typeOf(shape, 'f32'));
  const { program, plan, sources } = assembleTraced(nothing, (...xs) => t.withDevice(nothing, () => t.leaves(f(...xs))), types);
  return { calls: program.calls.map((c) => c.kernel), reads: program.calls.map((c) => c.reads.length), plan, sources };
}

const X = [64, 128];
const key = (): Tensor => t.random.key(1);
/** AdamW of one parameter, the corrections given. */
const adam = (p: Tensor, g: Tensor, m: Tensor, v: Tensor, c1: Tensor, c2: Tensor): Tree => {
  const m1 = t.add(t.mul(m, 0.9), t.mul(g, 0.1));
  const v1 = t.add(t.mul(v, 0.999), t.mul(t.square(g), 0.001));
  const update = t.div(t.mul(m1, c1), t.add(t.sqrt(t.mul(v1, c2)), 1e-8));
  return { p: t.sub(t.mul(p, 0.99), t.mul(update, 0.001)), m: m1, v: v1 };
};

const patterns: [string, (...xs: Tensor[]) => Tree, (readonly number[])[], string[]][] = [
  ['bias and gelu', (x, b) => t.gelu(t.add(x!, b!)), [X, [128]], ['map']],
  ['AdamW of one parameter', (...xs) => adam(...(xs as [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor])), [X, X, X, X, [], []], ['map']],
  ['a product that is read transposed', (a, b) => t.transpose(t.matmul(a!, b!)), [X, [128, 32]], ['gemm']],
  [
    'a batch of products that are read transposed',
    (a, b) => t.transpose(t.matmul(a!, b!)),
    [
      [2, 3, 4, 5],
      [2, 3, 5, 6],
    ],
    ['gemm'],
  ],
  ['a reduced expression', (x) => t.sum(t.square(x!), 1), [X], ['reduce']],
  [
    'softmax by hand',
    (x) => {
      const e = t.exp(t.sub(x!, t.max(x!, 1, { keepDims: true })));
      return t.div(e, t.sum(e, 1, { keepDims: true }));
    },
    [X],
    ['reduce', 'reduce', 'map'],
  ],
  ['dropout', (x) => t.dropout(key(), x!, 0.1), [X], ['map']],
  ['the gradient of dropout, the mask made again', (x) => t.grad((y: Tensor) => t.sum(t.tanh(t.dropout(key(), y, 0.1))))(x!), [X], ['map']],
  ['views in front of a product', (x, w) => t.matmul(t.transpose(x!), w!), [X, [64, 3]], ['gemm']],
  ['a slice through an expression', (x) => t.mul(t.slice(x!, null, [0, 64]), t.silu(t.slice(x!, null, [64, 128]))), [X], ['map']],
  ['pieces written into the concat', (a, b) => t.concat([t.tanh(a!), t.exp(b!)], 1), [X, X], ['map', 'map']],
  ['operands copied into the concat', (a, b) => t.concat([a!, b!], 1), [X, X], ['map', 'map']],
  [
    'the gradient of a split, written in place',
    (x) =>
      t.grad((y: Tensor) => {
        const [a, b] = t.split(y, 2) as [Tensor, Tensor];
        return t.sum(t.mul(t.tanh(a), t.sigmoid(b)));
      })(x!),
    [X],
    ['map', 'map'],
  ],
  ['a product written into the concat', (x, w) => t.concat([t.matmul(x!, w!), x!], 1), [X, [128, 8]], ['gemm', 'map']],
  [
    'the gradient of a GELU by tanh, its shared parts counted once',
    (x, b, g) => t.grad((y: Tensor) => t.sum(t.mul(t.geluTanh(t.add(y, b!)), g!)))(x!),
    [X, [128], X],
    ['map'],
  ],
  ['constants', () => t.mul(t.full([4], 3), 2), [], ['map']],
  ['the transpose of what was computed must be stored', (x) => t.add(t.exp(x!), t.transpose(t.exp(x!))), [[8, 8]], ['map', 'map']],
];

test('known patterns take as many calls as they should', () => {
  for (const [name, f, shapes, calls] of patterns) assert.deepEqual(programOf(f, ...shapes).calls, calls, name);
});

test('what is recomputed or written in place takes no memory', () => {
  for (const name of [
    'dropout',
    'the gradient of dropout, the mask made again',
    'pieces written into the concat',
    'the gradient of a split, written in place',
  ]) {
    const [, f, shapes] = patterns.find((p) => p[0] === name)!;
    assert.equal(programOf(f, ...shapes).plan.arenaBytes, 0, name);
  }
});

test('a gelu MLP keeps its pre-activations for the backward pass, nothing else of their size', () => {
  const loss = ([w1, b1, w2]: Tensor[], x: Tensor): Tensor => t.mean(t.square(t.matmul(t.gelu(t.add(t.matmul(x, w1!), b1!)), w2!)));
  const { plan } = programOf((x, w1, b1, w2) => t.grad(loss)([w1!, b1!, w2!], x!), [64, 32], [32, 256], [256], [256, 8]);
  const hidden = 64 * 256 * 4;
  assert.ok(plan.arenaBytes <= 2.2 * hidden, `${plan.arenaBytes} bytes for hidden activations of ${hidden}`);
});

test('a half that was widened and is narrowed again is not rounded a second time', () => {
  const ops = (f: (x: Tensor) => Tensor): string[] =>
    assembleTraced(nothing, (x) => [f(x!)], [t.typeOf(X, 'bf16')]).program.calls.flatMap((c) =>
      c.kernel === 'map' ? c.attrs.expression.steps.map((s) => s.op) : [],
    );
  const narrow = (x: Tensor): Tensor => t.tanh(t.cast(x, 'bf16'));
  assert.deepEqual(
    ops((x) => narrow(t.cast(x, 'f32'))),
    ['tanh'],
  );
  assert.deepEqual(
    ops((x) => narrow(t.neg(t.cast(x, 'f32')))),
    ['neg', 'round', 'tanh'],
  );
});

test('long expressions and many operands are cut where a call must end', () => {
  const many = programOf((...xs) => xs.reduce((a, b) => t.add(t.tanh(a), b)), ...Array.from({ length: 40 }, () => X));
  assert.ok(many.calls.length > 1 && many.calls.length <= 6, `${many.calls.length} calls`);
  assert.ok(many.reads.every((n) => n <= 16));
  const long = programOf((x) => Array.from({ length: 200 }).reduce<Tensor>((y, _, i) => t.sin(t.mul(y, i + 2)), x!), X);
  assert.ok(long.calls.length <= 16, `${long.calls.length} calls`);
});

test('a pointwise chain over large tensors works in place', () => {
  const { plan } = programOf((x) => {
    let y = x!;
    for (let i = 0; i < 6; i++) y = t.tanh(t.softmax(y));
    return t.sum(y);
  }, X);
  assert.equal(plan.arenaBytes, 2 * 64 * 128 * 4, 'softmax reads one and writes another');
});

test('what frees memory runs early: branches are finished one by one', () => {
  const branches = 8;
  const { plan } = programOf(
    (x, ...ws) => ws.map((w) => t.sum(t.softmax(t.matmul(x!, w)), [0, 1])).reduce((a, b) => t.add(a, b)),
    X,
    ...Array.from({ length: branches }, () => [128, 256]),
  );
  assert.ok(plan.arenaBytes <= 2 * 64 * 256 * 4 + 64 * (branches + 8), `${plan.arenaBytes} bytes`);
});

test('each result has memory of its own', () => {
  const { sources, calls } = programOf((x) => {
    const y = t.exp(x!);
    return [y, x!, y, t.reshape(y, [128, 64])];
  }, X);
  assert.deepEqual(sources, [{ kind: 'new' }, { kind: 'input', input: 0 }, { kind: 'new' }, { kind: 'new' }]);
  assert.deepEqual(calls, ['map', 'map', 'map']);
});

test('a result is not computed in one call with what it reads through a view', () => {
  const f = (x: Tensor): Tensor[] => {
    const a = t.tanh(x);
    const b = t.tanh(a);
    return [a, t.mul(t.add(t.flip(b, 0), a), 0.5)];
  };
  const x = Array.from({ length: 528 }, (_, i) => ((i * 7) % 23) / 8 - 1);
  const [, own] = t.compile(f)(t.tensor(x, { shape: [16, 33], device: t.device('cpu') }));
  x.forEach((v, i) => {
    const [row, column] = [Math.floor(i / 33), i % 33];
    const mirrored = x[(15 - row) * 33 + column]!;
    const expected = (Math.tanh(Math.tanh(mirrored)) + Math.tanh(v)) / 2;
    assert.ok(Math.abs(own!.data()[i]! - expected) < 1e-5, `element ${i}`);
  });
});
