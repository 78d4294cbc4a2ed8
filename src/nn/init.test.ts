import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../device/index.ts';
import { compile, random, sizeOf } from '../tensor/index.ts';
import { initialize, truncatedNormal, xavierUniform } from './init.ts';
import { Linear } from './module.ts';

const N = 40000;

test('truncated normal numbers stay within two deviations and have the variance of that distribution', () => {
  const x = Array.from(compile((k: random.Key) => truncatedNormal(k, [N], 0.5))(random.key(1)).data());
  assert.ok(x.every((v) => Math.abs(v) <= 1));
  assert.ok(x.filter((v) => Math.abs(v) === 1).length < 10, 'few are cut');
  const mean = x.reduce((n, v) => n + v, 0) / N;
  const variance = x.reduce((n, v) => n + (v - mean) ** 2, 0) / N;
  assert.ok(Math.abs(mean) < 0.01);
  // 1 - 2 b phi(b) / (2 Phi(b) - 1) for b = 2
  assert.ok(Math.abs(Math.sqrt(variance) / 0.5 - Math.sqrt(0.7737413)) < 0.01, `deviation ${Math.sqrt(variance)}`);
});

test('xavier bounds follow the sizes', () => {
  const x = Array.from(xavierUniform(random.key(2), [30, 120]).data());
  const bound = Math.sqrt(6 / 150);
  assert.ok(x.every((v) => Math.abs(v) <= bound) && Math.max(...x) > 0.98 * bound && Math.min(...x) < -0.98 * bound);
});

test('a model is a function of its seed', () => {
  const make = (seed: number): Linear => initialize((key) => Linear.init(key, 12, 7), seed);
  const [a, b, c] = [make(5), make(5), make(6)];
  assert.ok(a instanceof Linear);
  assert.deepEqual(a.weight.data(), b.weight.data());
  assert.notDeepEqual(a.weight.data(), c.weight.data());
  assert.equal(a.weight.size, sizeOf([12, 7]));
  assert.deepEqual([...a.bias!.data()], new Array(7).fill(0));
});
