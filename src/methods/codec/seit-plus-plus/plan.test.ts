import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultDevice } from '../../../tensor/index.ts';
import { calibrate } from '../../../train/index.ts';
import { fitBudget } from './budget.ts';
import { planStages } from './plan.ts';

test('a plan takes no memory of the device, and storing large images takes little more than learning from them', async () => {
  const target = { size: 10_000, shape: [224, 224, 3], classes: ['a', 'b'] } as const;
  calibrate(defaultDevice()); // its arena stays
  const held = defaultDevice().allocatedBytes;
  const stages = await planStages(fitBudget(2e6, target), target);
  assert.ok(defaultDevice().allocatedBytes <= held, `${defaultDevice().allocatedBytes} B, ${held} B before`);
  const [learning, storing] = stages.map(({ peakBytes }) => peakBytes) as [number, number];
  assert.ok(storing < 2.5 * learning, `${storing} B for storing, ${learning} B for learning`);
});
