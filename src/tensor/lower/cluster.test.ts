import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../../device/index.ts';
import { add, bitXor, compile, flip, full, iota, mul, random, type Tensor, tensor } from '../index.ts';

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

test('random bits of the shape of their key see the whole key, where the program computes it too', () => {
  const programs: Record<string, (key: Tensor) => Tensor[]> = {
    folded(key) {
      const own = random.foldIn(key, 7);
      return [own, random.bits(own, [2]), add(random.bits(own, [2]), own)];
    },
    pointwise(key) {
      const own = bitXor(key, iota(2));
      return [own, random.bits(own, [2])];
    },
    flipped(key) {
      const own = add(key, 1);
      return [own, random.bits(flip(own, 0), [2]), add(own, random.bits(own, [2]))];
    },
    constant() {
      const own = full([2], 5, 'i32');
      return [random.bits(own, [2]), add(own, random.bits(own, [2]))];
    },
    'bits of bits'(key) {
      const own = random.bits(key, [2]);
      return [own, random.bits(own, [2])];
    },
  };
  const key = random.key(3);
  const numbers = (xs: Tensor[]): number[][] => xs.map((x) => [...x.data()]);
  for (const [name, f] of Object.entries(programs)) assert.deepEqual(numbers(compile(f)(key)), numbers(f(key)), name);
});
