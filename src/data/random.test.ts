import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DataRandom } from './random.ts';

test('xoshiro128** gives the numbers of its C source', () => {
  const random = DataRandom.fromState([1, 2, 3, 4]);
  const expected = [11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597, 4258142804];
  assert.deepEqual(
    expected.map(() => random.nextUint32()),
    expected,
  );
});

test('the state of seeds is that of SplitMix32 steps, worked out in Python', () => {
  const draws = (...seeds: number[]): number[] => {
    const random = new DataRandom(...seeds);
    return [0, 1, 2].map(() => random.nextUint32());
  };
  assert.deepEqual(draws(7), [2073222524, 2120928370, 4265736047]);
  assert.deepEqual(draws(2 ** 40 + 1, 3), [3886612952, 978411007, 4195419372]);
});

test('every seed, also a large or negative one, has its own sequence', () => {
  const seeds = [[0], [1], [2 ** 32], [2 ** 40 + 1], [-1], [0, 0], [0, 1], [1, 0]];
  const heads = seeds.map((s) => new DataRandom(...s).nextUint32());
  assert.equal(new Set(heads).size, seeds.length);
});

test('there is no number below 0, and none of more than 32 bits', () => {
  const random = new DataRandom(1);
  for (const n of [0, -1, 2.5, Number.NaN, 2 ** 32 + 1])
    assert.throws(() => random.below(n), /\[random\] a number below .*; give a whole number/);
  assert.equal(random.below(1), 0);
  assert.equal(DataRandom.fromState([1, 2, 3, 4]).below(2 ** 32), 11520);
});

test('a shuffle is a permutation, and uniform', () => {
  fc.assert(
    fc.property(fc.nat(50), fc.integer(), (size, seed) => {
      const items = Array.from({ length: size }, (_, i) => i);
      assert.deepEqual(
        new DataRandom(seed).shuffle([...items]).sort((a, b) => a - b),
        items,
      );
    }),
  );
  const counts = new Map<string, number>();
  const random = new DataRandom(7);
  const rounds = 24_000;
  for (let i = 0; i < rounds; i++) {
    const key = random.shuffle([0, 1, 2, 3]).join('');
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const expected = rounds / 24;
  const chi2 = [...counts.values()].reduce((sum, n) => sum + (n - expected) ** 2 / expected, 0);
  assert.equal(counts.size, 24);
  assert.ok(chi2 < 49.7, `chi-square ${chi2} with 23 degrees of freedom; 49.7 is p = 0.001`);
});
