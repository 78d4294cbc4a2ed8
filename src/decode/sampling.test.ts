import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../device/index.ts';
import { broadcastTo, compile, equal, iota, random, type Tensor, tensor, where } from '../tensor/index.ts';
import { checkSampling, type SamplingOptions, sample } from './sampling.ts';

const logits = [2, 0.5, 3, -1, 2.5, 0];
const ROWS = 20000;

/** How often each token is drawn from the same logits. */
function shares(options: SamplingOptions): number[] {
  const drawn = compile((x: Tensor, key: Tensor) => sample(broadcastTo(x, [ROWS, logits.length]), key, options))(
    tensor([logits]),
    random.key(11),
  ).data();
  const counts = logits.map(() => 0);
  for (const id of drawn) counts[Number(id)]!++;
  return counts.map((n) => n / ROWS);
}
/** The softmax over the tokens in `kept`. */
function expected(temperature: number, kept: readonly number[]): number[] {
  const e = logits.map((x, i) => (kept.includes(i) ? Math.exp(x / temperature) : 0));
  const total = e.reduce((a, b) => a + b);
  return e.map((x) => x / total);
}
/** Five standard deviations of a share. */
function assertShares(actual: readonly number[], wanted: readonly number[]): void {
  wanted.forEach((p, i) => {
    const limit = 5 * Math.sqrt((p * (1 - p)) / ROWS);
    assert.ok(Math.abs(actual[i]! - p) <= limit, `token ${i}: ${actual[i]}, expected ${p} +- ${limit}`);
  });
}

test('the draws have the probabilities of the softmax at a temperature', () => {
  assertShares(shares({ temperature: 1 }), expected(1, [0, 1, 2, 3, 4, 5]));
  assertShares(shares({ temperature: 0.4 }), expected(0.4, [0, 1, 2, 3, 4, 5]));
});

test('topK keeps the k most likely, topP the fewest that reach the probability, both the fewest among the k', () => {
  assertShares(shares({ temperature: 1, topK: 2 }), expected(1, [2, 4]));
  // in order 0.47, 0.29, 0.17, ...: two reach 0.7, three 0.8
  assertShares(shares({ temperature: 1, topP: 0.7 }), expected(1, [2, 4]));
  assertShares(shares({ temperature: 1, topP: 0.8 }), expected(1, [0, 2, 4]));
  // among three: 0.51, 0.31, 0.19
  assertShares(shares({ temperature: 1, topK: 3, topP: 0.5 }), expected(1, [2]));
  assertShares(shares({ temperature: 1, topK: 99, topP: 1 }), expected(1, [0, 1, 2, 3, 4, 5]));
});

test('no draw, however rare, takes a token that has no probability', () => {
  // under this key the uniform of place 29504 is the largest there is, 1 - 2^-24, which must not become 1
  const [V, at] = [1 << 16, 29504];
  const key = compile((k: Tensor) => random.foldIn(k, 166))(random.key(0));
  assert.equal(random.uniform(key, [1, V]).data()[at], 1 - 2 ** -24);
  const x = tensor(new Float32Array(V).fill(-1e4), { shape: [1, V] });
  const sure = compile((y: Tensor) => where(equal(iota(V), 7), 0, y))(x);
  assert.deepEqual([...sample(sure, key, { temperature: 1 }).data()], [7]);
});

test('without a temperature the most likely token is taken', () => {
  assert.deepEqual(shares({}), [0, 0, 1, 0, 0, 0]);
});

test('options out of range are named with what is allowed', () => {
  for (const fine of [{}, { temperature: 0 }, { temperature: 0.7 }, { topK: 1 }, { topP: 1 }, { topP: 1e-9 }]) checkSampling(fine);
  for (const temperature of [-0.1, Number.NaN, Number.POSITIVE_INFINITY])
    assert.throws(() => checkSampling({ temperature }), /\[sampling\] temperature .* must be 0 \(greedy\) or more/);
  for (const topK of [0, -1, 1.5, Number.NaN]) assert.throws(() => checkSampling({ topK }), /\[sampling\] topK .* whole number from 1 on/);
  for (const topP of [0, -0.5, 1.01, Number.NaN]) assert.throws(() => checkSampling({ topP }), /\[sampling\] topP .* must lie in \(0, 1\]/);
});
