/** What takes the memory of a program, for messages about too little of it. */
import { printBytes } from '../bytes/index.ts';
import type { AnyCall, Program, View } from '../tensor/lower/program.ts';

/** The largest temporaries with the op that makes each and its shape, e.g. 'matmul [16384, 50304] bf16 1.5 GiB'. */
export function largestBuffers({ calls, buffers }: Program, count = 3): string {
  const made = new Map<number, { call: AnyCall; view: View }>();
  for (const call of calls)
    for (const view of call.writes) if (buffers[view.buffer]!.external < 0 && !made.has(view.buffer)) made.set(view.buffer, { call, view });
  return [...made]
    .sort(([a], [b]) => buffers[b]!.bytes - buffers[a]!.bytes)
    .slice(0, count)
    .map(([b, { call, view }]) => `${call.label} [${view.shape.join(', ')}] ${view.dtype} ${printBytes(buffers[b]!.bytes)}`)
    .join(', ');
}
