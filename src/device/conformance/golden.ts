/** Expected values from independent references (tests/golden), and the test that compares a function and its gradients with them. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { add, compile, type Device, grad, isFloat, mul, device as openDevice, sum, type Tensor, tensor } from '../../tensor/index.ts';
import type { ReferenceDevice } from '../index.ts';
import '../index.ts';
import { assertClose } from './suite.ts';

export interface GoldenTensor {
  shape: number[];
  dtype: 'float' | 'int';
  data: number[];
}
type Named<T> = Record<string, T>;

export interface Golden<A = unknown> {
  name: string;
  inputs: Named<GoldenTensor>;
  attrs: A;
  outputs: Named<GoldenTensor>;
  /** Weights of the outputs in the loss whose gradients `grads` are. */
  upstream?: Named<GoldenTensor>;
  grads?: Named<GoldenTensor>;
}

const folder = new URL('../../../tests/golden/', import.meta.url);
export const readGolden = <T>(file: string): T => JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as T;
/** The cases of tests/golden/<name>.json. */
export const goldenCases = <A>(name: string): Golden<A>[] => readGolden<{ cases: Golden<A>[] }>(`${name}.json`).cases;

const cpu = openDevice('cpu');
const reference = openDevice('reference') as ReferenceDevice;
interface OnDevice {
  device: Device;
  tolerance: number;
}
/** The devices that golden values are compared on: ten digits are written down, f32 holds seven. */
export const goldenDevices: readonly [OnDevice, OnDevice] = [
  { device: cpu, tolerance: 4e-6 },
  { device: reference, tolerance: 1e-9 },
];

export function goldenTensor({ shape, dtype, data }: GoldenTensor, device: Device): Tensor {
  return tensor(data, { shape, dtype: dtype === 'int' ? 'i32' : 'f32', device });
}
/** The numbers of a tensor; on the reference device without rounding. */
export const numbers = (t: Tensor): ArrayLike<number> => (t.storage.device === reference ? reference.values(t) : t.data());

/** Tests `f` on every device: its outputs by name, and their gradients where the case has some. */
export function testGolden<A>(c: Golden<A>, f: (inputs: Named<Tensor>, attrs: A) => Named<Tensor>): void {
  for (const { device, tolerance } of goldenDevices)
    test(`${device.name}: ${c.name}`, () => {
      const on = (ts: Named<GoldenTensor>): Named<Tensor> =>
        Object.fromEntries(Object.entries(ts).map(([k, t]) => [k, goldenTensor(t, device)]));
      const inputs = on(c.inputs);
      const outputs = compile((xs: Named<Tensor>) => f(xs, c.attrs), { name: c.name })(inputs);
      for (const [name, expected] of Object.entries(c.outputs)) {
        const actual = outputs[name]!;
        assert.deepEqual([...actual.shape], expected.shape, name);
        assertClose(numbers(actual), expected.data, isFloat(actual.dtype) ? tolerance : 0, name);
      }
      if (!c.grads) return;
      const loss = (xs: Named<Tensor>, us: Named<Tensor>): Tensor => {
        const ys = f(xs, c.attrs);
        return Object.entries(us)
          .map(([k, u]) => sum(mul(ys[k]!, u)))
          .reduce((a, b) => add(a, b));
      };
      const gradients = grad(loss)(inputs, on(c.upstream!));
      for (const [name, expected] of Object.entries(c.grads)) {
        assert.deepEqual([...gradients[name]!.shape], expected.shape, `gradient of ${name}`);
        assertClose(numbers(gradients[name]!), expected.data, 4 * tolerance, `gradient of ${name}`);
      }
    });
}
