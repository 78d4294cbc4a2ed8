/** GPU time of a function: events around replays of a graph that takes many operands in turn, as a step takes its layers'. */
import { type CapturedWork, pause } from '../../device/cuda/tuning.ts';
import type { CudaDevice } from '../../device/index.ts';
import { assembleTraced } from '../../tensor/assemble-traced.ts';
import type { DeviceBuffer } from '../../tensor/device.ts';
import type { Tensor } from '../../tensor/index.ts';
import type { TensorType } from '../../tensor/shape.ts';
import { median } from '../../train/index.ts';
import type { Turn } from '../turns.ts';

const CACHE = 50e6;
/** Runs of a short kernel in a replay, at least: the launch of a graph, about 4 us, is not the kernel's. */
const RUNS = 16;
/** How often a replay takes each of `sets` operands. */
export const walksOf = (sets: number): number => Math.ceil(RUNS / sets);

/** How many operands of `bytes` the second-level cache cannot hold, by far. */
export const setsOf = (bytes: number): number => Math.min(16, Math.max(1, Math.ceil((4 * CACHE) / bytes)));

const REPLAYS = 15;
/** Replays before those that count: a GPU under load lowers its clocks within this time. */
const WARM_MS = 50;
/** Before them the GPU rests, so that it does not count what ran before: a hot one is slower. */
const REST_MS = 100;
/**
 * By turns the GPU does not rest, and a turn is over before the clocks have followed what runs in it: both sides have the same. Milliseconds that
 * bring it back to work after the other's turn, and those that count.
 */
const TURN = { warm: 2, ms: 8 };

const replays = (graph: CapturedWork, n: number) => (): void => {
  for (let i = 0; i < n; i++) graph.launch();
};

/** Microseconds on the GPU of a replay, on a GPU at work: the median. */
function replayed(device: CudaDevice, graph: CapturedWork): number {
  pause(REST_MS);
  const [, once] = device.timed([graph.launch, graph.launch]);
  const warm = Math.min(1000, Math.ceil(WARM_MS / once!));
  return 1e3 * median(device.timed(new Array<() => void>(warm + REPLAYS).fill(graph.launch)).slice(warm));
}

/** Microseconds on the GPU of what `work` submits. */
export function microsecondsOf(device: CudaDevice, work: () => void): number {
  const graph = device.captured(work);
  const us = replayed(device, graph);
  graph.free();
  return us;
}

export interface Replayable {
  /** Of arguments and results. */
  bytes: number;
  launches: number;
  /** Microseconds of one run. @param sets arguments, taken in turn, `walks` times in a replay. */
  microseconds(sets: readonly (readonly Tensor[])[], walks?: number): number;
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
  const walk = (sets: readonly (readonly Tensor[])[], walks = 1): { graph: CapturedWork; free(): void } => {
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
      for (let w = 0; w < walks; w++) for (const b of buffers) executable.submit(b);
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
    microseconds(sets, walks = 1) {
      const { graph, free } = walk(sets, walks);
      const us = replayed(device, graph) / (walks * sets.length);
      free();
      return us;
    },
    turn(sets, figure) {
      const { graph, free } = walk(sets);
      const [, once] = device.timed([graph.launch, graph.launch]);
      const [warm, count] = [TURN.warm, TURN.ms].map((ms) => Math.ceil(ms / once!)) as [number, number];
      const turn = [replays(graph, warm), replays(graph, count)];
      return { measure: () => figure((1e3 * device.timed(turn)[1]!) / count / sets.length), free };
    },
  };
}
