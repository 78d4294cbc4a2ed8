/** Steps of training that can be stopped at any one and go on later with the same bits. */
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { readSafetensors, writeSafetensors } from '../../../io/index.ts';
import type { Tensor } from '../../../tensor/index.ts';
import type { Run } from '../../contracts/run.ts';
import { fromRecords, toRecords } from './weights.ts';

export interface Loop<S> {
  /** Name of the phase. */
  what: string;
  /** The file being made; a run that was stopped leaves `<path>.partial` beside it. */
  path: string;
  /** Everything that the steps depend on, as JSON: a partial run of another identity is not continued. */
  identity: string;
  steps: number;
  start: S;
  /** One step. The state before it may be donated. */
  step: (state: S, index: number) => Promise<{ state: S; figures: Readonly<Record<string, Tensor>> }>;
  /** Writes the result. */
  finish: (state: S) => Promise<void>;
}

const saveEvery = 60_000;

/** @throws the signal's reason, with everything saved; Error where the loss is not a number any more. */
export async function runLoop<S>({ what, path, identity, steps, start, step, finish }: Loop<S>, run: Run): Promise<void> {
  const partial = `${path}.partial`;
  let { state, index } = await resume(partial, identity, start);
  const save = async (): Promise<void> => {
    await writeSafetensors(partial, toRecords(state), { metadata: { step: String(index), identity } });
  };
  for (let saved = Date.now(); index < steps; index++) {
    if (run.signal?.aborted) {
      await save();
      throw run.signal.reason;
    }
    if (Date.now() - saved > saveEvery) {
      await save();
      saved = Date.now();
    }
    const next = await step(state, index);
    state = next.state;
    const figures = Object.fromEntries(Object.entries(next.figures).map(([name, t]) => [name, t.item()]));
    for (const t of Object.values(next.figures)) t.dispose();
    if (!Number.isFinite(figures['loss'])) throw new Error(`[${what}] the loss is ${figures['loss']} at step ${index + 1} of ${steps}; lower the learning rate`);
    run.onStep?.(what, index, figures);
    run.onProgress?.(what, index + 1, steps);
  }
  run.signal?.throwIfAborted();
  await finish(state);
  await rm(partial, { force: true });
}

async function resume<S>(partial: string, identity: string, start: S): Promise<{ state: S; index: number }> {
  if (!existsSync(partial)) return { state: start, index: 0 };
  const { metadata, tensors } = await readSafetensors(partial);
  if (metadata['identity'] !== identity) return { state: start, index: 0 };
  return { state: fromRecords(start, tensors, { path: partial }), index: Number(metadata['step']) };
}
