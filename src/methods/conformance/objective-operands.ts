/** What the objective suite computes with: hidden states, a classifier and targets that any process makes alike. */
import { compile, type Device, defaultDevice, type Tensor, tensor, valueAndGrad } from '../../tensor/index.ts';
import type { Objective, ObjectiveTarget } from '../contracts/objective.ts';

export interface Operands {
  hidden: Tensor;
  classifier: Tensor;
  targets: Tensor;
}

/** Every seventh row does not count. */
export function operands({ rows, features, classes, dtype }: ObjectiveTarget, device: Device = defaultDevice()): Operands {
  const wave = (n: number, step: number): number[] =>
    Array.from({ length: n }, (_, i) => Math.sin(i * step) + 0.3 * Math.cos(i * i * 0.01));
  const targets = Array.from({ length: rows }, (_, i) => (i % 7 === 3 ? -100 : (i * 37 + 5) % classes));
  return {
    hidden: tensor(wave(rows * features, 0.731), { shape: [rows, features], dtype, device }),
    classifier: tensor(wave(classes * features, 1.277), { shape: [classes, features], dtype, device }),
    targets: tensor(targets, { shape: [rows], dtype: 'i32', device }),
  };
}

/** Loss and gradients of hidden states and classifier, as numbers. */
export function lossOf(
  { loss }: Pick<Objective, 'loss'>,
  { hidden, classifier, targets }: Operands,
): { loss: number; hidden: ArrayLike<number>; classifier: ArrayLike<number> } {
  const step = compile((h: Tensor, c: Tensor, y: Tensor) => valueAndGrad(([a, b]: [Tensor, Tensor]) => loss(a, b, y))([h, c]));
  const [value, [dHidden, dClassifier]] = step(hidden, classifier, targets);
  return { loss: value.item(), hidden: dHidden.data(), classifier: dClassifier.data() };
}
