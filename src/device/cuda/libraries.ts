/** Finds NVIDIA's libraries: an environment variable, the loader's own path, the toolkit's folders, a Python environment's. */

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import koffi from 'koffi';

export type LibraryName = 'cuda' | 'nvrtc' | 'cublasLt' | 'cudnn' | 'nccl';

const names: Record<LibraryName, { variable: string; files: RegExp; loader: string[]; help: string }> = {
  cuda: { variable: 'THIMBLE_LIBCUDA', files: /^libcuda\.so\.1$/, loader: ['libcuda.so.1'], help: "install NVIDIA's driver" },
  nvrtc: {
    variable: 'THIMBLE_LIBNVRTC',
    files: /^libnvrtc\.so\.\d+$/,
    loader: ['libnvrtc.so.13', 'libnvrtc.so.12'],
    help: 'install the CUDA toolkit, or pip install nvidia-cuda-nvrtc',
  },
  cublasLt: {
    variable: 'THIMBLE_LIBCUBLASLT',
    files: /^libcublasLt\.so\.\d+$/,
    loader: ['libcublasLt.so.13', 'libcublasLt.so.12'],
    help: 'install the CUDA toolkit, or pip install nvidia-cublas',
  },
  cudnn: {
    variable: 'THIMBLE_LIBCUDNN',
    files: /^libcudnn\.so\.\d+$/,
    loader: ['libcudnn.so.9'],
    help: 'pip install nvidia-cudnn-cu13 (optional: faster attention)',
  },
  nccl: {
    variable: 'THIMBLE_LIBNCCL',
    files: /^libnccl\.so\.\d+$/,
    loader: ['libnccl.so.2'],
    help: 'pip install nvidia-nccl-cu13 (optional: several GPUs)',
  },
};

let folders: string[] | undefined;

/** Folders that may hold the libraries, most trusted first. A `compat` copy of the driver is never used. */
function searchFolders(): string[] {
  if (folders) return folders;
  const found = (process.env.LD_LIBRARY_PATH ?? '').split(':').concat('/usr/local/nvidia/lib64');
  for (const cuda of [
    '/usr/local/cuda',
    ...list('/usr/local')
      .filter((f) => f.startsWith('cuda-'))
      .map((f) => `/usr/local/${f}`),
  ]) {
    found.push(`${cuda}/lib64`);
    for (const target of list(`${cuda}/targets`)) found.push(`${cuda}/targets/${target}/lib`);
  }
  const python = spawnSync('python3', ['-c', 'import nvidia; print("\\n".join(nvidia.__path__))'], { encoding: 'utf8' });
  for (const base of python.status === 0 ? python.stdout.trim().split('\n') : [])
    for (const part of list(base)) found.push(join(base, part, 'lib'));
  folders = [...new Set(found)].filter((f) => f && !f.includes('compat') && existsSync(f));
  return folders;
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

export interface Found {
  lib: ReturnType<typeof koffi.load>;
  path: string;
}

const opened = new Map<LibraryName, Found>();
let configured = false;

/** Opens a library, or throws with every place that was tried and how to get it. */
export function openLibrary(name: LibraryName): Found {
  const known = opened.get(name);
  if (known) return known;
  if (!configured) {
    // NVRTC recurses deeply, and koffi runs calls on stacks of its own: they must be enlarged before the first library is loaded
    try {
      koffi.config({ ...koffi.config(), sync_stack_size: 16 << 20, async_stack_size: 16 << 20 });
    } catch {
      // another part of the process has loaded a library already: its limits stay
    }
    configured = true;
  }
  const { variable, files, loader, help } = names[name];
  const wish = process.env[variable];
  const tried: string[] = [];
  const attempt = (path: string): Found | undefined => {
    tried.push(path);
    try {
      if (name === 'nvrtc' && path.includes('/')) preloadBuiltins(dirname(path));
      const found = { lib: koffi.load(path), path };
      opened.set(name, found);
      return found;
    } catch {
      return undefined; // the next place
    }
  };
  for (const path of wish ? [wish] : loader) {
    const found = attempt(path);
    if (found) return found;
  }
  // looking further may ask Python, which takes a while
  for (const folder of wish ? [] : searchFolders())
    for (const file of list(folder)) {
      const found = files.test(file) ? attempt(join(folder, file)) : undefined;
      if (found) return found;
    }
  throw new Error(
    `[cuda] ${wish ?? loader[0]} was not found (tried ${tried.slice(0, 6).join(', ')}); ${help}, or set ${variable} to its path`,
  );
}

export type Surveyed = { path: string; version: string } | { missing: string };

/** What of NVIDIA's is here: path and version of each library, or how to get it. */
export function surveyLibraries(): Record<LibraryName, Surveyed> {
  const look = (name: LibraryName): [LibraryName, Surveyed] => {
    let found: Found;
    try {
      found = openLibrary(name);
    } catch {
      return [name, { missing: `${names[name].help}, or set ${names[name].variable} to its path` }];
    }
    try {
      return [name, { path: found.path, version: versions[name](found.lib) }];
    } catch {
      return [name, { path: found.path, version: 'unknown' }];
    }
  };
  return Object.fromEntries((Object.keys(names) as LibraryName[]).map(look)) as Record<LibraryName, Surveyed>;
}

type Library = Found['lib'];
/** What a function writes to its first argument. */
function told(lib: Library, name: string): number {
  const out = new Int32Array(32);
  (lib.func(name, 'int', ['void *']) as unknown as (out: Int32Array) => number)(out);
  return out[0]!;
}
/** What a function without arguments returns. */
const returned = (lib: Library, name: string): number => Number((lib.func(name, 'size_t', []) as unknown as () => number | bigint)());
const dotted = (n: number, ...units: number[]): string => units.map((u, i) => Math.floor((i ? n % units[i - 1]! : n) / u)).join('.');
/** How each library tells its version. */
const versions: Record<LibraryName, (lib: Library) => string> = {
  cuda: (lib) => `CUDA ${dotted(told(lib, 'cuDriverGetVersion'), 1000, 10)}`,
  nvrtc(lib) {
    const out = new Int32Array(32);
    (lib.func('nvrtcVersion', 'int', ['void *', 'void *']) as unknown as (a: Int32Array, b: Int32Array) => number)(out, out.subarray(16));
    return `${out[0]}.${out[16]}`;
  },
  // 13 and later count in ten thousands, as cuDNN 9 and NCCL 2.9 do
  cublasLt: (lib) => dotted(returned(lib, 'cublasLtGetVersion'), 10000, 100, 1),
  cudnn: (lib) => dotted(returned(lib, 'cudnnGetVersion'), 10000, 100, 1),
  nccl: (lib) => dotted(told(lib, 'ncclGetVersion'), 10000, 100, 1),
};

const kept: unknown[] = [];
/** NVRTC opens its builtins by bare name; loading them first by path satisfies that without LD_LIBRARY_PATH. */
function preloadBuiltins(folder: string): void {
  for (const f of list(folder)) if (/^libnvrtc-builtins\.so\.\d+\.\d+$/.test(f)) kept.push(koffi.load(join(folder, f)));
}
