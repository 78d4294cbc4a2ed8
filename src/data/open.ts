import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../io/errors.ts';
import { openCifarSheets } from './cifar.ts';
import { openManifest } from './csv.ts';
import { type FolderOptions, openFolder } from './folder.ts';
import { openIdx } from './idx.ts';
import type { ImageSet } from './image-set.ts';

export interface OpenImagesOptions extends FolderOptions {
  /** Which part of a folder that holds both. Default `train`. */
  split?: 'train' | 'test';
}

const idxName = /idx3-ubyte(\.gz|\.br)?$/;

/**
 * Opens images by looking at what `path` is: a folder with one folder a class, an IDX images file (its labels beside it) or
 * a folder of those, a CSV manifest `path,label`, or a folder of CIFAR-10 sheets. IDX and CIFAR images keep their size.
 */
export async function openImages(path: string, options: OpenImagesOptions = {}): Promise<ImageSet> {
  const { split = 'train', classes, signal } = options;
  const idx = { ...(classes ? { classes } : {}), ...(signal ? { signal } : {}) };
  const info = await stat(path).catch((error) => {
    throw errorCode(error) === 'ENOENT' ? new Error(`[images] ${path}: no such file or folder`, { cause: error }) : error;
  });
  if (!info.isDirectory()) {
    if (/\.csv$/i.test(path)) return openManifest(path, options);
    if (/\.(idx|gz|br)$|ubyte$/i.test(path)) return openIdx(path, undefined, idx);
    throw new Error(`[images] ${path} is neither a folder, nor an IDX file (*-idx3-ubyte, .gz, .br), nor a CSV manifest (.csv)`);
  }
  const names = await readdir(path);
  const stems = split === 'train' ? ['train'] : ['t10k', 'test'];
  const images = names.filter((name) => idxName.test(name));
  if (images.length > 0) {
    const chosen = images.find((name) => stems.some((stem) => name.startsWith(stem)));
    if (!chosen) throw new Error(`[images] ${path} has no IDX images of the ${split} split; it has ${images.join(', ')}`);
    return openIdx(join(path, chosen), undefined, idx);
  }
  if (names.includes(`${split}-labels.u8`)) return openCifarSheets(path, options);
  return openFolder(path, options);
}
