import { closeSync, existsSync, fsyncSync, ftruncateSync, openSync, renameSync, unlinkSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { crc32c } from './crc32c.ts';
import { errorCode, errorMessage } from './errors.ts';
import {
  type Commit,
  encodeCommit,
  encodeHeader,
  type FrameHeader,
  HEADER_PREFIX,
  type Json,
  type Section,
  sectionStart,
} from './frame-format.ts';
import { FrameReader } from './frame-reader.ts';
import { FileLock } from './lock.ts';
import { MOST_AT_ONCE } from './whole.ts';

interface Start {
  path: string;
  /** Where the file lies until its first commit. */
  hidden: string | undefined;
  fd: number;
  lock: FileLock;
  fileId: number;
  end: number;
  last: Commit['prev'];
  seq: number;
  names: Iterable<string>;
  state: Json;
}

/**
 * Appends sections to a frames file. What `commit` returned from survives a crash at any later byte; what was appended
 * since does not exist for readers, and is cut off when the next writer resumes. One writer at a time: a lock file says who.
 */
export class FrameWriter {
  readonly path: string;
  /** The note of the last commit: where to go on. */
  state: Json;
  #hidden: string | undefined;
  readonly #fd: number;
  readonly #lock: FileLock;
  readonly #fileId: number;
  readonly #names: Set<string>;
  #pending: Section[] = [];
  #committed: number;
  #end: number;
  #seq: number;
  #last: Commit['prev'];
  #status: 'open' | 'closed' | 'broken' = 'open';

  /** Use `create` or `resume`. */
  constructor(start: Start) {
    this.path = start.path;
    this.state = start.state;
    this.#hidden = start.hidden;
    this.#fd = start.fd;
    this.#lock = start.lock;
    this.#fileId = start.fileId;
    this.#names = new Set(start.names);
    this.#committed = this.#end = start.end;
    this.#seq = start.seq;
    this.#last = start.last;
  }

  /**
   * A new file. It appears at `path` with its first commit; until then a file that was there stays.
   * @throws Error if `path` exists (unless `overwrite`), is being written, or cannot be.
   */
  static create(path: string, header: FrameHeader, { overwrite = false } = {}): FrameWriter {
    const bytes = encodeHeader(header);
    return locked(path, (lock) => {
      if (!overwrite && existsSync(path)) throw new Error(`[frames] ${path} exists; resume it, choose another name, or overwrite it`);
      const hidden = `${path}.new`; // may be there from a killed writer: the lock says that it is ours to replace
      const fd = openSync(hidden, 'w+');
      try {
        writeAll(fd, bytes, 0, path);
      } catch (error) {
        closeSync(fd);
        unlinkSync(hidden);
        throw error;
      }
      const fileId = bytes.readUInt32LE(HEADER_PREFIX - 4);
      return new FrameWriter({ path, hidden, fd, lock, fileId, end: bytes.length, last: null, seq: 0, names: [], state: null });
    });
  }

  /** Goes on after the last commit; the tail behind it is cut off. @throws FormatError as `FrameReader`; Error if it is being written. */
  static resume(path: string, kind?: string): FrameWriter {
    return locked(path, (lock) => {
      using reader = new FrameReader(path, kind);
      const { commit, first, length, crc, fileId } = reader.last;
      const fd = openSync(path, 'r+');
      try {
        // Write the last commit again: one of its copies may be torn or damaged.
        writeAll(fd, encodeCommit(commit, first, fileId).pair, first, path);
        ftruncateSync(fd, reader.committedBytes);
        fsyncSync(fd);
      } catch (error) {
        closeSync(fd);
        throw error;
      }
      const last = { first, length, crc };
      return new FrameWriter({
        path,
        hidden: undefined,
        fd,
        lock,
        fileId,
        end: reader.committedBytes,
        last,
        seq: commit.seq + 1,
        names: reader.sections.map((s) => s.name),
        state: commit.state,
      });
    });
  }

  has(name: string): boolean {
    return this.#names.has(name);
  }

  /** Writes a section; it counts only after `commit`. @throws Error if the name is taken or the disk is full (then nothing is appended). */
  append(name: string, content: Uint8Array, meta?: Json): Section {
    this.#check();
    if (this.#names.has(name)) throw new Error(`[frames] ${this.path} has a section '${name}' already; sections are never replaced`);
    const offset = sectionStart(this.#end, content.length);
    writeAll(this.#fd, content, offset, this.path);
    const section: Section = { name, offset, length: content.length, crc: crc32c(content), meta };
    this.#names.add(name);
    this.#pending.push(section);
    this.#end = offset + content.length;
    return section;
  }

  /**
   * Makes all sections so far durable. When this returns they are on the disk.
   * @param note.final the file is complete; @param note.state where to go on, for whoever resumes.
   * @throws Error if the disk is full (free space and call again), or fails (then this writer is of no more use: resume).
   */
  commit({ final = false, state = this.state }: { final?: boolean; state?: Json } = {}): void {
    this.#check();
    if (!this.#lock.held())
      throw new Error(
        `[frames] ${this.path}: ${this.#lock.path} was removed or taken over; another writer may be at work, so this one stops`,
      );
    const { pair, length, crc } = encodeCommit(
      { seq: this.#seq, prev: this.#last, final, state, sections: this.#pending },
      this.#end,
      this.#fileId,
    );
    this.#sync();
    writeAll(this.#fd, pair, this.#end, this.path);
    this.#sync();
    if (this.#hidden !== undefined) {
      renameSync(this.#hidden, this.path);
      this.#hidden = undefined;
      syncFolder(this.path);
    }
    this.#last = { first: this.#end, length, crc };
    this.#committed = this.#end += pair.length;
    this.#seq++;
    this.#pending = [];
    this.state = state;
  }

  /** Ends writing; sections since the last commit are dropped. */
  close(): void {
    if (this.#status === 'closed') return;
    const mine = this.#lock.held();
    const cut = mine && this.#status === 'open' && this.#end > this.#committed;
    this.#status = 'closed';
    try {
      if (cut) ftruncateSync(this.#fd, this.#committed);
    } finally {
      closeSync(this.#fd);
      if (mine && this.#hidden !== undefined) unlinkSync(this.#hidden);
      this.#lock.release();
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #check(): void {
    if (this.#status !== 'open') throw new Error(`[frames] this writer of ${this.path} is ${this.#status}; resume the file`);
  }

  /** After a failed sync the system may have dropped the pages it could not write: what is on disk is unknown. */
  #sync(): void {
    try {
      fsyncSync(this.#fd);
    } catch (error) {
      this.#status = 'broken';
      throw explain(error, this.path);
    }
  }
}

function locked<T>(path: string, work: (lock: FileLock) => T): T {
  const lock = new FileLock(path);
  try {
    return work(lock);
  } catch (error) {
    lock.release();
    throw error;
  }
}

function writeAll(fd: number, bytes: Uint8Array, offset: number, path: string): void {
  try {
    for (let done = 0; done < bytes.length; )
      done += writeSync(fd, bytes, done, Math.min(MOST_AT_ONCE, bytes.length - done), offset + done);
  } catch (error) {
    throw explain(error, path);
  }
}

function explain(error: unknown, path: string): unknown {
  const code = errorCode(error);
  if (code === undefined) return error;
  const why =
    code === 'ENOSPC' || code === 'EDQUOT'
      ? `the disk of ${path} is full; what was committed is safe: free some space and resume`
      : `cannot write ${path}: ${errorMessage(error)}; what was committed is safe`;
  return Object.assign(new Error(`[frames] ${why}`, { cause: error }), { code });
}

function syncFolder(path: string): void {
  let fd: number | undefined;
  try {
    fd = openSync(dirname(path), 'r');
    fsyncSync(fd);
  } catch (error) {
    // Windows opens no folders, some file systems cannot sync them; a real I/O error must be heard.
    if (errorCode(error) === 'EIO') throw error;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
