import { goldenCases, testGolden } from '../device/conformance/golden.ts';
import { add, crossEntropy, mul, sum } from '../tensor/index.ts';
import { classificationLoss, softTargetLoss } from './losses.ts';

for (const c of goldenCases<{ reduction: string; labelSmoothing?: number }>('loss'))
  testGolden(c, ({ x, labels, targets }, { reduction, labelSmoothing: e = 0 }) => {
    if (targets) return { y: softTargetLoss(x!, add(mul(targets, 1 - e), e / x!.shape[1]!)) };
    if (reduction === 'mean') return { y: classificationLoss(x!, labels!, e) };
    const losses = crossEntropy(x!, labels!);
    return { y: reduction === 'sum' ? sum(losses) : losses };
  });
