/** Unfinished work: a folder beside the result, with what a later call of the same command needs to go on. One process has it at a time. */
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { errorCode, errorMessage } from '../io/errors.ts';
import { FormatError, writeFileAtomic } from '../io/index.ts';
import { FileLock } from '../io/lock.ts';

const Note = z.object({ question: z.record(z.string(), z.unknown()), done: z.array(z.string()) });
type Note = z.output<typeof Note>;
const NOTE = 'work.json';

export class WorkFolder {
  /** The file that the work is to make. */
  readonly out: string;
  readonly folder: string;
  readonly #who: string;
  readonly #note: Note;
  readonly #lock: FileLock;
  /** Whether an earlier call left something. */
  readonly resumed: boolean;

  /** Use `open`. */
  constructor(who: string, out: string, lock: FileLock, note: Note, resumed: boolean) {
    this.#who = who;
    this.#lock = lock;
    this.out = out;
    this.folder = folderOf(out);
    this.#note = note;
    this.resumed = resumed;
  }

  /**
   * Opens the work on `out`. `question` is all that the result depends on.
   * @throws Error where another process is at it, and where unfinished work lies there that began otherwise; with `fresh` that is discarded, as is
   * without it work that came to nothing
   */
  static async open(who: string, out: string, question: Record<string, unknown>, fresh: boolean): Promise<WorkFolder> {
    let lock: FileLock | undefined;
    try {
      const target = targetOf(out);
      lock = new FileLock(target);
      return await WorkFolder.#take(who, target, lock, question, fresh);
    } catch (error) {
      lock?.release();
      throw notWritable(who, out, error);
    }
  }

  static async #take(who: string, out: string, lock: FileLock, question: Record<string, unknown>, fresh: boolean): Promise<WorkFolder> {
    const folder = folderOf(out);
    if (fresh) rmSync(folder, { recursive: true, force: true });
    const asked = JSON.parse(JSON.stringify(question)) as Note['question'];
    const left = existsSync(join(folder, NOTE)) ? Note.safeParse(readJson(join(folder, NOTE))) : undefined;
    if (left?.success && holdsWork(folder)) {
      const changed = Object.keys({ ...asked, ...left.data.question }).filter(
        (key) => JSON.stringify(asked[key]) !== JSON.stringify(left.data.question[key]),
      );
      if (changed.length === 0) return new WorkFolder(who, out, lock, left.data, true);
      const was = changed.map((key) => `${key} ${JSON.stringify(left.data.question[key])}, now ${JSON.stringify(asked[key])}`).join('; ');
      throw new Error(
        `[${who}] ${folder} holds unfinished work that began otherwise (${was.slice(0, 300)}); repeat what began it, or give --fresh to discard it`,
      );
    }
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder);
    const work = new WorkFolder(who, out, lock, { question: asked, done: [] }, false);
    await work.#save();
    return work;
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** Runs a stage, unless an earlier call has finished it. */
  async stage(name: string, run: () => Promise<void>): Promise<void> {
    if (this.#note.done.includes(name)) return;
    await run();
    this.#note.done.push(name);
    await this.#save();
  }

  /** Runs the work. What is damaged in the folder need not be mended: it can be made again. */
  async run<T>(body: () => Promise<T>): Promise<T> {
    try {
      return await body();
    } catch (error) {
      if (!(error instanceof FormatError && error.message.includes(this.folder))) throw error;
      throw new FormatError(`[${this.#who}] ${error.message}; or give --fresh to discard what is unfinished`, { cause: error });
    }
  }

  /** The file `name` of the folder becomes the result; the folder goes. */
  finish(name: string): void {
    renameSync(this.path(name), this.out);
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Lets others at it: whatever is unfinished stays, of work that came to nothing nothing. */
  [Symbol.dispose](): void {
    if (existsSync(this.folder) && !holdsWork(this.folder)) rmSync(this.folder, { recursive: true, force: true });
    this.#lock.release();
  }

  async #save(): Promise<void> {
    try {
      await writeFileAtomic(this.path(NOTE), Buffer.from(JSON.stringify(this.#note)));
    } catch (error) {
      throw new Error(`[${this.#who}] ${(error as Error).message}`, { cause: error });
    }
  }
}

/**
 * Where the result goes, as an absolute path: looked at before anything is read, which may take long.
 * @throws Error where no file can be made there, where another process is at it, and where it would take the place of what it is made from
 */
export function placeOf(who: string, source: string, given: string): string {
  for (const [name, path] of Object.entries({ source, out: given }))
    if (typeof path !== 'string' || path === '') throw new TypeError(`[${who}] ${name} is ${JSON.stringify(path)}; give a path`);
  const out = resolve(given);
  if (!existsSync(dirname(out))) throw new Error(`[${who}] there is no folder ${dirname(out)}; create it or choose another -o`);
  try {
    const found = statSync(out, { throwIfNoEntry: false });
    if (found && existsSync(source) && realpathSync(source) === realpathSync(out))
      throw new Error(`[${who}] ${out} is what the work reads, and would be replaced by its result; choose another -o`);
    if (found?.isDirectory()) throw new Error(`[${who}] ${out} is a folder; name a file in it with -o`);
    if (found && !found.isFile()) throw new Error(`[${who}] ${out} is a pipe, a socket or a device; name a file with -o`);
    new FileLock(targetOf(out)).release();
  } catch (error) {
    throw notWritable(who, out, error);
  }
  return out;
}

/** What the system says, with whose error it is and the way out; other errors as they are. */
const notWritable = (who: string, out: string, error: unknown): unknown =>
  errorCode(error) === undefined
    ? error
    : new Error(`[${who}] cannot write beside ${out} (${errorMessage(error)}); choose another -o`, { cause: error });

/** Whether there is anything to go on from. */
const holdsWork = (folder: string): boolean => readdirSync(folder).some((name) => name !== NOTE && !name.endsWith('.lock'));

/** A link is written through. */
const targetOf = (out: string): string => (existsSync(out) ? realpathSync(out) : out);
const folderOf = (out: string): string => `${out}.unfinished`;

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}
