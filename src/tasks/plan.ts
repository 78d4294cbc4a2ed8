/** What a task will cost in bytes and seconds. Reads images, a store or a model, computes nothing from them. */
import { resolve } from 'node:path';
import { Budget } from '../bytes/index.ts';
import { imageBytes, openImages, type SkippedFile } from '../data/index.ts';
import { TokenStore } from '../data/tokens/index.ts';
import type { CodecTarget, StagePlan } from '../methods/index.ts';
import { trainingConfig } from './config.ts';
import { openLabelled, openUnlabelled } from './evaluate.ts';
import { checkEffort } from './store.ts';
import { codecMethod, defaultMethod, needed, reading, type TaskOptions } from './task.ts';

/** What is to be planned, as the task would be asked. */
export type Work =
  | { task: 'store'; source: string; budget: string | number; size?: number; onBad?: 'fail' | 'skip'; effort?: number }
  | { task: 'train'; store: string; epochs?: number }
  | { task: 'eval'; model: string; source: string; onBad?: 'fail' | 'skip' }
  | { task: 'predict'; model: string; paths: readonly string[]; onBad?: 'fail' | 'skip' };

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
  /** Length of the file, at most; null where none is written, and for a model, whose length follows from its configuration. */
  fileBytes: number | null;
  stages: StagePlan[];
  plannedPeakBytes: number | null;
  /** As the stages'. Null also where the device is not here to be measured. */
  seconds: number | null;
}

/** @throws BudgetError, as the task would; TypeError for a task that there is not */
export async function plan(work: Work, options: PlanOptions = {}): Promise<Planned> {
  const { method, target, skipped = [], fileBytes = null, stages } = await planOf(work, options);
  const seconds = stages.reduce((sum, stage) => sum + stage.seconds, 0);
  return {
    task: work.task,
    method,
    images: target.size,
    skipped,
    pixelBytes: target.size * imageBytes(target.shape),
    fileBytes,
    stages,
    plannedPeakBytes: stages.length > 0 ? Math.max(...stages.map(({ peakBytes }) => peakBytes)) : null,
    seconds: Number.isFinite(seconds) && stages.length > 0 ? seconds : null,
  };
}

const tasks: readonly Work['task'][] = ['store', 'train', 'eval', 'predict'];

interface Found {
  method: string;
  target: CodecTarget;
  skipped?: readonly SkippedFile[];
  fileBytes?: number;
  stages: StagePlan[];
}

async function planOf(work: Work, options: PlanOptions): Promise<Found> {
  const { task } = needed('plan', work);
  if (!tasks.includes(task)) throw new TypeError(`[plan] there is no plan of the task '${task}'; plan ${tasks.join(', ')}`);
  const { method: id = defaultMethod, device } = options;
  const where = device === undefined ? {} : { device };
  if (work.task === 'eval' || work.task === 'predict') {
    const how = { ...options, onBad: work.onBad ?? 'fail' };
    const { model, images } =
      work.task === 'eval' ? await openLabelled(work.model, work.source, how) : await openUnlabelled(work.model, work.paths, how);
    const codec = await codecMethod(model.method);
    const stage = await codec.create(codec.config.parse({})).planPredict?.(images, { model: resolve(work.model) }, where);
    return { method: model.method, target: images, skipped: images.skipped, stages: stage ? [stage] : [] };
  }
  const method = await codecMethod(id);
  if (work.task === 'train') {
    const path = resolve(work.store);
    const target = targetOf(path);
    const stages = (await method.create(trainingConfig(method, path, work.epochs)).plan?.(target, where)) ?? [];
    return { method: id, target, stages: stages.filter(({ what }) => what === 'classifier') };
  }
  const { source, size, onBad = 'fail', effort } = work;
  const budget = Budget.of(work.budget);
  if (effort !== undefined) checkEffort(effort);
  const images = await openImages(source, { ...reading(options), onBad, ...(size !== undefined && { size: [size, size] }) });
  const config = method.fit(budget.bytes, images);
  const stages = (await method.create(config).plan?.(images, { ...where, ...(effort !== undefined && { effort }) })) ?? [];
  return {
    method: id,
    target: images,
    skipped: images.skipped,
    fileBytes: method.bytes(config, images),
    stages: stages.filter(({ what }) => what !== 'classifier'),
  };
}

/** What a token store says of the images behind it. */
function targetOf(path: string): CodecTarget {
  using store = new TokenStore(path);
  const { height = 1, width = 1, channels = 1 } = store.description.image ?? {};
  return { size: store.size, shape: [height, width, channels === 3 ? 3 : 1], classes: store.classes };
}
