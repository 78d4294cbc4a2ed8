/** What every task is told besides its own options, and how it runs a codec's stages. */
import { PeakMeter } from '../bytes/index.ts';
import { loadMethodOf, type MethodOf, type Run } from '../methods/index.ts';

/** The method that a task uses unless another is named. */
export const defaultMethod = 'seit-plus-plus';

export interface TaskOptions {
  /** Id of a codec; `thimble methods` lists them. */
  method?: string;
  /** Same seed, same device: same bits. Default 0. */
  seed?: number;
  /** Aborted: the task saves what it has and throws `signal.reason`; called again, it goes on. */
  signal?: AbortSignal;
  onProgress?: (what: string, done: number, total: number, note?: string) => void;
}

/** The options of a task that needs some. @throws TypeError for none, which plain JavaScript would tell as a property of undefined */
export function needed<T>(who: string, options: T): T {
  if (typeof options !== 'object' || options === null) throw new TypeError(`[${who}] its options are ${String(options)}; give an object`);
  return options;
}

/** @throws RangeError, before anything is begun, for what is no seed */
export function seedOf({ seed = 0 }: TaskOptions): number {
  if (!(Number.isSafeInteger(seed) && seed >= 0)) throw new RangeError(`[seed] ${seed} is no seed; give a whole number from 0`);
  return seed;
}

export type CodecMethod = MethodOf<'codec'>;
export const codecMethod = (id = defaultMethod): Promise<CodecMethod> => loadMethodOf('codec', id);

/** What a task measured of itself. */
export interface Cost {
  seconds: number;
  /** Device bytes at the worst moment, by the memory planner. */
  plannedPeakBytes: number;
  /** Most resident memory of the process meanwhile. */
  measuredPeakBytes: number;
}

/** Runs stages with the task's seed, signal and progress, and measures them together. */
export async function measured<T>(
  { seed = 0, signal, onProgress }: TaskOptions,
  stages: (run: Run) => Promise<T>,
): Promise<{ result: T; cost: Cost }> {
  let [plannedPeakBytes, note] = [0, ''];
  const run: Run = {
    seed,
    ...(signal && { signal }),
    onPlan: (_, bytes) => {
      plannedPeakBytes = Math.max(plannedPeakBytes, bytes);
    },
    onStep: (_what, _step, { loss }) => {
      note = loss === undefined ? '' : `loss ${loss.toFixed(3)}`;
    },
    onProgress(what, done, total) {
      onProgress?.(what, done, total, note);
      note = '';
    },
  };
  using meter = new PeakMeter();
  const began = performance.now();
  const result = await stages(run);
  const seconds = (performance.now() - began) / 1000;
  return { result, cost: { seconds, plannedPeakBytes, measuredPeakBytes: meter.stop().peakBytes } };
}

/** Options of a reader of images, from those of a task. */
export const reading = ({ signal, onProgress }: TaskOptions) => ({
  ...(signal && { signal }),
  onProgress: ({ phase, done, total }: { phase: string; done: number; total: number }): void => onProgress?.(phase, done, total),
});
