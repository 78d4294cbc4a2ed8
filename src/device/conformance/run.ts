/** Runs a case on a device. */
import * as t from '../../tensor/index.ts';
import type { Case } from './inputs.ts';

type Tensor = t.Tensor;

/** The value of a case, and the gradients of sum(weights * value) for fixed uneven weights with respect to its float inputs. */
export function runCase(c: Case, xs: readonly Tensor[]): { value: Tensor; gradients: (Tensor | undefined)[] } {
  const value = t.compile((...ys: Tensor[]) => c.f(...ys), { name: c.name })(...xs);
  if (c.forwardOnly) return { value, gradients: [] };
  const gradients = t.compile((...ys: Tensor[]) => t.grad((zs: Tensor[]) => weighted(c.f(...zs)))(ys), { name: `${c.name} gradient` })(
    ...xs,
  );
  return { value, gradients };
}

/** sum_i w_i y_i with w_i = 1 + 0.1 sin(i) in row-major order. */
export function weighted(y: Tensor): Tensor {
  const w = t.add(1, t.mul(0.1, t.sin(t.iota(y.size, 'f32'))));
  return t.sum(t.mul(t.reshape(y, [-1]), w));
}

export const inputsOn = (c: Case, device: t.Device): Tensor[] =>
  c.inputs.map(({ shape, dtype, values }) => t.tensor(values, { shape, dtype, device }));
