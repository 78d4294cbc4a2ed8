import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compile, narrow, random, tensor } from '../../tensor/index.ts';
import { goldenCases, goldenDevices } from '../conformance/golden.ts';
import { philoxBlock } from '../reference/philox.ts';

type Words = [number, number, number, number];

for (const c of goldenCases('philox')) {
  const [counter, key, expected] = [c.inputs['counter']!.data as Words, c.inputs['key']!.data as [number, number], c.outputs['y']!.data];
  test(`block: ${c.name}`, () => assert.deepEqual(philoxBlock(counter, key), expected));
  // element i of random bits is word i % 4 of counter i / 4: the first counters can be seen through the library
  const [at, ...high] = counter;
  if (at > 1000 || high.some((word) => word)) continue;
  for (const { device } of goldenDevices)
    test(`${device.name}: random bits, ${c.name}`, () => {
      const k = tensor(Int32Array.from(key), { device });
      const words = compile((x: typeof k) => narrow(random.bits(x, [4 * at + 4]), 0, 4 * at, 4))(k).data();
      assert.deepEqual(
        [...words].map((word) => word >>> 0),
        expected,
      );
    });
}
