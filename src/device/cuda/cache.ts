/** Files kept between processes: what takes long to find out about a machine. Each begins with a seal over its name and the rest. */
import { createHash } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

const SEAL = 32;
const sealOf = (name: string, content: Uint8Array): Buffer => createHash('sha256').update(`${name}\0`).update(content).digest();

export const cacheFolder = (): string =>
  process.env.THIMBLE_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'thimble');

/** A name for what these strings determine, e.g. versions and a source. */
export const cacheKey = (...parts: readonly string[]): string => createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, 32);

/** The content of an entry; undefined where it is absent, unreadable, damaged or another's. */
export function readCache(name: string, folder = cacheFolder()): Buffer | undefined {
  try {
    const file = readFileSync(join(folder, name));
    const content = file.subarray(SEAL);
    return sealOf(name, content).equals(file.subarray(0, SEAL)) ? content : undefined;
  } catch {
    return undefined;
  }
}

/** Keeps an entry; false where the folder cannot be written. Two processes may write the same one: the last rename wins. */
export const writeCache = (name: string, content: Uint8Array, folder = cacheFolder()): boolean =>
  written(name, content, folder, renameSync);

/**
 * Keeps an entry that is not there yet and returns what all processes will find: this content, or another's that was faster. Undefined where the
 * folder cannot be written.
 */
export function settleCache(name: string, content: Uint8Array, folder = cacheFolder()): Buffer | undefined {
  const settled = written(name, content, folder, (temporary, path) => {
    try {
      linkSync(temporary, path); // fails where there is one
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || !readCache(name, folder)) renameSync(temporary, path);
    }
  });
  return settled ? readCache(name, folder) : undefined;
}

/** Writes the entry beside its place, complete, and has it `put` there. */
function written(name: string, content: Uint8Array, folder: string, put: (temporary: string, path: string) => void): boolean {
  const path = join(folder, name);
  const temporary = `${path}.${process.pid}`;
  try {
    mkdirSync(folder, { recursive: true });
    try {
      writeFileSync(temporary, Buffer.concat([sealOf(name, content), content]));
      put(temporary, path);
    } finally {
      rmSync(temporary, { force: true });
    }
    return true;
  } catch {
    return false;
  }
}
