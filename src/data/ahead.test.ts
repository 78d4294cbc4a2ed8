import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { ahead } from './ahead.ts';

test('values come in order, with so many under way', async () => {
  let [started, running, most] = [0, 0, 0];
  const next = async (): Promise<number | undefined> => {
    const i = started++;
    most = Math.max(most, ++running);
    await setTimeout(i % 2 ? 1 : 4); // the odd ones are done first
    running--;
    return i < 10 ? i : undefined;
  };
  const got: number[] = [];
  for await (const i of ahead(next, 3)) got.push(i);
  assert.deepEqual(got, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.ok(most >= 3 && most <= 4, `${most} at a time`);
  assert.equal(running, 0, 'nothing is left running');
});
