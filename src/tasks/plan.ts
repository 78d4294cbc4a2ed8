/** What a task will cost in bytes and seconds. Reads images or a store, computes nothing from them. */
import { resolve } from 'node:path';
import { Budget } from '../bytes/index.ts';
import { imageBytes, openImages, type SkippedFile } from '../data/index.ts';
import { TokenStore } from '../data/tokens/index.ts';
import type { CodecTarget, StagePlan } from '../methods/index.ts';
import { trainingConfig } from './config.ts';
import { codecMethod, defaultMethod, reading, type TaskOptions } from './task.ts';

/** What is to be planned, as the task would be asked. */
export type Work =
  | { task: 'store'; source: string; budget: string | number; size?: number; onBad?: 'fail' | 'skip'; effort?: number }
  | { task: 'train'; store: string; epochs?: number };

export interface PlanOptions extends Omit<TaskOptions, 'seed'> {
  /** Name of the device that will run, which need not be here; default: the one that would run. */
  device?: string;
}

export interface Planned {
  task: Work['task'];
  method: string;
  images: number;
  skipped: readonly SkippedFile[];
  /** Bytes that the decoded pixels take. */
  pixelBytes: number;
  /** Length of the file, at most; null for a model, whose length follows from its configuration. */
  fileBytes: number | null;
  stages: StagePlan[];
  plannedPeakBytes: number | null;
  /** Null also where the device is not here to be measured. */
  seconds: number | null;
}

/** @throws BudgetError, as the task would */
export async function plan(work: Work, options: PlanOptions = {}): Promise<Planned> {
  const id = options.method ?? defaultMethod;
  const method = await codecMethod(id);
  let target: CodecTarget;
  let config: unknown;
  let skipped: readonly SkippedFile[] = [];
  if (work.task === 'store') {
    const { source, size, onBad = 'fail' } = work;
    const budget = Budget.of(work.budget);
    const images = await openImages(source, { ...reading(options), onBad, ...(size !== undefined && { size: [size, size] }) });
    target = images;
    skipped = images.skipped;
    config = method.fit(budget.bytes, images);
  } else {
    const path = resolve(work.store);
    target = targetOf(path);
    config = trainingConfig(method, path, work.epochs);
  }
  const wanted: readonly StagePlan['what'][] = work.task === 'store' ? ['tokenizer', 'store'] : ['classifier'];
  const effort = work.task === 'store' ? work.effort : undefined;
  const all =
    (await method.create(config).plan?.(target, {
      ...(effort !== undefined && { effort }),
      ...(options.device !== undefined && { device: options.device }),
    })) ?? [];
  const stages = all.filter(({ what }) => wanted.includes(what));
  const seconds = stages.reduce((sum, stage) => sum + stage.seconds, 0);
  return {
    task: work.task,
    method: id,
    images: target.size,
    skipped,
    pixelBytes: target.size * imageBytes(target.shape),
    fileBytes: work.task === 'store' ? method.bytes(config, target) : null,
    stages,
    plannedPeakBytes: stages.length > 0 ? Math.max(...stages.map(({ peakBytes }) => peakBytes)) : null,
    seconds: Number.isFinite(seconds) && stages.length > 0 ? seconds : null,
  };
}

/** What a token store says of the images behind it. */
function targetOf(path: string): CodecTarget {
  using store = new TokenStore(path);
  const { height = 1, width = 1, channels = 1 } = store.description.image ?? {};
  return { size: store.size, shape: [height, width, channels === 3 ? 3 : 1], classes: store.classes };
}
