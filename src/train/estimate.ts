/** What a training will cost, before it starts. */
import { disposeTree, random, type Tensor, tensor, treeBytes, withDevice } from '../tensor/index.ts';
import { median } from './median.ts';
import { copyTree, deviceOf } from './snapshot.ts';
import { calibrate, type Speed, secondsOf } from './speed.ts';
import type { TrainStep } from './stepper.ts';

export interface EstimateOptions<S, B> {
  step: TrainStep<S, B>;
  /** Trees of the right types: real ones, or made on the null device (`withDevice('null', ...)`), which takes no memory. */
  state: S;
  batch: B;
  steps: number;
  /** How fast the device is that will train. Default: that of the state; steps of products and of norms alike come within about a factor of two. */
  speed?: Speed;
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

/** Peak bytes and seconds of `steps` steps, by their plan: nothing runs. */
export function estimateTraining<S, B>({ step, state, batch, steps, speed }: EstimateOptions<S, B>): TrainingEstimate {
  const [key, lr] = argumentsOf(state);
  try {
    const plan = step.plan(state, batch, key, lr);
    const batchBytes = treeBytes(batch);
    const secondsPerStep = secondsOf(plan, speed ?? calibrate(deviceOf(state)));
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

/** Seconds of a step: the median of `steps` real ones, after one that is not counted. Leaves state and batch as they are. */
export async function timeTraining<S, B>({ step, state, batch, steps }: Omit<EstimateOptions<S, B>, 'speed'>): Promise<number> {
  const [key, lr] = argumentsOf(state);
  let now = copyTree(state);
  const times: number[] = [];
  for (let i = 0; i <= steps; i++) {
    const began = performance.now();
    const result = await step.async(now, batch, key, lr);
    if (i > 0) times.push((performance.now() - began) / 1000);
    disposeTree([now, result.loss, result.metrics]);
    now = result.state;
  }
  disposeTree([now, key, lr]);
  return median(times);
}

/** What a step is given besides state and batch. */
const argumentsOf = (state: unknown): [key: random.Key, lr: Tensor] =>
  withDevice(deviceOf(state), () => [random.key(0), tensor(0)] as [random.Key, Tensor]);
