/**
 * Cut cross-entropy: the loss of a large vocabulary and its gradients without ever storing the logits. Memory of O(rows + classes) instead of
 * O(rows x classes), at the price of computing the logits twice; tiles of their gradient that are too small for a half-precision sum to notice
 * are left out.
 *
 * For training, where classes >> features; where only some logits are wanted, as in generation, it does not apply. The preset decides what may
 * be left out: `cce` of both gradients, for fine-tuning; `kahan_full_c` not of the classifier's, which the authors take for pretraining, where
 * rare tokens have nothing but tiny gradients; `exact` nothing. From new weights take `exact`: what is left out of a row is at most eps a class, but
 * up to V * eps in all, and the check's curves stray with the others. The names are the paper's; what it compensates is here a sum over all rows
 * in f32.
 */
import { add, div, linearCrossEntropyWithLse, maximum, mul, square, sum } from '../../../tensor/index.ts';
import type { Objective } from '../../contracts/objective.ts';
import { defineMethod } from '../../method.ts';
import { Config, type CutCrossEntropyConfig, fit, totalBytes } from './config.ts';
import { naive } from './naive.ts';

function create({ zLoss, ...options }: CutCrossEntropyConfig): Objective {
  return {
    loss(hidden, classifier, targets) {
      const { loss, lse, counted } = linearCrossEntropyWithLse(hidden, classifier, targets, options);
      return zLoss ? add(loss, mul(div(sum(square(lse)), maximum(counted, 1)), zLoss)) : loss;
    },
    meaning: (hidden, classifier, targets) => naive(hidden, classifier, targets, { zLoss, ...options }),
  };
}

export default defineMethod({
  id: 'cut-cross-entropy',
  contract: 'objective',
  title: 'Loss and gradients of a large vocabulary without its logits',
  paper: {
    title: 'Cut Your Losses in Large-Vocabulary Language Models',
    authors: 'Wijmans et al.',
    year: 2025,
    arxiv: '2411.09009',
    venue: 'ICLR 2025',
  },
  saves: ['activations'],
  config: Config,
  fit,
  bytes: totalBytes,
  create,
});

export type { CutCrossEntropyConfig } from './config.ts';
export { naive } from './naive.ts';
