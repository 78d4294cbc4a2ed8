/** Reads, writes and checksums of any length: Node takes less than 2 GiB in one call, and some of its calls end the process where they are given more. */
import type { Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';

export const MOST_AT_ONCE = 1 << 30;

/** Fills `into` from `position` on. @returns the bytes that were there: fewer only at the end of the file */
export async function readWhole(handle: Pick<FileHandle, 'read'>, into: Uint8Array, position: number): Promise<number> {
  let done = 0;
  while (done < into.byteLength) {
    const { bytesRead } = await handle.read(into, done, Math.min(MOST_AT_ONCE, into.byteLength - done), position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}

export async function writeWhole(handle: Pick<FileHandle, 'write'>, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.byteLength; ) {
    const { bytesWritten } = await handle.write(bytes, done, Math.min(MOST_AT_ONCE, bytes.byteLength - done), position + done);
    done += bytesWritten;
  }
}

export function hashWhole(hash: Hash, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.byteLength; at += MOST_AT_ONCE) hash.update(bytes.subarray(at, at + MOST_AT_ONCE));
}
