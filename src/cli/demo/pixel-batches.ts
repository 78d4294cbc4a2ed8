/** Pixels as a classifier reads them: normalised, and in training mirrored and moved. */
import { DataRandom, type PackedImages } from '../../data/index.ts';

/** Mean and deviation of a training set's pixels, 0..255. */
export interface PixelScale {
  mean: number;
  deviation: number;
}

export function pixelScale({ pixels }: PackedImages): PixelScale {
  let [sum, squares] = [0, 0];
  for (const value of pixels) {
    sum += value;
    squares += value * value;
  }
  const mean = sum / pixels.length;
  return { mean, deviation: Math.max(1, Math.sqrt(squares / pixels.length - mean ** 2)) };
}

export interface Jitter {
  /** Each image is moved by up to so many pixels along each axis; its edge is repeated. */
  shift: number;
  /** Each image is mirrored with probability 1/2. */
  flip: boolean;
}

/** Images `indices` as [n, channels, height, width]. With `jitter`, a seed of the batch decides how each is mirrored and moved. */
export function pixelBatch(
  images: PackedImages,
  indices: ArrayLike<number>,
  { mean, deviation }: PixelScale,
  jitter?: Jitter & { seed: readonly number[] },
): Float32Array {
  const [height, width, channels] = images.shape;
  const plane = height * width;
  const out = new Float32Array(indices.length * channels * plane);
  const random = new DataRandom(...(jitter?.seed ?? []));
  const clamp = (at: number, size: number): number => Math.min(size - 1, Math.max(0, at));
  for (let n = 0; n < indices.length; n++) {
    const from = images.at(indices[n]!);
    const [dy, dx] = jitter
      ? [random.below(2 * jitter.shift + 1) - jitter.shift, random.below(2 * jitter.shift + 1) - jitter.shift]
      : [0, 0];
    const mirrored = jitter?.flip === true && random.below(2) === 1;
    for (let y = 0; y < height; y++) {
      const row = clamp(y + dy, height) * width;
      for (let x = 0; x < width; x++) {
        const column = clamp(x + dx, width);
        const at = (row + (mirrored ? width - 1 - column : column)) * channels;
        for (let c = 0; c < channels; c++) out[(n * channels + c) * plane + y * width + x] = (from[at + c]! - mean) / deviation;
      }
    }
  }
  return out;
}
