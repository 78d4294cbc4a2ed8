/** Cross-entropy of a linear classifier without its logits. */
import * as t from '../../../tensor/index.ts';
import { apart, type Case, floats, given, halves, ints } from '../inputs.ts';

export const classifier: Case[] = apart((): Case[] => [
  {
    name: 'linearCrossEntropy',
    ops: ['linearCrossEntropy', 'linearCrossEntropyGrad'],
    inputs: [floats([5, 7]), floats([11, 7]), given([0, 10, -100, 3, 3], [5])],
    f: (e, c, y) => t.linearCrossEntropy(e, c, y, { reduction: 'none' }),
  },
  {
    name: 'linearCrossEntropy with a bias, a soft cap, a shift and a z-loss',
    ops: ['linearCrossEntropy', 'linearCrossEntropyGrad'],
    inputs: [floats([2, 4, 5]), floats([9, 5]), floats([9], -1, 1), given([0, 8, -1, 3, 3, 7, -1, 1], [2, 4])],
    f: (e, c, bias, y) => {
      const { loss, lse } = t.linearCrossEntropyWithLse(e, c, y, { bias, softCap: 3, shift: 1, ignoreIndex: -1 });
      return t.add(loss, t.mul(t.mean(t.square(lse)), 0.1));
    },
  },
  {
    name: 'linearCrossEntropy of no row that counts',
    ops: ['linearCrossEntropy', 'linearCrossEntropyGrad'],
    inputs: [floats([3, 4]), floats([6, 4]), given([-100, -100, -100], [3])],
    f: (e, c, y) => t.linearCrossEntropy(e, c, y),
  },
  {
    name: 'linearCrossEntropy in two shards',
    ops: ['linearCrossEntropy', 'linearCrossEntropyGrad'],
    inputs: [floats([6, 5]), floats([4, 5]), floats([7, 5]), given([0, 10, -100, 3, 4, 8], [6], 'i64')],
    f: (e, a, b, y) => {
      const shards = [t.vocabularyShard(e, a, y, { first: 0, total: 11 }), t.vocabularyShard(e, b, y, { first: 4, total: 11 })];
      const { loss, lse } = t.mergeVocabulary(shards, y, { reduction: 'none' });
      return t.add(loss, t.mul(lse, 0.3));
    },
  },
  {
    name: 'linearCrossEntropy over several tiles',
    ops: ['linearCrossEntropy', 'linearCrossEntropyGrad'],
    tolerance: 2e-5,
    inputs: [floats([60, 37], -0.5, 0.5), floats([600, 37], -0.5, 0.5), floats([600]), ints([60], 600)],
    f: (e, c, bias, y) => t.linearCrossEntropy(e, c, y, { bias, reduction: 'none', preset: 'exact', memory: 200_000 }),
  },
  ...(['cce', 'exact'] as const).map(
    (preset): Case => ({
      name: `linearCrossEntropy in bf16, ${preset}`,
      ops: ['linearCrossEntropy', 'linearCrossEntropyGrad'],
      tolerance: 2e-2,
      inputs: [halves([140, 32]), halves([600, 32]), ints([140], 600)],
      f: (e, c, y) => t.linearCrossEntropy(e, c, y, { preset, reduction: 'sum' }),
    }),
  ),
  {
    name: 'linearCrossEntropy in bf16, exact, of many classes a row',
    ops: ['linearCrossEntropy', 'linearCrossEntropyGrad'],
    tolerance: 2e-2,
    inputs: [halves([140, 40]), halves([2900, 40]), floats([2900]), ints([140], 2900)],
    f: (e, c, bias, y) => t.linearCrossEntropy(e, c, y, { bias, preset: 'exact', reduction: 'sum', memory: 200_000 }),
  },
  {
    name: 'linearCrossEntropy in bf16 with a bias, in blocks of both',
    ops: ['linearCrossEntropy', 'linearCrossEntropyGrad'],
    tolerance: 2e-2,
    inputs: [halves([390, 72]), halves([1300, 72]), floats([1300]), ints([390], 1300)],
    f: (e, c, bias, y) => t.linearCrossEntropy(e, c, y, { bias, reduction: 'sum', memory: 500_000 }),
  },
]);
