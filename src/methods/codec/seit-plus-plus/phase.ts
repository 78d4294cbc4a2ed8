/** A phase of training: the house's loop, told what the caller of a codec asks. */
import { rm } from 'node:fs/promises';
import { type DataPosition, EpochSampler } from '../../../data/index.ts';
import { warmupCosine } from '../../../nn/index.ts';
import { random } from '../../../tensor/index.ts';
import { type Placed, type TrainStep, train } from '../../../train/index.ts';
import type { Run } from '../../contracts/run.ts';

export interface Recipe {
  epochs: number;
  /** Epochs of linear warm-up from 0. */
  warmup: number;
  batch: number;
  /** Peak and last learning rate. */
  lr: number;
  minLr: number;
}

export interface Phase<S, B, H extends Placed> {
  what: string;
  /** The file that the phase makes. While it runs, its checkpoint lies beside it: `<path>.checkpoint`. */
  path: string;
  /** What the result depends on, plain JSON: a checkpoint of other work is refused. */
  config: unknown;
  recipe: Recipe;
  /** Images of an epoch. */
  size: number;
  state: () => S;
  step: TrainStep<S, B>;
  batches: (batchSize: number, from: DataPosition | undefined) => AsyncIterable<H> | Iterable<H>;
  prepare: (item: H) => B | Promise<B>;
  /** Writes the result. */
  finish: (state: S) => Promise<unknown>;
}

/** Images of a step for such a batch size: an even number where TokenAdapt halves it. Two at least are halved. */
export function batchOf(batch: number, size: number, maps: unknown): number {
  const images = Math.min(batch, size);
  return maps && images > 1 ? images - (images % 2) : images;
}

/** Steps of an epoch and of the whole phase. */
export function countSteps(
  { epochs, batch }: Pick<Recipe, 'epochs' | 'batch'>,
  size: number,
  effort = 1,
): { perEpoch: number; steps: number } {
  const perEpoch = Math.max(1, Math.floor(size / batch));
  return { perEpoch, steps: Math.max(1, Math.round(epochs * perEpoch * effort)) };
}

/**
 * Trains; a phase that was stopped goes on from its checkpoint. The last checkpoint stays: asked again, a phase that others follow has its
 * result at once. @throws as `train`.
 */
export async function trainPhase<S, B, H extends Placed>(phase: Omit<Phase<S, B, H>, 'finish'>, run: Run): Promise<S> {
  const { what, recipe, size, step, prepare } = phase;
  const { perEpoch, steps } = countSteps(recipe, size, run.effort);
  const path = checkpointOf(phase);
  let planned = false;
  const { state } = await train<S, B, H>({
    state: phase.state,
    step,
    prepare,
    steps,
    key: random.foldIn(random.key(run.seed), 1),
    batches: (from) => phase.batches(Math.min(recipe.batch, size), from),
    schedule: warmupCosine({
      peak: recipe.lr,
      final: recipe.minLr,
      steps,
      warmup: Math.min(steps >> 1, Math.round(recipe.warmup * perEpoch)),
      start: recipe.lr / 100,
    }),
    checkpoint: { path, config: { what, seed: run.seed, effort: run.effort, recipe, size, config: phase.config } },
    ...(run.signal && { signal: run.signal }),
    onProgress(progress) {
      if (!planned) run.onPlan?.(what, progress.plannedPeakBytes);
      planned = true;
      run.onStep?.(what, progress.step, { loss: progress.loss, ...progress.metrics });
      run.onProgress?.(what, progress.step, steps);
    },
  });
  return state;
}

const checkpointOf = ({ path }: { path: string }): string => `${path}.checkpoint`;

/** Trains and writes the result. Then neither the phase nor those `before` it need their checkpoints. */
export async function runPhase<S, B, H extends Placed>(phase: Phase<S, B, H>, run: Run, before: { path: string }[] = []): Promise<void> {
  await phase.finish(await trainPhase(phase, run));
  for (const done of [phase, ...before]) await rm(checkpointOf(done), { force: true });
}

/** Shuffled indices of batches, endless. */
export function* indexBatches(
  size: number,
  batchSize: number,
  seed: number,
  from: DataPosition | undefined,
): Generator<Placed & { indices: Uint32Array }> {
  const sampler = new EpochSampler(size, { batchSize, seed, ...(from && { position: from }) });
  for (;;) {
    const indices = sampler.next();
    yield { indices, position: sampler.position };
  }
}
