/**
 * GPT-2-small's train step on the GPU, one JSON line each: `gpt2.js speed [reps]`, `curve [steps] [f32|bf16]`; `profile [top]` prints where a step
 * spends its time.
 */
import '../../device/index.ts';
import { defaultDevice, disposeTree } from '../../tensor/index.ts';
import { Gpt2Run, type RecipeName } from '../gpt2-step.ts';
import { median } from '../median.ts';
import { shares, showShares } from '../profile.ts';

/** The first six losses, then timed steps on one batch: what the peer measures. */
export function speed(reps: number, name: RecipeName = 'small'): object {
  const run = new Gpt2Run(name, 'bf16');
  const batches = Array.from({ length: 6 }, (_, i) => run.batch(i));
  const began = performance.now();
  const losses = batches.map((b) => run.run(b));
  const firstSix = (performance.now() - began) / 1000;
  const msAll = Array.from({ length: reps }, () => {
    const start = performance.now();
    run.run(batches[0]!);
    return performance.now() - start;
  });
  const ms = median(msAll);
  const device = defaultDevice() as ReturnType<typeof defaultDevice> & { arenaBytes?: number };
  const { peakBytes, arenaBytes, gap, calls } = run.plan(batches[0]!);
  return {
    ms,
    msAll: msAll.map((x) => Number(x.toFixed(2))),
    tokensPerSecond: Math.round((run.tokens / ms) * 1000),
    plan: { peakBytes, arenaBytes, gap, calls },
    allocatedBytes: device.allocatedBytes,
    firstSixSeconds: firstSix,
    losses,
  };
}

export function curve(steps: number, compute: 'f32' | 'bf16', name: RecipeName = 'small'): number[] {
  const run = new Gpt2Run(name, compute);
  return Array.from({ length: steps }, (_, i) => {
    const batch = run.batch(i);
    const loss = run.run(batch);
    disposeTree(batch);
    return loss;
  });
}

export function profile(top: number, name: RecipeName = 'small'): string {
  const run = new Gpt2Run(name, 'bf16');
  const batch = run.batch(0);
  for (let i = 0; i < 3; i++) run.profile(batch);
  return showShares(shares(run.profile(batch).calls), top);
}

const [what, ...args] = process.argv.slice(2);
if (what === 'speed') console.log(JSON.stringify(speed(Number(args[0] ?? 20))));
else if (what === 'curve') console.log(JSON.stringify(curve(Number(args[0] ?? 100), args[1] === 'f32' ? 'f32' : 'bf16')));
else if (what === 'profile') console.log(profile(Number(args[0] ?? 40)));
else if (what !== undefined) throw new Error(`[bench] '${what}' is no measurement of gpt2; use speed, curve or profile`);
