/** Ctrl-C: the first asks long work to save and stop, the second ends the process. A terminal that is closed asks, too. */
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
  on(signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP', listener: () => void): unknown;
  off(signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP', listener: () => void): unknown;
  exit(code: number): void;
}

/** Listens until disposed. `signal` aborts, with an `Interrupted`, at the first SIGINT, SIGTERM or SIGHUP. */
export function listenForInterrupt(err: Out, saves = false, signals: Signals = process): Disposable & { signal: AbortSignal } {
  const controller = new AbortController();
  const ask = (): void => {
    if (controller.signal.aborted) return;
    err.write('\nstopping after this step; press Ctrl-C again to stop at once\n');
    controller.abort(new Interrupted(saves));
  };
  const askOrEnd = (): void => (controller.signal.aborted ? signals.exit(interruptedExitCode) : ask());
  signals.on('SIGINT', askOrEnd);
  signals.on('SIGTERM', askOrEnd);
  signals.on('SIGHUP', ask); // comes twice, from the system and from the shell
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      signals.off('SIGINT', askOrEnd);
      signals.off('SIGTERM', askOrEnd);
      signals.off('SIGHUP', ask);
    },
  };
}
