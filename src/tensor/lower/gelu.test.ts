/** Which GELUs become part of the products before them, and that the numbers stay. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { watch } from '../../device/conformance/watched.ts';
import * as t from '../index.ts';
import type { AnyCall } from './program.ts';

type Tensor = t.Tensor;

const nameOf = ({ kernel, attrs, writes }: AnyCall): string =>
  kernel === 'gemm' ? ['gemm', attrs.bias && 'bias', attrs.gelu, writes[1] && 'h'].filter(Boolean).join('+') : kernel;
function run(f: (...xs: Tensor[]) => Tensor | Tensor[], ...shapes: (readonly number[])[]): { calls: string[]; worst: number } {
  const { calls, worst } = watch(f, shapes);
  return { calls: calls.map(nameOf), worst };
}

const X = [2, 5, 6];
const [UP, B, DOWN] = [[6, 8], [8], [8, 6]];
const linear = (x: Tensor, w: Tensor, b?: Tensor): Tensor => (b ? t.add(t.matmul(x, w), b) : t.matmul(x, w));
/** Gradients of a two-layer network with regard to its parameters. */
const network =
  (activation: (h: Tensor) => Tensor, withBias: boolean) =>
  (x: Tensor, up: Tensor, down: Tensor, b: Tensor): Tensor[] => {
    const loss = (w: Tensor[]): Tensor => t.sum(t.square(t.matmul(activation(linear(x, w[0]!, withBias ? w[2] : undefined)), w[1]!)));
    return t
      .grad(loss)([up, down, b])
      .filter((g) => g !== undefined) as Tensor[];
  };

const joined: [string, (...xs: Tensor[]) => Tensor | Tensor[], (readonly number[])[], string[]][] = [
  ['a product', (x, w) => t.geluTanh(t.matmul(x!, w!)), [X, UP], ['gemm+forward']],
  ['a product with a bias', (x, w, b) => t.geluTanh(linear(x!, w!, b)), [X, UP, B], ['gemm+bias+forward']],
  [
    'one written in another way',
    (x, w) => {
      const h = t.matmul(x!, w!);
      const u = t.mul(h, t.add(0.7978845608028654, t.mul(t.square(h), 0.7978845608028654 * 0.044715)));
      return t.mul(t.add(t.tanh(u), 1), t.mul(0.5, h));
    },
    [X, UP],
    ['gemm+forward'],
  ],
  ['the exact form', (x, w) => t.gelu(t.matmul(x!, w!)), [X, UP], ['gemm', 'map']],
  ['another constant', (x, w) => t.mul(1.001, t.geluTanh(t.matmul(x!, w!))), [X, UP], ['gemm', 'map']],
  [
    'a product that is a result too',
    (x, w) => {
      const h = t.matmul(x!, w!);
      return [h, t.geluTanh(h)];
    },
    [X, UP],
    ['gemm', 'map'],
  ],
  ['a batch of products', (x, w) => t.geluTanh(t.matmul(x!, w!)), [X, [2, 6, 8]], ['gemm', 'map']],
];
for (const [what, f, shapes, expected] of joined)
  test(`a GELU at the end of a product: ${what}`, () => {
    const { calls, worst } = run(f, ...shapes);
    assert.deepEqual(calls, expected);
    assert.ok(worst < 1e-5, `${worst}`);
  });

for (const withBias of [false, true])
  test(`a trained network leaves what GELU was taken of to its gradient${withBias ? ', bias and all' : ''}`, () => {
    const { calls, worst } = run(network(t.geluTanh, withBias) as (...xs: Tensor[]) => Tensor[], X, UP, DOWN, B);
    const products = calls.filter((c) => c.startsWith('gemm'));
    assert.deepEqual(products.slice(0, 2), [withBias ? 'gemm+bias+forward+h' : 'gemm+forward+h', 'gemm']);
    assert.ok(products.includes('gemm+backward'), products.join());
    assert.ok(worst < 1e-3, `${worst}`);
  });

test('what something else reads stays where it is', () => {
  const silent = run(network((h) => t.add(t.geluTanh(h), t.sin(h)), true) as (...xs: Tensor[]) => Tensor[], X, UP, DOWN, B);
  assert.ok(silent.worst < 1e-3, `${silent.worst}`);
  assert.ok(!silent.calls.some((c) => /forward|backward/.test(c)), silent.calls.join());
});
