import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cases } from '../../device/conformance/cases/index.ts';
import { testDevice } from '../../device/conformance/suite.ts';
import { ReferenceDevice } from '../../device/reference/index.ts';
import { assembleTraced } from '../assemble-traced.ts';
import type { Target } from '../device.ts';
import * as t from '../index.ts';
import { type Tensor, typeOf } from '../index.ts';

const skinny: NonNullable<Target['skinny']> = { fits: (a) => a.shape[0]! <= 8, reads: (w) => w.strides[0] === 1 };

/** The reference device with skinny products: everything that they take in must mean the same. */
class Skinny extends ReferenceDevice {
  override readonly name = 'reference with skinny products';
  readonly skinny = skinny;
}
// the large cases of attention take this device a minute, and hold no product of a few rows
testDevice(
  new Skinny(),
  1e-6,
  cases.filter((c) => !c.tolerance || !c.ops.some((op) => /attention/i.test(op))),
);

const target: Target = { fused: () => true, skinny };
/** The calls that a function of f32 tensors becomes, by label. */
function calls(
  shapes: readonly (readonly number[])[],
  f: (...xs: Tensor[]) => Tensor | Tensor[],
  donate: readonly number[] = [],
): string[] {
  const types = shapes.map((s) => typeOf(s, 'f32'));
  const { program } = assembleTraced(target, (...xs) => [f(...xs)].flat(), types, donate);
  return program.calls.map((c) => `${c.kernel} ${c.label}`);
}
const project = (x: Tensor, w: Tensor): Tensor => t.matmul(x, t.transpose(w));

test('a decoder block is one call a product', () => {
  assert.deepEqual(
    calls(
      [
        [1, 1, 16],
        [48, 16],
        [16, 24],
      ],
      (x, w, v) => {
        const [gate, up] = t.split(project(t.rmsNorm(x), w), 2) as [Tensor, Tensor];
        return t.add(x, project(t.mul(t.silu(gate), up), v));
      },
    ),
    ['gemv norm+matmul+mul', 'gemv matmul+add'],
  );
});

test('what others read too stays apart', () => {
  const shapes = [
    [1, 16],
    [8, 16],
    [1, 8],
  ];
  assert.deepEqual(
    calls(shapes, (x, w, r) => t.add(project(x, w), r)),
    ['gemv matmul+add'],
  );
  // the product is a result itself
  assert.deepEqual(
    calls(shapes, (x, w, r) => {
      const y = project(x, w);
      return [y, t.add(y, r)];
    }),
    ['gemv matmul', 'map add'],
  );
  // the expression needs something that is computed from the product
  assert.deepEqual(
    calls(shapes, (x, w) => {
      const y = project(x, w);
      return t.mul(y, t.sum(t.exp(y), 1, { keepDims: true }));
    }),
    ['gemv matmul', 'reduce sum', 'map mul'],
  );
  // the norm is read by two products
  assert.deepEqual(
    calls(
      [
        [1, 16],
        [8, 16],
        [8, 16],
      ],
      (x, w, v) => {
        const h = t.rmsNorm(x);
        return [project(h, w), project(h, v)];
      },
    ),
    ['norm norm', 'gemv matmul', 'gemv matmul'],
  );
  // another order than that of the product
  assert.deepEqual(
    calls(
      [
        [2, 16],
        [8, 16],
        [8, 2],
      ],
      (x, w, r) => t.add(t.transpose(project(x, w)), r),
    ),
    ['gemv matmul', 'map add'],
  );
});

test('many rows, weights that cannot be read as they lie: the ordinary calls', () => {
  assert.deepEqual(
    calls(
      [
        [9, 16],
        [8, 16],
        [9, 8],
      ],
      (x, w, r) => t.add(project(x, w), r),
    ),
    ['gemm matmul', 'map add'],
  );
  assert.deepEqual(
    calls([[1, 16], [16, 8], [1, 8], [16]], (x, w, r, g) => t.add(t.matmul(t.mul(t.rmsNorm(x, g), 2), w), r)),
    ['norm norm', 'map mul', 'gemm matmul', 'map add'],
  );
  assert.deepEqual(
    calls(
      [
        [1, 16],
        [16, 8],
        [1, 8],
      ],
      (x, w, r) => t.add(t.matmul(t.rmsNorm(x), w), r),
    ),
    ['norm norm', 'gemm matmul', 'map add'],
  );
});
