import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Golden, goldenCases, goldenDevices, goldenTensor, numbers } from '../device/conformance/golden.ts';
import { assertClose } from '../device/conformance/suite.ts';
import { compile, type Device, type Tensor, tensor, withDevice } from '../tensor/index.ts';
import { AdamW, clipByGlobalNorm, decayMatricesOnly, emaUpdate } from './optim.ts';
import { warmupCosine } from './schedule.ts';

interface Attrs {
  beta1: number;
  beta2: number;
  eps: number;
  groups: { lr: number; weightDecay: number }[];
  decay: number;
  maxNorm: number;
}
type Tree = Record<string, Tensor>;
const STEPS = 5;
const cases = goldenCases<Attrs>('optim');

/** The inputs whose name is `prefix` + name + `suffix`, by name. */
function pick(c: Golden, device: Device, pattern: RegExp): Tree {
  const found = Object.entries(c.inputs).flatMap(([name, value]) => {
    const key = pattern.exec(name)?.[1];
    return key === undefined ? [] : [[key, goldenTensor(value, device)] as const];
  });
  return Object.fromEntries(found);
}

for (const { device, tolerance } of goldenDevices) {
  const check = (c: Golden, name: string, actual: Tensor): void => assertClose(numbers(actual), c.outputs[name]!.data, tolerance, name);

  for (const c of cases.filter((x) => x.name.startsWith('adamw')))
    test(`${device.name}: ${c.name}`, () => {
      const { groups, ...options } = c.attrs;
      const lr = groups[0]!.lr;
      const groupOf = ([name]: readonly (string | number)[]) => groups[Number(String(name).split('.')[0])]!;
      const adam = new AdamW({ ...options, group: (path) => ({ lrScale: groupOf(path).lr / lr, weightDecay: groupOf(path).weightDecay }) });
      const step = compile((model: Tree, grads: Tree, state: ReturnType<typeof adam.init<Tree>>) => adam.update(model, grads, state, lr), {
        donate: [0, 2],
      });
      let model = pick(c, device, /^p(.*)$/);
      let state = withDevice(device, () => adam.init(model));
      for (let s = 1; s <= STEPS; s++) {
        ({ model, state } = step(model, pick(c, device, new RegExp(`^g(.*)@${s}$`)), state));
        for (const [name, p] of Object.entries(model)) check(c, `p${name}@${s}`, p);
      }
      for (const [name, m] of Object.entries(state.m)) check(c, `m${name}@${STEPS}`, m);
      for (const [name, v] of Object.entries(state.v)) check(c, `v${name}@${STEPS}`, v);
    });

  for (const c of cases.filter((x) => x.name === 'ema'))
    test(`${device.name}: the moving average follows, its decay a number or a tensor`, () => {
      for (const decay of [c.attrs.decay, tensor(c.attrs.decay, { device })]) {
        const update = compile((average: Tensor, p: Tensor, d: number | Tensor) => emaUpdate(average, p, d), { donate: [0] });
        let average = goldenTensor(c.inputs['ema']!, device);
        for (let s = 1; s <= STEPS; s++) {
          average = update(average, goldenTensor(c.inputs[`p@${s}`]!, device), decay);
          check(c, `ema@${s}`, average);
        }
      }
    });

  for (const c of cases.filter((x) => x.name.startsWith('clip')))
    test(`${device.name}: ${c.name}`, () => {
      const { gradients, norm } = compile((g: Tree) => clipByGlobalNorm(g, c.attrs.maxNorm))(pick(c, device, /^(g.*)$/));
      check(c, 'norm', norm);
      for (const [name, g] of Object.entries(gradients)) check(c, name, g);
    });
}

for (const c of goldenCases<{ lr: number; minLr: number; startLr: number; warmup: number; total: number }>('optim').filter((x) =>
  x.name.startsWith('cosine'),
))
  test(c.name, () => {
    const { lr, minLr, startLr, warmup, total } = c.attrs;
    const rate = warmupCosine({ peak: lr, final: minLr, start: startLr, warmup, steps: total });
    c.inputs['step']!.data.forEach((step, i) => {
      const expected = c.outputs['lr']!.data[i]!;
      assert.ok(Math.abs(rate(step) - expected) <= 1e-9 * lr, `step ${step}: ${rate(step)}, expected ${expected}`);
    });
  });

test('a rate that is a tensor, a frozen group, integers and missing gradients', () => {
  const adam = new AdamW({ weightDecay: 0, group: ([name]) => ({ lrScale: name === 'frozen' ? 0 : 1 }) });
  const model = { frozen: tensor([1, 2]), count: tensor(Int32Array.of(7)), free: tensor([1, 2]), still: tensor([3]) };
  const gradients = { frozen: tensor([1, 1]), count: undefined as never, free: tensor([1, -1]), still: undefined as never };
  const next = compile((m: typeof model, g: typeof model, s: ReturnType<typeof adam.init<typeof model>>, lr: Tensor) =>
    adam.update(m, g, s, lr),
  )(model, gradients, adam.init(model), tensor(0.5)).model;
  assert.deepEqual(next.frozen.toArray(), [1, 2]);
  assert.deepEqual(next.count.toArray(), [7]);
  assert.deepEqual(next.still.toArray(), [3]);
  assertClose(next.free.data(), [0.5, 2.5], 1e-5, 'the first step is the rate against the sign of the gradient');
});

test('unless told otherwise, AdamW has the betas, epsilon and decay of PyTorch, for all parameters', () => {
  const [lr, gradients] = [0.1, [1e-8, -0.3, 2]];
  for (const adam of [new AdamW(), new AdamW({ group: () => ({}) })]) {
    let model = { w: tensor([3]) };
    let state = adam.init(model);
    let [p, m, v] = [3, 0, 0];
    gradients.forEach((g, i) => {
      ({ model, state } = adam.update(model, { w: tensor([g]) }, state, lr));
      m = 0.9 * m + 0.1 * g;
      v = 0.999 * v + 0.001 * g * g;
      p = p * (1 - lr * 0.01) - (lr * (m / (1 - 0.9 ** (i + 1)))) / (Math.sqrt(v / (1 - 0.999 ** (i + 1))) + 1e-8);
      assertClose(model.w.data(), [p], 1e-5, `step ${i}`);
    });
  }
});

test('matrices decay, vectors and numbers do not', () => {
  const adam = new AdamW({ group: decayMatricesOnly(0.5) });
  const model = { matrix: tensor([[2, 4]]), vector: tensor([2, 4]), number: tensor(2), none: null };
  const still = { matrix: tensor([[0, 0]]), vector: tensor([0, 0]), number: tensor(0), none: null };
  const { model: next } = adam.update(model, still, adam.init(model), 0.1);
  assertClose(next.matrix.data(), [1.9, 3.8], 1e-6, 'matrix');
  assert.deepEqual([next.vector.toArray(), next.number.item(), next.none], [[2, 4], 2, null]);
});

test('with model and state donated, an update takes no memory', () => {
  const adam = new AdamW();
  const model = { w: tensor(new Float32Array(600), { shape: [20, 30] }), b: tensor(new Float32Array(30)) };
  const step = compile((m: typeof model, s: ReturnType<typeof adam.init<typeof model>>, g: typeof model) => adam.update(m, g, s, 0.1), {
    donate: [0, 1],
  });
  const { resultBytes, arenaBytes, calls } = step.plan(model, adam.init(model), model);
  assert.equal(resultBytes, 0);
  assert.ok(arenaBytes <= 1024, `${arenaBytes} bytes of temporaries`);
  assert.ok(calls <= 2 + 2, `${calls} calls: one for each parameter, and the corrections`);
});
