/** The smallest schedule that keeps every promise: the first steps at half size, by 2 x 2 means. For the suites' own tests. */
import { z } from 'zod';
import { BudgetError } from '../../bytes/index.ts';
import { mean, reshape } from '../../tensor/index.ts';
import type { ScheduleTarget, Step } from '../contracts/schedule.ts';
import { defineMethod } from '../method.ts';

const Config = z.object({ half: z.number().min(0).max(1).default(0.5).describe('share of the steps that run at half size') });
type Config = z.output<typeof Config>;

const stepBytes = ({ batch, channels, itemBytes }: ScheduleTarget, side: number): number => batch * channels * side * side * itemBytes;

function totalBytes({ half }: Config, target: ScheduleTarget): number {
  const small = Math.round(half * target.steps);
  return small * stepBytes(target, target.size / 2) + (target.steps - small) * stepBytes(target, target.size);
}

export default defineMethod({
  id: 'toy-schedule',
  contract: 'schedule',
  title: 'Half size first',
  paper: {
    title: 'Progressive Growing of GANs for Improved Quality, Stability, and Variation',
    authors: 'Karras et al.',
    year: 2018,
    arxiv: '1710.10196',
  },
  saves: ['time'],
  config: Config,
  fit(budget, target) {
    for (let small = 0; small <= target.steps; small++) {
      const config = { half: small / target.steps };
      if (totalBytes(config, target) <= budget) return config;
    }
    const needed = totalBytes({ half: 1 }, target);
    throw new BudgetError({
      who: 'toy-schedule',
      budget,
      needed,
      because: `${target.steps} steps at half size`,
      wayOut: 'raise the budget or take fewer steps',
    });
  },
  bytes: totalBytes,
  create: ({ half }) => ({
    step(index, target): Step {
      const small = index < Math.round(half * target.steps);
      const side = small ? target.size / 2 : target.size;
      return {
        shape: [target.batch, target.channels, side, side],
        augmentation: index / target.steps,
        cost: small ? 0.25 : 1,
        position: index / target.steps,
      };
    },
    reshape(images, { shape: [batch, channels, height, width] }) {
      if (images.shape[2] === height) return images;
      return mean(reshape(images, [batch, channels, height, 2, width, 2]), [3, 5]);
    },
  }),
});
