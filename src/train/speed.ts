/** How fast a device is, measured; and the time of a plan from it. */
import { Block, initialize } from '../nn/index.ts';
import {
  add,
  compile,
  cumsum,
  type Device,
  disposeTree,
  gelu,
  mapTree,
  mean,
  mul,
  type Plan,
  random,
  softmax,
  square,
  sub,
  sum,
  type Tensor,
  valueAndGrad,
  withDevice,
  zeros,
} from '../tensor/index.ts';

/** What a kernel call costs: its FLOPs or its bytes, whichever take longer, and something for being a call. */
export interface Speed {
  flopsPerSecond: number;
  /** Of operands read and results written. */
  bytesPerSecond: number;
  secondsPerCall: number;
}

/** Seconds that a program of this plan takes. */
export function secondsOf({ work }: Pick<Plan, 'work'>, { flopsPerSecond, bytesPerSecond, secondsPerCall }: Speed): number {
  return work.reduce((n, { flops, bytes }) => n + Math.max(flops / flopsPerSecond, bytes / bytesPerSecond) + secondsPerCall, 0);
}

/** Seconds: a step of less is mostly its calls. */
const QUICK = 2e-3;

const known = new WeakMap<Device, Speed>();

/** `measureSpeed`, once per device and process. */
export function calibrate(name: Device | string = 'cpu'): Speed {
  return withDevice(name, () => {
    const key = random.key(0);
    const { device } = key.storage;
    key.dispose();
    let speed = known.get(device);
    if (!speed) known.set(device, (speed = measureSpeed(device)));
    return speed;
  });
}

/**
 * Measures a device in about half a second: calls with next to no work, a GELU and a softmax over 16 MiB, and a training step of a transformer block (width
 * 128; 1024 where that is too quick to be more than calls), from which the FLOPs per second follow: of work as it is, not of the best kernel.
 */
export function measureSpeed(name: Device | string = 'cpu'): Speed {
  return withDevice(name, () => {
    const key = random.key(0);
    const small = random.normal(key, [16]);
    const calls = compile((x: Tensor) => {
      let y = x;
      for (let i = 0; i < 64; i++) y = cumsum(y, 0);
      return sum(y);
    });
    const secondsPerCall = fastest(10, () => calls(small)) / calls.plan(small).calls;

    const large = zeros([4096, 1024]);
    const pass = compile((x: Tensor) => mean(softmax(add(gelu(x), x))));
    const moved = pass.plan(large).work.reduce((n, { bytes }) => n + bytes, 0);
    const bytesPerSecond = moved / fastest(5, () => pass(large));

    let block = timeBlock(128);
    if (block.seconds < QUICK) block = timeBlock(1024);
    const flopsPerSecond = rateFor(block.plan, block.seconds, { bytesPerSecond, secondsPerCall });
    disposeTree([key, small, large]);
    return { flopsPerSecond, bytesPerSecond, secondsPerCall };
  });
}

/** A training step of a transformer block over 16 x 64 tokens: its plan, and how long it takes. */
function timeBlock(width: number): { plan: Plan; seconds: number } {
  const block = initialize((key) => Block.init(key, { width, heads: width / 32 }), 0);
  const input = zeros([16, 64, width]);
  const step = compile((b: Block, x: Tensor) => {
    const [loss, gradients] = valueAndGrad((m: Block) => mean(square(m.forward(x))))(b);
    const next = mapTree(b, (p, _, g) => sub(p, mul(g!, 1e-3)), gradients);
    return { next, loss };
  });
  const seconds = fastest(7, () => {
    const { next, loss } = step(block, input);
    disposeTree(next);
    return loss;
  });
  const plan = step.plan(block, input);
  disposeTree([block, input]);
  return { plan, seconds };
}

/** The least seconds of some runs until their number is there, after one that is not counted. */
function fastest(runs: number, run: () => Tensor): number {
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i <= runs; i++) {
    const began = performance.now();
    const result = run();
    result.item();
    if (i > 0) best = Math.min(best, (performance.now() - began) / 1000);
    result.dispose();
  }
  return best;
}

/** The FLOPs per second under which a plan takes so long, by bisection of their logarithm. */
function rateFor(plan: Plan, seconds: number, rest: Omit<Speed, 'flopsPerSecond'>): number {
  let [slow, fast] = [plan.flops / seconds, (100 * plan.flops) / seconds]; // if the FLOPs alone took all the time; and next to none
  for (let i = 0; i < 40; i++) {
    const flopsPerSecond = Math.sqrt(slow * fast);
    if (secondsOf(plan, { flopsPerSecond, ...rest }) > seconds) slow = flopsPerSecond;
    else fast = flopsPerSecond;
  }
  return slow;
}
