import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { cannotOpen, errorCode } from '../io/errors.ts';
import { resizeImage } from '../io/images.ts';
import { openCifarSheets } from './cifar.ts';
import { openManifest } from './csv.ts';
import { type FolderOptions, openFolder } from './folder.ts';
import { openIdx } from './idx.ts';
import { checkSize, type ImageSet, imageBytes, placesIn } from './image-set.ts';
import { PackedImages } from './packed.ts';

export interface OpenImagesOptions extends FolderOptions {
  /** Which part of a folder that holds both. Default `train`. */
  split?: 'train' | 'test';
}

const idxName = /idx3-ubyte(\.gz|\.br)?$/;

/**
 * Opens images by looking at what `path` is: a folder with one folder a class, an IDX images file (its labels beside it) or
 * a folder of those, a CSV manifest `path,label`, or a folder of CIFAR-10 sheets. The classes of IDX labels are their numbers.
 */
export async function openImages(path: string, options: OpenImagesOptions = {}): Promise<ImageSet> {
  const { split = 'train', signal } = options;
  const idx = async (images: string): Promise<ImageSet> => asAsked(await openIdx(images, undefined, signal ? { signal } : {}), options);
  const info = await stat(path).catch((error) => {
    throw errorCode(error) === 'ENOENT'
      ? new Error(`[images] ${path}: no such file or folder`, { cause: error })
      : cannotOpen('images', path, error);
  });
  if (!info.isDirectory()) {
    if (/\.csv$/i.test(path)) return openManifest(path, options);
    if (/\.(idx|gz|br)$|ubyte$/i.test(path)) return idx(path);
    throw new Error(`[images] ${path} is neither a folder, nor an IDX file (*-idx3-ubyte, .gz, .br), nor a CSV manifest (.csv)`);
  }
  const names = await readdir(path).catch((): string[] => []); // what cannot be listed is told below
  const stems = split === 'train' ? ['train'] : ['t10k', 'test'];
  const images = names.filter((name) => idxName.test(name));
  if (images.length > 0) {
    const chosen = images.find((name) => stems.some((stem) => name.startsWith(stem)));
    if (!chosen) throw new Error(`[images] ${path} has no IDX images of the ${split} split; it has ${images.join(', ')}`);
    return idx(join(path, chosen));
  }
  if (names.includes(`${split}-labels.u8`)) return asAsked(await openCifarSheets(path, options), options);
  return openFolder(path, options);
}

/** Packed images in the size and under the classes that are asked for. @throws RangeError for a class that is none of those, and as `checkSize` */
function asAsked(set: PackedImages, { classes = set.classes, size, fit, filter }: OpenImagesOptions): PackedImages {
  const [height, width, channels] = set.shape;
  const [h, w] = size ?? [height, width];
  checkSize(set.source, [h, w]);
  const same = h === height && w === width;
  if (same && classes === set.classes) return set;
  const bytes = imageBytes([h, w, channels]);
  const pixels = same ? set.pixels : new Uint8Array(set.size * bytes);
  const how = { height: h, width: w, ...(fit && { fit }), ...(filter && { filter }) };
  if (!same)
    for (let i = 0; i < set.size; i++) pixels.set(resizeImage({ height, width, channels, pixels: set.at(i) }, how).pixels, i * bytes);
  const place = placesIn(classes);
  const labels = set.labels.map((label) => place(set.source, set.classes[label]!));
  return new PackedImages({ pixels, labels, shape: [h, w, channels], classes, source: set.source });
}
