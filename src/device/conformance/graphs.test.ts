import '../index.ts';
import { device } from '../../tensor/index.ts';
import { testGraphs } from './graphs-suite.ts';

// to hunt: GRAPHS=5000 SEED=$RANDOM node --test dist/device/conformance/graphs.test.js
testGraphs(device('cpu'), { runs: Number(process.env['GRAPHS'] ?? 250), seed: Number(process.env['SEED'] ?? 1) });
