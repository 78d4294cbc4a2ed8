/**
 * Checkpoints: one safetensors file that holds a tree of tensors (model, optimiser state, averages, random key) and, as JSON metadata, where the
 * run stands. Written atomically and sealed: whoever opens it, after a crash at any moment, finds a whole one.
 */
import type { DataPosition } from '../data/index.ts';
import { FormatError, type SafetensorsFile } from '../io/index.ts';
import { emptyHistory, type History, parseHistory } from './history.ts';
import { assertJson, isCount, isObject } from './json.ts';
import { openTree, readMetadata, readTree, type TreeReadOptions, writeTree } from './tree-file.ts';

const key = 'thimble.checkpoint';
const version = 1;

/** Where a run stands. The place in the learning-rate schedule is the step. */
export interface CheckpointInfo {
  /** Steps done. */
  step: number;
  /** Where the next batch begins; undefined when no batch was drawn yet. */
  position: DataPosition | undefined;
  /** The caller's own description of the run, plain JSON. Untrusted when it comes from a file. */
  config: unknown;
  history: History;
}

export interface Checkpoint<S> extends CheckpointInfo {
  /** Any tree of tensors. */
  state: S;
}

export type NewCheckpoint<S> = Pick<Checkpoint<S>, 'state' | 'step'> & Partial<CheckpointInfo>;

/** Replaces the checkpoint at `path`, whole or not at all. @returns the file's bytes */
export async function saveCheckpoint(
  path: string,
  checkpoint: NewCheckpoint<unknown>,
  options: { signal?: AbortSignal } = {},
): Promise<number> {
  const { state, step, position, config, history = emptyHistory() } = checkpoint;
  if (!isCount(step)) throw new RangeError(`[checkpoint] step ${step} is not a whole number from 0`);
  assertJson(config, 'checkpoint');
  const metadata = { [key]: JSON.stringify({ version, step, position, config, history }) };
  return writeTree(path, { state }, { ...options, metadata });
}

/**
 * Reads a checkpoint. `template` gives the structure of the state: a fresh one, or one on the null device.
 *
 * @throws Error with code ENOENT when there is none; FormatError for a damaged file, one that is no checkpoint, and where tensors are missing,
 * misshaped or have no place in the template
 */
export async function loadCheckpoint<S>(path: string, template: S, options: Omit<TreeReadOptions, 'prefix'> = {}): Promise<Checkpoint<S>> {
  await using file = await openTree(path, 'checkpoint');
  const info = parseInfo(file);
  return { ...info, state: await readTree(file, template, { ...options, prefix: 'state' }) };
}

/** What a checkpoint says of itself. Its checksum is checked, its tensors stay on the disk. */
export async function checkpointInfo(path: string): Promise<CheckpointInfo & { fileBytes: number }> {
  await using file = await openTree(path, 'checkpoint');
  return { ...parseInfo(file), fileBytes: file.fileBytes };
}

function parseInfo(file: SafetensorsFile): CheckpointInfo {
  const fail = (why: string): never => {
    throw new FormatError(`[checkpoint] ${file.path} ${why}`);
  };
  const json = readMetadata(file, key);
  if (json === undefined) return fail('is a safetensors file but no checkpoint; choose another path, or load it as a model');
  if (!isObject(json)) return fail('does not say where its run stands; delete it to start anew');
  if (json['version'] !== version)
    return fail(`has checkpoint format ${String(json['version'])}, this version reads ${version}; update thimble`);
  const { step, position, config } = json;
  const history = parseHistory(json['history']);
  if (!isCount(step) || !(position === undefined || isPosition(position)) || !history)
    return fail('does not say where its run stands; delete it to start anew');
  return { step, position, config, history };
}

export function isPosition(x: unknown): x is DataPosition {
  return isObject(x) && Number.isSafeInteger(x['seed']) && isCount(x['epoch']) && isCount(x['index']);
}
