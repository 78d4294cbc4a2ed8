import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BudgetError } from './budget.ts';
import { type Item, knapsack, multipleChoiceKnapsack } from './knapsack.ts';

const item = fc.record({ bytes: fc.nat({ max: 60 }), value: fc.integer({ min: -20, max: 60 }) });
const groups = fc.array(fc.array(item, { minLength: 1, maxLength: 4 }), { maxLength: 6 });

function bruteForce(all: Item[][], budget: number): number {
  const best = (g: number, left: number): number =>
    left < 0 ? -Infinity : g === all.length ? 0 : Math.max(...all[g]!.map((i) => i.value + best(g + 1, left - i.bytes)));
  return best(0, budget);
}

function checkConsistent(all: Item[][], budget: number, found: ReturnType<typeof multipleChoiceKnapsack>): void {
  assert.equal(found.choice.length, all.length);
  assert.equal(
    found.choice.reduce((sum, i, g) => sum + all[g]![i]!.bytes, 0),
    found.bytes,
  );
  assert.equal(
    found.choice.reduce((sum, i, g) => sum + all[g]![i]!.value, 0),
    found.value,
  );
  assert.ok(found.bytes <= budget);
}

test('finds the optimum of brute force, or says that there is none', () => {
  fc.assert(
    fc.property(groups, fc.nat({ max: 200 }), (all, budget) => {
      const optimum = bruteForce(all, budget);
      if (optimum === -Infinity) return void assert.throws(() => multipleChoiceKnapsack(all, budget), BudgetError);
      const found = multipleChoiceKnapsack(all, budget);
      checkConsistent(all, budget, found);
      assert.equal(found.value, optimum);
      assert.equal(found.gap, 0);
    }),
    { numRuns: 500 },
  );
});

test('thinned to few states, the optimum lies within the stated gap, and is not always found', () => {
  const wide = fc.record({ bytes: fc.nat({ max: 600 }), value: fc.nat({ max: 1000 }) });
  const many = fc.array(fc.array(wide, { minLength: 4, maxLength: 4 }), { minLength: 6, maxLength: 6 });
  let short = 0;
  fc.assert(
    fc.property(fc.oneof(groups, many), fc.nat({ max: 2000 }), fc.integer({ min: 1, max: 4 }), (all, budget, maxStates) => {
      const optimum = bruteForce(all, budget);
      if (optimum === -Infinity) return;
      const found = multipleChoiceKnapsack(all, budget, { maxStates });
      checkConsistent(all, budget, found);
      assert.ok(found.value <= optimum && optimum <= found.value + found.gap + 1e-9, `${found.value} + ${found.gap} < ${optimum}`);
      short += +(found.value < optimum);
    }),
    { numRuns: 500, seed: 1 },
  );
  assert.ok(short > 5, `only ${short} fell short`);
});

test('0/1: the textbook instance (Martello and Toth 1990, P01)', () => {
  const weights = [23, 31, 29, 44, 53, 38, 63, 85, 89, 82];
  const values = [92, 57, 49, 68, 60, 43, 67, 84, 87, 72];
  const found = knapsack(
    weights.map((bytes, i) => ({ bytes, value: values[i]! })),
    165,
  );
  assert.deepEqual(found, { choice: [1, 1, 1, 1, 0, 1, 0, 0, 0, 0], bytes: 165, value: 309, gap: 0 });
});

test('a model of 224 layers with 6 widths each is solved soon, to within a hundred-thousandth', () => {
  let seed = 1;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  const all = Array.from({ length: 224 }, () => {
    const weights = 1000 * Math.ceil(4000 * random());
    const harm = random();
    return [2, 3, 4, 5, 6, 8].map((bits) => ({ bytes: (weights * bits) / 8, value: -harm * 4 ** -bits * weights }));
  });
  const heaviest = all.reduce((sum, group) => sum + group[5]!.bytes, 0);
  const from = performance.now();
  const found = multipleChoiceKnapsack(all, Math.floor(heaviest / 2));
  assert.ok(found.gap <= 1e-5 * Math.abs(found.value), `gap ${found.gap} of ${found.value}`);
  assert.ok(performance.now() - from < 20_000);
});

test('names what is wrong', () => {
  assert.throws(
    () => multipleChoiceKnapsack([[{ bytes: 5, value: 1 }]], 4, { who: 'hawq' }),
    /\[hawq\] budget 4 B is under the minimum 5 B/,
  );
  assert.throws(() => multipleChoiceKnapsack([[]], 4), /group 0 of 1 is empty/);
  assert.throws(() => knapsack([{ bytes: 0.5, value: 1 }], 4), /whole bytes/);
});
