/** The process of one arm: its job comes over the channel to its parent, progress and the result go back. An arm's peak memory is its own. */
import '../../device/index.ts';
import { Interrupted } from '../interrupt.ts';
import { Job, type Update } from './job.ts';
import { pixelsArm } from './pixels-arm.ts';
import { tokensArm } from './tokens-arm.ts';

const send = (update: Update): Promise<void> => new Promise((done) => process.send?.(update, () => done()));
const stop = new AbortController();
// The terminal interrupts the whole group; the parent decides, and says so over the channel.
process.on('SIGINT', () => {});
process.on('SIGHUP', () => {});
process.on('disconnect', () => stop.abort(new Interrupted()));

process.on('message', (message: unknown) => {
  if (message === 'stop') return stop.abort(new Interrupted());
  void work(message);
});

async function work(message: unknown): Promise<void> {
  let sent = 0;
  try {
    const job = Job.parse(message);
    const arm = job.arm === 'tokens' ? tokensArm : pixelsArm;
    const result = await arm(job, {
      signal: stop.signal,
      progress(what, done, total, note = '') {
        if (done < total && performance.now() - sent < 100) return;
        sent = performance.now();
        void send({ kind: 'progress', what, done, total, note });
      },
    });
    await send({ kind: 'result', result });
  } catch (error) {
    const { message: text, stack } = error as Error;
    await send({ kind: 'failed', message: text, stack, interrupted: stop.signal.aborted });
  }
  process.exit();
}
