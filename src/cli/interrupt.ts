/** Ctrl-C: the first asks long work to save and stop, the second ends the process. */
import type { Out } from './output.ts';

/** Why work stopped: it was asked to. Verbs let it pass; the process then exits with 130, as shells expect. */
export class Interrupted extends Error {
  /** @param saved whether the work leaves what the same command goes on from. */
  constructor(saved = false) {
    super(saved ? 'interrupted; what was finished is saved, the same command resumes it' : 'interrupted; nothing was written');
    this.name = 'Interrupted';
  }
}

export const interruptedExitCode = 130;

/** What is listened to and how the process ends: `process`, or a stand-in. */
export interface Signals {
  on(signal: 'SIGINT' | 'SIGTERM', listener: () => void): unknown;
  off(signal: 'SIGINT' | 'SIGTERM', listener: () => void): unknown;
  exit(code: number): void;
}

/** Listens until disposed. `signal` aborts, with an `Interrupted`, at the first SIGINT or SIGTERM. */
export function listenForInterrupt(err: Out, saves = false, signals: Signals = process): Disposable & { signal: AbortSignal } {
  const controller = new AbortController();
  const listener = (): void => {
    if (controller.signal.aborted) return signals.exit(interruptedExitCode);
    err.write('\nstopping after this step; press Ctrl-C again to stop at once\n');
    controller.abort(new Interrupted(saves));
  };
  signals.on('SIGINT', listener);
  signals.on('SIGTERM', listener);
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      signals.off('SIGINT', listener);
      signals.off('SIGTERM', listener);
    },
  };
}
