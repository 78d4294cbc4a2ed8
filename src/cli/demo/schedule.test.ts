import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Recorder } from './recorder.ts';
import { overheadOf, secondsFor, turnsOf, usualOverhead, worthStarting } from './schedule.ts';

test('every arm at every budget, the main budget first', () => {
  assert.deepEqual(
    turnsOf([2, 1]).map(({ arm, budget }) => `${arm} ${budget}`),
    ['tokens 2', 'subset 2', 'downsampled 2', 'tokens 1', 'subset 1', 'downsampled 1'],
  );
});

test('the shares of all budgets fill the time and no more', () => {
  let left = 240;
  for (let index = 0; index < 3; index++) {
    const { classifier, tokenizer } = secondsFor(index, 3, left);
    left -= 3 * classifier + tokenizer + usualOverhead;
  }
  assert.ok(left >= 5 && left <= 7, `${left}`);
});

test('what a budget took besides training is taken into account', () => {
  assert.equal(overheadOf(60, { classifier: 10, tokenizer: 8 }), 22);
  assert.ok(secondsFor(1, 3, 100, 30).classifier < secondsFor(1, 3, 100, 10).classifier);
});

test('a floor holds however short the time is', () => {
  assert.deepEqual(secondsFor(0, 3, 1).classifier, 2);
  assert.equal(worthStarting(10), false);
  assert.equal(worthStarting(60), true);
});

test('a curve keeps its span in at most some hundred points', () => {
  const recorder = new Recorder();
  for (let step = 1; step <= 5000; step++) recorder.add(step, 1 / step);
  assert.ok(recorder.curve.length >= 50 && recorder.curve.length <= 120);
  assert.equal(recorder.steps, 5000);
  assert.ok(recorder.curve.at(-1)!.step > 4800);
  assert.ok(recorder.curve.every(({ step, loss }) => loss === 1 / step));
});
