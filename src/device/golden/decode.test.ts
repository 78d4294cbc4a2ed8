import { decodeAttention, full, type Tensor, updateAt } from '../../tensor/index.ts';
import { goldenCases, testGolden } from '../conformance/golden.ts';

interface Attrs {
  axis: number;
  at: number;
  length: number;
  window: number;
}
const one = (n: number): Tensor => full([], n, 'i32');

for (const c of goldenCases<Attrs>('decode'))
  testGolden(c, ({ x, values, q, k, v }, { axis, at, length, window }) => ({
    y: x ? updateAt(x, values!, one(at), axis) : decodeAttention(q!, k!, v!, one(length), { window }),
  }));
