import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../../../device/index.ts';
import { AdamW, mixedPrecision } from '../../../nn/index.ts';
import { compile, random, tensor } from '../../../tensor/index.ts';
import type { TrainStep } from '../../../train/index.ts';
import { newVit } from './classifier.ts';
import { Config, small } from './config.ts';
import { TokenClassifier } from './fine-tune.ts';
import type { MaskedTokenModel } from './mtm.ts';
import { type TokenBatch, trainStep } from './train.ts';
import { maskedState, maskedStep, tuneState, tuneStep } from './train-masked.ts';

const preset = small({ patch: 4, grid: 6, codes: 32, width: 32 });
const configOf = (precision: Config['precision']): Config =>
  Config.parse({
    ...preset,
    precision,
    model: { ...preset.model, features: 32, layers: 2, heads: 2 },
    mtm: { ...preset.mtm, decoder: { features: 32, layers: 1, heads: 2, dropout: 0 } },
  });
const [B, K] = [16, 32];
const codes = tensor(
  Int32Array.from({ length: B * 36 }, (_, i) => (i * 7919) % K),
  { shape: [B, 6, 6] },
);
const labels = tensor(Int32Array.from({ length: B }, (_, i) => i % 3));

/** The eighth loss on one batch. */
function lossAfter<S>(step: TrainStep<S, TokenBatch>, start: S): number {
  let [state, loss] = [start, Number.NaN];
  for (let i = 0; i < 8; i++) {
    const result = step(state, { codes, labels }, random.key(i), tensor(2e-3));
    [state, loss] = [result.state, result.loss.item()];
  }
  return loss;
}

test('in bf16 every kind of step goes the way of f32', () => {
  const codebook = compile((key: random.Key) => random.normal(key, [K, 16]))(random.key(3));
  const synonyms = tensor(new Int32Array(K * 2), { shape: [K, 2] });
  const losses = (precision: Config['precision']): number[] => {
    const config = configOf(precision);
    const [masked, vit] = [maskedState(config, 0), newVit(config, 3, 0)];
    const known = { codebook, synonyms, maps: undefined };
    return [
      lossAfter(trainStep(config, 3, known), { model: vit, optimizer: new AdamW().init(vit) }),
      lossAfter(tuneStep(config, known, 3), tuneState(masked.model.encoder, 3, 0)),
      lossAfter(maskedStep(config, known), masked),
    ];
  };
  const [narrow, wide] = [losses('bf16'), losses('f32')];
  narrow.forEach((loss, i) => {
    assert.notEqual(loss, wide[i]);
    assert.ok(Math.abs(loss - wide[i]!) < 0.02 * wide[i]!, `step ${i}: ${loss} of ${wide[i]}`);
  });
});

test('behind the embedding nothing is widened to f32', () => {
  const { cast } = mixedPrecision({ compute: 'bf16' });
  const { model } = maskedState(configOf('bf16'), 0);
  const types: string[] = [];
  compile((m: MaskedTokenModel, key: random.Key) => {
    const { encoder } = cast(m);
    const seen = encoder.attend(encoder.patches(codes).patches);
    const logits = cast(TokenClassifier.init(key, encoder, 3)).forward(codes);
    types.push(seen.dtype, logits.dtype);
    return [seen, logits];
  })(model, random.key(0));
  assert.deepEqual(types, ['bf16', 'bf16']);
});
