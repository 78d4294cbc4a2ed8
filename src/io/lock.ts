/** One writer per file: a lock file beside it that names its owner, so that a dead owner's lock can be taken over. */
import { randomBytes } from 'node:crypto';
import { closeSync, linkSync, openSync, readFileSync, renameSync, statSync, unlinkSync, writeSync } from 'node:fs';
import { hostname } from 'node:os';
import { errorCode } from './errors.ts';

interface Owner {
  pid: number;
  host: string;
  /** When the process began, in the system's own ticks: a later process with the same id is another one. */
  began: string;
  nonce: string;
}

/** A crash between creating the lock file and writing it leaves it unreadable; after this long it is a dead one's. */
const UNREADABLE_IS_STALE_MS = 5000;

/** The exclusive right to write `path`, held until `release`. */
export class FileLock {
  readonly path: string;
  readonly #text: string;

  /** @throws Error that names the owner where another live writer holds it. */
  constructor(path: string) {
    this.path = `${path}.lock`;
    const owner: Owner = { pid: process.pid, host: hostname(), began: began(process.pid), nonce: randomBytes(8).toString('hex') };
    this.#text = JSON.stringify(owner);
    for (let attempt = 0; !this.#create(); attempt++) {
      const text = readLock(this.path);
      if (text === undefined) continue;
      if (attempt >= 8 || alive(text, this.path)) throw new Error(heldBy(path, this.path, text));
      this.#clear(text);
    }
  }

  /** False when someone removed or replaced the lock file by hand. */
  held(): boolean {
    return readLock(this.path) === this.#text;
  }

  release(): void {
    if (this.held()) unlinkSync(this.path);
  }

  #create(): boolean {
    let file: number;
    try {
      file = openSync(this.path, 'wx');
    } catch (error) {
      if (errorCode(error) === 'EEXIST') return false;
      throw error;
    }
    try {
      writeSync(file, this.#text);
      return true;
    } catch (error) {
      unlinkSync(this.path); // of a full disk: a lock that names nobody would keep its owner out, too
      throw error;
    } finally {
      closeSync(file);
    }
  }

  /** Removes the dead lock `text`, but not a live one that took its place a moment ago: that one is put back. */
  #clear(text: string): void {
    const aside = `${this.path}.${randomBytes(6).toString('hex')}`;
    try {
      renameSync(this.path, aside);
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return;
      throw error;
    }
    if (readLock(aside) !== text) linkSync(aside, this.path);
    unlinkSync(aside);
  }
}

/** The lock of `path`. @throws Error of another writer as `FileLock` does, and `cannot(why)` where no lock file can be written */
export function lockFile(path: string, cannot: (why: string) => string): FileLock {
  try {
    return new FileLock(path);
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    throw new Error(cannot((error as Error).message), { cause: error });
  }
}

function readLock(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function parse(text: string): Owner | undefined {
  try {
    const owner = JSON.parse(text) as Partial<Owner> | null;
    return Number.isInteger(owner?.pid) && typeof owner?.host === 'string' ? (owner as Owner) : undefined;
  } catch {
    return undefined;
  }
}

function alive(text: string, path: string): boolean {
  const owner = parse(text);
  if (!owner) return Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0) < UNREADABLE_IS_STALE_MS;
  if (owner.host !== hostname()) return true; // a shared folder: its process table is not ours to see
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    if (errorCode(error) === 'ESRCH') return false;
  }
  return began(owner.pid) === owner.began;
}

/**
 * Start time of a process where the system tells (field 22 of /proc/PID/stat, after the parenthesised name), else ''. A zombie, dead but not
 * yet asked after by its parent, has none.
 */
function began(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' ? '' : (fields[18] ?? '');
  } catch {
    return '';
  }
}

function heldBy(path: string, lock: string, text: string): string {
  const owner = parse(text);
  const who = owner ? `process ${owner.pid} on ${owner.host}` : 'a process that is just starting';
  return `[lock] ${path} is being written by ${who}; wait for it or stop it (if it is surely gone, delete ${lock})`;
}
