/** Learning-rate schedules: functions from the step (counted from 0) to a rate, in float64 on the host. */

export type Schedule = (step: number) => number;

/**
 * Linear warm-up from `start` over `warmup` steps to `peak`, then half a cosine to `final` at `steps` (Loshchilov and Hutter 2017,
 * arXiv 1608.03983, eq. 5 without restarts).
 */
export function warmupCosine(options: { peak: number; steps: number; warmup?: number; final?: number; start?: number }): Schedule {
  const { peak, steps, warmup = 0, final = 0, start = 0 } = options;
  if (warmup > steps) throw new Error(`[schedule] warm-up of ${warmup} steps is longer than the ${steps} steps of training`);
  return (step) => {
    if (step < warmup) return start + ((peak - start) * step) / warmup;
    const t = Math.min(1, (step - warmup) / Math.max(1, steps - warmup));
    return final + ((peak - final) * (1 + Math.cos(Math.PI * t))) / 2;
  };
}

export const constant =
  (rate: number): Schedule =>
  () =>
    rate;

/** Layer-wise decay: the factor of layer i of n (0 is the stem, n the head) is decay^(n - i). Clark et al. 2020, arXiv 2003.10555. */
export const layerDecay = (decay: number, layer: number, layers: number): number => decay ** (layers - layer);
