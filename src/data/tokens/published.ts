/**
 * SeiT's published files (github.com/naver-ai/seit, README and data layout): `*data.bin`, the gzipped escape8 stream of all images;
 * `*index.npy`, a gzipped NumPy array start[N+1] of uint64 (byte spans in the stream); a text file with one class number per line.
 */
import { closeSync, createReadStream, createWriteStream, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import { FormatError } from '../../io/errors.ts';
import { checkK } from './codec.ts';
import { decodeEscape8, encodeEscape8, escape8 } from './escape8.ts';
import type { TokenStore } from './store.ts';
import type { TokenStoreWriter } from './writer.ts';

export interface PublishedFiles {
  /** The token stream, `data.bin`. */
  data: string;
  /** The starts, `index.npy`. */
  index: string;
  /** One class number per line. */
  labels: string;
}

/** Longest labels file that is read: 2^24 images of up to 6 characters each. */
const MAX_LABELS_BYTES = 6 << 24;
const NPY_MAGIC = Buffer.from('\x93NUMPY', 'latin1');
const MAX_NPY_HEADER = 1 << 16;

/** Writes a store in the published layout. @throws RangeError for K > 510 or a store without classes. */
export async function exportPublished(store: TokenStore, files: PublishedFiles): Promise<void> {
  checkK(escape8, store.K);
  const labels = store.labels();
  const starts = new BigUint64Array(store.size + 1);
  const stream = function* (): Generator<Buffer> {
    let end = 0;
    for (const { index, tokens } of store) {
      const span = Buffer.alloc(2 * tokens.length);
      const length = encodeEscape8(tokens, span, 0);
      starts[index + 1] = BigInt((end += length));
      yield span.subarray(0, length);
    }
  };
  await pipeline(Readable.from(stream()), createGzip({ level: 9 }), createWriteStream(files.data));
  await pipeline(Readable.from([npy(starts)]), createGzip({ level: 9 }), createWriteStream(files.index));
  await pipeline(Readable.from(lines(labels)), createWriteStream(files.labels));
}

/**
 * Appends published tokens (gzipped or plain) to a store whose grid and K fit; goes on at image `writer.size`, so that a writer that
 * was killed resumes. The stream is never held whole. The caller finishes the writer. Returns the images appended.
 * @throws FormatError that names the file and the image where the three files disagree or a span is malformed.
 */
export async function importPublished(files: PublishedFiles, writer: TokenStoreWriter): Promise<number> {
  const { K, grid } = writer.description;
  const perImage = grid[0] * grid[1];
  const labels = readLabels(files.labels);
  const starts = await readStarts(files.index, labels.length);
  const from = writer.size;
  const tokens = new Uint16Array(perImage);
  let image = 0;
  let held: Buffer = Buffer.alloc(0);
  for (let i = 0; i < labels.length; i++) {
    const length = Number(starts[i + 1]! - starts[i]!);
    if (length < perImage || length > 2 * perImage)
      throw new FormatError(
        `[published] ${files.index}: image ${i} has ${length} bytes; ${perImage} tokens take ${perImage} to ${2 * perImage}`,
      );
  }
  if (starts[0] !== 0n) throw new FormatError(`[published] ${files.index}: the first image starts at ${starts[0]}, not 0`);
  for await (const chunk of chunksOf(files.data)) {
    held = held.length ? Buffer.concat([held, chunk]) : chunk;
    let at = 0;
    for (; image < labels.length; image++) {
      const length = Number(starts[image + 1]! - starts[image]!);
      if (at + length > held.length) break;
      if (image >= from) {
        try {
          decodeEscape8(held.subarray(at, at + length), perImage, K, tokens, 0);
        } catch (error) {
          throw new FormatError(`[published] ${files.data}: image ${image}: ${(error as Error).message}`);
        }
        writer.append(tokens, labels[image]);
      }
      at += length;
    }
    held = held.subarray(at);
    if (image === labels.length && held.length > 0) break;
  }
  if (image < labels.length) throw new FormatError(`[published] ${files.data} ends within image ${image} of ${labels.length}`);
  if (held.length > 0)
    throw new FormatError(`[published] ${files.data} goes on after its ${labels.length} images (${starts.at(-1)} bytes)`);
  return Math.max(0, labels.length - from);
}

function readLabels(path: string): Uint32Array {
  const size = statSync(path).size;
  if (size > MAX_LABELS_BYTES) throw new FormatError(`[published] ${path} has ${size} bytes, at most ${MAX_LABELS_BYTES} are read`);
  const rows = readFileSync(path, 'latin1').trimEnd().split('\n');
  return Uint32Array.from(rows, (row, i) => {
    if (!/^\s*\d{1,5}\s*$/.test(row))
      throw new FormatError(`[published] ${path}: line ${i + 1} is ${JSON.stringify(row.slice(0, 40))}, not a class number`);
    return Number(row);
  });
}

/** The array start[images + 1] of an .npy file (NumPy Enhancement Proposal 1), version 1 or 2, uint64 or int64. */
async function readStarts(path: string, images: number): Promise<BigUint64Array> {
  const bytes = 8 * (images + 1);
  const parts: Buffer[] = [];
  let length = 0;
  for await (const chunk of chunksOf(path)) {
    parts.push(chunk);
    if ((length += chunk.length) > bytes + MAX_NPY_HEADER)
      throw new FormatError(`[published] ${path} has more than ${bytes} bytes, what ${images} labels need`);
  }
  const file = Buffer.concat(parts);
  if (file.length < 12 || !file.subarray(0, 6).equals(NPY_MAGIC)) throw new FormatError(`[published] ${path} is no .npy array`);
  const wide = file[6]! >= 2;
  const headerEnd = wide ? 12 + file.readUInt32LE(8) : 10 + file.readUInt16LE(8);
  const header = file.subarray(wide ? 12 : 10, Math.min(headerEnd, file.length)).toString('latin1');
  if (!/'descr':\s*'<[ui]8'/.test(header) || !/'shape':\s*\(\s*\d+\s*,\s*\)/.test(header))
    throw new FormatError(`[published] ${path} holds ${JSON.stringify(header.slice(0, 120))}, not one row of 64-bit integers`);
  if (file.length - headerEnd !== bytes)
    throw new FormatError(`[published] ${path} holds ${(file.length - headerEnd) / 8} starts, ${images} labels need ${images + 1}`);
  return BigUint64Array.from({ length: images + 1 }, (_, i) => file.readBigUInt64LE(headerEnd + 8 * i));
}

function npy(starts: BigUint64Array): Buffer {
  const dict = `{'descr': '<u8', 'fortran_order': False, 'shape': (${starts.length},), }`;
  const total = Math.ceil((10 + dict.length + 1) / 64) * 64;
  const out = Buffer.alloc(total + 8 * starts.length, ' ');
  NPY_MAGIC.copy(out);
  out.writeUInt16LE(1, 6);
  out.writeUInt16LE(total - 10, 8);
  out.write(`${dict}${' '.repeat(total - 11 - dict.length)}\n`, 10, 'latin1');
  starts.forEach((start, i) => out.writeBigUInt64LE(start, total + 8 * i));
  return out;
}

function* lines(labels: Uint16Array): Generator<string> {
  for (let from = 0; from < labels.length; from += 4096) yield `${labels.subarray(from, from + 4096).join('\n')}\n`;
}

/** The content of a file that may be gzipped. */
async function* chunksOf(path: string): AsyncGenerator<Buffer> {
  const magic = Buffer.alloc(2);
  const fd = openSync(path, 'r');
  readSync(fd, magic, 0, 2, 0);
  closeSync(fd);
  const file = createReadStream(path, { highWaterMark: 1 << 18 });
  try {
    if (magic[0] !== 0x1f || magic[1] !== 0x8b) return yield* file;
    const gunzip = createGunzip();
    file.on('error', (error) => gunzip.destroy(error));
    yield* file.pipe(gunzip);
  } catch (error) {
    throw new FormatError(`[published] ${path} cannot be read: ${(error as Error).message}`, { cause: error });
  } finally {
    file.destroy();
  }
}
