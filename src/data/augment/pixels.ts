/**
 * Operations on the values of 8-bit images [h, w, c], c = 1 or 3, as Pillow defines them. Each writes over `image` and returns it. Factors of the
 * enhancements: 1 leaves the image, 0 removes the quality, above 1 exaggerates it.
 */
import type { ImageShape } from '../image-set.ts';

/** A value for each of 256. */
type Lookup = Uint8Array;

const clip = (x: number): number => (x <= 0 ? 0 : x >= 255 ? 255 : Math.trunc(x));

/** Passes each channel through its own table of 256 values. */
function look(image: Uint8Array, channels: number, tables: readonly Lookup[]): Uint8Array {
  tables.forEach((table, c) => {
    for (let i = c; i < image.length; i += channels) image[i] = table[image[i]!]!;
  });
  return image;
}
function pointwise(f: (x: number) => number): Lookup {
  const table = new Uint8Array(256);
  for (let x = 0; x < 256; x++) table[x] = f(x);
  return table;
}
const everyChannel = (image: Uint8Array, f: (x: number) => number): Uint8Array => look(image, 1, [pointwise(f)]);

function histogram(image: Uint8Array, channels: number, channel: number): Int32Array {
  const counts = new Int32Array(256);
  for (let i = channel; i < image.length; i += channels) counts[image[i]!]!++;
  return counts;
}
const perChannel = (image: Uint8Array, channels: number, table: (counts: Int32Array) => Lookup): Uint8Array =>
  look(
    image,
    channels,
    Array.from({ length: channels }, (_, c) => table(histogram(image, channels, c))),
  );

/** Stretches each channel so that its darkest value becomes 0 and its lightest 255. */
export function autoContrast(image: Uint8Array, [, , channels]: ImageShape): Uint8Array {
  return perChannel(image, channels, (counts) => {
    const low = counts.findIndex((n) => n > 0);
    const high = counts.findLastIndex((n) => n > 0);
    const scale = high > low ? 255 / (high - low) : 1;
    return pointwise((x) => clip(high > low ? x * scale - low * scale : x));
  });
}

/** Makes the histogram of each channel as flat as a table can. */
export function equalize(image: Uint8Array, [, , channels]: ImageShape): Uint8Array {
  return perChannel(image, channels, (counts) => {
    const last = counts[counts.findLastIndex((n) => n > 0)]!;
    const step = Math.floor((image.length / channels - last) / 255);
    if (step === 0) return pointwise((x) => x);
    let below = Math.floor(step / 2);
    return pointwise((x) => {
      const value = Math.floor(below / step);
      below += counts[x]!;
      return Math.min(255, value);
    });
  });
}

export const invert = (image: Uint8Array): Uint8Array => everyChannel(image, (x) => 255 - x);
/** Keeps the `bits` highest bits, 0 to 8. */
export const posterize = (image: Uint8Array, bits: number): Uint8Array => everyChannel(image, (x) => x & (0xff00 >> bits));
/** Inverts the values from `threshold` on. */
export const solarize = (image: Uint8Array, threshold: number): Uint8Array => everyChannel(image, (x) => (x < threshold ? x : 255 - x));
/** Adds to the values below 128. */
export const solarizeAdd = (image: Uint8Array, amount: number): Uint8Array =>
  everyChannel(image, (x) => (x < 128 ? Math.min(255, x + amount) : x));
export const brightness = (image: Uint8Array, factor: number): Uint8Array => everyChannel(image, (x) => clip(x * factor));

/** Luma of ITU-R 601-2 at pixel i, in 16-bit integers. */
const luma = (image: Uint8Array, i: number, channels: number): number =>
  channels === 1 ? image[i]! : (19595 * image[i * 3]! + 38470 * image[i * 3 + 1]! + 7471 * image[i * 3 + 2]! + 0x8000) >> 16;

/** Distance from grey; nothing changes in a grey image. */
export function color(image: Uint8Array, [, , channels]: ImageShape, factor: number): Uint8Array {
  if (channels === 1) return image;
  for (let i = 0; i < image.length / 3; i++) {
    const grey = luma(image, i, 3);
    for (let k = i * 3; k < i * 3 + 3; k++) image[k] = clip(grey + factor * (image[k]! - grey));
  }
  return image;
}

/** Distance from the mean grey level of the image. */
export function contrast(image: Uint8Array, [, , channels]: ImageShape, factor: number): Uint8Array {
  const pixels = image.length / channels;
  let sum = 0;
  for (let i = 0; i < pixels; i++) sum += luma(image, i, channels);
  const mean = Math.floor(sum / pixels + 0.5);
  return everyChannel(image, (x) => clip(mean + factor * (x - mean)));
}

/** Distance from a smoothed copy: a 3 x 3 window of ones around a five, over 13; the outermost pixels stay. */
export function sharpness(image: Uint8Array, [height, width, channels]: ImageShape, factor: number): Uint8Array {
  const from = image.slice();
  const stride = width * channels;
  for (let y = 1; y < height - 1; y++)
    for (let i = y * stride + channels; i < (y + 1) * stride - channels; i++) {
      const above = i - stride;
      const below = i + stride;
      const rows =
        from[above - channels]! + from[above]! + from[above + channels]! + from[below - channels]! + from[below]! + from[below + channels]!;
      const sum = rows + from[i - channels]! + 5 * from[i]! + from[i + channels]!;
      const smooth = Math.floor(sum / 13 + 0.5);
      image[i] = clip(smooth + factor * (from[i]! - smooth));
    }
  return image;
}
