import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../../device/index.ts';
import { compile, leaves, random, sub, type Tensor, tensor } from '../../tensor/index.ts';
import { initialize } from '../init.ts';
import { softTargetLoss } from '../losses.ts';
import { mixedPrecision } from '../precision.ts';
import { Vit } from './vit.ts';

for (const positions of ['learned', 'sincos'] as const)
  test(`under mixed precision activations are narrow from the stem on, with ${positions} positions, and gradients near those of f32`, () => {
    const config = {
      channels: 3,
      height: 8,
      width: 8,
      patch: { size: 4, stride: 4, padding: 0 },
      features: 32,
      layers: 2,
      heads: 2,
      classes: 5,
    };
    const model = initialize((key) => Vit.init(key, { ...config, positions }), 1);
    const x = compile((key: random.Key) => random.normal(key, [6, 3, 8, 8]))(random.key(2));
    const targets = tensor(
      Float32Array.from({ length: 30 }, (_, i) => +(i % 5 === ((i / 5) % 5) >> 0)),
      { shape: [6, 5] },
    );
    const types: string[] = [];
    const gradients = (compute: 'bf16' | 'f32'): [Tensor, Vit] => {
      const precision = mixedPrecision({ compute });
      const lossOf = (vit: Vit, images: Tensor): Tensor => {
        types.push(vit.features(images).dtype);
        return softTargetLoss(vit.forward(images), targets);
      };
      return compile((vit: Vit) => precision.valueAndGrad(lossOf)(vit, precision.cast(x)))(model);
    };
    const [[loss, narrow], [exactLoss, exact]] = [gradients('bf16'), gradients('f32')];
    assert.deepEqual(types, ['bf16', 'f32']);
    assert.equal(loss.dtype, 'f32');
    assert.ok(Math.abs(loss.item() - exactLoss.item()) < 0.01 * exactLoss.item());
    const norm = (t: Tensor): number => Math.hypot(...(t.data() as Float32Array));
    leaves(narrow).forEach((g, i) => {
      const of = leaves(exact)[i]!;
      assert.equal(g.dtype, 'f32');
      assert.ok(norm(sub(g, of)) <= 0.05 * norm(of) + 1e-6, `gradient ${i}, ${of.shape}: ${norm(sub(g, of))} of ${norm(of)}`);
    });
  });
