/**
 * GPT-2's train step under the glass, on THIMBLE_DEVICE: `node dist/bench/gpt2.js profile [calls] [size]` prints where a step spends its
 * time, `curve [steps] [bf16|f32] [size]` the losses as one JSON line, `plan` what steps of other batches take.
 */
import '../device/index.ts';
import { disposeTree } from '../tensor/index.ts';
import { Gpt2Run, planOf, type RecipeName } from './gpt2-step.ts';
import { shares, showShares } from './profile.ts';

function curve(steps: number, compute: 'f32' | 'bf16', name: RecipeName): number[] {
  const run = new Gpt2Run(name, compute);
  return Array.from({ length: steps }, (_, i) => {
    const batch = run.batch(i);
    const loss = run.run(batch);
    disposeTree(batch);
    return loss;
  });
}

function profile(top: number, name: RecipeName): string {
  const run = new Gpt2Run(name, 'bf16');
  const batch = run.batch(0);
  for (let i = 0; i < 3; i++) run.profile(batch);
  return showShares(shares(run.profile(batch).calls), top);
}

/** Peaks of batches in one part and in several, with blocks kept and computed again. */
function plans(name: RecipeName): string {
  const rows = [
    [16, 1],
    [16, 4],
    [64, 1],
    [64, 4],
  ] as const;
  const peak = (batch: number, parts: number, recompute: boolean): string =>
    `${(planOf(name, batch, { parts, recompute }).peakBytes / 2 ** 30).toFixed(2)} GiB`;
  return rows
    .map(([batch, parts]) => `batch ${batch} in ${parts}: ${peak(batch, parts, false)}, recomputed ${peak(batch, parts, true)}`)
    .join('\n');
}

const [what, count, ...rest] = process.argv.slice(2);
const name: RecipeName = rest.includes('tiny') ? 'tiny' : 'small';
if (what === 'profile') console.log(profile(Number(count ?? 40), name));
else if (what === 'curve') console.log(JSON.stringify(curve(Number(count ?? 100), rest.includes('f32') ? 'f32' : 'bf16', name)));
else if (what === 'plan') console.log(plans(name));
else throw new Error(`[bench] '${what}' is no look at GPT-2; use profile, curve or plan`);
