import { conv2d, convTranspose2d } from '../../tensor/index.ts';
import { goldenCases, testGolden } from '../conformance/golden.ts';

type Pair = number | [number, number];
const cases = goldenCases<{ stride: Pair; padding: Pair; dilation: Pair; output_padding?: Pair }>('conv');

for (const c of cases)
  testGolden(c, ({ x, w, b }, { output_padding: outputPadding, ...options }) => ({
    y: outputPadding === undefined ? conv2d(x!, w!, b, options) : convTranspose2d(x!, w!, b, { ...options, outputPadding }),
  }));
