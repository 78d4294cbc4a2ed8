/** GPU time of a function: events around replays of a graph that takes many operands in turn, as a step takes its layers'. */
import { pause } from '../../device/cuda/tuning.ts';
import type { CudaDevice } from '../../device/index.ts';
import { assembleTraced } from '../../tensor/assemble-traced.ts';
import type { DeviceBuffer } from '../../tensor/device.ts';
import type { Tensor } from '../../tensor/index.ts';
import type { TensorType } from '../../tensor/shape.ts';
import { median } from '../median.ts';

const CACHE = 50e6;
const REPLAYS = 15;
/** Replays before those that count: a GPU under load lowers its clocks within this time. */
const WARM_US = 50e3;
/** Before them the GPU rests, so that it does not count what ran before: a hot one is slower. */
const REST_MS = 100;

/** How many operands of `bytes` the second-level cache cannot hold, by far. */
export const setsOf = (bytes: number): number => Math.min(16, Math.max(1, Math.ceil((4 * CACHE) / bytes)));

/** Microseconds on the GPU of a replay of what `work` submits, on a GPU at work: the median. */
export function replayed(device: CudaDevice, work: () => void): number {
  pause(REST_MS);
  const warm = Math.min(1000, Math.ceil(WARM_US / device.replays(work, 1)[0]!));
  return median(device.replays(work, warm + REPLAYS).slice(warm));
}

export interface Replayable {
  /** Of arguments and results. */
  bytes: number;
  launches: number;
  /** Microseconds of one run. @param sets arguments, taken in turn. */
  microseconds(sets: readonly (readonly Tensor[])[]): number;
}

/** @param donate arguments whose memory results may take. */
export function replayable(
  device: CudaDevice,
  f: (...xs: Tensor[]) => readonly Tensor[],
  types: readonly TensorType[],
  donate: readonly number[] = [],
): Replayable {
  const { program, externalInputs, externalResults, plan, resultTypes } = assembleTraced(device, f, types, donate);
  const executable = device.prepare(program);
  return {
    bytes: plan.argumentBytes + resultTypes.reduce((n, type) => n + type.bytes, 0),
    launches: executable.launches,
    microseconds(sets) {
      const results: DeviceBuffer[] = [];
      const result = (bytes: number): DeviceBuffer => {
        const made = device.alloc(bytes);
        results.push(made);
        return made;
      };
      const buffers = sets.map((xs) => [
        ...externalInputs.map((i) => xs[i]!.storage.buffer),
        ...externalResults.map((r) => result(resultTypes[r]!.bytes)),
      ]);
      executable.run(buffers[0]!);
      const all = (): void => {
        for (const b of buffers) executable.submit(b);
      };
      const us = replayed(device, all) / sets.length;
      for (const r of results) device.free(r);
      return us;
    },
  };
}
