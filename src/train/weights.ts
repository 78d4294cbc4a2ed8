/** Model files: the weights alone, with the configuration that builds the model around them. */
import { FormatError } from '../io/index.ts';
import { assertJson, isObject } from './json.ts';
import { openTree, readMetadata, readTree, type TreeReadOptions, writeTree } from './tree-file.ts';

const key = 'thimble.model';
const version = 1;

export interface SaveModelOptions {
  /** Plain JSON from which the caller can build the model again; `modelInfo` returns it. */
  config?: unknown;
  /** Further metadata of the safetensors file. */
  metadata?: Readonly<Record<string, string>>;
  signal?: AbortSignal;
}

/** Writes the tensors of a model (any tree) as safetensors, atomically and sealed. @returns the file's bytes */
export async function saveModel(path: string, model: unknown, { config, metadata = {}, ...rest }: SaveModelOptions = {}): Promise<number> {
  assertJson(config, 'model');
  return writeTree(path, model, { ...rest, metadata: { ...metadata, [key]: JSON.stringify({ version, config }) } });
}

/**
 * The model with the weights of a file. `template` (a fresh model, or one on the null device) gives the structure. Files of other
 * producers are read too, and checkpoints with `prefix` ('state.model').
 *
 * @throws FormatError for a damaged file, and where tensors are missing, misshaped or have no place in the model
 */
export async function loadModel<M>(path: string, template: M, options: TreeReadOptions = {}): Promise<M> {
  await using file = await openTree(path, 'model');
  return await readTree(file, template, options); // the file closes when this function ends
}

export interface ModelInfo {
  /** What `saveModel` was given; undefined for files of other producers. Untrusted: check it before building a model from it. */
  config: unknown;
  fileBytes: number;
  /** Bytes of all tensors. */
  tensorBytes: number;
  metadata: Readonly<Record<string, string>>;
}

/** What a model file says of itself. Its checksum is checked, its tensors stay on the disk. */
export async function modelInfo(path: string): Promise<ModelInfo> {
  await using file = await openTree(path, 'model');
  const stored = readMetadata(file, key);
  if (stored !== undefined && !(isObject(stored) && stored['version'] === version)) {
    throw new FormatError(`[model] ${path} has a model format that this version does not read (it reads ${version}); update thimble`);
  }
  let tensorBytes = 0;
  for (const t of file.tensors.values()) tensorBytes += t.byteLength;
  return { config: isObject(stored) ? stored['config'] : undefined, fileBytes: file.fileBytes, tensorBytes, metadata: file.metadata };
}
