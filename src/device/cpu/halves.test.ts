import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cast, compile, full, scatterAdd, scatterAlong, slice, type Tensor, tensor, withDevice } from '../../tensor/index.ts';
import { openBackend } from './backend.ts';
import { CpuDevice } from './index.ts';

/** More entries than sums of them find room for in a thread's scratch. */
const many = 2_500_000;

for (const kind of ['native', 'wasm'] as const) {
  let device: CpuDevice | undefined;
  try {
    device = new CpuDevice(openBackend(kind));
  } catch {} // no compiler
  test(
    `${kind}: halves that fall on one place are summed in f32 and rounded once, however many places there are`,
    {
      skip: device === undefined && 'these kernels are not here',
    },
    () =>
      withDevice(device!, () => {
        // 1000 ones on each of three places, of which bf16 alone would make 256
        const places = [3, many / 2, many - 1];
        const at = tensor(Int32Array.from({ length: 3000 }, (_, i) => places[i % 3]!));
        for (const scatter of [scatterAdd, (x: Tensor, i: Tensor, size: number): Tensor => scatterAlong(x, i, size, 0)]) {
          const f = compile((i: Tensor) => {
            const y = cast(scatter(full([3000], 1, 'bf16'), i, many), 'f32');
            return [3, 4, many / 2, many - 1].map((place) => slice(y, [place, place + 1]));
          });
          assert.deepEqual(
            f(at).map((x) => x.item()),
            [1000, 0, 1000, 1000],
          );
          assert.throws(() => f(tensor(Int32Array.from({ length: 3000 }, (_, i) => (i < 2 ? many : 0)))), /\[cpu\] 2 indices/);
        }
      }),
  );
}
