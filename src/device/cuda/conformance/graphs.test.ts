/** Random programs on the first NVIDIA GPU. Each is compiled anew, which takes most of the time: fewer than on the processor. */
import { testGraphs } from '../../conformance/graphs-suite.ts';
import { withGpu } from './families.ts';

// to hunt: GRAPHS=1000 SEED=$RANDOM node --test dist/device/cuda/conformance/graphs.test.js
withGpu('random programs', (device) =>
  testGraphs(device, { runs: Number(process.env['GRAPHS'] ?? 40), seed: Number(process.env['SEED'] ?? 1), tolerance: 5e-5 }),
);
