import { type DType, itemSize } from '../tensor/dtype.ts';
import { FormatError } from './errors.ts';

/** One tensor of a file. `byteOffset` counts from the data section. */
export interface StoredTensor {
  /** Ours, or undefined where the stored type has no counterpart. */
  readonly dtype: DType | undefined;
  /** The format's name of the type: `F32`, `F8_E4M3`, ... */
  readonly storedType: string;
  readonly shape: readonly number[];
  readonly byteOffset: number;
  readonly byteLength: number;
}

export interface Header {
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

/** Bits of one element of every type of the format. */
const storedBits: Readonly<Record<string, number>> = {
  BOOL: 8,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  F64: 64,
  I64: 64,
  U64: 64,
  C64: 64,
};
const storedTypes: Readonly<Record<DType, string>> = {
  f32: 'F32',
  bf16: 'BF16',
  f16: 'F16',
  i32: 'I32',
  i64: 'I64',
  u8: 'U8',
  i8: 'I8',
  bool: 'BOOL',
};
const dtypes = new Map(Object.entries(storedTypes).map(([ours, theirs]) => [theirs, ours as DType]));

const metadataKey = '__metadata__';
/** Two keys mark a sealed file, so that no single flipped bit can hide that there was a seal. */
const digestKey = 'thimble.sha256';
const sealedKey = 'thimble.sealed';
const blank = '0'.repeat(64);
/** As they stand in the JSON: inside a name or a value the quotes would be escaped. */
const digestMark = `"${digestKey}":"`;
const sealedMark = `"${sealedKey}":"`;

/**
 * Lays out the tensors in the given order.
 *
 * @returns the length prefix and header (a multiple of 8 bytes), with a blank digest at `digestAt`
 */
export function encodeHeader(
  entries: readonly (readonly [string, { dtype: DType; shape: readonly number[] }])[],
  metadata: Readonly<Record<string, string>>,
): { header: Uint8Array; digestAt: number; dataBytes: number } {
  const json: Record<string, unknown> = Object.create(null);
  json[metadataKey] = { [digestKey]: blank, [sealedKey]: '1', ...withoutSeal(metadata) };
  let dataBytes = 0;
  for (const [name, { dtype, shape }] of entries) {
    if (name === metadataKey) throw new RangeError(`[safetensors] a tensor cannot be named ${metadataKey}`);
    if (name in json) throw new RangeError(`[safetensors] two tensors are named ${name}`);
    const span = elements(shape, name) * itemSize[dtype];
    json[name] = { dtype: storedTypes[dtype], shape, data_offsets: [dataBytes, dataBytes + span] };
    dataBytes += span;
  }
  const text = Buffer.from(JSON.stringify(json));
  const length = Math.ceil(text.byteLength / 8) * 8;
  const header = Buffer.alloc(8 + length, ' ');
  header.writeBigUInt64LE(BigInt(length));
  text.copy(header, 8);
  return { header, digestAt: header.indexOf(digestMark) + digestMark.length, dataBytes };
}

/**
 * Checks a header against the length of the data section by the rules of the format: known types, shape times element size
 * equal to the span, spans that cover the section without holes or overlaps.
 */
export function parseHeader(text: Uint8Array, dataBytes: number, path: string): Header {
  const fail = (what: string): never => {
    throw new FormatError(`[safetensors] ${path}: ${what}`);
  };
  if (text[0] !== 0x7b) fail('the header does not begin with "{"; not a safetensors file');
  let json: Record<string, unknown>;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(text));
  } catch (error) {
    return fail(`the header is not JSON in UTF-8 (${(error as Error).message})`);
  }
  const metadata = Object.hasOwn(json, metadataKey) ? json[metadataKey] : {};
  if (!isRecord(metadata) || !Object.values(metadata).every((v) => typeof v === 'string')) {
    return fail(`${metadataKey} is not a map of strings`);
  }
  const tensors: [string, StoredTensor][] = [];
  for (const [name, entry] of Object.entries(json)) {
    if (name !== metadataKey) tensors.push([name, parseEntry(entry, (what) => fail(`${JSON.stringify(name)}: ${what}`))]);
  }
  tensors.sort(([, a], [, b]) => a.byteOffset - b.byteOffset || a.byteLength - b.byteLength);
  let end = 0;
  for (const [name, { byteOffset, byteLength }] of tensors) {
    if (byteOffset !== end) {
      fail(
        `${JSON.stringify(name)} begins at byte ${byteOffset}, the tensor before it ends at ${end}: ${byteOffset < end ? 'overlap' : 'hole'}`,
      );
    }
    end = byteOffset + byteLength;
    if (end > dataBytes) fail(`${JSON.stringify(name)} ends at byte ${end}, the data section has ${dataBytes}; the file is truncated`);
  }
  if (end !== dataBytes) fail(`${dataBytes - end} bytes after the last tensor belong to none`);
  return { metadata: metadata as Record<string, string>, tensors: new Map(tensors) };
}

function parseEntry(entry: unknown, fail: (what: string) => never): StoredTensor {
  if (!isRecord(entry)) return fail('is not an object');
  const { dtype, shape, data_offsets: offsets } = entry;
  const bits = typeof dtype === 'string' && Object.hasOwn(storedBits, dtype) ? storedBits[dtype] : undefined;
  if (typeof dtype !== 'string' || bits === undefined) return fail(`unknown dtype ${JSON.stringify(dtype)}`);
  if (!isCounts(shape)) return fail(`shape ${JSON.stringify(shape)} is not a list of counts`);
  if (!isCounts(offsets) || offsets.length !== 2) return fail(`data_offsets ${JSON.stringify(offsets)} are not two counts`);
  const [begin, end] = offsets as [number, number];
  const spanBits = shape.reduce((a, b) => a * b, 1) * bits;
  if (!Number.isSafeInteger(spanBits)) return fail(`shape [${shape}] overflows`);
  if (end < begin || (end - begin) * 8 !== spanBits) {
    return fail(`${dtype} [${shape}] takes ${spanBits / 8} bytes, data_offsets [${begin}, ${end}] hold ${end - begin}`);
  }
  return { dtype: dtypes.get(dtype), storedType: dtype, shape, byteOffset: begin, byteLength: end - begin };
}

/** The digest of a sealed header, and the header's bytes with the digest blanked; undefined for files of other writers. */
export function sealDigest(text: Uint8Array, path: string): { digest: string; unsealed: Uint8Array } | undefined {
  const unsealed = Buffer.from(text);
  const at = unsealed.indexOf(digestMark);
  const sealed = unsealed.includes(sealedMark);
  if (at < 0 && !sealed) return undefined;
  const start = at + digestMark.length;
  const digest = unsealed.toString('latin1', start, start + 64);
  if (at < 0 || !sealed || !/^[0-9a-f]{64}$/.test(digest)) {
    throw new FormatError(`[safetensors] ${path} is damaged: its checksum is not whole; restore it from a copy`);
  }
  unsealed.write(blank, start, 'latin1');
  return { digest, unsealed };
}

/** A copy of a loaded file's metadata must not carry the old seal. */
function withoutSeal(metadata: Readonly<Record<string, string>>): Record<string, string> {
  const { [digestKey]: _digest, [sealedKey]: _sealed, ...rest } = metadata;
  for (const [key, value] of Object.entries(rest)) {
    if (typeof value !== 'string') throw new TypeError(`[safetensors] metadata ${key} is a ${typeof value}; the format takes strings only`);
  }
  return rest;
}

function elements(shape: readonly number[], name: string): number {
  const count = shape.reduce((a, b) => a * b, 1);
  if (!isCounts(shape) || !Number.isSafeInteger(count * 8)) throw new RangeError(`[safetensors] ${name}: bad shape [${shape}]`);
  return count;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);
}
