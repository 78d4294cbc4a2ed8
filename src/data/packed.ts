import { fingerprintOf } from './fingerprint.ts';
import { checkIndex, type ImageSample, type ImageSet, type ImageShape, imageBytes, type SkippedFile, target } from './image-set.ts';
import { forEachParallel, type ScanOptions } from './parallel.ts';

/** A set whose pixels lie in memory: [size, h, w, c]. */
export class PackedImages implements ImageSet {
  readonly size: number;
  readonly shape: ImageShape;
  readonly classes: readonly string[];
  readonly labels: Int32Array;
  readonly source: string;
  readonly skipped: readonly SkippedFile[];
  readonly pixels: Uint8Array;

  /** @throws when pixels, labels and classes do not fit each other */
  constructor(content: {
    pixels: Uint8Array;
    labels: ArrayLike<number>;
    shape: ImageShape;
    classes: readonly string[];
    source?: string;
    skipped?: readonly SkippedFile[];
  }) {
    this.pixels = content.pixels;
    this.labels = Int32Array.from(content.labels);
    this.size = this.labels.length;
    this.shape = content.shape;
    this.classes = content.classes;
    this.source = content.source ?? 'memory';
    this.skipped = content.skipped ?? [];
    const bytes = this.size * imageBytes(this.shape);
    if (this.pixels.byteLength !== bytes) {
      throw new RangeError(
        `[images] ${this.source}: ${this.size} images of [${this.shape}] take ${bytes} bytes, got ${this.pixels.byteLength}`,
      );
    }
    const bad = this.labels.findIndex((label) => label < 0 || label >= this.classes.length);
    if (bad >= 0)
      throw new RangeError(`[images] ${this.source}: image ${bad} has label ${this.labels[bad]}, there are ${this.classes.length} classes`);
  }

  get residentBytes(): number {
    return this.pixels.byteLength;
  }

  at(i: number): Uint8Array {
    checkIndex(this, i);
    const bytes = imageBytes(this.shape);
    return this.pixels.subarray(i * bytes, (i + 1) * bytes);
  }

  async read(i: number, out?: Uint8Array): Promise<ImageSample> {
    const pixels = target(this.shape, out);
    pixels.set(this.at(i));
    return { pixels, label: this.labels[i]! };
  }

  fingerprint(): string {
    return fingerprintOf(this.labels, [this.pixels]);
  }
}

/** Decodes a whole set into memory. */
export async function packImages(set: ImageSet, options: ScanOptions = {}): Promise<PackedImages> {
  if (set instanceof PackedImages) return set;
  const bytes = imageBytes(set.shape);
  const pixels = new Uint8Array(set.size * bytes);
  await forEachParallel(set.size, 'decode', options, async (i) => {
    await set.read(i, pixels.subarray(i * bytes, (i + 1) * bytes));
  });
  const { labels, shape, classes, source, skipped } = set;
  return new PackedImages({ pixels, labels, shape, classes, source, skipped });
}
