/** Images -> a file of tokens within a budget. */
import { resolve } from 'node:path';
import { Budget, fileBytes } from '../bytes/index.ts';
import { imageBytes, openImages, type SkippedFile } from '../data/index.ts';
import { type Cost, codecMethod, defaultMethod, measured, needed, reading, seedOf, type TaskOptions } from './task.ts';
import { placeOf, WorkFolder } from './work-folder.ts';

export interface StoreOptions extends TaskOptions {
  /** '2MB' or bytes: what the file may take, everything in it counted. */
  budget: string | number;
  out: string;
  /** Side in pixels that images are brought to; default chosen from the files. */
  size?: number;
  /** What an unreadable image does; default 'fail'. */
  onBad?: 'fail' | 'skip';
  /** Share of the method's training steps for its tokenizer, 0 to 1. */
  effort?: number;
  /** Discard unfinished work. */
  fresh?: boolean;
}

export interface Stored extends Cost {
  out: string;
  method: string;
  images: number;
  classes: string[];
  skipped: readonly SkippedFile[];
  /** Bytes that the decoded pixels take. */
  pixelBytes: number;
  budgetBytes: number;
  /** Length of the file, by stat. */
  fileBytes: number;
  bytesPerImage: number;
}

/** @throws RangeError for what is no share of a method's steps */
export function checkEffort(effort: number): void {
  if (!(effort > 0 && effort <= 1)) throw new RangeError(`[store] effort ${effort} is not a share; give a number above 0, up to 1`);
}

/**
 * Stores a folder with one folder per class, an IDX file, or a CSV manifest.
 *
 * @throws BudgetError that names the least budget that works; ImageError that names the unreadable image
 */
export async function store(source: string, options: StoreOptions): Promise<Stored> {
  const { size, onBad = 'fail', method: id = defaultMethod, effort = 1, fresh = false } = needed('store', options);
  const seed = seedOf(options);
  const budget = Budget.of(options.budget);
  checkEffort(effort);
  const out = placeOf('store', source, options.out);
  const method = await codecMethod(id);
  const images = await openImages(source, { ...reading(options), onBad, ...(size !== undefined && { size: [size, size] }) });
  const codec = method.create(method.fit(budget.bytes, images));
  const question = {
    source: resolve(source),
    images: images.size,
    shape: images.shape,
    classes: images.classes,
    pixels: images.fingerprint(),
    budget: budget.bytes,
    method: id,
    seed,
    effort,
  };
  using work = await WorkFolder.open('store', out, question, fresh);
  const files = { tokenizer: work.path('tokenizer.safetensors'), store: work.path('images.tokens') };
  const { cost } = await measured(options, (run) =>
    work.run(async () => {
      await work.stage('learn', () => codec.learn(images, files, { ...run, effort }));
      await work.stage('store', () => codec.store(images, files, run));
    }),
  );
  work.finish('images.tokens');
  const bytes = fileBytes(out).apparent;
  return {
    out,
    method: id,
    images: images.size,
    classes: [...images.classes],
    skipped: images.skipped,
    pixelBytes: images.size * imageBytes(images.shape),
    budgetBytes: budget.bytes,
    fileBytes: bytes,
    bytesPerImage: bytes / images.size,
    ...cost,
  };
}
