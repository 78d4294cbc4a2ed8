/** Operations on the places of 8-bit images [h, w, c]: each returns a new array, except the flip. */
import type { ImageShape } from '../image-set.ts';
import type { DataRandom } from '../random.ts';
import { uniform } from './distributions.ts';

/** (x, y) of the output -> (a x + b y + c, d x + e y + f) of the input; in pixels, the first pixel's centre at (0.5, 0.5). */
export type AffineMap = readonly [a: number, b: number, c: number, d: number, e: number, f: number];

/** Turns the image by `degrees` against the clock, about its centre. */
export function rotation([height, width]: ImageShape, degrees: number): AffineMap {
  const turn = (-degrees * Math.PI) / 180;
  const [cos, sin] = [Math.cos(turn), Math.sin(turn)];
  const [x, y] = [width / 2, height / 2];
  return [cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y];
}

/** The image seen through `map`, bilinear and rounded down, as Pillow does; what comes from outside is `fill`. */
export function affine(image: Uint8Array, [height, width, channels]: ImageShape, [a, b, c, d, e, f]: AffineMap, fill = 128): Uint8Array {
  const out = new Uint8Array(image.length).fill(fill);
  const stride = width * channels;
  for (let y = 0, at = 0; y < height; y++)
    for (let x = 0; x < width; x++, at += channels) {
      const u = a * (x + 0.5) + b * (y + 0.5) + c;
      const v = d * (x + 0.5) + e * (y + 0.5) + f;
      if (!(u >= 0 && u < width && v >= 0 && v < height)) continue;
      // u + 0.5 is positive, where `| 0` rounds down; no arrays here, for speed
      const left = ((u + 0.5) | 0) - 1;
      const top = ((v + 0.5) | 0) - 1;
      const dx = u - 0.5 - left;
      const dy = v - 0.5 - top;
      const x0 = left < 0 ? 0 : left * channels;
      const x1 = left + 1 < width ? (left + 1) * channels : x0;
      const row0 = top < 0 ? 0 : top * stride;
      const row1 = top + 1 < height ? (top + 1) * stride : row0;
      for (let k = 0; k < channels; k++) {
        const above = image[row0 + x0 + k]! * (1 - dx) + image[row0 + x1 + k]! * dx;
        const below = image[row1 + x0 + k]! * (1 - dx) + image[row1 + x1 + k]! * dx;
        out[at + k] = above + (below - above) * dy;
      }
    }
  return out;
}

/** Mirrors every row, in place. */
export function flipRows(image: Uint8Array, [height, width, channels]: ImageShape): Uint8Array {
  for (let y = 0; y < height; y++)
    for (let l = 0, r = width - 1; l < r; l++, r--)
      for (let k = 0; k < channels; k++) {
        const [i, j] = [(y * width + l) * channels + k, (y * width + r) * channels + k];
        const kept = image[i]!;
        image[i] = image[j]!;
        image[j] = kept;
      }
  return image;
}

/** A window of the image's own size out of the image with `pad` zeros on every side. */
export function padCrop(image: Uint8Array, [height, width, channels]: ImageShape, pad: number, random: DataRandom): Uint8Array {
  const [dy, dx] = [random.below(2 * pad + 1) - pad, random.below(2 * pad + 1) - pad];
  const out = new Uint8Array(image.length);
  const [from, to] = [Math.max(0, dx), Math.min(width, width + dx)];
  for (let y = Math.max(0, -dy); y < Math.min(height, height - dy); y++) {
    const row = (y + dy) * width;
    if (from < to) out.set(image.subarray((row + from) * channels, (row + to) * channels), (y * width + from - dx) * channels);
  }
  return out;
}

/** Corners of a part of an image in pixels, the last two excluded. */
export type Box = readonly [top: number, left: number, bottom: number, right: number];

/** For each of n places in [from, to) of an axis of `n` pixels: where the pixel before it and the one after begin, and the share of the latter. */
interface Between {
  before: Int32Array;
  after: Int32Array;
  share: Float64Array;
}
function between(n: number, from: number, to: number, stride: number): Between {
  // plain loops: this is done for every image
  const [before, after, share] = [new Int32Array(n), new Int32Array(n), new Float64Array(n)];
  for (let i = 0; i < n; i++) {
    const at = from + ((i + 0.5) * (to - from)) / n - 0.5;
    const low = Math.floor(at);
    before[i] = stride * Math.min(n - 1, Math.max(0, low));
    after[i] = stride * Math.min(n - 1, Math.max(0, low + 1));
    share[i] = at - low;
  }
  return { before, after, share };
}

/** What lies in the box, at the image's own size: bilinear, rounded after each axis, as Pillow does. */
export function enlarge(image: Uint8Array, [height, width, channels]: ImageShape, [top, left, bottom, right]: Box): Uint8Array {
  const wide = new Uint8Array(image.length);
  const out = new Uint8Array(image.length);
  const stride = width * channels;
  const x = between(width, left, right, channels);
  const y = between(height, top, bottom, stride);
  const end = y.after[height - 1]! + stride;
  for (let row = y.before[0]!; row < end; row += stride)
    for (let i = 0, at = row; i < width; i++) {
      const [before, after, share] = [row + x.before[i]!, row + x.after[i]!, x.share[i]!];
      for (let k = 0; k < channels; k++) {
        const value = image[before + k]!;
        wide[at++] = (value + (image[after + k]! - value) * share + 0.5) | 0;
      }
    }
  for (let j = 0, at = 0; j < height; j++) {
    const [before, after, share] = [y.before[j]!, y.after[j]!, y.share[j]!];
    for (let i = 0; i < stride; i++) {
      const value = wide[before + i]!;
      out[at++] = (value + (wide[after + i]! - value) * share + 0.5) | 0;
    }
  }
  return out;
}

/**
 * A random box of `least` to all of the area, width to height between 3/4 and 4/3 and uniform in the logarithm, at the image's size: objects come at
 * every scale. After ten boxes that do not fit, the image as it is. Szegedy et al. 2015, arXiv 1409.4842, section 6.
 */
export function resizedCrop(image: Uint8Array, shape: ImageShape, least: number, random: DataRandom): Uint8Array {
  const [height, width] = shape;
  for (let tries = 0; tries < 10; tries++) {
    const area = uniform(random, least, 1) * height * width;
    const ratio = Math.exp(uniform(random, Math.log(3 / 4), Math.log(4 / 3)));
    const [h, w] = [Math.round(Math.sqrt(area / ratio)), Math.round(Math.sqrt(area * ratio))];
    if (h < 1 || w < 1 || h > height || w > width) continue;
    const [top, left] = [random.below(height - h + 1), random.below(width - w + 1)];
    return enlarge(image, shape, [top, left, top + h, left + w]);
  }
  return image;
}
