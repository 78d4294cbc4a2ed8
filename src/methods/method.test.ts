import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { z } from 'zod';
import { figureAt, meets, parseBench } from './bench.ts';
import { catalogue, describe, describeAll, loadMethod, loadMethodOf } from './catalogue.ts';
import toy from './conformance/toy-codec.ts';
import { defineMethod } from './method.ts';
import { registry } from './registry.generated.ts';

test('a method with wrong metadata is refused when it is defined', () => {
  assert.throws(() => defineMethod({ ...toy, id: 'Toy Codec' }), /\[Toy Codec\] the id is not lower-case words/);
  assert.throws(() => defineMethod({ ...toy, contract: 'kodec' as 'codec' }), /no contract 'kodec'; use one of codec, curate/);
  assert.throws(() => defineMethod({ ...toy, saves: [] }), /saves nothing; list one or more of data, weights/);
  const config = z.object({ side: z.int() });
  assert.throws(
    () => defineMethod({ ...toy, config, fit: () => ({ side: 1 }), create: () => toy.create({ side: 1, bits: 1 }), bytes: () => 1 }),
    /config does not parse \{\}.*side.*give every field a default/,
  );
});

test('a description carries the metadata and the configuration schema', () => {
  const { id, contract, config } = describe(toy);
  assert.deepEqual([id, contract], ['toy-codec', 'codec']);
  const { bits } = config['properties'] as Record<string, object>;
  assert.deepEqual(bits, { default: 4, description: 'bits of a block mean', type: 'integer', minimum: 1, maximum: 8 });
});

test("a folder whose name is not its method's is refused", async () => {
  await assert.rejects(
    describeAll([{ id: 'other', contract: 'codec', load: async () => toy }]),
    /the folder codec\/other holds codec\/toy-codec; rename/,
  );
});

test('the built catalogue lists what is registered', async () => {
  assert.deepEqual(catalogue(), JSON.parse(JSON.stringify(await describeAll())));
  assert.equal(new Set(registry.map(({ id }) => id)).size, registry.length, 'two methods share an id');
});

test('an unknown method and one of another contract are refused', async () => {
  await assert.rejects(loadMethod('no-such-method'), /there is no method 'no-such-method'/);
  for (const { id, contract } of registry) {
    assert.equal((await loadMethod(id)).id, id);
    const other = contract === 'codec' ? 'schedule' : 'codec';
    await assert.rejects(loadMethodOf(other, id), new RegExp(`is of the contract ${contract}, not ${other}`));
  }
});

const bench = readFileSync(new URL('./conformance/bench.json', import.meta.url), 'utf8');

test('bench files are read strictly, and every fault is named', () => {
  const parsed = parseBench(bench, 'bench.json');
  assert.deepEqual([parsed.seeds, parsed.expected.map(({ is }) => is), parsed.seen], [[0, 1], ['about', 'at least'], []]);
  assert.throws(() => parseBench('{', 'x/bench.json'), /x\/bench\.json is not JSON/);
  const check = JSON.parse(bench);
  const further = parseBench(JSON.stringify({ ...check, further: { large: { ...check, env: { A: '1' } } } }), 'x').further;
  assert.deepEqual(further['large']?.env, { A: '1' });
  assert.throws(() => parseBench(JSON.stringify({ ...check, further: { large: {} } }), 'x'), /further\.large\.command/);
  const wrong = JSON.stringify({ ...JSON.parse(bench), seeds: [], extra: 1, expected: [{ figure: 'a', value: 'high', tolerance: -1 }] });
  assert.throws(() => parseBench(wrong, 'x'), /seeds: .*expected\.0\.value: .*expected\.0\.tolerance: .*extra/);
});

test('figures are found by field, by index and by name', () => {
  const json = {
    arms: [
      { name: 'tokens', accuracy: 0.8 },
      { name: 'raw', accuracy: 0.6 },
    ],
    seconds: 3,
    note: 'fine',
  };
  assert.equal(figureAt(json, 'seconds'), 3);
  assert.equal(figureAt(json, 'arms.raw.accuracy'), 0.6);
  assert.equal(figureAt(json, 'arms.0.accuracy'), 0.8);
  for (const absent of ['note', 'arms', 'arms.none.accuracy', 'arms.9.accuracy', 'seconds.x', 'constructor.length'])
    assert.equal(figureAt(json, absent), undefined);
});

test('an expectation is met within its tolerance, on the side that it names', () => {
  const expected = { figure: 'f', value: 1, tolerance: 0.1 };
  const met = (is: 'about' | 'at least' | 'at most') =>
    [0.8, 0.95, 1.2, Number.NaN].map((measured) => meets({ ...expected, is }, measured));
  assert.deepEqual(met('about'), [false, true, false, false]);
  assert.deepEqual(met('at least'), [false, true, true, false]);
  assert.deepEqual(met('at most'), [true, true, false, false]);
});
