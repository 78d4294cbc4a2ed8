import { readFile, stat } from 'node:fs/promises';
import type { Sharp, SharpOptions } from 'sharp';
import { errorMessage, FormatError, systemReason } from './errors.ts';
import { type Filter, resample } from './resample.ts';

/** Pixels in rows, channels interleaved: grey (1) or sRGB (3), 0 to 255. */
export interface Image {
  width: number;
  height: number;
  channels: 1 | 3;
  pixels: Uint8Array;
}

export interface DecodeOptions {
  /** How the file is called in errors; default its path, or `image`. */
  name?: string;
  /** Refuse images of more pixels than this (a small file can decode to gigabytes). Default 100 million. */
  maxPixels?: number;
  /** Convert to grey or RGB; default what the file has. */
  channels?: 1 | 3;
}

export interface ResizeOptions {
  height: number;
  width: number;
  /**
   * `stretch` keeps everything and bends the aspect ratio, `cover` crops the longer side at the centre, `contain` pads with
   * black. Default `stretch`.
   */
  fit?: 'stretch' | 'cover' | 'contain';
  /** Default `bicubic`. */
  filter?: Filter;
}

/** An image that cannot be read. `path` says which. */
export class ImageError extends FormatError {
  readonly path: string;
  readonly reason: string;

  constructor(path: string, reason: string, options?: ErrorOptions) {
    super(`[image] ${path}: ${reason}`, options);
    this.path = path;
    this.reason = reason;
  }
}

export type ImageInput = string | Uint8Array;

/**
 * Decodes a JPEG, PNG or WebP file to 8-bit grey or sRGB: the EXIF rotation is applied, transparency laid on white, CMYK
 * and 16-bit samples are converted; of an animation the first frame. With `resize` the result has that size; a source
 * more than 4 times as large is first reduced to twice the size by the decoder, and never held whole.
 *
 * @throws ImageError, naming the file
 */
export async function decodeImage(input: ImageInput, options: DecodeOptions & { resize?: ResizeOptions } = {}): Promise<Image> {
  const { source, header } = await open(input, options);
  const { resize } = options;
  const upright = source.autoOrient();
  const image = await naming(input, options, () => toPixels(resize ? reduce(upright, header, resize) : upright, header.channels));
  return resize ? resizeImage(image, resize) : image;
}

/** Size and colour of an image after decoding, from its header alone. */
export async function probeImage(input: ImageInput, options: DecodeOptions = {}): Promise<Omit<Image, 'pixels'>> {
  return (await open(input, options)).header;
}

/** Resizes pixels in memory. */
export function resizeImage(image: Image, { height, width, fit = 'stretch', filter = 'bicubic' }: ResizeOptions): Image {
  const scaled = scaledSize(image, { height, width, fit });
  const sameSize = scaled.height === image.height && scaled.width === image.width;
  return place(sameSize ? image : resample(image, scaled.height, scaled.width, filter), height, width);
}

/** Encodes as PNG (lossless). */
export async function encodePng({ width, height, channels, pixels }: Image): Promise<Uint8Array> {
  if (pixels.byteLength !== width * height * channels) {
    throw new RangeError(`[image] ${height} x ${width} x ${channels} takes ${width * height * channels} bytes, got ${pixels.byteLength}`);
  }
  const source = (await sharp())(pixels, { raw: { width, height, channels }, limitInputPixels: false });
  return source
    .toColourspace(channels === 1 ? 'b-w' : 'srgb')
    .png({ compressionLevel: 9 })
    .toBuffer();
}

const defaultMaxPixels = 100_000_000;

/** Loaded when the first image is: it is a large native library. One thread an image: batches decode many images at once. */
let library: Promise<(input: Uint8Array, options: SharpOptions) => Sharp> | undefined;
function sharp(): NonNullable<typeof library> {
  library ??= import('sharp').then(({ default: sharp }) => {
    sharp.concurrency(1);
    sharp.cache(false);
    return sharp;
  });
  return library;
}

async function open(input: ImageInput, options: DecodeOptions): Promise<{ source: Sharp; header: Omit<Image, 'pixels'> }> {
  return naming(input, options, async () => {
    const bytes = typeof input === 'string' ? await readImage(input) : input;
    if (bytes.byteLength === 0) throw new Error('the file is empty');
    // The decoder knows many more formats, some with scripts and outside references.
    if (!imageFormat(bytes)) throw new Error('not a JPEG, PNG or WebP image');
    const source = (await sharp())(bytes, { limitInputPixels: false, failOn: 'error', pages: 1 });
    const { autoOrient, space, channels: samples } = await source.metadata();
    const { width, height } = autoOrient;
    const limit = options.maxPixels ?? defaultMaxPixels;
    if (width * height > limit) throw new Error(`${width} x ${height} pixels, the limit is ${limit}; raise maxPixels`);
    const channels = options.channels ?? (space === 'b-w' || space === 'grey16' || samples < 3 ? 1 : 3);
    return { source, header: { width, height, channels } };
  });
}

/** The bytes of a file. Of a pipe or a device they may never come, or never end. */
async function readImage(path: string): Promise<Uint8Array> {
  const found = await stat(path);
  if (!found.isFile() && !found.isDirectory()) throw new Error('it is no file but a pipe, a socket or a device');
  return readFile(path);
}

async function naming<T>(input: ImageInput, options: DecodeOptions, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    const name = options.name ?? (typeof input === 'string' ? input : 'image');
    const reason =
      systemReason(error) ??
      errorMessage(error)
        .trim()
        .split(/:?\s*\n\s*|:$/)
        .filter((part, i, parts) => part !== '' && parts.indexOf(part) === i)
        .join(': ');
    throw new ImageError(name, reason, { cause: error });
  }
}

/** The format that the first bytes announce. */
export function imageFormat(bytes: Uint8Array): 'jpeg' | 'png' | 'webp' | undefined {
  const head = String.fromCharCode(...bytes.subarray(0, 12));
  if (head.startsWith('\xff\xd8\xff')) return 'jpeg';
  if (head.startsWith('\x89PNG\r\n\x1a\n')) return 'png';
  if (head.startsWith('RIFF') && head.endsWith('WEBP')) return 'webp';
  return undefined;
}

async function toPixels(source: Sharp, channels: 1 | 3): Promise<Image> {
  const { data, info } = await source
    .flatten({ background: '#ffffff' })
    .toColourspace(channels === 1 ? 'b-w' : 'srgb')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  const { width, height } = info;
  const pixels = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (info.channels === channels) return { width, height, channels, pixels };
  throw new Error(`decoded to ${info.channels} channels, expected ${channels}`);
}

/** The size before cropping or padding. */
function scaledSize(
  from: { height: number; width: number },
  { height, width, fit = 'stretch' }: ResizeOptions,
): { height: number; width: number } {
  if (fit === 'stretch') return { height, width };
  const ratios = [width / from.width, height / from.height];
  const scale = fit === 'cover' ? Math.max(...ratios) : Math.min(...ratios);
  return { height: Math.max(1, Math.round(from.height * scale)), width: Math.max(1, Math.round(from.width * scale)) };
}

function reduce(source: Sharp, from: { height: number; width: number }, options: ResizeOptions): Sharp {
  const { height, width } = scaledSize(from, options);
  if (from.height <= 4 * height || from.width <= 4 * width) return source;
  return source.resize({ height: 2 * height, width: 2 * width, fit: 'fill', kernel: 'cubic' });
}

/** Centres an image in a black canvas; what stands out on a side is cropped. */
function place(image: Image, height: number, width: number): Image {
  if (height === image.height && width === image.width) return image;
  const { channels } = image;
  const pixels = new Uint8Array(height * width * channels);
  const top = Math.floor((height - image.height) / 2);
  const left = Math.floor((width - image.width) / 2);
  const from = Math.max(0, -left);
  const columns = Math.min(image.width - from, width);
  for (let y = Math.max(0, top); y < Math.min(height, top + image.height); y++) {
    const row = ((y - top) * image.width + from) * channels;
    pixels.set(image.pixels.subarray(row, row + columns * channels), (y * width + Math.max(0, left)) * channels);
  }
  return { width, height, channels, pixels };
}
