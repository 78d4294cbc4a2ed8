/**
 * The bytes of a frames file. Little endian.
 *
 *     header        magic[8] version:u32 length:u32 crc:u32 json[length], zeros up to a multiple of 8
 *     section ...   any bytes; starts on a power of two (see `sectionStart`)
 *     commit        two equal copies of  json[length] first:u64 length:u32 crc:u32 copy:u32 trailerCrc:u32 magic[8]
 *     section ... commit ...
 *
 * A commit lists the sections since the commit before it, names its predecessor, its file (the header's checksum) and its
 * own place, so that no other bytes can pass for it. The last commit that reads well is the file: a torn tail has none.
 * The second copy is there because a damaged last commit would otherwise look like a torn one.
 */
import { crc32c } from './crc32c.ts';
import { FormatError } from './errors.ts';

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json | undefined };

export interface FrameHeader {
  /** What the file holds, e.g. 'tokens'; a reader of another kind refuses it. */
  kind: string;
  /** Who wrote it, e.g. 'thimble 0.1.0'. */
  producer: string;
  description: Json;
}

export interface Section {
  name: string;
  /** Bytes from the start of the file. */
  offset: number;
  length: number;
  /** CRC-32C of the content. */
  crc: number;
  meta?: Json | undefined;
}

export interface Commit {
  /** 0, 1, 2, ... */
  seq: number;
  /** The commit before: where its first copy starts, the length and the checksum of its JSON. */
  prev: { first: number; length: number; crc: number } | null;
  /** Whether the writer declared the file complete. */
  final: boolean;
  /** The writer's own note: where to resume. */
  state: Json;
  sections: Section[];
}

export const FRAMES_VERSION = 1;
export const HEADER_MAGIC = Buffer.from('\x89THM\r\n\x1a\n', 'latin1'); // as PNG: a text-mode transfer breaks it visibly
export const COMMIT_MAGIC = Buffer.from('\x1aTHMEND\n', 'latin1');
export const HEADER_PREFIX = 20;
export const TRAILER_BYTES = 32;
/** Largest JSON of a header or a commit; more is damage or malice. */
export const MAX_JSON_BYTES = 1 << 24;
const PAGE = 4096;

/**
 * Where a section of `length` bytes starts when the file ends at `end`: on a multiple of the largest power of two up to
 * length / 1024, at least 8 and at most a page. Sections from 4 MiB on are page-aligned; no padding exceeds 0.1 % of its section or 7 bytes.
 */
export function sectionStart(end: number, length: number): number {
  const align = Math.min(PAGE, Math.max(8, 2 ** Math.floor(Math.log2(Math.max(1, length / 1024)))));
  return Math.ceil(end / align) * align;
}

export function encodeHeader(header: FrameHeader): Buffer {
  const json = Buffer.from(JSON.stringify({ kind: header.kind, producer: header.producer, description: header.description }));
  if (json.length > MAX_JSON_BYTES)
    throw new RangeError(`[frames] the header is ${json.length} bytes, at most ${MAX_JSON_BYTES}; move data to a section`);
  const out = Buffer.alloc(Math.ceil((HEADER_PREFIX + json.length) / 8) * 8);
  HEADER_MAGIC.copy(out);
  out.writeUInt32LE(FRAMES_VERSION, 8);
  out.writeUInt32LE(json.length, 12);
  out.writeUInt32LE(crc32c(json, crc32c(out.subarray(8, 16))), 16);
  json.copy(out, HEADER_PREFIX);
  return out;
}

/** The header's JSON text, checked. `prefix` is the first HEADER_PREFIX bytes. */
export function decodeHeader(prefix: Buffer, json: Buffer): FrameHeader {
  if (crc32c(json, crc32c(prefix.subarray(8, 16))) !== prefix.readUInt32LE(16))
    throw new FormatError('its header is damaged (checksum differs)');
  const header = parseJson(json);
  if (typeof header['kind'] !== 'string' || typeof header['producer'] !== 'string' || header['description'] === undefined)
    throw new FormatError('its header lacks kind, producer or description');
  return { kind: header['kind'], producer: header['producer'], description: header['description'] };
}

/** Both copies of a commit whose first copy starts at `first`; `fileId` is the header's checksum. */
export function encodeCommit(commit: Commit, first: number, fileId: number): { pair: Buffer; length: number; crc: number } {
  const json = Buffer.from(
    JSON.stringify({
      seq: commit.seq,
      of: hex(fileId),
      prev: commit.prev && [commit.prev.first, commit.prev.length, hex(commit.prev.crc)],
      final: commit.final || undefined,
      state: commit.state ?? undefined,
      sections: commit.sections.map((s) => [s.name, s.offset, s.length, hex(s.crc), ...(s.meta === undefined ? [] : [s.meta])]),
    }),
  );
  if (json.length > MAX_JSON_BYTES)
    throw new RangeError(`[frames] the commit is ${json.length} bytes, at most ${MAX_JSON_BYTES}; commit more often`);
  const crc = crc32c(json);
  const copies = [0, 1].map((copy) => {
    const trailer = Buffer.alloc(TRAILER_BYTES);
    trailer.writeBigUInt64LE(BigInt(first), 0);
    trailer.writeUInt32LE(json.length, 8);
    trailer.writeUInt32LE(crc, 12);
    trailer.writeUInt32LE(copy, 16);
    trailer.writeUInt32LE(crc32c(trailer.subarray(0, 20)), 20);
    COMMIT_MAGIC.copy(trailer, 24);
    return Buffer.concat([json, trailer]);
  });
  return { pair: Buffer.concat(copies), length: json.length, crc };
}

/** Where a trailer's commit lies, or undefined if these 32 bytes at `offset` of the file are no trailer written there. */
export function decodeTrailer(trailer: Buffer, offset: number): { first: number; length: number; crc: number; start: number } | undefined {
  if (crc32c(trailer.subarray(0, 20)) !== trailer.readUInt32LE(20)) return undefined;
  const first = Number(trailer.readBigUInt64LE(0));
  const length = trailer.readUInt32LE(8);
  const start = offset - length;
  const copy = trailer.readUInt32LE(16);
  if (length > MAX_JSON_BYTES || start < 0 || copy > 1 || start !== first + copy * (length + TRAILER_BYTES)) return undefined;
  return { first, length, crc: trailer.readUInt32LE(12), start };
}

/** The commit in `json`, whose first copy starts at `first`; undefined if it belongs to another file. Every offset is checked to lie between its predecessor and itself. */
export function decodeCommit(json: Buffer, first: number, fileId: number, headerEnd: number): Commit | undefined {
  const bad = (why: string): never => {
    throw new FormatError(`the commit at ${first} is malformed: ${why}`);
  };
  const raw = parseJson(json);
  if (raw['of'] !== hex(fileId)) return undefined; // left over on a reused disk block
  const seq = raw['seq'];
  if (!isSize(seq)) return bad('no sequence number');
  let prev: Commit['prev'] = null;
  if (raw['prev'] !== null) {
    const [at, length, crc] = Array.isArray(raw['prev']) ? raw['prev'] : [];
    if (!isSize(at) || !isSize(length) || !isHex(crc)) return bad('no predecessor');
    prev = { first: at, length, crc: Number.parseInt(crc, 16) };
  }
  if ((seq === 0) !== (prev === null)) bad('its sequence number and predecessor disagree');
  let end = prev ? prev.first + 2 * (prev.length + TRAILER_BYTES) : headerEnd;
  if (end > first || (prev && prev.first < headerEnd)) bad('its predecessor does not lie before it');
  if (!Array.isArray(raw['sections'])) return bad('no sections');
  const sections = raw['sections'].map((entry: unknown): Section => {
    const [name, offset, length, crc, meta] = Array.isArray(entry) ? entry : [];
    if (typeof name !== 'string' || !isSize(offset) || !isSize(length) || !isHex(crc))
      return bad('a section without name, place or checksum');
    if (offset < end || offset + length > first) bad(`section '${name}' at ${offset} of ${length} bytes leaves its place ${end}..${first}`);
    end = offset + length;
    return { name, offset, length, crc: Number.parseInt(crc, 16), meta };
  });
  return { seq, prev, final: raw['final'] === true, state: raw['state'] ?? null, sections };
}

/**
 * Bytes of a file with this header and these commits, before any is written. Exact, if the lengths are; and longer
 * sections never make a shorter file, so that upper bounds of lengths give an upper bound of the file.
 */
export function planFrames(
  header: FrameHeader,
  commits: { sections: { name: string; length: number; meta?: Json }[]; state?: Json }[],
): number {
  let end = encodeHeader(header).length;
  let prev: Commit['prev'] = null;
  for (const [seq, plan] of commits.entries()) {
    const sections = plan.sections.map((section): Section => {
      const offset = sectionStart(end, section.length);
      end = offset + section.length;
      return { ...section, offset, crc: 0 };
    });
    const { pair, length } = encodeCommit({ seq, prev, final: seq === commits.length - 1, state: plan.state ?? null, sections }, end, 0);
    prev = { first: end, length, crc: 0 };
    end += pair.length;
  }
  return end;
}

function parseJson(bytes: Buffer): Record<string, Json> {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, Json>;
  } catch {
    // Falls through: the checksum was right, so the writer was not ours.
  }
  throw new FormatError('its JSON does not parse to an object');
}

const hex = (crc: number): string => crc.toString(16).padStart(8, '0');
const isHex = (value: unknown): value is string => typeof value === 'string' && /^[0-9a-f]{8}$/.test(value);
const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
