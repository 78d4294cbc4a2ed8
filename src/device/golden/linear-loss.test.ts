import { add, div, linearCrossEntropyWithLse, maximum, mul, square, sum } from '../../tensor/index.ts';
import { goldenCases, testGolden } from '../conformance/golden.ts';

interface Attrs {
  softCap: number;
  shift: number;
  zLoss: number;
  reduction: 'mean' | 'sum' | 'none';
}
for (const c of goldenCases<Attrs>('linear-loss'))
  testGolden(c, ({ e, c, targets, bias }, { zLoss, ...options }) => {
    const { loss, lse, counted } = linearCrossEntropyWithLse(e!, c!, targets!, { ...options, ...(bias && { bias }) });
    return { loss: zLoss ? add(loss, div(mul(sum(square(lse)), zLoss), maximum(counted, 1))) : loss, lse };
  });
