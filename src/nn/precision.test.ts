import assert from 'node:assert/strict';
import { test } from 'node:test';
import { goldenCases } from '../device/conformance/golden.ts';
import { cast, compile, matmul, mean, mul, square, sub, sum, type Tensor, tensor } from '../tensor/index.ts';
import { LayerNorm, Linear } from './module.ts';
import { AdamW, type AdamWState } from './optim.ts';
import { allFinite, LossScale, mixedPrecision, select } from './precision.ts';

const ones = (...shape: number[]): Tensor => tensor(new Float32Array(shape.reduce((n, d) => n * d, 1)).fill(1), { shape });
const types = (tree: object): string[] => Object.values(tree).map((t: Tensor) => t.dtype);

test('matrices are cast, vectors and integers stay', () => {
  const model = { w: ones(2, 3), b: ones(3), ids: tensor(Int32Array.of(1)) };
  assert.deepEqual(types(mixedPrecision({ compute: 'bf16' }).cast(model)), ['bf16', 'f32', 'i32']);
  assert.deepEqual(types(mixedPrecision({ compute: 'f16', keep: ([name]) => name === 'w' }).cast(model)), ['f32', 'f16', 'i32']);
  assert.deepEqual(types(mixedPrecision({ compute: 'f32' }).cast(model)), ['f32', 'f32', 'i32']);
});

test('layers compute in the narrow type and give f32 gradients', () => {
  const model = { up: new Linear(ones(4, 8), ones(8)), norm: LayerNorm.init(8), down: new Linear(ones(8, 2), ones(2)) };
  let inside = '';
  const lossOf = (m: typeof model, x: Tensor): Tensor => {
    const y = m.down.forward(m.norm.forward(m.up.forward(x)));
    inside = y.dtype;
    return sum(y);
  };
  const x = tensor([[1, 2, 3, 4]], { dtype: 'bf16' });
  const [loss, gradients] = compile((m: typeof model) => mixedPrecision({ compute: 'bf16' }).valueAndGrad(lossOf)(m, x))(model);
  assert.equal(inside, 'bf16');
  assert.equal(loss.dtype, 'bf16');
  for (const g of [gradients.up.weight, gradients.up.bias!, gradients.norm.gain, gradients.down.weight]) assert.equal(g.dtype, 'f32');
  assert.deepEqual(gradients.down.bias!.toArray(), [1, 1]);
});

test('a bias gradient of many rows is summed in f32', () => {
  const model = new Linear(ones(1, 1), ones(1));
  const x = tensor(new Float32Array(1000).fill(1), { shape: [1000, 1], dtype: 'bf16' });
  const run = compile((m: Linear) => mixedPrecision({ compute: 'bf16' }).valueAndGrad((n: Linear) => sum(n.forward(x)))(m)[1]);
  assert.equal(run(model).bias!.item(), 1000); // 1000 has ten bits, more than a bf16 holds: 999 + 1 would be 1000 there, 513 + 1 would not
});

interface ScaleAttrs {
  initial: number;
  growth: number;
  backoff: number;
  interval: number;
}
for (const c of goldenCases<ScaleAttrs>('loss-scale'))
  test(`loss scale: ${c.name}`, () => {
    const scale = new LossScale(c.attrs);
    const next = compile((s: ReturnType<typeof scale.init>, g: Tensor) => scale.next(s, allFinite([g])));
    let state = scale.init();
    c.inputs['overflow']!.data.forEach((bad, i) => {
      state = next(state, tensor([1, bad ? (i % 2 ? Number.NaN : Number.NEGATIVE_INFINITY) : -3e38]));
      assert.equal(state.scale.item(), c.outputs['scale']!.data[i], `scale after step ${i}`);
      assert.equal(state.finiteSteps.item(), c.outputs['finiteSteps']!.data[i], `count after step ${i}`);
    });
  });

test('unless told otherwise, a scale begins at 2^16, doubles after 2000 finite steps up to 2^24, and halves down to 1', () => {
  const scale = new LossScale();
  assert.deepEqual([scale.init().scale.item(), scale.init().finiteSteps.item()], [2 ** 16, 0]);
  const next = (from: number, steps: number, finite: number): number[] => {
    const state = { scale: tensor(from), finiteSteps: tensor(Int32Array.of(steps), { shape: [] }) };
    const after = scale.next(state, allFinite([tensor([finite])]));
    return [after.scale.item(), after.finiteSteps.item()];
  };
  assert.deepEqual(next(4, 1998, 1), [4, 1999]);
  assert.deepEqual(next(4, 1999, 1), [8, 0]);
  assert.deepEqual(next(2 ** 24, 1999, 1), [2 ** 24, 0]);
  assert.deepEqual(next(4, 1998, Number.NaN), [2, 0]);
  assert.deepEqual(next(1, 5, Number.POSITIVE_INFINITY), [1, 0]);
});

test('f16 trains: a step that overflows changes nothing but the scale, the others follow f32', () => {
  interface State {
    model: { w: Tensor };
    optimizer: AdamWState<{ w: Tensor }>;
    scaling: ReturnType<LossScale['init']>;
  }
  const scale = new LossScale({ initial: 2 ** 24, interval: 1000 });
  const precision = mixedPrecision({ compute: 'f16' });
  const adamw = new AdamW({ weightDecay: 0 });
  const x = tensor([[0.5, -1, 2, 1]]);
  const lossOf = (m: State['model']): Tensor => mul(mean(square(sub(matmul(cast(x, m.w.dtype), m.w), 1))), 1e-3);
  const step = compile(
    ({ model, optimizer, scaling }: State) => {
      const { loss, gradients, finite, state } = scale.valueAndGrad(lossOf, precision)(scaling, model);
      const updated = adamw.update(model, gradients, optimizer, 0.01);
      const kept = select(finite, { model: updated.model, optimizer: updated.state }, { model, optimizer });
      return { state: { ...kept, scaling: state }, loss, finite };
    },
    { donate: [0] },
  );
  const exact = compile(({ model, optimizer }: Pick<State, 'model' | 'optimizer'>) => {
    const [loss, gradients] = mixedPrecision({ compute: 'f32' }).valueAndGrad(lossOf)(model);
    const updated = adamw.update(model, gradients, optimizer, 0.01);
    return { state: { model: updated.model, optimizer: updated.state }, loss };
  });
  const start = (): State['model'] => ({ w: tensor(new Float32Array(4 * 3).fill(4), { shape: [4, 3] }) });
  let state: State = { model: start(), optimizer: adamw.init(start()), scaling: scale.init() };
  let skipped = 0;
  while (skipped < 40) {
    const before = state.model.w.toArray();
    const { state: next, finite } = step(state);
    state = next;
    if (finite.item()) break;
    skipped++;
    assert.deepEqual(state.model.w.toArray(), before, 'a skipped step changes no parameter');
    assert.equal(state.optimizer.step.item(), 0, 'nor the count of updates');
  }
  assert.ok(skipped > 0, 'the first scale was too large');
  assert.equal(state.scaling.scale.item(), 2 ** (24 - skipped));
  let reference: Pick<State, 'model' | 'optimizer'> = { model: start(), optimizer: adamw.init(start()) };
  reference = exact(reference).state;
  for (let i = 0; i < 50; i++) {
    const ours = step(state);
    const theirs = exact(reference);
    [state, reference] = [ours.state, theirs.state];
    assert.ok(Math.abs(ours.loss.item() - theirs.loss.item()) <= 2e-3 * theirs.loss.item() + 1e-9, `loss ${i}`);
  }
  assert.ok(state.optimizer.step.item() === 51);
});

test('a scale that cannot work is refused', () => {
  assert.throws(() => new LossScale({ backoff: 1 }), /\[lossScale\] growth 2 must be at least 1, backoff 1 between 0 and 1/);
});
