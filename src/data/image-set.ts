import { fingerprintOf } from './fingerprint.ts';

/** Height, width and channels (1 grey, 3 sRGB) of every image of a set. */
export type ImageShape = readonly [height: number, width: number, channels: 1 | 3];

/** One image of a set: pixels [h, w, c], 0 to 255, and the index of its class. */
export interface ImageSample {
  pixels: Uint8Array;
  label: number;
}

/** A file that a reader left out, and why. */
export interface SkippedFile {
  path: string;
  reason: string;
}

/** Labelled images of one shape, with random access. Readers normalise size and colour; labels are known without decoding. */
export interface ImageSet {
  readonly size: number;
  readonly shape: ImageShape;
  readonly classes: readonly string[];
  /** [size] class indices. */
  readonly labels: Int32Array;
  /** Where it comes from, for reports. */
  readonly source: string;
  /** Every file that was left out. */
  readonly skipped: readonly SkippedFile[];
  /** Bytes of pixels kept in memory. */
  readonly residentBytes: number;
  /** Reads image `i`, into the head of `out` when that is given. Safe to call many at a time. */
  read(i: number, out?: Uint8Array): Promise<ImageSample>;
  /** Another one where any pixel or label is another. */
  fingerprint(): string;
  /** Pixels of image `i` in place, where they lie in memory: a view, not a copy. */
  at?(i: number): Uint8Array;
}

export interface ImageSetSummary {
  source: string;
  size: number;
  shape: ImageShape;
  /** Images of each class. */
  classes: Record<string, number>;
  /** Bytes of all pixels when decoded: h * w * c * size. */
  pixelBytes: number;
  residentBytes: number;
  skipped: readonly SkippedFile[];
}

/** What a set is, as plain data: for `--json` and reports. */
export function describeImages(set: ImageSet): ImageSetSummary {
  const counts = countLabels(set);
  return {
    source: set.source,
    size: set.size,
    shape: set.shape,
    classes: Object.fromEntries(set.classes.map((name, c) => [name, counts[c]!])),
    pixelBytes: set.size * imageBytes(set.shape),
    residentBytes: set.residentBytes,
    skipped: set.skipped,
  };
}

/** Images of each class, [classes]. */
export function countLabels({ labels, classes }: Pick<ImageSet, 'labels' | 'classes'>): Int32Array {
  const counts = new Int32Array(classes.length);
  for (const label of labels) counts[label]!++;
  return counts;
}

/** Bytes of one decoded image. */
export function imageBytes([height, width, channels]: ImageShape): number {
  return height * width * channels;
}

export function checkIndex(set: Pick<ImageSet, 'size' | 'source'>, i: number): void {
  if (!Number.isInteger(i) || i < 0 || i >= set.size) throw new RangeError(`[images] ${set.source}: no image ${i}, there are ${set.size}`);
}

/** Checks a reader's buffer. */
export function target(shape: ImageShape, out: Uint8Array | undefined): Uint8Array {
  const bytes = imageBytes(shape);
  if (!out) return new Uint8Array(bytes);
  if (out.byteLength < bytes) throw new RangeError(`[images] an image takes ${bytes} bytes, the buffer has ${out.byteLength}`);
  return out.subarray(0, bytes);
}

/** The first `count` images, or all where there are fewer. */
export const firstImages = (set: ImageSet, count: number): ImageSet =>
  subset(
    set,
    Int32Array.from({ length: Math.min(count, set.size) }, (_, i) => i),
  );

/** A view of some images of a set, in the order of `indices`. */
export function subset(set: ImageSet, indices: ArrayLike<number>): ImageSet {
  const picked = Int32Array.from(indices);
  for (const i of picked) checkIndex(set, i);
  const view = {
    size: picked.length,
    shape: set.shape,
    classes: set.classes,
    labels: picked.map((i) => set.labels[i]!),
    source: set.source,
    skipped: set.skipped,
    residentBytes: set.residentBytes,
    async read(i: number, out?: Uint8Array): Promise<ImageSample> {
      checkIndex(view, i);
      return set.read(picked[i]!, out);
    },
    fingerprint: () => fingerprintOf(picked, [Buffer.from(set.fingerprint())]),
    ...(set.at && {
      at(i: number): Uint8Array {
        checkIndex(view, i);
        return set.at!(picked[i]!);
      },
    }),
  };
  return view;
}

/** @param where they are, for the message. @throws RangeError for sides [h, w] that no image has */
export function checkSize(where: string, size: readonly number[]): void {
  if (!size.every((side) => Number.isSafeInteger(side) && side > 0))
    throw new RangeError(`[images] ${where}: images of ${size.join(' x ')} pixels; give whole numbers above 0`);
}

/** Places of names among `classes`; `where` one was found is for the message. @throws RangeError for a name that is none of them */
export function placesIn(classes: readonly string[]): (where: string, name: string) => number {
  const places = new Map(classes.map((name, place) => [name, place]));
  return (where, name) => {
    const place = places.get(name);
    if (place !== undefined) return place;
    const more = classes.length > 20 ? ` and ${classes.length - 20} more` : '';
    throw new RangeError(`[images] ${where}: class ${JSON.stringify(name)} is not one of ${classes.slice(0, 20).join(', ')}${more}`);
  };
}
