import { createHash } from 'node:crypto';
import { hashWhole } from '../io/whole.ts';

export const digestOf = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

/** A hash of labels and contents, 32 hexadecimal digits. */
export function fingerprintOf(labels: Int32Array, contents: Iterable<Uint8Array>): string {
  const hash = createHash('sha256').update(`${labels.length}\0`).update(labels);
  for (const bytes of contents) hashWhole(hash, bytes);
  return hash.digest('hex').slice(0, 32);
}
