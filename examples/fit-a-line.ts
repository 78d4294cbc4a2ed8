// Fits y = a x + b to noisy points: a compiled train step, and nothing else.
import assert from 'node:assert/strict';
import { add, compile, mean, mul, random, square, sub, type Tensor, tensor, valueAndGrad } from 'thimble/tensor';

interface Line {
  a: Tensor;
  b: Tensor;
}
const predict = ({ a, b }: Line, x: Tensor): Tensor => add(mul(a, x), b);
const loss = (line: Line, x: Tensor, y: Tensor): Tensor => mean(square(sub(predict(line, x), y)));

// The truth: y = 3 x - 2, and noise of standard deviation 0.1.
const key = random.key(0);
const x = random.uniform(key, [200], -1, 1);
const y = add(sub(mul(x, 3), 2), random.normal(random.foldIn(key, 1), [200], 0, 0.1));

const step = compile(
  (line: Line, x: Tensor, y: Tensor) => {
    const [l, { a, b }] = valueAndGrad(loss)(line, x, y);
    return { line: { a: sub(line.a, mul(a, 0.3)), b: sub(line.b, mul(b, 0.3)) }, loss: l };
  },
  { donate: [0] },
);

let line: Line = { a: tensor(0), b: tensor(0) };
console.log(`a step takes ${step.plan(line, x, y).peakBytes} bytes at its peak, known before it runs`);
for (let i = 0; i < 100; i++) {
  const next = step(line, x, y);
  line = next.line;
  if (i % 20 === 0) console.log(`step ${i}: loss ${next.loss.item().toFixed(4)}`);
  next.loss.dispose();
}
const [a, b] = [line.a.item(), line.b.item()];
console.log(`y = ${a.toFixed(3)} x + ${b.toFixed(3)}`);
assert.ok(Math.abs(a - 3) < 0.05 && Math.abs(b + 2) < 0.05);
