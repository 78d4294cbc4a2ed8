/**
 * Objective: what is minimised. This contract is for objectives over a linear classifier: hidden states against the rows of a classifier, and
 * the index of the row that each should have found.
 *
 * The bytes of an objective are what a device holds for it at the worst moment of loss and gradients, besides operands and gradients.
 */
import { compile, type Device, empty, device as openDevice, type Tensor, typeOf, valueAndGrad } from '../../tensor/index.ts';

/** One step. */
export interface ObjectiveTarget {
  /** Hidden states, e.g. batch x context. */
  rows: number;
  features: number;
  /** Rows of the classifier: the vocabulary. */
  classes: number;
  dtype: 'f32' | 'bf16' | 'f16';
}

export interface Objective {
  /**
   * hidden [..., features], classifier [classes, features], targets [...] integers, -100 where a row does not count -> f32, one number.
   * Traceable; its gradients are those that it wants followed.
   */
  loss(hidden: Tensor, classifier: Tensor, targets: Tensor): Tensor;
  /** What `loss` means in plain functions, whatever they take. Approximations stay within their declared tolerance of it. */
  meaning(hidden: Tensor, classifier: Tensor, targets: Tensor): Tensor;
}

/** Bytes that a step plans on `device` besides operands, loss and gradients. Runs nothing. */
export function extraBytes(objective: Objective, { rows, features, classes, dtype }: ObjectiveTarget, device: Device): number {
  const step = compile((h: Tensor, c: Tensor, y: Tensor) => valueAndGrad(([a, b]: [Tensor, Tensor]) => objective.loss(a, b, y))([h, c]), {
    device,
  });
  const nowhere = openDevice('null');
  const types = [typeOf([rows, features], dtype), typeOf([classes, features], dtype), typeOf([rows], 'i32')];
  const [h, c, y] = types.map((type) => empty(type, nowhere)) as [Tensor, Tensor, Tensor];
  return step.plan(h, c, y).arenaBytes;
}
