/** Where a device has no kernel for it, linearCrossEntropy keeps its promise of memory: blocks of logits, computed twice. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CpuDevice } from '../../device/index.ts';
import { compile, type DType, linearCrossEntropy, type Tensor, type TensorType, valueAndGrad, withDevice, zeros } from '../index.ts';

class Plain extends CpuDevice {
  override fused(op: string, inputs: readonly TensorType[]): boolean {
    return !op.startsWith('linearCrossEntropy') && super.fused(op, inputs);
  }
}

for (const dtype of ['f32', 'bf16'] satisfies DType[])
  test(`without a kernel, loss and gradients of ${dtype} take the bytes of their blocks, not of all logits`, () => {
    const [rows, features, classes, memory] = [1024, 64, 50_000, 8e6];
    const step = compile((e: Tensor, c: Tensor, y: Tensor) =>
      valueAndGrad(([a, b]: [Tensor, Tensor]) => linearCrossEntropy(a, b, y, { memory, preset: 'exact' }))([e, c]),
    );
    const operands = withDevice(new Plain(), () => [
      zeros([rows, features], dtype),
      zeros([classes, features], dtype),
      zeros([rows], 'i32'),
    ]);
    const { arenaBytes } = step.plan(...(operands as [Tensor, Tensor, Tensor]));
    assert.ok(arenaBytes < 1.25 * memory, `${arenaBytes} bytes; all logits are ${4 * rows * classes}`);
  });
