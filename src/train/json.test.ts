import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { assertJson, differences } from './json.ts';

test('what passes is the same after JSON, as far as differences are told', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      assertJson(value, 'test');
      assert.deepEqual(differences(JSON.parse(JSON.stringify(value)), value), []);
    }),
    { examples: [[-0], [{ lr: [-0, 1] }]] },
  );
  const config = { width: 3, left: undefined };
  assertJson(config, 'test');
  assert.deepEqual(differences(JSON.parse(JSON.stringify(config)), config), []);
});

test('what JSON would change in silence is refused, with its place', () => {
  const itself: Record<string, unknown> = {};
  itself['again'] = [itself];
  const cases: [unknown, RegExp][] = [
    [{ a: [1, Number.NaN] }, /\[test\] config\.a\[1\] is NaN, which JSON does not hold/],
    [{ a: Number.POSITIVE_INFINITY }, /config\.a is Infinity/],
    [[undefined], /\[test\] config\[0\] is undefined, which JSON makes null of/],
    [new Array(2), /config\[0\] is undefined/],
    [{ f: () => 1 }, /config\.f is \(\) => 1/],
    [{ at: new Date(0) }, /config\.at is a Date/],
    [{ xs: new Float32Array(1) }, /config\.xs is a Float32Array/],
    [1n, /config is 1/],
    [itself, /config\.again\[0\] contains itself/],
  ];
  for (const [value, message] of cases) assert.throws(() => assertJson(value, 'test'), message);
});

test('differences are told with their places, both values and nothing else', () => {
  const before = { model: { width: 128, depth: 2 }, sizes: [8, 16], name: 'a' };
  const now = { name: 'a', model: { depth: 2, width: 256, heads: 4 }, sizes: [8] };
  assert.deepEqual(differences(before, now), ['model.width: 128, now 256', 'model.heads: absent, now 4', 'sizes.1: 16, now absent']);
  assert.deepEqual(differences(undefined, 3), ['the whole: absent, now 3']);
  assert.deepEqual(differences([], {}), ['the whole: [], now {}']);
});
