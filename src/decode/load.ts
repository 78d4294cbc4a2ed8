/** A Llama from the folder of a published checkpoint: config.json and safetensors, in one file or in shards with an index. */
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { NullDevice } from '../device/null/index.ts';
import { cannotOpen } from '../io/errors.ts';
import { openSafetensors, type SafetensorsFile, type StoredTensor } from '../io/index.ts';
import { Llama, readLlamaConfig } from '../nn/index.ts';
import {
  cast,
  type Device,
  defaultDevice,
  disposeTree,
  empty,
  fromBytes,
  mapTree,
  type Shape,
  type Tensor,
  typeOf,
} from '../tensor/index.ts';

async function readJson(path: string): Promise<unknown> {
  const text = await readFile(path, 'utf8').catch((error) => {
    throw cannotOpen('llama', path, error);
  });
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`[llama] ${path} is no JSON: ${(error as Error).message}`);
  }
}

/** The files of a checkpoint: those that the index names, or the single one. */
async function filesOf(folder: string): Promise<string[]> {
  const index = join(folder, 'model.safetensors.index.json');
  let json: unknown;
  try {
    json = await readJson(index);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [join(folder, 'model.safetensors')];
    throw error;
  }
  const map = (json as { weight_map?: unknown } | null)?.weight_map;
  const names = typeof map === 'object' && map !== null ? Object.values(map) : [];
  if (!names.length || names.some((name) => typeof name !== 'string' || name !== basename(name)))
    throw new Error(`[llama] ${index}: weight_map must name the files of the folder by tensor`);
  return [...new Set(names as string[])].map((name) => join(folder, name));
}

/**
 * Reads a model, one matrix at a time; those that the model joins are read side by side into one tensor. Norms become f32.
 * @param options.verify check the seal of files that have one; default true.
 * @throws Error or FormatError that names the file, the tensor or the field at fault.
 */
export async function loadLlama(folder: string, options: { device?: Device; verify?: boolean } = {}): Promise<Llama> {
  const { device = defaultDevice(), verify = true } = options;
  const config = readLlamaConfig(await readJson(join(folder, 'config.json')));
  const files: SafetensorsFile[] = [];
  const read = new Map<Tensor, Tensor>();
  try {
    for (const path of await filesOf(folder)) files.push(await openSafetensors(path, { verify }));
    const home = new Map(files.flatMap((file) => [...file.tensors.keys()].map((name) => [name, file] as const)));
    const find = (name: string): Part => {
      const file = home.get(name);
      if (!file) throw new Error(`[llama] ${folder} has no tensor '${name}'; a shard is missing, or config.json belongs to another model`);
      return { file, name, stored: file.tensors.get(name)! };
    };
    const wanted = new Map<Tensor, Rows>();
    const nowhere = new NullDevice();
    // Every part is looked up at once: a configuration with more layers than the files ends at the first that they lack.
    const skeleton = Llama.from(config, (names, shape) => {
      const place = empty(typeOf(shape, 'f32'), nowhere);
      wanted.set(place, { parts: names.map(find), shape });
      return place;
    });
    for (const [place, rows] of wanted) read.set(place, await readRows(rows, device, folder));
    return mapTree(skeleton, (place) => read.get(place)!);
  } catch (error) {
    disposeTree([...read.values()]);
    throw error;
  } finally {
    await Promise.all(files.map((file) => file.close()));
  }
}

interface Part {
  file: SafetensorsFile;
  name: string;
  stored: StoredTensor;
}

interface Rows {
  parts: readonly Part[];
  shape: Shape;
}

async function readRows({ parts, shape }: Rows, device: Device, folder: string): Promise<Tensor> {
  const { dtype } = parts[0]!.stored;
  const rows = parts.reduce((n, p) => n + p.stored.shape[0]!, 0);
  const fits = parts.every(
    ({ stored: s }) => s.dtype === dtype && s.shape.length === shape.length && s.shape.slice(1).join() === shape.slice(1).join(),
  );
  if (!fits || rows !== shape[0])
    throw new Error(
      `[llama] ${folder}: ${parts.map((p) => `${p.name} ${p.stored.storedType}[${p.stored.shape}]`).join(' + ')} should be [${shape}] in one type by config.json`,
    );
  const bytes = new Uint8Array(parts.reduce((n, p) => n + p.stored.byteLength, 0));
  let at = 0;
  for (const { file, name, stored } of parts) {
    await file.read(name, bytes.subarray(at));
    at += stored.byteLength;
  }
  const type = typeOf(shape, dtype ?? 'f32');
  const whole = fromBytes(bytes, type, device);
  if (shape.length > 1 || dtype === 'f32') return whole;
  const gain = cast(whole, 'f32');
  whole.dispose();
  return gain;
}
