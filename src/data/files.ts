import { type DecodeOptions, decodeImage, ImageError, probeImage, type ResizeOptions } from '../io/images.ts';
import { digestOf, fingerprintOf } from './fingerprint.ts';
import {
  checkIndex,
  checkSize,
  type ImageSample,
  type ImageSet,
  type ImageShape,
  imageBytes,
  placesIn,
  type SkippedFile,
  target,
} from './image-set.ts';
import { PackedImages } from './packed.ts';
import { forEachParallel, type ScanOptions } from './parallel.ts';
import { chooseSize, type SizeOptions } from './size.ts';

/** One labelled image file. */
export interface ImageFile {
  path: string;
  className: string;
}

export interface FileSetOptions extends ScanOptions, SizeOptions {
  /** [height, width] of every image of the set; default chosen from the files (`chooseSize`). */
  size?: readonly [number, number];
  /** Default 3 if any image has colour, else 1. */
  channels?: 1 | 3;
  fit?: NonNullable<ResizeOptions['fit']>;
  filter?: NonNullable<ResizeOptions['filter']>;
  maxPixels?: number;
  /** An unreadable file ends the scan (`fail`, the default) or is left out and named in `skipped` (`skip`). */
  onBad?: 'fail' | 'skip';
  /** The classes and their order, for example those of a trained model; default those found, sorted. */
  classes?: readonly string[];
  /** Keep the decoded pixels in memory if they take at most this many bytes; else files are decoded at every read. Default 128 MiB. */
  cacheBytes?: number;
}

/**
 * A set of image files. Opening it decodes every file once, so that a bad one is known before hours of training.
 *
 * @throws RangeError for a class that is none of `classes`, before anything is read; ImageError at the first unreadable file with
 * `onBad: 'fail'`; an error when no image is left
 */
export async function openImageFiles(source: string, files: readonly ImageFile[], options: FileSetOptions = {}): Promise<ImageSet> {
  if (options.size) checkSize(source, options.size);
  if (!['fail', 'skip', undefined].includes(options.onBad))
    throw new TypeError(`[images] onBad is '${options.onBad}'; let an unreadable image 'fail', or 'skip' it`);
  if (options.classes) {
    const known = placesIn(options.classes); // reading all of them may take long
    for (const { path, className } of files) known(path, className);
  }
  const decode: DecodeOptions = options.maxPixels === undefined ? {} : { maxPixels: options.maxPixels };
  const reasons = new Array<string | undefined>(files.length);
  const tolerate = async (i: number, work: () => Promise<void>): Promise<void> => {
    try {
      if (reasons[i] === undefined) await work();
    } catch (error) {
      if (!(error instanceof ImageError) || options.onBad !== 'skip') throw error;
      reasons[i] = error.reason;
    }
  };

  const headers = new Array<{ height: number; width: number; channels: 1 | 3 }>(files.length);
  await forEachParallel(files.length, 'scan', options, (i) =>
    tolerate(i, async () => {
      headers[i] = await probeImage(files[i]!.path, decode);
    }),
  );
  const known = headers.filter(Boolean);
  if (known.length === 0) throw noneLeft(source, files, reasons);
  const [height, width] = options.size ?? chooseSize(known, options);
  const shape: ImageShape = [height, width, options.channels ?? (known.some((h) => h.channels === 3) ? 3 : 1)];

  const { fit = 'stretch', filter = 'bicubic' } = options;
  const read = async (path: string, out: Uint8Array): Promise<void> => {
    const { pixels } = await decodeImage(path, { ...decode, channels: shape[2], resize: { height, width, fit, filter } });
    out.set(pixels);
  };
  const bytes = imageBytes(shape);
  const keep = files.length * bytes <= (options.cacheBytes ?? 128 * 2 ** 20);
  const pixels = new Uint8Array(keep ? files.length * bytes : 0);
  const digests = new Array<Uint8Array>(files.length); // of pixels that are not kept
  await forEachParallel(files.length, 'decode', options, (i) =>
    tolerate(i, async () => {
      const out = keep ? pixels.subarray(i * bytes, (i + 1) * bytes) : new Uint8Array(bytes);
      await read(files[i]!.path, out);
      if (!keep) digests[i] = digestOf(out);
    }),
  );

  const kept = files.map((_, i) => i).filter((i) => reasons[i] === undefined);
  if (kept.length === 0) throw noneLeft(source, files, reasons);
  const classes = options.classes ?? sortNames(new Set(kept.map((i) => files[i]!.className)));
  const place = placesIn(classes);
  const labels = Int32Array.from(kept, (i) => place(files[i]!.path, files[i]!.className));
  const skipped: SkippedFile[] = files.flatMap(({ path }, i) => (reasons[i] === undefined ? [] : [{ path, reason: reasons[i]! }]));
  if (keep) {
    kept.forEach((from, to) => pixels.copyWithin(to * bytes, from * bytes, (from + 1) * bytes));
    const content = kept.length === files.length ? pixels : pixels.slice(0, kept.length * bytes);
    return new PackedImages({ pixels: content, labels, shape, classes, source, skipped });
  }
  const paths = kept.map((i) => files[i]!.path);
  const set = {
    size: paths.length,
    shape,
    classes,
    labels,
    source,
    skipped,
    residentBytes: 0,
    async read(i: number, out?: Uint8Array): Promise<ImageSample> {
      checkIndex(set, i);
      const pixels = target(shape, out);
      await read(paths[i]!, pixels);
      return { pixels, label: labels[i]! };
    },
    fingerprint: () =>
      fingerprintOf(
        labels,
        kept.map((i) => digests[i]!),
      ),
  };
  return set;
}

/** Names in code-unit order, the same on every machine; numbers by value. */
function sortNames(names: Iterable<string>): string[] {
  const all = [...names];
  const numeric = all.every((name) => /^\d{1,15}$/.test(name));
  return all.sort((a, b) => (numeric ? Number(a) - Number(b) : 0) || (a < b ? -1 : a > b ? 1 : 0));
}

function noneLeft(source: string, files: readonly ImageFile[], reasons: readonly (string | undefined)[]): Error {
  const first = files[0] ? `; the first: ${files[0].path}: ${reasons[0]}` : '';
  return new Error(`[images] ${source}: none of ${files.length} images can be read${first}`);
}
