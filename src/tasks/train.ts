/** A file of tokens -> a classifier of pixels. */
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileBytes } from '../bytes/index.ts';
import { trainingConfig } from './config.ts';
import { type Cost, codecMethod, defaultMethod, measured, needed, seedOf, type TaskOptions } from './task.ts';
import { placeOf, WorkFolder } from './work-folder.ts';

export interface TrainOptions extends TaskOptions {
  out: string;
  /** Passes over the stored images; default the method's own choice. */
  epochs?: number;
  /** Discard unfinished work. */
  fresh?: boolean;
}

export interface Trained extends Cost {
  out: string;
  method: string;
  /** Bytes that were trained from. */
  storeBytes: number;
  fileBytes: number;
  /** Loss at the end, averaged over about the last 50 steps. */
  loss: number;
}

/** Trains from a store that `store` wrote, and nothing else. @throws FormatError for a damaged store. */
export async function train(storePath: string, options: TrainOptions): Promise<Trained> {
  const { method: id = defaultMethod, epochs, fresh = false } = needed('train', options);
  const seed = seedOf(options);
  const out = placeOf('train', storePath, options.out);
  const source = resolve(storePath);
  const method = await codecMethod(id);
  const codec = method.create(trainingConfig(method, source, epochs));
  const { size, mtimeMs } = statSync(source);
  using work = await WorkFolder.open('train', out, { store: source, size, mtimeMs, method: id, seed, epochs: epochs ?? null }, fresh);
  let loss = Number.NaN;
  const { cost } = await measured(options, (run) =>
    work.run(() =>
      codec.train(
        { store: source, model: work.path('model.safetensors') },
        {
          ...run,
          onStep(what, step, figures) {
            loss = figures['loss'] ?? loss;
            run.onStep?.(what, step, figures);
          },
        },
      ),
    ),
  );
  work.finish('model.safetensors');
  return { out, method: id, storeBytes: size, fileBytes: fileBytes(out).apparent, loss, ...cost };
}
