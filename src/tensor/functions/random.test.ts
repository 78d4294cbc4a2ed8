import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../../device/index.ts';
import * as t from '../index.ts';
import type { Key } from './random.ts';

const { random } = t;
const N = 40000;
const sampled = (f: (k: Key) => t.Tensor, seed = 7): ArrayLike<number> => t.compile(f)(random.key(seed)).data();

/** Mean, standard deviation, third and fourth standardised moments. */
function moments(x: ArrayLike<number>): [number, number, number, number] {
  const n = x.length;
  const about = (c: number, s: number, p: number): number => Array.from(x).reduce((a, v) => a + ((v - c) / s) ** p, 0) / n;
  const mean = about(0, 1, 1);
  const sd = Math.sqrt(about(mean, 1, 2));
  return [mean, sd, about(mean, sd, 3), about(mean, sd, 4)];
}
const near = (actual: number, expected: number, within: number, what: string): void =>
  assert.ok(Math.abs(actual - expected) <= within, `${what}: ${actual}, expected ${expected}`);

test('uniform numbers fill their interval evenly', () => {
  const x = sampled((k) => random.uniform(k, [N], -1, 3));
  const bins = new Array<number>(20).fill(0);
  for (const v of Array.from(x)) bins[Math.floor(((v + 1) / 4) * 20)]!++;
  const chi2 = bins.reduce((n, b) => n + (b - N / 20) ** 2 / (N / 20), 0);
  assert.ok(chi2 < 43.8, `chi-squared ${chi2} of 19 degrees of freedom`); // 99.9 %
  assert.ok(Math.min(...Array.from(x)) >= -1 && Math.max(...Array.from(x)) < 3);
});

test('normal numbers have the moments of a normal distribution', () => {
  const [mean, sd, skew, kurtosis] = moments(sampled((k) => random.normal(k, [N], 2, 0.5)));
  near(mean, 2, (0.5 * 4) / Math.sqrt(N), 'mean');
  near(sd, 0.5, 0.01, 'deviation');
  near(skew, 0, 4 * Math.sqrt(6 / N), 'skewness');
  near(kurtosis, 3, 4 * Math.sqrt(24 / N), 'kurtosis');
});

test('whole numbers, coins and masks come at their rates', () => {
  const counts = [0, 0, 0, 0, 0];
  for (const v of Array.from(sampled((k) => random.randint(k, [N], -2, 3)))) counts[v + 2]!++;
  for (const c of counts) near(c, N / 5, 4 * Math.sqrt(N * 0.2 * 0.8), 'count');
  near(moments(sampled((k) => random.bernoulli(k, [N], 0.3)))[0], 0.3, 0.01, 'coins');
  const kept = sampled((k) => t.dropout(k, t.full([N], 1), 0.25));
  assert.deepEqual([...new Set(Array.from(kept))].sort(), [0, Math.fround(1 / 0.75)]);
  near(moments(kept)[0], 1, 0.02, 'dropout keeps the mean');
});

test('a permutation is one, and not the identity', () => {
  const p = Array.from(sampled((k) => random.permutation(k, 1000)));
  assert.deepEqual(
    [...p].sort((a, b) => a - b),
    Array.from({ length: 1000 }, (_, i) => i),
  );
  assert.ok(p.filter((v, i) => v === i).length < 10);
});

test('keys of a split, of other numbers and of other seeds give unrelated numbers', () => {
  const streams = t.compile((k: Key) => {
    const keys = [
      k,
      ...random.splitKey(k, 3),
      ...random.splitKey(random.splitKey(k)[1]!),
      random.foldIn(k, 0),
      random.foldIn(k, 1),
      random.foldIn(random.foldIn(k, 1), 0),
    ];
    return keys.map((key) => random.uniform(key, [4000]));
  });
  const all = [...streams(random.key(1)), ...streams(random.key(2)), ...streams(random.key(2 ** 40 + 1))].map((x) => Array.from(x.data()));
  for (let i = 0; i < all.length; i++)
    for (let j = i + 1; j < all.length; j++) {
      const correlation = all[i]!.reduce((n, v, k) => n + (v - 0.5) * (all[j]![k]! - 0.5), 0) / 4000 / (1 / 12);
      near(correlation, 0, 5 / Math.sqrt(4000), `streams ${i} and ${j}`);
    }
});

test('an element depends on its place alone, a key on its words, a fold on a number or a tensor alike', () => {
  const bits = (k: Key, shape: number[]): number[] => [...random.bits(k, shape).data()];
  const k = random.key(99);
  assert.deepEqual(bits(k, [5, 7]), bits(k, [100]).slice(0, 35));
  assert.deepEqual(bits(random.foldIn(k, 12), [4]), bits(random.foldIn(k, t.tensor(Int32Array.of(12))), [4]));
  assert.deepEqual(
    bits(random.foldIn(k, 12), [4]),
    bits(t.compile((key: Key, s: t.Tensor) => random.foldIn(key, s))(k, t.tensor(12)), [4]),
  );
  assert.notDeepEqual(bits(random.key(1), [4]), bits(random.key(1 + 2 ** 32), [4]));
});

test('the same key gives the same numbers on the reference device', () => {
  const f = (k: Key): t.Tensor[] => [
    random.bits(k, [37]),
    random.randint(k, [37], 0, 1000),
    random.uniform(k, [37]),
    random.permutation(k, 37),
  ];
  const own = t
    .compile(f)(random.key(3))
    .map((x) => [...x.data()]);
  const other = t
    .compile(f)(t.withDevice('reference', () => random.key(3)))
    .map((x) => [...x.data()]);
  assert.deepEqual(own, other);
});
