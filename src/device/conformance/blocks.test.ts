import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import * as t from '../../tensor/index.ts';
import type { Program } from '../../tensor/lower/program.ts';
import { ReferenceDevice } from '../reference/index.ts';
import { interpret } from './graphs.ts';
import { assertClose } from './suite.ts';

type Tensor = t.Tensor;
// to hunt: BLOCKS=2000 SEED=$RANDOM node --test dist/device/conformance/blocks.test.js
const RUNS = Number(process.env['BLOCKS'] ?? 40);
const seed = Number(process.env['SEED'] ?? 1);

/** Products end in nothing. */
class Plain extends ReferenceDevice {
  override epilogue(): boolean {
    return false;
  }
}
/** Products end in sums and GELUs; what they became is kept. */
class Joining extends ReferenceDevice {
  readonly kinds = new Set<string>();
  override prepare(program: Program): ReturnType<ReferenceDevice['prepare']> {
    for (const { kernel, attrs } of program.calls) {
      const said = Object.entries(attrs).filter(([name, x]) => x && ['bias', 'residual', 'gelu'].includes(name));
      this.kinds.add([kernel, ...said.map(([name, x]) => (name === 'gelu' ? `${name} ${String(x)}` : name))].join(', '));
    }
    return super.prepare(program);
  }
}
/** And products of a few rows take their neighbours in. */
class Skinny extends Joining {
  readonly skinny = { fits: (a: t.TensorType): boolean => a.shape[0]! <= 8, reads: (): boolean => true };
}
const [plain, joining, skinny] = [new Plain(), new Joining(), new Skinny()];

const WIDTH = 8;
interface Line {
  f: number;
  /** Places of operands, counted from the latest value. */
  x: number;
  y: number;
  /** Which weight. */
  w: number;
}
interface Blocks {
  /** [1, rows, WIDTH] or [rows, WIDTH]. */
  shape: number[];
  code: Line[];
  results: number[];
  donate: number[];
}
const blocks: fc.Arbitrary<Blocks> = fc.record({
  shape: fc.constantFrom([1, WIDTH], [2, WIDTH], [8, WIDTH], [9, WIDTH], [12, WIDTH], [1, 4, WIDTH]),
  code: fc.array(fc.record({ f: fc.nat(8), x: fc.nat(5), y: fc.nat(5), w: fc.nat(3) }), { minLength: 2, maxLength: 12 }),
  results: fc.array(fc.nat(5), { minLength: 1, maxLength: 3 }),
  donate: fc.uniqueArray(fc.nat(9), { maxLength: 5 }),
});

const shapesOf = ({ shape }: Blocks): number[][] => [
  shape,
  shape,
  ...[0, 1, 2, 3].map(() => [WIDTH, WIDTH]),
  [WIDTH, 2 * WIDTH],
  [WIDTH],
  [WIDTH],
  [WIDTH],
];
/** Pieces of networks: every one may read any value before it, and any value may be a result, so that what could be joined is often wanted elsewhere. */
function run({ code, results }: Blocks, inputs: readonly Tensor[]): Tensor[] {
  const [x0, x1, w0, w1, w2, w3, wide, gain, bias, other] = inputs as readonly [Tensor, ...Tensor[]] & readonly Tensor[];
  const values = [x0, x1!];
  const latest = (n: number): Tensor => values.at(-1 - (n % values.length))!;
  for (const { f, x, y, w } of code) {
    const [a, b, weight] = [latest(x), latest(y), [w0, w1, w2, w3][w]!];
    const product = (of: Tensor): Tensor => t.matmul(of, w % 2 ? weight : t.transpose(weight));
    const pieces: (() => Tensor[])[] = [
      () => [t.add(product(a), bias!)],
      () => [t.geluTanh(t.add(product(a), bias!))],
      () => {
        const h = t.add(product(a), other!);
        return [h, t.geluTanh(h)];
      },
      () => [t.add(t.add(product(a), bias!), b)],
      () => [t.add(b, product(a))],
      () => [product(t.rmsNorm(a, gain, 0.1))],
      () => {
        const [gate, up] = t.split(t.matmul(a, wide!), 2) as [Tensor, Tensor];
        return [product(t.mul(t.silu(gate), up))];
      },
      () => [t.add(a, product(t.layerNorm(a, gain, other, 0.1)))],
      () => [t.mul(product(a), t.tanh(b))],
    ];
    values.push(...pieces[f]!());
  }
  return results.map(latest);
}

test(`${RUNS} networks of joined products give the numbers of plain ones, and so do their gradients`, () => {
  const tensors = (p: Blocks, device: t.Device): Tensor[] =>
    shapesOf(p).map((shape, k) =>
      t.tensor(
        Float32Array.from({ length: t.sizeOf(shape) }, (_, i) => 0.4 * Math.sin(1 + 1.37 * i + 2.1 * k)),
        { shape, device },
      ),
    );
  fc.assert(
    fc.property(blocks, (p) => {
      const values = (...xs: Tensor[]): Tensor[] => run(p, xs);
      const gradients = (...xs: Tensor[]): Tensor[] =>
        t.grad((ys: Tensor[]) =>
          run(p, ys)
            .map((v) => t.mean(t.mul(v, t.cos(t.reshape(t.iota(v.size, 'f32'), v.shape)))))
            .reduce((a, b) => t.add(a, b)),
        )(xs);
      for (const f of [values, gradients]) {
        const expected = t.withDevice(plain, () => interpret(f, tensors(p, plain)));
        for (const device of [joining, skinny])
          for (const donate of [[], p.donate])
            t.compile(f, { device, donate })(...tensors(p, device)).forEach((v, i) =>
              assertClose(device.values(v), plain.values(expected[i]!), 1e-6, `${f.name} ${i}`),
            );
      }
    }),
    { seed, numRuns: RUNS, includeErrorInReport: true },
  );
  for (const kind of ['gemm, bias', 'gemm, residual', 'gemm, bias, residual', 'gemm, gelu forward, bias', 'gemm, gelu backward'])
    assert.ok(joining.kinds.has(kind), `none of the networks had a ${kind}: ${[...joining.kinds].join('; ')}`);
  assert.ok(skinny.kinds.has('gemv'));
});
