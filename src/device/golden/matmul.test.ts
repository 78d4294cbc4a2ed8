import { matmul, transpose } from '../../tensor/index.ts';
import { goldenCases, testGolden } from '../conformance/golden.ts';

for (const c of goldenCases('matmul'))
  testGolden(c, ({ a, b }) => ({ y: matmul(a!, c.name === 'matmul transposed right' ? transpose(b!) : b!) }));
