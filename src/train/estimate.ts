/** What a training will cost, before it starts. */
import { Block } from '../nn/index.ts';
import {
  compile,
  type Device,
  disposeTree,
  mapTree,
  mean,
  mul,
  random,
  square,
  sub,
  type Tensor,
  tensor,
  treeBytes,
  valueAndGrad,
  withDevice,
} from '../tensor/index.ts';
import { copyTree, deviceOf } from './snapshot.ts';
import type { TrainStep } from './stepper.ts';

export interface EstimateOptions<S, B> {
  step: TrainStep<S, B>;
  /** Trees of the right types: real ones, or made on the null device (`withDevice('null', ...)`), which takes no memory. */
  state: S;
  batch: B;
  steps: number;
  /** How fast this machine trains. Default: `calibrate()`. */
  flopsPerSecond?: number;
  /** Time so many real steps, on a copy of the state, instead of dividing FLOPs by a rate; needs real numbers in state and batch. */
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
  flopsPerSecond,
  timedSteps = 0,
}: EstimateOptions<S, B>): Promise<TrainingEstimate> {
  const device = deviceOf(state);
  const [key, lr] = withDevice(device, () => [random.key(0), tensor(0)] as const);
  try {
    const plan = step.plan(state, batch, key, lr);
    const secondsPerStep =
      timedSteps > 0 ? await timeSteps(step, state, batch, key, lr, timedSteps) : plan.flops / (flopsPerSecond ?? calibrate());
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

const rates = new WeakMap<Device, number>();

/**
 * FLOPs per second of a training step of a transformer block (width 128, 8 x 64 tokens) on this machine: of work as it is, not of its
 * best kernel. Takes about 0.2 s once per process. Steps made of matrix products come within about a factor of two of it; steps that mostly
 * move memory (norms and element-wise work on large tensors) can be ten times slower than their FLOPs say: use `timedSteps` for those.
 */
export function calibrate(name: Device | string = 'cpu'): number {
  return withDevice(name, () => {
    const key = random.key(0);
    const x = random.normal(key, [8, 64, 128]);
    const known = rates.get(x.storage.device);
    if (known !== undefined) {
      disposeTree([key, x]);
      return known;
    }
    const step = compile(
      (block: Block, input: Tensor) => {
        const [loss, gradients] = valueAndGrad((b: Block) => mean(square(b.forward(input))))(block);
        return { block: mapTree(block, (p, _, g) => sub(p, mul(g!, 1e-3)), gradients), loss };
      },
      { donate: [0], name: 'calibrate' },
    );
    let block = Block.init(key, { width: 128, heads: 4 });
    const { flops } = step.plan(block, x);
    const times = Array.from({ length: 8 }, () => {
      const began = performance.now();
      const next = step(block, x);
      next.loss.dispose();
      block = next.block;
      return (performance.now() - began) / 1000;
    });
    const rate = flops / median(times.slice(1));
    rates.set(x.storage.device, rate);
    disposeTree([key, x, block]);
    return rate;
  });
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}
