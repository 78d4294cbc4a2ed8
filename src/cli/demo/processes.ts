/** Runs an arm in a process of its own. */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { ArmResult, Job, Update } from './job.ts';

export interface JobWatch {
  signal: AbortSignal;
  progress: (what: string, done: number, total: number, note: string) => void;
}

/** The arm's result. Aborted: the arm saves its training, ends, and `signal.reason` is thrown. */
export async function runJob(job: Job, { signal, progress }: JobWatch): Promise<ArmResult> {
  signal.throwIfAborted();
  const child = fork(fileURLToPath(new URL('./worker.js', import.meta.url)), [], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const stop = (): void => void child.send('stop');
  signal.addEventListener('abort', stop);
  let answer: Exclude<Update, { kind: 'progress' }> | undefined;
  try {
    await new Promise<void>((done, refuse) => {
      child.on('error', refuse);
      child.on('exit', () => done());
      child.on('message', (update: Update) => {
        if (update.kind === 'progress') progress(update.what, update.done, update.total, update.note);
        else answer = update;
      });
      child.send(job);
    });
  } finally {
    signal.removeEventListener('abort', stop);
  }
  if (answer?.kind === 'result') return answer.result;
  if (signal.aborted) throw signal.reason;
  if (!answer)
    throw new Error(
      `[demo] the process of the arm '${job.arm}' ended with ${child.signalCode ?? `exit code ${child.exitCode}`}; run the demo again to go on`,
    );
  throw Object.assign(new Error(answer.message), { stack: answer.stack });
}
