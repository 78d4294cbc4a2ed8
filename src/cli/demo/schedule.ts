/** How the demo's time is shared among its arms. */
import type { ArmName, Job } from './job.ts';

export interface Turn {
  arm: ArmName;
  budget: number;
}

/** What the arms of a budget take besides training: start, data, timing a step, storing, judging. Seconds on two cores, until it is measured. */
export const usualOverhead = 17;
/** Seconds for the report and for what goes wrong. */
const reserve = 6;
/** A classifier is trained at least so long, however short the time. */
const least = 2;
/** The first budget counts as so many of the others. */
const mainWeight = 3;
/** Of the time of a classifier, what its tokenizer gets. */
const tokenizerShare = 0.8;

/** The arms at each budget in turn, the main budget first. */
export function turnsOf(budgets: readonly number[]): Turn[] {
  return budgets.flatMap((budget) => (['tokens', 'subset', 'downsampled'] as const).map((arm) => ({ arm, budget })));
}

/**
 * Seconds for the classifiers of the budget that comes next and for its tokenizer, when `left` seconds remain for it and the budgets after
 * it. All arms of a budget train their classifier for the same time.
 */
export function secondsFor(index: number, budgets: number, left: number, overhead = usualOverhead): Job['seconds'] {
  const weight = (at: number): number => (at === 0 ? mainWeight : 1);
  let weights = 0;
  for (let at = index; at < budgets; at++) weights += weight(at);
  const training = left - reserve - (budgets - index) * overhead;
  const classifier = Math.max(least, (training * weight(index)) / weights / (3 + tokenizerShare));
  return { classifier, tokenizer: tokenizerShare * classifier };
}

/** Whether a further budget fits into `left` seconds. */
export const worthStarting = (left: number, overhead = usualOverhead): boolean => left > reserve + overhead + (3 + tokenizerShare) * least;

/** What a budget's arms took besides training. */
export const overheadOf = (spent: number, { classifier, tokenizer }: Job['seconds']): number =>
  Math.max(0, spent - 3 * classifier - tokenizer);
