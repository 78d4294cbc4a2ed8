/** bf16 matrix products: two squares, and every product of a GPT-2-small step at 16 x 1024 tokens, forward and backward. */
import type { CudaDevice } from '../../device/index.ts';
import { defaultDevice, matmul, type Tensor, transpose } from '../../tensor/index.ts';
import type { Figures, Section } from '../section.ts';
import { timed } from './memory.ts';

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

function teraflops(device: CudaDevice, { name, a, b, ta, tb }: Product): number {
  const f = (x: Tensor, y: Tensor): Tensor[] => [matmul(ta ? transpose(x) : x, tb ? transpose(y) : y)];
  const inputs = [[a, 'bf16'] as const, [b, 'bf16'] as const];
  return (2 * a[0] * a[1] * b[tb ? 0 : 1]) / timed(device, { name, inputs, f }).us / 1e6;
}

export const section: Section = {
  title: 'bf16 matrix products / torch.matmul',
  peer: 'cuda_gemm.py',
  rounds: 3,
  rows: products.map(({ name }) => ({ name, unit: 'TFLOP/s', atLeast: 0.98 })),
  measure(): Figures {
    const device = defaultDevice() as CudaDevice;
    return Object.fromEntries(products.map((p) => [p.name, teraflops(device, p)]));
  },
};
