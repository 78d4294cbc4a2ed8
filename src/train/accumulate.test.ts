import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AdamW, Gpt2, type Gpt2Config, mixedPrecision } from '../nn/index.ts';
import { compile, flatten, type Plan, random, type Tensor, tensor, withDevice } from '../tensor/index.ts';
import '../device/index.ts';
import { accumulate } from './accumulate.ts';

const config: Gpt2Config = { vocabulary: 50, context: 16, width: 32, layers: 2, heads: 2 };
interface Batch {
  ids: Tensor;
  next: Tensor;
}
const batchOf = (rows: number, T: number): Batch => {
  const ids = (shift: number): Tensor =>
    tensor(
      Int32Array.from({ length: rows * T }, (_, i) => ((i + shift) * 7 + ((i + shift) >> 3)) % 50),
      { shape: [rows, T] },
    );
  return { ids: ids(0), next: ids(1) };
};
const of = (compute: 'f32' | 'bf16') => mixedPrecision({ compute }).valueAndGrad((m: Gpt2, { ids, next }: Batch) => m.loss(ids, next));

test('loss and gradients of micro-batches are those of the batch', () => {
  const model = compile((key: random.Key) => Gpt2.init(key, config))(random.key(1));
  const batch = batchOf(8, 16);
  const run = (parts: number) => {
    const [loss, gradients] = compile((m: Gpt2, b: Batch) => accumulate(of('f32'), parts)(m, b))(model, batch);
    return { loss: loss.item(), gradients: flatten(gradients) };
  };
  const whole = run(1);
  for (const parts of [2, 4, 8]) {
    const found = run(parts);
    assert.ok(Math.abs(found.loss - whole.loss) < 1e-6, `loss in ${parts} parts: ${found.loss}, whole ${whole.loss}`);
    for (const [name, g] of whole.gradients) {
      const [a, b] = [g.data(), found.gradients.get(name)!.data()];
      const scale = Math.max(...a.map(Math.abs));
      a.forEach((x, i) => assert.ok(Math.abs(x - b[i]!) <= 2e-6 * scale, `${name}[${i}] in ${parts} parts: ${b[i]}, whole ${x}`));
    }
  }
});

test('the plan shrinks with the parts, down to the gradients', () => {
  const wide: Gpt2Config = { ...config, context: 128 };
  const adamw = new AdamW();
  const planOf = (parts: number): Plan =>
    withDevice('null', () => {
      const model = compile((key: random.Key) => Gpt2.init(key, wide))(random.key(1));
      const step = compile(
        (m: Gpt2, s: ReturnType<typeof adamw.init<Gpt2>>, b: Batch) => {
          const [loss, gradients] = accumulate(of('bf16'), parts)(m, b);
          return { ...adamw.update(m, gradients, s, 1e-3), loss };
        },
        { donate: [0, 1] },
      );
      return step.plan(model, adamw.init(model), batchOf(16, 128));
    });
  const peaks = [1, 2, 4, 8].map((parts) => planOf(parts).arenaBytes);
  peaks.slice(1).forEach((p, i) => assert.ok(p < 0.66 * peaks[i]!, `${p} bytes after ${peaks[i]}`));
});

test('what does not divide is refused with both numbers', () => {
  const f = accumulate((m: Tensor, b: Tensor) => [m, b] as [Tensor, Tensor], 3);
  assert.throws(() => f(tensor(1), tensor([1, 2, 3, 4])), /\[accumulate\] the batch f32\[4\] does not divide into 3 parts/);
  assert.throws(() => accumulate(() => [tensor(1), tensor(1)], 0), /\[accumulate\] 0 parts/);
});
