import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../../device/index.ts';
import { add, compile, mul, type Tensor, tensor } from '../index.ts';

test('results that feed each other are merged only as far as the registers of a device reach', () => {
  // eight results, each eight products and sums of the one before, every sum with a constant of its own
  const chain = (x0: Tensor): Tensor[] => {
    const results: Tensor[] = [];
    for (let x = x0; results.length < 8; results.push(x)) {
      let y = x;
      for (let j = 0; j < 8; j++) y = add(mul(y, x), 0.01 * (results.length * 8 + j + 1));
      x = y;
    }
    return results;
  };
  let x = 0.25;
  const found = compile(chain)(tensor([x])).map((t) => t.item());
  for (const [i, y] of found.entries()) {
    let expected = x;
    for (let j = 0; j < 8; j++) expected = expected * x + 0.01 * (i * 8 + j + 1);
    assert.ok(Math.abs(y - expected) <= 1e-4 * Math.abs(expected), `result ${i}: ${y} is not ${expected}`);
    x = y;
  }
});
