import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../../device/index.ts';
import { countParameters, empty, forEachTensor, full, leaves, type Tensor, tensor, typeOf, withDevice } from '../../tensor/index.ts';
import { initialize } from '../init.ts';
import { Gpt2, type Gpt2Config, gpt2Sizes } from './gpt2.ts';

const config: Gpt2Config = { vocabulary: 11, context: 6, width: 8, layers: 2, heads: 2 };
const ids = (...rows: number[][]): Tensor => tensor(Int32Array.from(rows.flat()), { shape: [rows.length, rows[0]!.length] });

/** A checkpoint of the model: what `from` asks for, by name. */
function checkpointOf(c: Gpt2Config, prefix = ''): Map<string, Tensor> {
  const found = new Map<string, Tensor>();
  Gpt2.from(c, (name, shape) => {
    const t = tensor(
      Float32Array.from({ length: shape.reduce((n, d) => n * d, 1) }, (_, i) => Math.sin(i + found.size)),
      { shape },
    );
    found.set(prefix + name, t);
    return t;
  });
  return found;
}

test('the published sizes have the published numbers of parameters', () => {
  const counts = { small: 124_439_808, medium: 354_823_168, large: 774_030_080, xl: 1_557_611_200 };
  withDevice('null', () => {
    for (const [name, c] of Object.entries(gpt2Sizes)) {
      const model = Gpt2.from(c, (_, shape) => empty(typeOf(shape, 'f32')));
      assert.equal(countParameters(model), counts[name as keyof typeof counts], name);
    }
  });
});

test('the start: 0.02, less where a residual branch ends; gains 1, biases 0', () => {
  const wide = { ...config, width: 64, layers: 8 };
  forEachTensor(
    initialize((key) => Gpt2.init(key, wide), 1),
    (t, path) => {
      const data = [...t.data()];
      const name = path.join('.');
      if (t.rank === 1)
        return assert.ok(
          data.every((x) => x === (name.endsWith('gain') ? 1 : 0)),
          name,
        );
      const expected = /attention\.out|mlp\.down/.test(name) ? 0.02 / 4 : 0.02;
      const std = Math.sqrt(data.reduce((s, x) => s + x * x, 0) / data.length);
      assert.ok(Math.abs(std / expected - 1) < 6 / Math.sqrt(2 * data.length), `${name}: ${std}, expected ${expected}`);
    },
  );
});

test('a checkpoint loads with and without its prefix; masks and the tied head are passed over', () => {
  const plain = checkpointOf(config);
  const hub = checkpointOf(config, 'transformer.');
  hub.set('transformer.h.0.attn.bias', full([1, 1, 6, 6], 1));
  hub.set('lm_head.weight', plain.get('wte.weight')!);
  const [a, b] = [Gpt2.fromCheckpoint(plain, config), Gpt2.fromCheckpoint(hub, config)];
  assert.deepEqual(a.forward(ids([1, 2, 3])).toArray(), b.forward(ids([1, 2, 3])).toArray());
  assert.equal(leaves(a).length, 2 + 2 * 12 + 2);
});

test('a missing tensor, a wrong shape, too long a sequence and odd heads are named', () => {
  const tensors = checkpointOf(config);
  assert.throws(() => Gpt2.fromCheckpoint(tensors, { ...config, layers: 3 }), /\[gpt2\] the checkpoint has no 'h\.2\.ln_1\.weight'/);
  assert.throws(
    () => Gpt2.fromCheckpoint(tensors, { ...config, vocabulary: 12 }),
    /\[gpt2\] 'wte\.weight' is \[11,8\], the configuration asks for \[12,8\]/,
  );
  assert.throws(
    () => Gpt2.fromCheckpoint(tensors, config).forward(ids([0, 0, 0, 0, 0, 0, 0])),
    /\[gpt2\] 7 tokens are more than the context of 6/,
  );
  assert.throws(() => Gpt2.from({ ...config, heads: 3 }, () => full([1], 0)), /\[gpt2\] width 8 does not divide into 3 heads/);
});

test('no token sees what follows it', () => {
  const model = Gpt2.fromCheckpoint(checkpointOf(config), config);
  const [a, b] = [model.forward(ids([1, 2, 3, 4])), model.forward(ids([1, 2, 3, 9]))].map((t) => t.toArray() as number[][][]);
  assert.deepEqual(a![0]!.slice(0, 3), b![0]!.slice(0, 3));
  assert.notDeepEqual(a![0]![3], b![0]![3]);
});

test('positions whose next token is negative do not count', () => {
  const model = Gpt2.fromCheckpoint(checkpointOf(config), config);
  const both = model.loss(ids([1, 2, 3]), ids([2, -1, -1])).item();
  assert.ok(Math.abs(both - model.loss(ids([1]), ids([2])).item()) < 1e-5);
});
