/** Trees of tensors as the named tensors of one safetensors file: `{ model: { head } }` is stored as `model.head`. */
import { FormatError, openSafetensors, type SafetensorsFile, type TensorSource, writeSafetensors } from '../io/index.ts';
import { type Device, defaultDevice, forEachTensor, fromBytes, mapTree, type Tensor } from '../tensor/index.ts';

export interface TreeWriteOptions {
  metadata?: Readonly<Record<string, string>>;
  signal?: AbortSignal;
}

/** Writes every tensor of a tree, one in host memory at a time, atomically and sealed. @returns the file's bytes */
export async function writeTree(path: string, tree: unknown, options: TreeWriteOptions = {}): Promise<number> {
  const sources = new Map<string, TensorSource>();
  for (const [name, t] of named(tree)) sources.set(name, { dtype: t.dtype, shape: t.shape, data: () => t.rawData() });
  return writeSafetensors(path, sources, options);
}

/** All tensors of a tree by the names they have in a file, in the order of the tree. */
export function named(tree: unknown, prefix = ''): Map<string, Tensor> {
  const tensors = new Map<string, Tensor>();
  forEachTensor(tree, (t, path) => {
    const name = (prefix ? [prefix, ...path] : path).join('.');
    if (tensors.has(name)) throw new Error(`[tree] two tensors are called '${name}'; use keys without dots`);
    tensors.set(name, t);
  });
  return tensors;
}

/** Opens a file that a tree was written to; a missing file says so. */
export async function openTree(path: string, what: string): Promise<SafetensorsFile> {
  return openSafetensors(path).catch((error: unknown) => {
    if ((error as { code?: unknown }).code === 'ENOENT')
      throw Object.assign(new Error(`[${what}] there is no file ${path}`, { cause: error }), { code: 'ENOENT' });
    throw error;
  });
}

export interface TreeReadOptions {
  /** Read the part of the stored tree under this path: `state.model`. Default: the whole. */
  prefix?: string;
  /** Where the tensors go. Default: the default device. */
  device?: Device;
}

/**
 * The tree of `template` with the stored tensors in the places of its own, which are only asked for their types.
 *
 * @throws FormatError that names the tensors that are missing, have another type, or have no place in the template
 */
export async function readTree<T>(file: SafetensorsFile, template: T, options: TreeReadOptions = {}): Promise<T> {
  const { prefix = '', device = defaultDevice() } = options;
  const wanted = named(template, prefix);
  checkFit(file, wanted, prefix);
  const read: Tensor[] = [];
  try {
    for (const [name, { type }] of wanted) read.push(fromBytes((await file.read(name)).data, type, device));
  } catch (error) {
    for (const t of read) t.dispose();
    throw error;
  }
  let next = 0;
  return mapTree(template, () => read[next++]);
}

function checkFit(file: SafetensorsFile, wanted: ReadonlyMap<string, Tensor>, prefix: string): void {
  const faults: string[] = [];
  for (const [name, { type }] of wanted) {
    const stored = file.tensors.get(name);
    if (!stored) faults.push(`'${name}' ${type.key} is missing`);
    else if (stored.dtype !== type.dtype || stored.shape.join() !== type.shape.join()) {
      faults.push(`'${name}' is ${stored.dtype ?? stored.storedType} [${stored.shape}], needed is ${type.dtype} [${type.shape}]`);
    }
  }
  const inside = (name: string): boolean => prefix === '' || name === prefix || name.startsWith(`${prefix}.`);
  for (const name of file.tensors.keys()) if (inside(name) && !wanted.has(name)) faults.push(`'${name}' has no place in it`);
  if (faults.length === 0) return;
  const more = faults.length > 5 ? `; and ${faults.length - 5} more` : '';
  throw new FormatError(
    `[load] ${file.path} holds another tree than the one asked for: ${faults.slice(0, 5).join('; ')}${more}; build it with the configuration that was saved`,
  );
}

/** A JSON value of the metadata; undefined when the key is absent. */
export function readMetadata(file: SafetensorsFile, key: string): unknown {
  const text = Object.hasOwn(file.metadata, key) ? file.metadata[key] : undefined;
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new FormatError(`[load] ${file.path}: its metadata ${key} is not JSON (${(error as Error).message})`);
  }
}
