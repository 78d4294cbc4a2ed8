import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Budget, BudgetError } from './budget.ts';

test('keeps what its user wrote, compares, subtracts', () => {
  const budget = Budget.of('8MB');
  assert.equal(budget.bytes, 8_000_000);
  assert.equal(`${budget}`, '8MB');
  assert.equal(Budget.of(budget), budget);
  assert.ok(budget.covers(8_000_000) && !budget.covers(8_000_001));
  assert.equal(budget.minus(3_000_000, 'x', 'y').bytes, 5_000_000);
  assert.throws(() => budget.minus(9_000_000, 'codebook', 'lower K'), /\[codebook\] budget 7.6 MiB is under the minimum 8.6 MiB; lower K/);
});

test('the error says who, both numbers and the way out', () => {
  const error = new BudgetError({
    who: 'snapkv',
    budget: 2048,
    needed: 3174,
    because: 'window 32 x 8 heads x 2 B',
    wayOut: 'raise the budget or lower window',
  });
  assert.equal(
    error.message,
    '[snapkv] budget 2.0 KiB is under the minimum 3.1 KiB (window 32 x 8 heads x 2 B); raise the budget or lower window',
  );
  assert.equal(error.needed, 3174);
  assert.match(new BudgetError({ who: 'a', budget: 2048, needed: 2049, wayOut: 'b' }).message, /2048 B is under the minimum 2049 B/);
});
