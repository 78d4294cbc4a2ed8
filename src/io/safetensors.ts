import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { printPair } from '../bytes/index.ts';
import { type DType, itemSize } from '../tensor/dtype.ts';
import { openAtomic } from './atomic.ts';
import { cannotOpen, FormatError } from './errors.ts';
import { encodeHeader, type Header, parseHeader, type StoredTensor, sealDigest } from './safetensors-header.ts';
import { hashWhole, readWhole } from './whole.ts';

/** A tensor as io speaks of it: little-endian elements in row-major order. */
export interface TensorRecord {
  dtype: DType;
  shape: number[];
  data: Uint8Array;
}

/** What the writer takes: the bytes, or a function that brings them when their turn comes. */
export interface TensorSource {
  dtype: DType;
  shape: readonly number[];
  data: Uint8Array | (() => Uint8Array | Promise<Uint8Array>);
}

export type TensorSources = ReadonlyMap<string, TensorSource> | Readonly<Record<string, TensorSource>>;

export interface WriteOptions {
  metadata?: Readonly<Record<string, string>>;
  signal?: AbortSignal;
}

/**
 * Writes a safetensors file atomically, one tensor in memory at a time. Wider element types come first, so that every
 * tensor is aligned to its elements. The metadata gains `thimble.sha256`, the seal that `openSafetensors` checks.
 * Format: https://huggingface.co/docs/safetensors
 *
 * @returns the file's bytes
 */
export async function writeSafetensors(path: string, tensors: TensorSources, options: WriteOptions = {}): Promise<number> {
  const entries: [string, TensorSource][] = tensors instanceof Map ? [...tensors] : Object.entries(tensors);
  entries.sort(([, a], [, b]) => itemSize[b.dtype] - itemSize[a.dtype]);
  const { header, digestAt, dataBytes } = encodeHeader(entries, options.metadata ?? {});
  const expectedBytes = header.byteLength + dataBytes;
  await using file = await openAtomic(path, { expectedBytes, ...(options.signal ? { signal: options.signal } : {}) });
  const hash = createHash('sha256').update(header);
  await file.write(header);
  for (const [name, { dtype, shape, data }] of entries) {
    const bytes = typeof data === 'function' ? await data() : data;
    const span = shape.reduce((a, b) => a * b, itemSize[dtype]);
    if (bytes.byteLength !== span) {
      throw new RangeError(`[safetensors] ${name}: ${dtype} [${shape}] takes ${span} bytes, got ${bytes.byteLength}`);
    }
    hashWhole(hash, bytes);
    await file.write(bytes);
  }
  await file.write(Buffer.from(hash.digest('hex')), digestAt);
  await file.commit();
  return file.bytes;
}

export interface OpenOptions {
  /** Check the seal of files that have one, by reading them once (about 1.5 GB/s). Default true. */
  verify?: boolean;
}

/**
 * Opens a safetensors file for lazy reads. Its header is checked whole before anything is allocated for a tensor.
 *
 * @throws Error with code ENOENT when there is none; FormatError when it does not follow the format, is truncated, or does not match its own seal
 */
export async function openSafetensors(path: string, options: OpenOptions = {}): Promise<SafetensorsFile> {
  const handle = await open(path, 'r').catch((error: unknown) => {
    throw cannotOpen('safetensors', path, error);
  });
  try {
    const found = await handle.stat();
    if (found.isDirectory()) throw new FormatError(`[safetensors] ${path} is a folder, not a safetensors file`);
    const { size } = found;
    const prefix = new Uint8Array(8);
    if (size < 8) throw new FormatError(`[safetensors] ${path}: ${size} bytes, a header needs at least 8`);
    await readFully(handle, path, prefix, 0);
    const length = Number(new DataView(prefix.buffer).getBigUint64(0, true));
    if (length > size - 8) {
      throw new FormatError(`[safetensors] ${path}: header of ${length} bytes in a file of ${size}; truncated or not safetensors`);
    }
    if (length > maxHeaderBytes) {
      const [found, most] = printPair(length, maxHeaderBytes);
      throw new FormatError(`[safetensors] ${path}: header of ${found}, the format allows ${most}`);
    }
    const text = new Uint8Array(length);
    await readFully(handle, path, text, 8);
    const header = parseHeader(text, size - 8 - length, path);
    if (options.verify ?? true) await verify(handle, path, size, prefix, text);
    return new SafetensorsFile(path, handle, size, header, 8 + length);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** The limit of the reference implementation. */
const maxHeaderBytes = 100_000_000;

export class SafetensorsFile implements AsyncDisposable {
  readonly path: string;
  readonly fileBytes: number;
  readonly metadata: Readonly<Record<string, string>>;
  /** Names in the order of the file. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly #handle: FileHandle;
  readonly #dataStart: number;

  /** Use `openSafetensors`. */
  constructor(path: string, handle: FileHandle, fileBytes: number, header: Header, dataStart: number) {
    this.path = path;
    this.fileBytes = fileBytes;
    this.metadata = header.metadata;
    this.tensors = header.tensors;
    this.#handle = handle;
    this.#dataStart = dataStart;
  }

  /** Reads one tensor, into the head of `out` when that is given. */
  async read(name: string, out?: Uint8Array): Promise<TensorRecord> {
    const stored = this.tensors.get(name);
    if (!stored) throw new RangeError(`[safetensors] ${this.path} has no tensor ${name}; it has ${listNames(this.tensors.keys())}`);
    if (!stored.dtype) {
      throw new FormatError(
        `[safetensors] ${this.path}: ${name} is ${stored.storedType}, which is not read; convert it to F32, F16 or BF16`,
      );
    }
    if (out && out.byteLength < stored.byteLength) {
      throw new RangeError(`[safetensors] ${name} takes ${stored.byteLength} bytes, the buffer has ${out.byteLength}`);
    }
    const data = out ? out.subarray(0, stored.byteLength) : new Uint8Array(stored.byteLength);
    await readFully(this.#handle, this.path, data, this.#dataStart + stored.byteOffset);
    return { dtype: stored.dtype, shape: [...stored.shape], data };
  }

  close(): Promise<void> {
    return this.#handle.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Reads a whole file: small models, tests. */
export async function readSafetensors(
  path: string,
  options: OpenOptions = {},
): Promise<{ metadata: Readonly<Record<string, string>>; tensors: Map<string, TensorRecord> }> {
  await using file = await openSafetensors(path, options);
  const tensors = new Map<string, TensorRecord>();
  for (const name of file.tensors.keys()) tensors.set(name, await file.read(name));
  return { metadata: file.metadata, tensors };
}

/** Compares the file with its seal: the SHA-256 of all its bytes, with the seal's own digits read as zeros. */
async function verify(handle: FileHandle, path: string, size: number, prefix: Uint8Array, text: Uint8Array): Promise<void> {
  const seal = sealDigest(text, path);
  if (!seal) return;
  const hash = createHash('sha256').update(prefix).update(seal.unsealed);
  const block = new Uint8Array(Math.min(1 << 20, size));
  for (let at = 8 + text.byteLength; at < size; at += block.byteLength) {
    const part = block.subarray(0, Math.min(block.byteLength, size - at));
    await readFully(handle, path, part, at);
    hash.update(part);
  }
  if (hash.digest('hex') !== seal.digest) {
    throw new FormatError(`[safetensors] ${path} is damaged: its content does not match its checksum; restore it from a copy`);
  }
}

async function readFully(handle: FileHandle, path: string, into: Uint8Array, position: number): Promise<void> {
  const there = await readWhole(handle, into, position);
  if (there < into.byteLength) throw new FormatError(`[safetensors] ${path} ends at byte ${position + there}; it was cut while open`);
}

function listNames(names: Iterable<string>): string {
  const all = [...names];
  return all.length === 0 ? 'none' : all.slice(0, 5).join(', ') + (all.length > 5 ? ` and ${all.length - 5} more` : '');
}
