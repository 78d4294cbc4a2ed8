import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type GoldenTensor, goldenDevices, goldenTensor, numbers, readGolden } from '../../device/conformance/golden.ts';
import { assertClose } from '../../device/conformance/suite.ts';
import { compile, concat, device, narrow, type random, type Tensor, tensor } from '../../tensor/index.ts';
import { initialize } from '../init.ts';
import { Llama } from './llama.ts';
import { readLlamaConfig, ropeFrequencies } from './llama-config.ts';

interface Case {
  name: string;
  config: Record<string, unknown>;
  tensors: Record<string, GoldenTensor>;
  ids: GoldenTensor;
  /** Positions whose logits are written down. */
  rows: number[];
  logits: GoldenTensor;
}
const { cases } = readGolden<{ cases: Case[] }>('llama-tiny.json');

for (const c of cases)
  for (const { device: on } of goldenDevices)
    test(`${on.name}: logits of transformers, ${c.name}`, () => {
      const tensors = new Map(Object.entries(c.tensors).map(([name, t]) => [name, goldenTensor(t, on)]));
      const model = Llama.fromCheckpoint(tensors, readLlamaConfig(c.config));
      const logits = compile((m: Llama, ids: Tensor) => {
        const all = m.forward(ids);
        return concat(
          c.rows.map((r) => narrow(all, 1, r, 1)),
          1,
        );
      })(model, goldenTensor(c.ids, on));
      assertClose(numbers(logits), c.logits.data, 1e-5, 'logits');
    });

const plain = cases[0]!.config;

test('frequencies stretched as Llama 3.1 has them: waves kept, blended and slowed, by their lengths', () => {
  const [factor, low, high, trained] = [8, 1, 4, 8192];
  const shape = { headWidth: 64, ropeBase: 500000 };
  const own = ropeFrequencies({ ...shape, ropeScaling: { kind: 'none' } });
  const scaling = { kind: 'llama3', factor, lowFactor: low, highFactor: high, trainedContext: trained } as const;
  const kinds = new Set<string>();
  ropeFrequencies({ ...shape, ropeScaling: scaling }).forEach((f, i) => {
    const wave = (2 * Math.PI) / own[i]!;
    const kind = wave < trained / high ? 'kept' : wave > trained / low ? 'slowed' : 'blended';
    const smooth = (trained / wave - low) / (high - low);
    const ratio = { kept: 1, slowed: 1 / factor, blended: (1 - smooth) / factor + smooth }[kind];
    assert.ok(Math.abs(f / own[i]! - ratio) < 1e-6, `pair ${i}, ${kind}: ${f / own[i]!} is not ${ratio}`);
    kinds.add(kind);
  });
  assert.equal(kinds.size, 3);
});

test('config.json: what is missing, impossible or not supported is named', () => {
  const refused: [Record<string, unknown>, RegExp][] = [
    [{ model_type: 'gpt2' }, /model_type is "gpt2"; it must be "llama"/],
    [{ hidden_size: undefined }, /hidden_size is missing; it must be a number above 0/],
    [{ vocab_size: 2 ** 31 }, /vocab_size is 2147483648; it must be a whole number under 2\^31/],
    [{ num_hidden_layers: 1.5 }, /num_hidden_layers is 1.5; it must be a whole number/],
    [{ num_key_value_heads: 3 }, /num_key_value_heads is 3; it must be a divisor of the 4 attention heads/],
    [
      { head_dim: null, num_attention_heads: 5, num_key_value_heads: 5 },
      /num_attention_heads is 5; it must be a divisor of hidden_size 24/,
    ],
    [{ head_dim: 7 }, /head_dim is 7; it must be even/],
    [{ hidden_act: 'gelu' }, /hidden_act is "gelu"; it must be "silu": other values are not supported/],
    [{ attention_bias: true }, /attention_bias is true/],
    [{ vocab_size: 'many' }, /vocab_size is "many"/],
    [{ rope_parameters: { rope_type: 'yarn', factor: 4 } }, /rope_type is "yarn"; it must be "default", "linear" or "llama3"/],
    [{ rope_parameters: { rope_type: 'linear' } }, /factor is missing/],
    [
      {
        rope_parameters: { rope_type: 'llama3', factor: 8, low_freq_factor: 4, high_freq_factor: 1, original_max_position_embeddings: 64 },
      },
      /high_freq_factor is 1; it must be above low_freq_factor 4/,
    ],
    [{ tie_word_embeddings: 'yes' }, /tie_word_embeddings is "yes"/],
  ];
  for (const [change, message] of refused) assert.throws(() => readLlamaConfig({ ...plain, ...change }), message);
  assert.throws(() => readLlamaConfig([]), /must hold an object/);
});

test('config.json: older files keep the rotary base at the top, and defaults hold', () => {
  const { rope_parameters: _, num_key_value_heads: __, head_dim: ___, ...old } = plain;
  const c = readLlamaConfig({ ...old, rope_theta: 1e6, rope_scaling: null });
  assert.deepEqual([c.ropeBase, c.ropeScaling, c.kvHeads, c.headWidth], [1e6, { kind: 'none' }, 4, 6]);
});

test('a checkpoint that does not fit its configuration is refused by name', () => {
  const c = readLlamaConfig(plain);
  const tensors = new Map(Object.entries(cases[0]!.tensors).map(([name, t]) => [name, goldenTensor(t, device('null'))]));
  const without = new Map(tensors);
  without.delete('model.layers.1.self_attn.k_proj.weight');
  assert.throws(() => Llama.fromCheckpoint(without, c), /no 'model.layers.1.self_attn.k_proj.weight'/);
  assert.throws(
    () => Llama.fromCheckpoint(tensors, { ...c, hidden: 44 }),
    /gate_proj.*up_proj.weight: \[80,24\] in the checkpoint, \[88,24\]/,
  );
});

test('later positions turn further: a shifted prompt has the same attention', () => {
  const c = { ...readLlamaConfig(plain), layers: 1 };
  const model = initialize((key: random.Key) => Llama.init(key, c, { std: 0.3 }), 3);
  const ids = tensor([[5, 9, 2, 30]], { dtype: 'i32' });
  const at = (start: number): Tensor =>
    compile((m: Llama, x: Tensor, p: Tensor) => m.features(x, m.rotation(p)))(
      model,
      ids,
      tensor(Int32Array.from([0, 1, 2, 3], (i) => i + start)),
    );
  assertClose(at(11).data(), at(0).data(), 2e-5, 'features');
});
