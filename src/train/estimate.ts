/** What a training will cost, before it starts. */
import { disposeTree, random, type Tensor, tensor, treeBytes, withDevice } from '../tensor/index.ts';
import { copyTree, deviceOf } from './snapshot.ts';
import { calibrate, type Speed, secondsOf } from './speed.ts';
import type { TrainStep } from './stepper.ts';

export interface EstimateOptions<S, B> {
  step: TrainStep<S, B>;
  /** Trees of the right types: real ones, or made on the null device (`withDevice('null', ...)`), which takes no memory. */
  state: S;
  batch: B;
  steps: number;
  /** How fast the device is that will train. Default: `calibrate()`; steps of products and of norms alike come within about a factor of two. */
  speed?: Speed;
  /** Time so many real steps, on a copy of the state, instead; needs real numbers in state and batch. */
  timedSteps?: number;
}

export interface TrainingEstimate {
  /** Device bytes at the worst moment of a step, with the next batch beside it. Exact. */
  peakBytes: number;
  stateBytes: number;
  batchBytes: number;
  flopsPerStep: number;
  secondsPerStep: number;
  /** Of all steps, without evaluation and saving. */
  seconds: number;
}

/** Peak bytes and seconds of `steps` steps. Leaves state and batch as they are. */
export async function estimateTraining<S, B>({
  step,
  state,
  batch,
  steps,
  speed,
  timedSteps = 0,
}: EstimateOptions<S, B>): Promise<TrainingEstimate> {
  const device = deviceOf(state);
  const [key, lr] = withDevice(device, () => [random.key(0), tensor(0)] as const);
  try {
    const plan = step.plan(state, batch, key, lr);
    const secondsPerStep =
      timedSteps > 0 ? await timeSteps(step, state, batch, key, lr, timedSteps) : secondsOf(plan, speed ?? calibrate());
    const batchBytes = treeBytes(batch);
    return {
      peakBytes: plan.peakBytes + batchBytes,
      stateBytes: treeBytes(state),
      batchBytes,
      flopsPerStep: plan.flops,
      secondsPerStep,
      seconds: steps * secondsPerStep,
    };
  } finally {
    disposeTree([key, lr]);
  }
}

/** Median of some steps, after one that is not counted. */
async function timeSteps<S, B>(step: TrainStep<S, B>, state: S, batch: B, key: Tensor, lr: Tensor, count: number): Promise<number> {
  let now = copyTree(state);
  const times: number[] = [];
  for (let i = 0; i <= count; i++) {
    const began = performance.now();
    const result = await step.async(now, batch, key, lr);
    if (i > 0) times.push((performance.now() - began) / 1000);
    disposeTree([now, result.loss, result.metrics]);
    now = result.state;
  }
  disposeTree(now);
  return median(times);
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}
