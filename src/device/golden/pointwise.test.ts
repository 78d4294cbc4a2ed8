import * as t from '../../tensor/index.ts';
import { goldenCases, testGolden } from '../conformance/golden.ts';

const functions: Record<string, (x: t.Tensor) => t.Tensor> = {
  'gelu exact': t.gelu,
  'gelu tanh': t.geluTanh,
  silu: t.silu,
  relu: t.relu,
  tanh: t.tanh,
  erf: t.erf,
  sigmoid: t.sigmoid,
  softplus: t.softplus,
  exp: t.exp,
  log: t.log,
  sqrt: t.sqrt,
  rsqrt: t.rsqrt,
  reciprocal: (x) => t.div(1, x),
  sin: t.sin,
  cos: t.cos,
};

for (const c of goldenCases('pointwise')) testGolden(c, ({ x }) => ({ y: functions[c.name]!(x!) }));
