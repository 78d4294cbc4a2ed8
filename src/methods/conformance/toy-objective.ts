/** The smallest objective that keeps every promise: mean cross-entropy over whole logits. For the suites' own tests. */
import { z } from 'zod';
import { BudgetError } from '../../bytes/index.ts';
import { classificationLoss } from '../../nn/index.ts';
import { cast, matmul, type Tensor, transpose } from '../../tensor/index.ts';
import type { ObjectiveTarget } from '../contracts/objective.ts';
import { defineMethod } from '../method.ts';

const Config = z.object({ copies: z.int().min(1).default(8).describe('of the logits that memory is held for') });
type Config = z.output<typeof Config>;

const totalBytes = ({ copies }: Config, { rows, classes, features }: ObjectiveTarget): number =>
  4 * (copies * rows * classes + 2 * features * (rows + classes));
const loss = (hidden: Tensor, classifier: Tensor, targets: Tensor): Tensor =>
  classificationLoss(matmul(cast(hidden, 'f32'), transpose(cast(classifier, 'f32'))), targets);

export default defineMethod({
  id: 'toy-objective',
  contract: 'objective',
  title: 'Cross-entropy',
  paper: { title: 'Rational Decisions', authors: 'Good', year: 1952 },
  saves: ['activations'],
  config: Config,
  fit(budget, target) {
    for (const copies of [8, 4]) if (totalBytes({ copies }, target) <= budget) return { copies };
    const needed = totalBytes({ copies: 4 }, target);
    throw new BudgetError({ who: 'toy-objective', budget, needed, because: 'four logit matrices', wayOut: 'raise the budget' });
  },
  bytes: totalBytes,
  create: () => ({ loss, meaning: loss }),
});
