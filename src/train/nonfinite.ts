/** What to do when numbers stop being finite: find the step and the op by going back and running again. */
import { disposeTree } from '../tensor/index.ts';
import { nonFiniteTensors, Snapshot } from './snapshot.ts';
import type { Place, Placed, Stepper } from './stepper.ts';

export interface NonFiniteDetails {
  /** The step that made the first number that is not finite, counted from 1 as progress counts. */
  step: number;
  /** The op that made it; undefined when running again did not show it. */
  op: string | undefined;
  /** The checkpoint to go on from, if there is one. */
  checkpoint: { path: string; step: number } | undefined;
  /** Why running again did not come to that step. */
  cause?: unknown;
}

/** Training stopped because a loss or the state became NaN or infinite. */
export class NonFiniteError extends Error implements NonFiniteDetails {
  override readonly name = 'NonFiniteError';
  readonly step: number;
  readonly op: string | undefined;
  readonly checkpoint: { path: string; step: number } | undefined;

  /** @param what what was seen, and when: 'the loss became NaN at step 7 of 100' */
  constructor(what: string, { step, op, checkpoint, cause }: NonFiniteDetails, lr: number) {
    const from = op
      ? `the first number that is not finite came from '${op}' in step ${step}`
      : cause === undefined
        ? 'running those steps again did not show where it began (do the batches depend on time or chance?)'
        : `running those steps again failed (${cause instanceof Error ? cause.message : String(cause)})`;
    const good = checkpoint ? `; the last good checkpoint, of step ${checkpoint.step}, is ${checkpoint.path}` : '';
    super(`[train] ${what}; ${from}${good}. Lower the learning rate (it was ${lr}) or clip the gradients (clipByGlobalNorm)`, { cause });
    this.step = step;
    this.op = op;
    this.checkpoint = checkpoint;
  }
}

/**
 * Runs from a good place until a step makes the loss or the state not finite, at most up to step `until`.
 *
 * @param open starts a stepper at a place and takes the state over
 * @param usual tensors of the state that may hold infinities
 */
export async function findFailure<S, B, H extends Placed>(
  open: (from: Place<S>) => Stepper<S, B, H>,
  from: Place<S>,
  until: number,
  usual: ReadonlySet<string>,
  signal?: AbortSignal,
): Promise<{ step: number; op: string | undefined } | undefined> {
  await using run = open(from);
  try {
    while (run.place.step < until && !signal?.aborted) {
      const { step, position, state } = run.place;
      const before = new Snapshot(state);
      await run.next();
      const { loss } = await run.report();
      if (Number.isFinite(loss) && nonFiniteTensors(run.place.state).every((name) => usual.has(name))) continue;
      disposeTree(run.place.state);
      await using again = open({ state: before.restore(), step, position });
      const op = await again.findNonFinite();
      disposeTree(again.place.state);
      return { step: step + 1, op };
    }
    return undefined;
  } finally {
    disposeTree(run.place.state);
  }
}
