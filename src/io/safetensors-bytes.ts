/** Safetensors in memory: weights that travel inside another file, whose checksums guard them. */

import { createHash } from 'node:crypto';
import { type DType, itemSize } from '../tensor/dtype.ts';
import { FormatError } from './errors.ts';
import type { TensorRecord } from './safetensors.ts';
import { encodeHeader, parseHeader } from './safetensors-header.ts';

type Shapes = ReadonlyMap<string, { dtype: DType; shape: readonly number[] }>;

/** Tensors in the order of a file: wider elements first. */
const inOrder = <T extends { dtype: DType }>(tensors: ReadonlyMap<string, T>): [string, T][] =>
  [...tensors].sort(([, a], [, b]) => itemSize[b.dtype] - itemSize[a.dtype]);

/** Bytes of `encodeSafetensors`, from the shapes alone. */
export function safetensorsBytes(tensors: Shapes): number {
  const { header, dataBytes } = encodeHeader(inOrder(tensors), {});
  return header.byteLength + dataBytes;
}

/** What `writeSafetensors` would write, sealed. */
export function encodeSafetensors(tensors: ReadonlyMap<string, TensorRecord>): Uint8Array {
  const entries = inOrder(tensors);
  const { header, digestAt } = encodeHeader(entries, {});
  const file = Buffer.concat([header, ...entries.map(([, tensor]) => tensor.data)]);
  file.write(createHash('sha256').update(file).digest('hex'), digestAt, 'latin1');
  return file;
}

/** @param name of the bytes in messages. @throws FormatError where they do not follow the format. */
export function decodeSafetensors(bytes: Uint8Array, name: string): Map<string, TensorRecord> {
  const length =
    bytes.byteLength < 8 ? Number.POSITIVE_INFINITY : Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const start = 8 + length;
  if (start > bytes.byteLength)
    throw new FormatError(`[safetensors] ${name}: header of ${length} bytes in ${bytes.byteLength}; truncated or not safetensors`);
  const { tensors } = parseHeader(bytes.subarray(8, start), bytes.byteLength - start, name);
  return new Map(
    [...tensors].map(([key, { dtype, storedType, shape, byteOffset, byteLength }]) => {
      if (!dtype)
        throw new FormatError(`[safetensors] ${name}: ${key} is ${storedType}, which is not read; convert it to F32, F16 or BF16`);
      return [key, { dtype, shape: [...shape], data: new Uint8Array(bytes.subarray(start + byteOffset, start + byteOffset + byteLength)) }];
    }),
  );
}
