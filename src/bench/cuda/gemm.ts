/** bf16 matrix products: two squares, and every product of a GPT-2-small step at 16 x 1024 tokens, forward and backward. */
import type { CudaDevice } from '../../device/index.ts';
import { defaultDevice, disposeTree, matmul, type Tensor, transpose } from '../../tensor/index.ts';
import { typeOf } from '../../tensor/shape.ts';
import type { Section } from '../section.ts';
import type { Turn } from '../turns.ts';
import { drawn } from './memory.ts';
import { replayable } from './replay.ts';

const TOKENS = 16384;
/** [in, out] of the layers; 50257 is the vocabulary as it is, 50304 a multiple of 128. */
const layers = { qkv: [768, 2304], proj: [768, 768], fc: [768, 3072], fc2: [3072, 768], head: [768, 50304], 'head-50257': [768, 50257] };

interface Product {
  name: string;
  /** Shapes of the operands as they lie in memory, and which of them the product reads transposed. */
  a: readonly [number, number];
  b: readonly [number, number];
  ta?: boolean;
  tb?: boolean;
}

const square = (n: number): Product => ({ name: `${n}^3`, a: [n, n], b: [n, n] });
const products: readonly Product[] = [
  square(8192),
  square(4096),
  ...Object.entries(layers).flatMap(([name, [i, o]]): Product[] => [
    { name: `${name} forward`, a: [TOKENS, i!], b: [i!, o!] },
    { name: `${name} dgrad`, a: [TOKENS, o!], b: [i!, o!], tb: true },
    { name: `${name} wgrad`, a: [TOKENS, i!], b: [TOKENS, o!], ta: true },
  ]),
];

export const section: Section = {
  title: 'bf16 matrix products / torch.matmul',
  peer: 'cuda_gemm.py',
  rows: products.map(({ name }) => ({ name, unit: 'TFLOP/s', atLeast: 0.98 })),
  prepare(wanted): Turn {
    const { a, b, ta, tb } = products.find(({ name }) => name === wanted)!;
    const device = defaultDevice() as CudaDevice;
    const product = (x: Tensor, y: Tensor): Tensor[] => [matmul(ta ? transpose(x) : x, tb ? transpose(y) : y)];
    const made = replayable(device, product, [typeOf(a, 'bf16'), typeOf(b, 'bf16')]);
    const sets = drawn(device, [[a, 'bf16'] as const, [b, 'bf16'] as const], made.bytes);
    const flops = 2 * a[0] * a[1] * b[tb ? 0 : 1];
    const turn = made.turn(sets, (us) => flops / us / 1e6);
    return {
      ...turn,
      free() {
        turn.free();
        disposeTree(sets);
      },
    };
  },
};
