/** A classifier on images: its answers, and how many are right. */
import { stat } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { type ImageFile, type ImageSet, listFolder, openImageFiles, openImages, type SkippedFile } from '../data/index.ts';
import { FormatError } from '../io/index.ts';
import { ModelSays } from '../methods/index.ts';
import { modelInfo } from '../train/index.ts';
import { type Cost, codecMethod, measured, reading, type TaskOptions } from './task.ts';

/** A model as far as every method's is alike. */
interface Model {
  method: string;
  classes: string[];
  /** How its images are read: as those that were stored, so that an answer does not depend on the other images asked about. */
  shape: { size?: [height: number, width: number]; channels?: 1 | 3 };
}

async function openModel(path: string): Promise<Model> {
  const says = ModelSays.safeParse((await modelInfo(path)).config);
  if (!says.success) throw new FormatError(`[model] ${path} names no method and no classes; is it a model that thimble train wrote?`);
  const { method, classes, image } = says.data;
  return { method, classes, shape: image ? { size: [image[0], image[1]], channels: image[2] } : {} };
}

async function classesOf(
  images: ImageSet,
  model: string,
  method: string,
  options: TaskOptions,
): Promise<{ result: Uint16Array; cost: Cost }> {
  const codec = await codecMethod(method);
  return measured(options, (run) => codec.create(codec.config.parse({})).predict(images, { model }, run));
}

/** The model and labelled images for it. @throws RangeError for a class that the model does not know. */
export async function openLabelled(path: string, source: string, options: EvaluateOptions): Promise<{ model: Model; images: ImageSet }> {
  const model = await openModel(path);
  const { shape, classes } = model;
  const images = await openImages(source, { ...reading(options), ...shape, onBad: options.onBad ?? 'fail', classes, split: 'test' });
  return { model, images };
}

/** The model and the images of files and folders for it. @throws ImageError that names an unreadable one, unless they are to be skipped. */
export async function openUnlabelled(
  path: string,
  paths: readonly string[],
  options: EvaluateOptions,
): Promise<{ model: Model; images: ImageSet; files: ImageFile[] }> {
  if (!Array.isArray(paths) || !paths.length || !paths.every((one) => typeof one === 'string'))
    throw new TypeError('[predict] no images are named; give paths of files and folders');
  const model = await openModel(path);
  const files: ImageFile[] = [];
  for (const path of paths) {
    const isFolder = await stat(path).then(
      (found) => found.isDirectory(),
      () => false, // and is named, or skipped, as an image that cannot be read
    );
    if (isFolder) files.push(...(await listFolder(path, { labels: 'none', ...(options.signal && { signal: options.signal }) })));
    else files.push({ path, className: 'unlabelled' });
  }
  const images = await openImageFiles(paths.length === 1 ? basename(paths[0]!) : 'images', files, {
    ...reading(options),
    ...model.shape,
    onBad: options.onBad ?? 'fail',
  });
  return { model, images, files };
}

export interface EvaluateOptions extends Omit<TaskOptions, 'method'> {
  onBad?: 'fail' | 'skip';
}

export interface Evaluated extends Cost {
  model: string;
  images: number;
  skipped: readonly SkippedFile[];
  accuracy: number;
  /** Right and all images of each class. */
  classes: { name: string; images: number; right: number }[];
  /** [class][answer] counts, in the order of `classes`. */
  confusion: number[][];
}

/** How often the classifier names the class of labelled images. @throws RangeError for a class that the model does not know. */
export async function evaluate(model: string, source: string, options: EvaluateOptions = {}): Promise<Evaluated> {
  const {
    model: { method, classes },
    images,
  } = await openLabelled(model, source, options);
  const { result: found, cost } = await classesOf(images, resolve(model), method, options);
  const confusion = classes.map(() => new Array<number>(classes.length).fill(0));
  found.forEach((answer, i) => confusion[images.labels[i]!]![answer]!++);
  const rows = classes.map((name, c) => ({ name, images: confusion[c]!.reduce((a, b) => a + b), right: confusion[c]![c]! }));
  const right = rows.reduce((sum, row) => sum + row.right, 0);
  return {
    model: resolve(model),
    images: images.size,
    skipped: images.skipped,
    accuracy: right / images.size,
    classes: rows,
    confusion,
    ...cost,
  };
}

export interface Predicted extends Cost {
  model: string;
  skipped: readonly SkippedFile[];
  predictions: { path: string; class: string }[];
}

/** The class of an image file or of several, and of all images of folders. @throws ImageError that names an unreadable one, unless they are to be skipped. */
export async function predict(model: string, paths: string | readonly string[], options: EvaluateOptions = {}): Promise<Predicted> {
  const {
    model: { method, classes },
    images,
    files,
  } = await openUnlabelled(model, [paths].flat(), options);
  const { result: found, cost } = await classesOf(images, resolve(model), method, options);
  const skipped = new Set(images.skipped.map(({ path }) => path));
  const kept = files.filter(({ path }) => !skipped.has(path));
  return {
    model: resolve(model),
    skipped: images.skipped,
    predictions: kept.map(({ path }, i) => ({ path, class: classes[found[i]!]! })),
    ...cost,
  };
}
