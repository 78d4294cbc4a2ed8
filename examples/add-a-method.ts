// Recipe: add a method. In the package this is one folder, src/methods/schedule/half-first/, with index.ts (this declaration as its default
// export), index.test.ts and bench.json; the registry finds it, the conformance suite runs it, `thimble methods` lists it, and no
// other file changes. Here it stands alone, to be seen whole.
import assert from 'node:assert/strict';
import { BudgetError } from 'thimble/bytes';
import { defineMethod, inputBytes, type ScheduleTarget, z } from 'thimble/methods';
import { mean, reshape } from 'thimble/tensor';

const halfFirst = defineMethod({
  id: 'half-first',
  contract: 'schedule',
  title: 'The first steps at half size',
  paper: { title: 'Progressive Growing of GANs', authors: 'Karras et al.', year: 2018, arxiv: '1710.10196' },
  saves: ['time'],
  config: z.object({ half: z.number().min(0).max(1).default(0.5).describe('share of the steps that run at half size') }),

  // The least saving that fits: quality first, within the budget.
  fit(budget, target) {
    for (let n = 0; n <= target.steps; n++)
      if (halfFirst.bytes({ half: n / target.steps }, target) <= budget) return { half: n / target.steps };
    throw new BudgetError({
      who: 'half-first',
      budget,
      needed: halfFirst.bytes({ half: 1 }, target),
      because: `${target.steps} steps at half size`,
      wayOut: 'raise the budget or take fewer steps',
    });
  },
  bytes: (config, target): number => inputBytes(halfFirst.create(config), target),
  create: ({ half }) => ({
    step(index, { steps, batch, channels, size }) {
      const small = index < Math.round(half * steps);
      const side = small ? size / 2 : size;
      return { shape: [batch, channels, side, side], augmentation: index / steps, cost: small ? 0.25 : 1, position: index / steps };
    },
    reshape(images, { shape: [batch, channels, height, width] }) {
      return images.shape[2] === height ? images : mean(reshape(images, [batch, channels, height, 2, width, 2]), [3, 5]);
    },
  }),
});

const target: ScheduleTarget = { steps: 100, batch: 64, channels: 3, size: 32, patch: 4, itemBytes: 4 };
const whole = halfFirst.bytes({ half: 0 }, target);
const config = halfFirst.fit(0.7 * whole, target);
console.log(
  `${whole} bytes of input at full size; 70 % of that is met by ${JSON.stringify(config)}, which reads ${halfFirst.bytes(config, target)}`,
);
assert.deepEqual(config, { half: 0.4 });
assert.ok(halfFirst.bytes(config, target) <= 0.7 * whole);
assert.throws(() => halfFirst.fit(0.2 * whole, target), BudgetError);
