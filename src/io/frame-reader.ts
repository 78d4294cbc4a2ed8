import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { crc32c } from './crc32c.ts';
import { cannotOpen, FormatError } from './errors.ts';
import {
  COMMIT_MAGIC,
  type Commit,
  decodeCommit,
  decodeHeader,
  decodeTrailer,
  FRAMES_VERSION,
  type FrameHeader,
  HEADER_MAGIC,
  HEADER_PREFIX,
  type Json,
  MAX_JSON_BYTES,
  type Section,
  TRAILER_BYTES,
} from './frame-format.ts';
import { MOST_AT_ONCE } from './whole.ts';

const WINDOW = 1 << 20;
/** Well-formed trailers of unreadable commits: honest damage leaves one or two. */
const MAX_DAMAGED_COMMITS = 64;

/** A frames file as of its last commit, by positional reads. What came after that commit is not seen. */
export class FrameReader {
  readonly path: string;
  readonly header: FrameHeader;
  /** All committed sections, oldest first. */
  readonly sections: readonly Section[];
  /** The writer declared the file complete. */
  readonly final: boolean;
  /** The note of the last commit. */
  readonly state: Json;
  /** Bytes up to the end of the last commit, and bytes of the file: the rest is a torn or unfinished tail. */
  readonly committedBytes: number;
  readonly fileBytes: number;
  /** What a writer needs to go on. */
  readonly last: { commit: Commit; first: number; length: number; crc: number; fileId: number };
  readonly #byName: Map<string, Section>;
  readonly #size: number;
  #fd: number | undefined;

  /**
   * Opens the last commit of `path`; `kind` is what the caller expects it to hold.
   * @throws FormatError for a file that is not frames, of another kind or version, without a commit, or damaged.
   */
  constructor(path: string, kind?: string) {
    this.path = path;
    this.#fd = openExisting(path);
    try {
      const found = fstatSync(this.#fd);
      if (found.isDirectory()) this.#fail('it is a folder');
      this.#size = found.size;
      this.fileBytes = this.#size;
      const { header, headerEnd, fileId } = this.#readHeader();
      if (kind !== undefined && header.kind !== kind) this.#fail(`it holds '${header.kind}', not '${kind}'`);
      const last = this.#findLast(fileId, headerEnd);
      this.header = header;
      this.last = { ...last, fileId };
      this.final = last.commit.final;
      this.state = last.commit.state;
      this.committedBytes = last.first + 2 * (last.length + TRAILER_BYTES);
      this.sections = this.#collect(last.commit, fileId, headerEnd);
      this.#byName = new Map(this.sections.map((section) => [section.name, section]));
      if (this.#byName.size !== this.sections.length) this.#fail('two sections have the same name');
    } catch (error) {
      this.close();
      if (error instanceof FormatError && !error.message.startsWith('[frames]'))
        throw new FormatError(`[frames] ${path}: ${error.message}`, { cause: error });
      throw error;
    }
  }

  /** The section of this name, if there is one. */
  find(name: string): Section | undefined {
    return this.#byName.get(name);
  }

  /** @throws FormatError where there is no such section. */
  get(name: string): Section {
    return (
      this.find(name) ??
      this.#fail(
        `it has no section '${name}'; it has ${
          this.sections.length
            ? this.sections
                .slice(0, 8)
                .map((s) => s.name)
                .join(', ')
            : 'none'
        }`,
      )
    );
  }

  /** Bytes [from, from + length) of a section, unverified: see `verify`. @throws RangeError outside the section. */
  read(section: Section, from = 0, length = section.length - from): Buffer {
    if (from < 0 || length < 0 || from + length > section.length)
      throw new RangeError(
        `[frames] ${this.path}: bytes ${from}..${from + length} of section '${section.name}', which has ${section.length}`,
      );
    return this.#pread(section.offset + from, length);
  }

  /** The whole section, its checksum verified. @throws FormatError if damaged. */
  readVerified(section: Section): Buffer {
    const bytes = this.read(section);
    if (crc32c(bytes) !== section.crc) this.#damaged(section);
    return bytes;
  }

  /** Reads the section through, holding 1 MiB at a time. @throws FormatError if damaged. */
  verify(section: Section): void {
    let crc = 0;
    for (let at = 0; at < section.length; at += WINDOW) crc = crc32c(this.read(section, at, Math.min(WINDOW, section.length - at)), crc);
    if (crc !== section.crc) this.#damaged(section);
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #readHeader(): { header: FrameHeader; headerEnd: number; fileId: number } {
    if (this.#size < HEADER_PREFIX)
      this.#fail(`it has ${this.#size} bytes, its header needs at least ${HEADER_PREFIX}; it was cut off or is another kind of file`);
    const prefix = this.#pread(0, HEADER_PREFIX);
    if (!prefix.subarray(0, 8).equals(HEADER_MAGIC)) this.#fail('it does not begin as a Thimble store');
    const version = prefix.readUInt32LE(8);
    if (version !== FRAMES_VERSION)
      this.#fail(`it has format version ${version}, this program reads ${FRAMES_VERSION}; use a matching version of Thimble`);
    const length = prefix.readUInt32LE(12);
    const room = Math.min(this.#size - HEADER_PREFIX, MAX_JSON_BYTES);
    if (length > room) this.#fail(`its header says ${length} bytes of description, at most ${room} are there`);
    const header = decodeHeader(prefix, this.#pread(HEADER_PREFIX, length));
    return { header, headerEnd: Math.ceil((HEADER_PREFIX + length) / 8) * 8, fileId: prefix.readUInt32LE(16) };
  }

  /** Searches backwards for the last commit that reads well. */
  #findLast(fileId: number, headerEnd: number): Omit<FrameReader['last'], 'fileId'> {
    let damaged = 0;
    for (let end = this.#size; end >= headerEnd + TRAILER_BYTES; end -= WINDOW) {
      const from = Math.max(headerEnd, end - WINDOW);
      const window = this.#pread(from, Math.min(end + COMMIT_MAGIC.length - 1, this.#size) - from);
      for (let hit = window.lastIndexOf(COMMIT_MAGIC); hit >= 0; hit = hit === 0 ? -1 : window.lastIndexOf(COMMIT_MAGIC, hit - 1)) {
        const offset = from + hit - (TRAILER_BYTES - COMMIT_MAGIC.length);
        if (offset < headerEnd) continue;
        const place = decodeTrailer(this.#pread(offset, TRAILER_BYTES), offset);
        if (!place || place.first < headerEnd) continue;
        const json = this.#pread(place.start, place.length);
        const commit = crc32c(json) === place.crc ? decodeCommit(json, place.first, fileId, headerEnd) : undefined;
        if (commit) return { commit, first: place.first, length: place.length, crc: place.crc };
        if (++damaged > MAX_DAMAGED_COMMITS) this.#fail(`more than ${MAX_DAMAGED_COMMITS} damaged commits`);
      }
    }
    return this.#fail('it holds no commit: its writer was stopped before the first one, or the file was cut off; write it again');
  }

  /** Sections of all commits up to `last`, by the chain of predecessors. */
  #collect(last: Commit, fileId: number, headerEnd: number): Section[] {
    const perCommit = [last.sections];
    for (let { seq, prev } = last; prev; ) {
      const { first, length, crc } = prev;
      const json = [first, first + length + TRAILER_BYTES].map((start) => this.#pread(start, length)).find((copy) => crc32c(copy) === crc);
      const commit = json && decodeCommit(json, first, fileId, headerEnd);
      if (!commit) return this.#fail(`the commit at ${first} is damaged (checksum differs in both copies)`);
      if (commit.seq !== seq - 1) this.#fail(`the commit at ${first} is number ${commit.seq}, not ${seq - 1}`);
      perCommit.push(commit.sections);
      ({ seq, prev } = commit);
    }
    return perCommit.reverse().flat();
  }

  #pread(offset: number, length: number): Buffer {
    if (this.#fd === undefined) throw new Error(`[frames] ${this.path} is closed`);
    if (offset + length > this.#size) this.#fail(`bytes ${offset}..${offset + length} lie behind its end ${this.#size}`);
    const out = Buffer.allocUnsafe(length);
    for (let done = 0; done < length; ) {
      const got = readSync(this.#fd, out, done, Math.min(MOST_AT_ONCE, length - done), offset + done);
      if (got === 0) this.#fail(`it was cut off at ${offset + done} while being read`);
      done += got;
    }
    return out;
  }

  #damaged(section: Section): never {
    return this.#fail(
      `section '${section.name}' at ${section.offset} of ${section.length} bytes is damaged (checksum differs); restore the file from a copy or write it again`,
    );
  }

  #fail(why: string): never {
    throw new FormatError(`[frames] ${this.path}: ${why}`);
  }
}

function openExisting(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    throw cannotOpen('frames', path, error);
  }
}
