/** Programs that nobody can run any more leave the GPU, and the others stay as they are. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import v8 from 'node:v8';
import vm from 'node:vm';
import { add, compile, device, encode, fromBytes, matmul, mul, type Tensor, typeOf } from '../../tensor/index.ts';
import '../index.ts';
import { openDriver } from './driver.ts';
import { gpuPresent } from './requirements.ts';

const skip = gpuPresent() ? false : 'there is no NVIDIA GPU';

/** Six launches, so that it becomes a graph. */
const chain = (x: Tensor, by: number): Tensor => {
  let y = x;
  for (let i = 0; i < 3; i++) y = add(matmul(y, y), mul(x, by));
  return y;
};

test('a program that nobody can run any more is unloaded with its graphs; one that is still there runs on', { skip }, async (t) => {
  v8.setFlagsFromString('--expose-gc');
  const collect = vm.runInNewContext('gc') as () => void;
  const driver = openDriver();
  const [modules, graphs] = [t.mock.method(driver, 'cuModuleUnload').mock, t.mock.method(driver, 'cuGraphExecDestroy').mock];
  const d = device('cuda');
  const x = fromBytes(encode(new Array<number>(64 * 64).fill(0.01), 'f32'), typeOf([64, 64], 'f32'), d);
  const kept = compile((a: Tensor) => chain(a, 7));
  const numbers = [1, 2, 3].map(() => kept(x).data());
  for (let n = 1; n <= 12; n++) {
    const lost = compile((a: Tensor) => chain(a, n));
    for (let run = 0; run < 3; run++) lost.enqueue(x).dispose();
  }
  for (let i = 0; i < 100 && modules.callCount() < 6; i++) {
    collect();
    await setTimeout(5);
  }
  assert.ok(
    modules.callCount() >= 6 && graphs.callCount() >= 6,
    `${modules.callCount()} modules, ${graphs.callCount()} graphs of 12 are gone`,
  );
  assert.deepEqual(kept(x).data(), numbers[2]);
});
