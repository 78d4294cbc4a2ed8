/** What can be chosen, and the bytes that it takes. */
import { z } from 'zod';
import { BudgetError } from '../../../bytes/index.ts';
import { leastMemory } from '../../../tensor/index.ts';
import type { ObjectiveTarget } from '../../contracts/objective.ts';

/** The most room for blocks that a budget is spent on. */
const MOST_MEMORY = 256e6;

export const Config = z.strictObject({
  preset: z.enum(['cce', 'kahan_full_c', 'kahan_full_e', 'exact']).default('cce').describe('whose gradient leaves out small tiles'),
  filterEps: z
    .union([z.literal('auto'), z.number().min(0).max(1)])
    .default('auto')
    .describe("what a tile's |softmax - onehot| must reach; auto: machine epsilon / 32"),
  sort: z.boolean().default(true).describe('classifier rows enter the tiles by their mean logit, in half precision'),
  softCap: z.number().min(0).default(0).describe('logits a become softCap * tanh(a / softCap); 0: they stay'),
  shift: z.int().min(0).default(0).describe('row i predicts targets[i + shift]'),
  zLoss: z.number().min(0).default(0).describe('weight of the mean squared log-sum-exp'),
  memory: z.int().min(0).default(48e6).describe('bytes for blocks of logits, on a device that keeps them in memory'),
});
export type CutCrossEntropyConfig = z.output<typeof Config>;

/** Besides the blocks: vectors over rows (log-sum-exp, logit, loss and their gradients), over the classifier's rows (order, its work, means) and the mean row. */
const vectors = ({ rows, classes, features }: ObjectiveTarget): number => 64 * rows + 20 * classes + 16 * features + 4096;

export const totalBytes = ({ memory }: Pick<CutCrossEntropyConfig, 'memory'>, target: ObjectiveTarget): number => memory + vectors(target);

/** The published configuration with the room that is left. */
export function fit(budget: number, target: ObjectiveTarget): CutCrossEntropyConfig {
  const { rows, classes, features } = target;
  const memory = Math.min(Math.floor(budget) - vectors(target), MOST_MEMORY);
  const least = leastMemory(classes, features);
  if (memory >= least) return Config.parse({ memory });
  throw new BudgetError({
    who: 'cut-cross-entropy',
    budget,
    needed: least + vectors(target),
    because: `blocks of 128 x 256 logits, vectors over ${rows} rows and ${classes} classes`,
    wayOut: 'raise the budget or take fewer rows',
  });
}
