import { layerNorm, logSoftmax, rmsNorm, softmax } from '../../tensor/index.ts';
import { goldenCases, testGolden } from '../conformance/golden.ts';

for (const c of goldenCases<{ eps: number; axis: number }>('norm'))
  testGolden(c, ({ x, g, b }, { eps, axis }) => {
    if (c.name.startsWith('layer_norm')) return { y: layerNorm(x!, g, b, eps) };
    if (c.name.startsWith('rms_norm')) return { y: rmsNorm(x!, g, eps) };
    return { y: c.name.startsWith('log_softmax') ? logSoftmax(x!, axis) : softmax(x!, axis) };
  });
