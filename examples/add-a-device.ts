// Recipe: add a device. A device is one object behind the Device contract: it allocates, copies, and runs programs, which are flat
// lists of kernel calls over planned memory. This one counts the bytes that each kernel moves and lets the reference device compute.
import assert from 'node:assert/strict';
import { ReferenceDevice } from 'thimble/device';
import { compile, type Device, device, layerNorm, matmul, registerDevice, softmax, type Tensor, tensor, withDevice } from 'thimble/tensor';

const moved = new Map<string, number>();

class TallyDevice extends ReferenceDevice implements Device {
  override readonly name = 'tally';

  override prepare(program: Parameters<Device['prepare']>[0]): ReturnType<Device['prepare']> {
    const executable = super.prepare(program);
    const size = ({ shape }: { shape: readonly number[] }): number => 4 * shape.reduce((n, d) => n * d, 1);
    return {
      ...executable,
      run(buffers) {
        for (const call of program.calls) {
          const bytes = [...call.reads, ...call.writes].reduce((n, view) => n + size(view), 0);
          moved.set(call.kernel, (moved.get(call.kernel) ?? 0) + bytes);
        }
        executable.run(buffers);
      },
    };
  }
}

// Its name is all that a user needs: device('tally'), or THIMBLE_DEVICE=tally.
registerDevice('tally', () => new TallyDevice());

const program = compile((x: Tensor, w: Tensor) => softmax(matmul(layerNorm(x), w)));
const out = withDevice(device('tally'), () =>
  program(
    tensor([
      [1, 2, 3],
      [6, 5, 4],
    ]),
    tensor([
      [1, 0],
      [0, 1],
      [1, 1],
    ]),
  ).toArray(),
);
console.log('bytes by kernel:', Object.fromEntries(moved));

assert.ok(moved.get('gemm')! >= 4 * (6 + 6 + 4));
const rows = out as number[][];
for (const row of rows) assert.ok(Math.abs(row[0]! + row[1]! - 1) < 1e-6);
