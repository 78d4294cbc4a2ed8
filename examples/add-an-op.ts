// Recipe: add an op. Most ops are functions of the primitives and need nothing else: gradients, fusion, memory planning and
// every device follow. An op whose gradient is not that of its formula brings its own.
import assert from 'node:assert/strict';
import { add, compile, customVjp, div, exp, floor, grad, mul, neg, sub, sum, type Tensor, tensor } from 'thimble/tensor';

// 1. A function of primitives: x * sigmoid(1.702 x), the sigmoid form of GELU.
const quickGelu = (x: Tensor): Tensor => div(x, add(1, exp(neg(mul(x, 1.702)))));

// 2. An op with a gradient of its own: rounding that lets the gradient through (Bengio et al. 2013, arXiv 1308.3432).
const roundThrough = (x: Tensor): Tensor =>
  customVjp(
    (v) => [floor(add(v, 0.5))],
    ([g]) => [g],
  )(x)[0]!;

const x = tensor([-1.3, -0.4, 0.2, 0.9, 2.6]);
const f = compile((v: Tensor) => quickGelu(v));
const slope = compile((v: Tensor) => grad((u: Tensor) => sum(quickGelu(u)))(v));

// The gradient against a central difference.
const h = 1e-2;
const [up, down] = [f(add(x, h)).data(), f(sub(x, h)).data()];
slope(x)
  .data()
  .forEach((s, i) => {
    assert.ok(Math.abs(s - (up[i]! - down[i]!) / (2 * h)) < 1e-3);
  });

// The whole function is one fused call, and its gradient another.
assert.equal(f.plan(x).calls, 1);
assert.equal(slope.plan(x).calls, 1);

assert.deepEqual([...roundThrough(x).data()], [-1, 0, 0, 1, 3]);
assert.deepEqual([...grad((v: Tensor) => sum(mul(roundThrough(v), roundThrough(v))))(x).data()], [-2, 0, 0, 2, 6]);
console.log('quickGelu', [...f(x).data()].map((v) => v.toFixed(3)).join(' '));
