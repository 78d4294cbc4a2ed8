import { randomBytes } from 'node:crypto';
import * as nodeFs from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { printBytes, printPair } from '../bytes/index.ts';
import { errorCode, errorMessage } from './errors.ts';
import { writeWhole } from './whole.ts';

/** The file operations that an atomic write needs; tests inject faults here. */
export type AtomicFs = Pick<typeof nodeFs, 'open' | 'rename' | 'unlink' | 'readdir' | 'stat' | 'realpath' | 'statfs'>;

export interface AtomicOptions {
  /** Bytes that will be written, when known: checked against the free space before the first byte. */
  expectedBytes?: number;
  signal?: AbortSignal;
  fs?: AtomicFs;
}

export type Chunks = Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/**
 * Replaces `path` by the chunks, whole or not at all: whoever opens it, after a crash at any moment, sees the old file or
 * the new one. A temporary file in the same folder is written, synced to the disk and renamed, then the folder is synced.
 *
 * @returns the bytes written
 * @throws when the disk is full or the folder read-only; names bytes needed and free. The old file stays as it was.
 */
export async function writeFileAtomic(path: string, chunks: Chunks, options: AtomicOptions = {}): Promise<number> {
  const expected = chunks instanceof Uint8Array ? { expectedBytes: chunks.byteLength } : {};
  await using file = await openAtomic(path, { ...expected, ...options });
  for await (const chunk of chunks instanceof Uint8Array ? [chunks] : chunks) await file.write(chunk);
  await file.commit();
  return file.bytes;
}

/** Starts an atomic replacement of `path`: write, then `commit`. Leaving its scope without a commit removes the temporary file. */
export async function openAtomic(path: string, options: AtomicOptions = {}): Promise<AtomicFile> {
  const fs = options.fs ?? nodeFs;
  // A link is written through, as an ordinary write would.
  const target = await fs.realpath(path).catch(() => resolve(path));
  const found = await fs.stat(target).catch(() => undefined);
  if (found && !found.isFile()) throw new Error(`[io] cannot write ${path}: it is a folder or a device, no file; choose another name`);
  const folder = dirname(target);
  await removeStale(fs, folder, basename(target));
  const expected = options.expectedBytes ?? 0;
  const free = await freeBytes(fs, folder);
  if (expected > 0 && free !== undefined && free < expected) throw diskFull(path, expected, free);
  const temp = join(folder, `${tempPrefix(basename(target))}${process.pid}.${randomBytes(4).toString('hex')}.tmp`);
  try {
    return new AtomicFile(path, target, temp, await fs.open(temp, 'wx', found ? found.mode & 0o777 : 0o666), fs, options);
  } catch (error) {
    throw await explain(error, fs, path, folder, expected);
  }
}

export class AtomicFile implements AsyncDisposable {
  /** Length of the file so far. */
  bytes = 0;
  readonly path: string;
  readonly #target: string;
  readonly #temp: string;
  readonly #fs: AtomicFs;
  readonly #options: AtomicOptions;
  #handle: nodeFs.FileHandle | undefined;
  #renamed = false;

  /** Use `openAtomic`. */
  constructor(path: string, target: string, temp: string, handle: nodeFs.FileHandle, fs: AtomicFs, options: AtomicOptions) {
    this.path = path;
    this.#target = target;
    this.#temp = temp;
    this.#handle = handle;
    this.#fs = fs;
    this.#options = options;
  }

  /** Writes all of `chunk` at `position` (default: the end). */
  async write(chunk: Uint8Array, position = this.bytes): Promise<void> {
    this.#options.signal?.throwIfAborted();
    const handle = this.#open();
    try {
      await writeWhole(handle, chunk, position);
    } catch (error) {
      const needed = Math.max(this.#options.expectedBytes ?? 0, position + chunk.byteLength);
      await this.abort();
      throw await explain(error, this.#fs, this.path, dirname(this.#target), needed);
    }
    this.bytes = Math.max(this.bytes, position + chunk.byteLength);
  }

  /** Makes the new content the file. When this returns it is on the disk. */
  async commit(): Promise<void> {
    this.#options.signal?.throwIfAborted();
    const folder = dirname(this.#target);
    try {
      await this.#open().sync();
      await this.#close();
      await this.#fs.rename(this.#temp, this.#target);
      this.#renamed = true;
    } catch (error) {
      await this.abort();
      throw await explain(error, this.#fs, this.path, folder, Math.max(this.#options.expectedBytes ?? 0, this.bytes));
    }
    await syncFolder(this.#fs, folder);
  }

  /** Gives up: the temporary file goes, the old file stays. */
  async abort(): Promise<void> {
    await this.#close().catch(() => {});
    if (!this.#renamed) await this.#fs.unlink(this.#temp).catch(() => {});
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.abort();
  }

  #open(): nodeFs.FileHandle {
    if (!this.#handle) throw new Error(`[io] ${this.path}: this atomic write has ended; open a new one`);
    return this.#handle;
  }

  async #close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close();
  }
}

/** The host is part of the name: a process id means nothing to another machine that shares the folder. */
function tempPrefix(base: string): string {
  return `.${base}.${hostname().replace(/[^\w-]/g, '_')}.`;
}

/** Removes temporary files of this target whose writer is dead. */
async function removeStale(fs: AtomicFs, folder: string, base: string): Promise<void> {
  const prefix = tempPrefix(base);
  const names = await fs.readdir(folder).catch(() => [] as string[]);
  for (const name of names) {
    const pid = name.startsWith(prefix) && /^(\d+)\.[0-9a-f]{8}\.tmp$/.exec(name.slice(prefix.length))?.[1];
    const path = join(folder, name);
    if (pid && !(await writerLives(fs, Number(pid), path))) await fs.unlink(path).catch(() => {});
  }
}

async function writerLives(fs: AtomicFs, pid: number, temp: string): Promise<boolean> {
  if (pid === process.pid) {
    // In a container every run has the same process id: what is older than this process is not ours.
    const started = Date.now() - process.uptime() * 1000;
    return fs.stat(temp).then(
      (s) => s.mtimeMs >= started - 1000,
      () => true,
    );
  }
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) !== 'ESRCH';
  }
}

async function syncFolder(fs: AtomicFs, folder: string): Promise<void> {
  const handle = await fs.open(folder, 'r').catch(() => undefined); // Windows opens no folders
  try {
    await handle?.sync();
  } catch (error) {
    // Some file systems cannot sync a folder; a real I/O error must be heard.
    if (!['EINVAL', 'EPERM', 'ENOTSUP', 'ENOSYS'].includes(errorCode(error) ?? '')) throw error;
  } finally {
    await handle?.close();
  }
}

async function freeBytes(fs: AtomicFs, folder: string): Promise<number | undefined> {
  return fs.statfs(folder).then(
    (s) => s.bavail * s.bsize,
    () => undefined,
  );
}

function diskFull(path: string, needed: number, free: number | undefined, cause?: unknown): Error {
  const [least, room] = free === undefined ? [printBytes(needed), 'an unknown number'] : printPair(needed, free);
  return Object.assign(
    new Error(
      `[io] cannot write ${path}: at least ${least} needed, ${room} free on its disk; ` +
        'free some space or choose another folder (the old file is untouched)',
      { cause },
    ),
    { code: 'ENOSPC' },
  );
}

async function explain(error: unknown, fs: AtomicFs, path: string, folder: string, needed: number): Promise<unknown> {
  const code = errorCode(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') return diskFull(path, needed, await freeBytes(fs, folder), error);
  const why =
    code === 'EROFS' || code === 'EACCES' || code === 'EPERM'
      ? 'is read-only for this user; choose another folder'
      : code === 'ENOENT' || code === 'ENOTDIR'
        ? 'is not a folder; create it first'
        : undefined;
  if (code === undefined) return error;
  if (!why)
    return Object.assign(new Error(`[io] cannot write ${path}: ${errorMessage(error)} (the old file is untouched)`, { cause: error }), {
      code,
    });
  const free = await freeBytes(fs, folder);
  const room = needed > 0 && free !== undefined ? ` (${printPair(needed, free).join(' needed, ')} free)` : '';
  return Object.assign(new Error(`[io] cannot write ${path}: ${folder} ${why}${room}`, { cause: error }), { code });
}
