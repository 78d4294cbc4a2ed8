/** What long work is told by its caller, and what it tells. */
export interface Run {
  /** Same seed, same device: same bits. */
  seed: number;
  /** Share of the configured training steps to take, 0 to 1; 1 unless given. Every result is made either way, only worse. */
  effort?: number;
  /** Aborted: finish the step, save, and throw `signal.reason`. */
  signal?: AbortSignal;
  /** Called as work proceeds: `done` of `total` units of the phase named `what`. */
  onProgress?: (what: string, done: number, total: number) => void;
  /** Called after each training step of a phase with its figures: `loss`, and what else the phase measures. */
  onStep?: (what: string, step: number, figures: Readonly<Record<string, number>>) => void;
  /** Called before a phase's program runs for the first time: device bytes at its worst moment. */
  onPlan?: (what: string, peakBytes: number) => void;
}
