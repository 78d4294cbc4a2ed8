/** What an arm's process is given besides its job, and decisions that outlive it. */
import { existsSync, readFileSync } from 'node:fs';
import { writeFileAtomic } from '../../io/index.ts';

export interface Tell {
  progress(what: string, done: number, total: number, note?: string): void;
  signal: AbortSignal;
}

/** What `decide` says, once: a second call, in this process or another, returns what the file remembers. Such as steps that depend on timing. */
export async function kept<T>(path: string, decide: () => Promise<T>): Promise<T> {
  if (existsSync(path)) return JSON.parse(readFileSync(path, 'utf8')) as T;
  const decision = await decide();
  await writeFileAtomic(path, Buffer.from(JSON.stringify(decision)));
  return decision;
}
