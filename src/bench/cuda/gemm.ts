/** bf16 matrix products: two squares, and every product of a GPT-2-small step at 16 x 1024 tokens, forward and backward. */
import type { CudaDevice } from '../../device/index.ts';
import { cast, compile, defaultDevice, disposeTree, matmul, random, type Tensor, transpose } from '../../tensor/index.ts';
import { median } from '../median.ts';
import type { Figures, Section } from '../section.ts';

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

/** Products run over several operands in turn, about 2 TFLOP in all, so that none is still in the cache. */
const turns = ({ a, b, tb }: Product): number => Math.min(32, Math.max(2, Math.ceil(1e12 / (a[0] * a[1] * b[tb ? 0 : 1]))));

function teraflops(device: CudaDevice, p: Product): number {
  const n = turns(p);
  const make = compile(() =>
    [p.a, p.b].map((shape, i) => Array.from({ length: n }, (_, j) => cast(random.normal(random.key(2 * j + i), shape), 'bf16'))),
  );
  const [as, bs] = make() as [Tensor[], Tensor[]];
  const f = compile((x: Tensor[], y: Tensor[]) => x.map((a, j) => matmul(p.ta ? transpose(a) : a, p.tb ? transpose(y[j]!) : y[j]!)));
  const run = (): void => disposeTree(f(as, bs));
  for (let i = 0; i < 3; i++) run();
  const ms = median(Array.from({ length: 15 }, () => device.elapsed(run)));
  const { flops } = f.plan(as, bs);
  disposeTree([as, bs]);
  return flops / ms / 1e9;
}

export const section: Section = {
  title: 'bf16 matrix products / torch.matmul',
  peer: 'cuda_gemm.py',
  rows: products.map(({ name }) => ({ name, unit: 'TFLOP/s', atLeast: 0.98 })),
  measure(): Figures {
    const device = defaultDevice() as CudaDevice;
    return Object.fromEntries(products.map((p) => [p.name, teraflops(device, p)]));
  },
};
