import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { createBrotliDecompress, createGunzip } from 'node:zlib';
import { printPair } from '../bytes/index.ts';
import { errorCode, errorMessage, FormatError } from '../io/errors.ts';
import type { ImageShape } from './image-set.ts';
import { PackedImages } from './packed.ts';

/** An array of unsigned bytes. */
export interface IdxArray {
  dims: number[];
  data: Uint8Array;
}

export interface IdxOptions {
  /** Names of the labels 0, 1, ...; default the numbers. */
  classes?: readonly string[];
  signal?: AbortSignal;
  /** Refuse arrays larger than this. Default 4 GiB. */
  maxBytes?: number;
}

/** Opens a pair of IDX files (http://yann.lecun.com/exdb/mnist), plain, .gz or .br, into memory. The labels' path is guessed if not given. */
export async function openIdx(
  imagesPath: string,
  labelsPath = guessLabelsPath(imagesPath),
  options: IdxOptions = {},
): Promise<PackedImages> {
  const images = await readIdx(imagesPath, options);
  const labels = await readIdx(labelsPath, options);
  const [size, height, width, channels = 1] = images.dims;
  if (!size || !height || !width || images.dims.length > 4 || (channels !== 1 && channels !== 3)) {
    throw new FormatError(`[idx] ${imagesPath}: dimensions [${images.dims}] are not images; expected [n, h, w] or [n, h, w, 3]`);
  }
  if (labels.dims.length !== 1) throw new FormatError(`[idx] ${labelsPath}: dimensions [${labels.dims}] are not labels; expected [n]`);
  if (labels.dims[0] !== size) {
    throw new FormatError(`[idx] ${imagesPath} has ${size} images, ${labelsPath} has ${labels.dims[0]} labels; are they a pair?`);
  }
  const largest = labels.data.reduce((a, b) => Math.max(a, b), 0);
  const classes = options.classes ?? Array.from({ length: largest + 1 }, (_, c) => String(c));
  if (largest >= classes.length) throw new FormatError(`[idx] ${labelsPath}: label ${largest}, there are ${classes.length} classes`);
  const shape: ImageShape = [height, width, channels];
  return new PackedImages({ pixels: images.data, labels: labels.data, shape, classes, source: imagesPath });
}

/** `train-images-idx3-ubyte.gz` -> `train-labels-idx1-ubyte.gz` */
export function guessLabelsPath(imagesPath: string): string {
  const name = basename(imagesPath);
  const labels = name.replace('images', 'labels').replace(/idx[34]/, 'idx1');
  if (labels === name)
    throw new Error(
      `[idx] cannot guess the labels of ${imagesPath}; call the two ...images-idx3-ubyte and ...labels-idx1-ubyte, or name the labels too`,
    );
  return join(dirname(imagesPath), labels);
}

/** Reads one IDX file of unsigned bytes. Memory is taken as bytes arrive, never on the word of the header. */
export async function readIdx(path: string, { signal, maxBytes = 2 ** 32 }: IdxOptions = {}): Promise<IdxArray> {
  const chunks: Buffer[] = [];
  let got = 0;
  let head: { bytes: number; dims: number[] } | undefined;
  let limit = Number.POSITIVE_INFINITY;
  try {
    for await (const chunk of content(path, signal)) {
      chunks.push(chunk);
      got += chunk.length;
      if (!head) {
        const start = Buffer.concat(chunks);
        head = parseHead(start, path);
        if (!head) continue;
        chunks.splice(0, chunks.length, start);
        limit = head.bytes + elements(head.dims);
        if (limit > maxBytes) {
          const [takes, most] = printPair(limit, maxBytes);
          throw new FormatError(`[idx] ${path}: [${head.dims}] takes ${takes}, the limit is ${most}`);
        }
      }
      if (got > limit) throw new FormatError(`[idx] ${path}: more bytes than its header [${head.dims}] says (${limit})`);
    }
  } catch (error) {
    if (error instanceof FormatError || signal?.aborted) throw error;
    if (errorCode(error) === 'ENOENT') throw new Error(`[idx] ${path}: no such file`, { cause: error });
    throw new FormatError(`[idx] ${path}: cannot be read or unpacked after ${got} bytes: ${errorMessage(error)}`, { cause: error });
  }
  if (!head || got < limit) {
    throw new FormatError(
      `[idx] ${path} is truncated: ${got} bytes, ${head ? `its header [${head.dims}] says ${limit}` : 'a header needs more'}`,
    );
  }
  // One array of its own, so that nothing else keeps the header's chunk alive.
  const data = new Uint8Array(limit - head.bytes);
  let at = -head.bytes;
  for (const chunk of chunks) {
    data.set(at < 0 ? chunk.subarray(-at) : chunk, Math.max(0, at));
    at += chunk.length;
  }
  return { dims: head.dims, data };
}

async function* content(path: string, signal: AbortSignal | undefined): AsyncGenerator<Buffer, void, undefined> {
  const { size } = await stat(path);
  if (size === 0) throw new FormatError(`[idx] ${path}: the file is empty`);
  const file = createReadStream(path, { highWaterMark: 1 << 20, ...(signal ? { signal } : {}) });
  const inflate = path.endsWith('.gz') ? createGunzip : path.endsWith('.br') ? createBrotliDecompress : undefined;
  const unpacked = inflate?.({ chunkSize: 1 << 20 });
  if (unpacked) file.on('error', (error) => unpacked.destroy(error)).pipe(unpacked);
  try {
    yield* unpacked ?? file;
  } finally {
    file.destroy();
    unpacked?.destroy();
  }
}

/** The header if it is whole: two zeros, the type (8: unsigned byte), the number of dimensions, then each as big-endian u32. */
function parseHead(start: Buffer, path: string): { bytes: number; dims: number[] } | undefined {
  if (start.length < 4) return undefined;
  const [zero, zero2, type, rank] = start as unknown as [number, number, number, number];
  if (zero !== 0 || zero2 !== 0 || type !== 8 || rank < 1 || rank > 4) {
    throw new FormatError(`[idx] ${path}: begins with ${start.toString('hex', 0, 4)}, not an IDX file of unsigned bytes (0000080n)`);
  }
  const bytes = 4 + 4 * rank;
  if (start.length < bytes) return undefined;
  return { bytes, dims: Array.from({ length: rank }, (_, d) => start.readUInt32BE(4 + 4 * d)) };
}

function elements(dims: readonly number[]): number {
  return dims.reduce((a, b) => a * b, 1);
}
