/** What an arm's process is given besides its job, and decisions that outlive it. */
import { existsSync, readFileSync } from 'node:fs';
import { writeFileAtomic } from '../../io/index.ts';

export interface Tell {
  progress(what: string, done: number, total: number, note?: string): void;
  signal: AbortSignal;
}

function remembered(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new Error(`[demo] ${path} is damaged (${(error as Error).message}); give --fresh to start anew`, { cause: error });
  }
}

/** What `decide` says, once: a second call, in this process or another, returns what the file remembers. Such as steps that depend on timing. */
export async function kept<T>(path: string, decide: () => Promise<T>): Promise<T> {
  if (existsSync(path)) return remembered(path) as T;
  const decision = await decide();
  await writeFileAtomic(path, Buffer.from(JSON.stringify(decision)));
  return decision;
}

/** Seconds that `work` took, those of earlier processes that were stopped in it included. */
export async function secondsOf(path: string, work: () => Promise<unknown>): Promise<number> {
  const before = existsSync(path) ? (remembered(path) as number) : 0;
  const began = performance.now();
  const soFar = (): number => before + (performance.now() - began) / 1000;
  try {
    await work();
  } finally {
    await writeFileAtomic(path, Buffer.from(JSON.stringify(soFar())));
  }
  return soFar();
}
