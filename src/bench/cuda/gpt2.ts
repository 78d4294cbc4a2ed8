/** GPT-2-small's train step, 16 x 1024 tokens in bf16: time, memory, the seconds before the first step is done, and the loss. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CudaDevice } from '../../device/index.ts';
import { defaultDevice } from '../../tensor/index.ts';
import { median } from '../../train/index.ts';
import { Gpt2Run } from '../gpt2-step.ts';
import type { Figures, Section } from '../section.ts';

const REPS = 20;

export const section: Section = {
  title: 'GPT-2-small train step / PyTorch (bf16 autocast, fused AdamW, scaled_dot_product_attention)',
  peer: 'cuda_gpt2.py',
  rows: [
    { name: 'speed / torch.compile', unit: 'tokens/s', ours: 'speed', theirs: 'compiled speed', atLeast: 1 },
    { name: 'speed / eager', unit: 'tokens/s', ours: 'speed', theirs: 'eager speed', atLeast: 1.25 },
    { name: 'peak memory / torch.compile', unit: 'GiB', ours: 'memory', theirs: 'compiled memory', atMost: 0.8 },
    { name: 'peak memory, planned / measured', unit: 'GiB', ours: 'planned memory', theirs: 'memory' },
    { name: 'first step, compilation included', unit: 's', ours: 'first step', theirs: 'compiled first step' },
    { name: 'loss of the sixth step', unit: 'nats', ours: 'loss', theirs: 'eager loss', atLeast: 0.999, atMost: 1.001 },
  ],
  measure(): Figures {
    const empty = mkdtempSync(join(tmpdir(), 'thimble-kernels-'));
    process.on('exit', () => rmSync(empty, { recursive: true, force: true }));
    process.env.THIMBLE_CACHE = empty; // so that the first step compiles and times all that it needs
    const cuda = defaultDevice() as CudaDevice;
    const run = new Gpt2Run('small', 'bf16');
    const batches = Array.from({ length: 6 }, (_, i) => run.batch(i));
    const began = performance.now();
    const losses = [run.run(batches[0]!)];
    const firstStep = (performance.now() - began) / 1000;
    losses.push(...batches.slice(1).map((b) => run.run(b)));
    const ms = median(
      Array.from({ length: REPS }, () => {
        const start = performance.now();
        run.run(batches[0]!); // waits for the loss
        return performance.now() - start;
      }),
    );
    const { peakBytes, gap, calls } = run.plan(batches[0]!);
    return {
      speed: Math.round((run.tokens / ms) * 1000),
      memory: cuda.allocatedBytes / 2 ** 30,
      'planned memory': peakBytes / 2 ** 30,
      'first step': firstStep,
      loss: losses[5]!,
      step: `${ms.toFixed(2)} ms, ${calls} calls, planner gap ${(100 * gap).toFixed(2)} %`,
      losses: losses.map((x) => x.toFixed(4)).join(' '),
    };
  },
};
