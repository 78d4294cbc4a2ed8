/** The invariants and edge cases of the specification. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../../../device/index.ts';
import { BudgetError, measurePeak } from '../../../bytes/index.ts';
import {
  add,
  compile,
  defaultDevice,
  disposeTree,
  grad,
  linearCrossEntropy,
  linearCrossEntropyGradients,
  linearCrossEntropyWithLse,
  mean,
  mergeVocabulary,
  mul,
  narrow,
  square,
  type Tensor,
  take,
  tensor,
  valueAndGrad,
  vocabularyShard,
} from '../../../tensor/index.ts';
import { extraBytes } from '../../contracts/objective.ts';
import method, { naive } from './index.ts';

let seed = 5;
const uniform = (): number => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return seed / 2 ** 32 - 0.5;
};
const random = (shape: number[], scale = 1): Tensor =>
  tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => scale * uniform()),
    { shape },
  );
const targetsBelow = (n: number, classes: number): Tensor =>
  tensor(
    Array.from({ length: n }, () => Math.floor((uniform() + 0.5) * classes)),
    { shape: [n], dtype: 'i32' },
  );
const [N, D, V] = [150, 40, 1300];
const [e, c, y] = [random([N, D], 4), random([V, D], 4), targetsBelow(N, V)];

const largest = (x: number[]): number => x.reduce((a: number, b: number) => Math.max(a, Math.abs(b)), 0);
function close(actual: Tensor, expected: Tensor, tolerance: number, what: string): void {
  const [a, b] = [actual.data(), expected.data()];
  const scale = largest(Array.from(b));
  a.forEach((x, i) => assert.ok(Math.abs(x - b[i]!) <= tolerance * scale, `${what}: element ${i} is ${x}, expected ${b[i]}`));
}
const both = (f: (e: Tensor, c: Tensor) => Tensor): [Tensor, [Tensor, Tensor]] =>
  compile((a: Tensor, b: Tensor) => valueAndGrad(([x, w]: [Tensor, Tensor]) => f(x, w))([a, b]))(e, c);

test('the exact preset equals the naive loss and its gradients', () => {
  const exact = method.config.parse({ preset: 'exact', softCap: 5, zLoss: 0.01, shift: 1 });
  const [loss, [dE, dC]] = both((x, w) => method.create(exact).loss(x, w, y));
  const [expected, [nE, nC]] = both((x, w) => naive(x, w, y, exact));
  close(loss, expected, 1e-6, 'loss');
  close(dE, nE, 1e-5, 'dE');
  close(dC, nC, 1e-5, 'dC');
});

test('a constant added to the bias changes nothing', () => {
  const bias = random([V]);
  const of = (b: Tensor) => linearCrossEntropyGradients(e, c, y, { bias: b });
  const [a, b] = [of(bias), of(add(bias, 3))];
  close(b.loss, a.loss, 1e-6, 'loss');
  close(b.dE, a.dE, 1e-5, 'dE');
  close(b.dBias!, a.dBias!, 1e-5, 'dBias');
});

test('classifier rows that are all alike leave the hidden states without a gradient', () => {
  const alike = take(narrow(c, 0, 0, 1), tensor(Array(V).fill(0), { shape: [V], dtype: 'i32' }));
  const { dE } = linearCrossEntropyGradients(e, alike, y);
  assert.ok(largest(Array.from(dE.data())) < 1e-6);
});

test('logits of +-10000 overflow nothing', () => {
  const loss = linearCrossEntropyWithLse(mul(e, 200), mul(c, 200), y);
  const { dE, dC } = linearCrossEntropyGradients(mul(e, 200), mul(c, 200), y);
  for (const t of [loss.loss, loss.lse, dE, dC]) assert.ok(t.data().every(Number.isFinite));
});

test('two shards of the vocabulary make the loss and the gradients of the whole', () => {
  const first = 700;
  const parts = (x: Tensor, w: Tensor) =>
    [0, first].map((at, i) => vocabularyShard(x, narrow(w, 0, at, i ? V - first : first), y, { first: at, total: V }));
  const [loss, [dE, dC]] = both((x, w) => mergeVocabulary(parts(x, w), y).loss);
  const [whole, [wE, wC]] = both((x, w) => linearCrossEntropy(x, w, y));
  close(loss, whole, 1e-6, 'loss');
  close(dE, wE, 1e-5, 'dE');
  close(dC, wC, 1e-5, 'dC');
});

test("a tied embedding's gradient is the sum of both uses", () => {
  const ids = targetsBelow(N, V);
  const of = grad((w: Tensor) => linearCrossEntropy(take(w, ids), w, y))(c);
  const input = grad((w: Tensor) => linearCrossEntropy(take(w, ids), c, y))(c);
  const output = grad((w: Tensor) => linearCrossEntropy(take(c, ids), w, y))(c);
  close(of, add(input, output), 1e-6, 'gradient');
});

const onCpu = defaultDevice().name === 'cpu'; // where f32 has the kernels
test('the filter looks at the gradient before it is scaled, and leaves the targets in', { skip: !onCpu }, () => {
  const [eps, classes, features] = [2 ** -12, 20_000, 160];
  // what a trained model shows: Zipf's prior over shuffled classes, and a target that stands out
  const w = random([classes, features]);
  const classOf = (rank: number): number => (rank * 7919) % classes;
  const targets = tensor(
    Array.from({ length: N }, () => classOf(Math.floor(classes ** (uniform() + 0.5)) - 1)),
    { shape: [N], dtype: 'i32' },
  );
  const prior = new Float32Array(classes);
  for (let rank = 0; rank < classes; rank++) prior[classOf(rank)] = -Math.log(rank + 1);
  const hidden = mul(take(w, targets), 0.6);
  const of = (preset: 'cce' | 'exact' | 'kahan_full_c', sort: boolean) =>
    linearCrossEntropyGradients(hidden, w, targets, { filterEps: eps, sort, preset, bias: tensor(prior) });
  const [cce, unsorted, exact, full] = [of('cce', true), of('cce', false), of('exact', true), of('kahan_full_c', true)];
  assert.equal(cce.loss.item(), exact.loss.item());
  assert.equal(exact.skipped.item(), 0);
  assert.ok(cce.skipped.item() > 0.5, `${cce.skipped.item()} of the tiles were skipped`);
  assert.ok(unsorted.skipped.item() < 0.1, `${unsorted.skipped.item()} of the tiles were skipped without an order`);
  // what is left out is below eps a class, of a row's share 1 / N
  const all = exact.dE.data();
  const difference = largest(Array.from(cce.dE.data(), (x, i) => x - all[i]!));
  assert.ok(difference > 0 && difference <= ((eps / N) * classes) / 2, `dE differs by ${difference}`);
  close(full.dC, exact.dC, 1e-6, 'dC of kahan_full_c');
  close(full.dE, cce.dE, 1e-6, 'dE of kahan_full_c');
});

test('a target that no vocabulary has is an error', () => {
  const wrong = tensor(
    Array.from({ length: N }, (_, i) => (i === 7 ? V : 1)),
    { shape: [N], dtype: 'i32' },
  );
  assert.throws(() => linearCrossEntropy(e, c, wrong), /1 indices/);
  assert.throws(() => linearCrossEntropy(e, c, narrow(y, 0, 0, 10)), /targets \[10\] do not match e \[150, 40\]/);
  assert.throws(() => linearCrossEntropy(e, c, y, { softCap: -1 }), /softCap is -1; it must be a number >= 0/);
  assert.throws(() => linearCrossEntropy(e, c, y, { preset: 'fast' as never }), /no preset 'fast'; use one of cce, kahan_full_c/);
});

test('256 rows of 64 features against 50,000 classes: less than 20 MB besides operands and gradients', {
  skip: !onCpu,
}, async () => {
  const [rows, features, classes] = [256, 64, 50_000];
  const step = compile((x: Tensor, w: Tensor, t: Tensor) =>
    valueAndGrad(([a, b]: [Tensor, Tensor]) => linearCrossEntropy(a, b, t))([x, w]),
  );
  const [x, w, t] = [random([rows, features]), random([classes, features]), targetsBelow(rows, classes)];
  disposeTree(step(narrow(x, 0, 0, 64), narrow(w, 0, 0, 512), targetsBelow(64, 512))); // threads and code are there
  const { growthBytes } = await measurePeak(() => step(x, w, t));
  const gradients = 4 * features * (rows + classes);
  assert.ok(growthBytes < gradients + 20e6, `${growthBytes} bytes, ${gradients} of them gradients`);
});

test('a budget becomes room for blocks; the reasons for a refusal are numbers', () => {
  const target = { rows: 8192, features: 2304, classes: 256_000, dtype: 'bf16' } as const;
  const config = method.fit(50e6, target);
  assert.ok(config.memory > 40e6 && method.bytes(config, target) <= 50e6);
  assert.equal(method.fit(1e12, target).memory, 256e6);
  assert.throws(
    () => method.fit(1e6, target),
    (error) => error instanceof BudgetError && error.needed > 1e6 && /vectors over 8192 rows/.test(error.message),
  );
  const small = { ...target, rows: 500, classes: 5000, features: 64 };
  assert.ok(extraBytes(method.create(method.fit(3e6, small)), small, defaultDevice()) <= 3e6);
});

test('a z-loss pulls the log-sum-exp', () => {
  const step = (w: number) => grad((x: Tensor) => method.create(method.config.parse({ zLoss: w })).loss(x, c, y))(e);
  const direct = grad((x: Tensor) => {
    const { loss, lse } = linearCrossEntropyWithLse(x, c, y);
    return add(loss, mul(mean(square(lse)), 0.2));
  })(e);
  close(step(0.2), direct, 1e-5, 'gradient');
});
