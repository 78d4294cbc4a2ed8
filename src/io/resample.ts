import type { Image } from './images.ts';

export type Filter = 'bicubic' | 'area';

/**
 * Resizes by a separable filter, rounding once at the end.
 *
 * `bicubic`: Catmull-Rom (a = -0.5; Keys 1981, eq. 4), stretched by the scale when it shrinks, weights normalised at the
 * borders: what Pillow and antialiased PyTorch compute. `area`: every pixel is the mean of the source rectangle that it
 * covers; computed in integers, so the means are exact.
 */
export function resample(image: Image, height: number, width: number, filter: Filter): Image {
  const { channels } = image;
  const weights = filter === 'area' ? areaWeights : bicubicWeights;
  const across = weights(image.width, width);
  const down = weights(image.height, height);
  const narrow = filterRows(image, across);
  const out = new Uint8ClampedArray(height * width * channels);
  const stride = width * channels;
  const line = new Float64Array(stride);
  const total = across.total * down.total;
  for (let y = 0; y < height; y++) {
    line.fill(0);
    for (let tap = 0; tap < down.counts[y]!; tap++) {
      const weight = down.weights[y * down.taps + tap]!;
      const row = (down.starts[y]! + tap) * stride;
      for (let i = 0; i < stride; i++) line[i]! += weight * narrow[row + i]!;
    }
    for (let i = 0; i < stride; i++) out[y * stride + i] = Math.floor(line[i]! / total + 0.5);
  }
  return { width, height, channels, pixels: new Uint8Array(out.buffer) };
}

/** Output cell `i` is the sum of `counts[i]` source cells from `starts[i]`, by `weights[i * taps ...]`, over `total`. */
interface Weights {
  taps: number;
  starts: Int32Array;
  counts: Int32Array;
  weights: Float64Array;
  total: number;
}

function filterRows({ width, height, channels, pixels }: Image, { taps, starts, counts, weights }: Weights): Float64Array {
  const size = starts.length;
  const out = new Float64Array(height * size * channels);
  for (let y = 0, o = 0; y < height; y++) {
    for (let x = 0; x < size; x++) {
      const from = (y * width + starts[x]!) * channels;
      const count = counts[x]!;
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let tap = 0; tap < count; tap++) sum += weights[x * taps + tap]! * pixels[from + tap * channels + c]!;
        out[o++] = sum;
      }
    }
  }
  return out;
}

function makeWeights(
  source: number,
  size: number,
  taps: number,
  total: number,
  fill: (i: number) => [number, number, (at: number) => number],
): Weights {
  const starts = new Int32Array(size);
  const counts = new Int32Array(size);
  const weights = new Float64Array(size * taps);
  for (let i = 0; i < size; i++) {
    const [first, end, weight] = fill(i);
    const start = Math.max(0, first);
    starts[i] = start;
    counts[i] = Math.min(source, end) - start;
    for (let tap = 0; tap < counts[i]!; tap++) weights[i * taps + tap] = weight(start + tap);
  }
  return { taps, starts, counts, weights, total };
}

/** Overlaps in units of 1/size of a source cell: all integers, and they sum to `source`. */
function areaWeights(source: number, size: number): Weights {
  return makeWeights(source, size, Math.ceil(source / size) + 1, source, (i) => {
    const begin = i * source;
    const end = begin + source;
    const overlap = (at: number): number => Math.min(end, (at + 1) * size) - Math.max(begin, at * size);
    return [Math.floor(begin / size), Math.ceil(end / size), overlap];
  });
}

function bicubicWeights(source: number, size: number): Weights {
  const scale = source / size;
  const stretch = Math.max(1, scale);
  const support = 2 * stretch;
  const made = makeWeights(source, size, Math.ceil(2 * support) + 1, 1, (i) => {
    const centre = (i + 0.5) * scale;
    const weight = (at: number): number => catmullRom((at + 0.5 - centre) / stretch);
    return [Math.floor(centre - support + 0.5), Math.floor(centre + support + 0.5), weight];
  });
  for (let i = 0; i < size; i++) {
    const row = made.weights.subarray(i * made.taps, (i + 1) * made.taps);
    const sum = row.reduce((a, b) => a + b, 0);
    for (let tap = 0; tap < row.length; tap++) row[tap]! /= sum;
  }
  return made;
}

function catmullRom(x: number): number {
  const t = Math.abs(x);
  if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
  return t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0;
}
