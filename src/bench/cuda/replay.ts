/** GPU time of a function: events around replays of a graph that takes many operands in turn, as a step takes its layers'. */
import { type CapturedWork, pause } from '../../device/cuda/tuning.ts';
import type { CudaDevice } from '../../device/index.ts';
import { assembleTraced } from '../../tensor/assemble-traced.ts';
import type { DeviceBuffer } from '../../tensor/device.ts';
import type { Tensor } from '../../tensor/index.ts';
import type { TensorType } from '../../tensor/shape.ts';
import { median } from '../median.ts';
import type { Turn } from '../turns.ts';

const CACHE = 50e6;
/** How many operands of `bytes` the second-level cache cannot hold, by far. */
export const setsOf = (bytes: number): number => Math.min(16, Math.max(1, Math.ceil((4 * CACHE) / bytes)));

/** Milliseconds that the GPU rests, those that it works before what counts, and those that count, of so many replays at least. */
interface Pace {
  rest: number;
  warm: number;
  ms: number;
  least: number;
}
/** A figure by itself does not count what ran before: a hot GPU is slower, and one under load lowers its clocks within 50 ms. */
const ALONE: Pace = { rest: 100, warm: 50, ms: 0, least: 15 };
/** By turns, what ran before is the same work for the other side. */
const TURN: Pace = { rest: 0, warm: 15, ms: 20, least: 5 };

/** Microseconds on the GPU of a replay of `graph`: the median. */
function replayed(device: CudaDevice, graph: CapturedWork, { rest, warm, ms, least }: Pace): number {
  if (rest) pause(rest);
  const replays = (n: number): number[] => device.timed(new Array<() => void>(n).fill(graph.launch));
  const once = replays(2)[1]!;
  const before = Math.min(1000, Math.ceil(warm / once));
  return 1e3 * median(replays(before + Math.max(least, Math.ceil(ms / once))).slice(before));
}

/** Microseconds on the GPU of what `work` submits. */
export function microsecondsOf(device: CudaDevice, work: () => void): number {
  const graph = device.captured(work);
  const us = replayed(device, graph, ALONE);
  graph.free();
  return us;
}

export interface Replayable {
  /** Of arguments and results. */
  bytes: number;
  launches: number;
  /** Microseconds of one run. @param sets arguments, taken in turn. */
  microseconds(sets: readonly (readonly Tensor[])[]): number;
  /** The same, to be measured by turns with somebody else. @param figure of the microseconds. */
  turn(sets: readonly (readonly Tensor[])[], figure: (us: number) => number): Turn;
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
  /** A graph that runs it on each set. */
  const walk = (sets: readonly (readonly Tensor[])[]): { graph: CapturedWork; free(): void } => {
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
    const graph = device.captured(() => {
      for (const b of buffers) executable.submit(b);
    });
    const free = (): void => {
      graph.free();
      for (const r of results) device.free(r);
    };
    return { graph, free };
  };
  return {
    bytes: plan.argumentBytes + resultTypes.reduce((n, type) => n + type.bytes, 0),
    launches: executable.launches,
    microseconds(sets) {
      const { graph, free } = walk(sets);
      const us = replayed(device, graph, ALONE) / sets.length;
      free();
      return us;
    },
    turn(sets, figure) {
      const { graph, free } = walk(sets);
      return { measure: () => figure(replayed(device, graph, TURN) / sets.length), free };
    },
  };
}
