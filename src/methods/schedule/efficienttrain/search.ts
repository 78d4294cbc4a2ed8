/** The greedy search by which the stages were found. Wang et al. 2023, arXiv 2211.09703, algorithm 1. */

export interface SearchOptions {
  stages: number;
  /** Shares of the full side to choose from. The full side itself, 1, is always among them. */
  candidates: readonly number[];
  /** Accuracy that may be lost against full-size training, 0..1. Default 0: it must not fall. */
  tolerance?: number;
  /** Trains on the proxy budget with these sides, by stage, and returns the final accuracy at full size. */
  evaluate: (sides: readonly number[]) => number | Promise<number>;
  onTrial?: (trial: Trial) => void;
}

export interface Trial {
  sides: readonly number[];
  accuracy: number;
}

export interface Found {
  sides: readonly number[];
  accuracy: number;
  /** Accuracy of the run at full size throughout. */
  baseline: number;
  trials: readonly Trial[];
}

/**
 * From the first stage to the one before last, takes the smallest candidate whose final accuracy does not fall below that of full-size
 * training, all later stages at full size. Sides never shrink again: a curriculum goes from low to high frequencies. The last stage stays
 * full, for that is what is evaluated.
 *
 * Fix the compute, not the steps, of a trial (`stepsForCompute`), so that a smaller side earns more passes.
 */
export async function searchSides({ stages, candidates, tolerance = 0, evaluate, onTrial }: SearchOptions): Promise<Found> {
  const ascending = [...new Set(candidates)].filter((share) => share < 1).sort((a, b) => a - b);
  if (!(stages >= 1) || ascending.some((share) => !(share > 0)))
    throw new RangeError(`[search] ${stages} stages of [${candidates.join(', ')}]: give at least one stage, and shares in 0..1`);
  const trials: Trial[] = [];
  const attempt = async (sides: readonly number[]): Promise<Trial> => {
    const trial = { sides, accuracy: await evaluate(sides) };
    trials.push(trial);
    onTrial?.(trial);
    return trial;
  };
  const full = await attempt(Array<number>(stages).fill(1));
  let best = full;
  for (let stage = 0; stage < stages - 1; stage++) {
    const least = stage === 0 ? 0 : best.sides[stage - 1]!;
    for (const share of ascending.filter((one) => one >= least)) {
      const trial = await attempt(best.sides.map((side, i) => (i === stage ? share : side)));
      if (trial.accuracy < full.accuracy - tolerance) continue;
      best = trial;
      break;
    }
  }
  return { ...best, baseline: full.accuracy, trials };
}
