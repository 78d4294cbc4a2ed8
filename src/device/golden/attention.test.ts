import { add, attention, matmul, mul, permute, softmax, type Tensor, transpose } from '../../tensor/index.ts';
import { goldenCases, testGolden } from '../conformance/golden.ts';

/** [B, heads, T, d] <-> [B, T, heads, d]. */
const swap = (x: Tensor): Tensor => permute(x, [0, 2, 1, 3]);

for (const c of goldenCases<{ causal: boolean; scale: number }>('attention-packed'))
  testGolden(c, ({ q, k, v, offsets }, { causal, scale }) => ({
    y: swap(attention(swap(q!), swap(k!), swap(v!), { causal, scale, offsets: offsets! })),
  }));

for (const c of goldenCases<{ causal: boolean; scale: number }>('attention'))
  testGolden(c, ({ q, k, v, mask }, { causal, scale }) => {
    // an additive mask has no kernel: it is written out, as its users do
    if (mask) return { y: matmul(softmax(add(mul(matmul(q!, transpose(k!)), scale), mask)), v!) };
    return { y: swap(attention(swap(q!), swap(k!), swap(v!), { causal, scale })) };
  });
