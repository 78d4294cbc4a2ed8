/** The two builds of the kernels behind one face: a shared library compiled on this machine, or the WebAssembly that ships. */
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import koffi from 'koffi';
import { adviseHugePages } from './huge-pages.ts';
import { wasmBackend } from './wasm.ts';

export interface Backend {
  kind: 'native' | 'wasm';
  /** Instruction set of the kernels. */
  isa: string;
  threads: number;
  alloc(bytes: number): number;
  free(address: number, bytes: number): void;
  write(address: number, data: Uint8Array): void;
  read(address: number, bytes: number): Uint8Array;
  /** Places a program where the kernels can read it. */
  load(words: BigInt64Array, slots: number): LoadedProgram;
}

export interface LoadedProgram {
  readonly words?: BigInt64Array;
  /** Sets the address of a slot. */
  slot(i: number, address: number): void;
  /** Runs steps [first, last); returns the number of indices that were out of range, negative for a program it refuses. */
  run(first: number, last: number): number;
  runAsync(first: number, last: number): Promise<number>;
  free(): void;
}

const root = fileURLToPath(new URL('../../../', import.meta.url));
const { ensureNative } = (await import(new URL('../../../scripts/build-native.mjs', import.meta.url).href)) as {
  ensureNative(options: { quiet: boolean; onFallback?: (why: string) => void }): { path: string } | null;
};

/** Opens the best build: THIMBLE_CPU=native or wasm insists on one. */
export function openBackend(wish = process.env.THIMBLE_CPU): Backend {
  if (wish !== undefined && wish !== 'native' && wish !== 'wasm') throw new Error(`[cpu] THIMBLE_CPU is '${wish}'; use native or wasm`);
  if (wish !== 'wasm') {
    let why = '';
    const built = ensureNative({
      quiet: true,
      onFallback: (reason) => {
        why = reason;
      },
    });
    if (built) return nativeBackend(built.path);
    if (wish === 'native') throw new Error(`[cpu] THIMBLE_CPU=native, but ${why}; install one, or leave THIMBLE_CPU unset`);
    process.stderr.write(
      `[cpu] ${why}: running the WebAssembly kernels, at a third to a half of the speed (THIMBLE_CPU=wasm asks for them)\n`,
    );
  }
  return wasmBackend(`${root}native/thimble.wasm`, threadCount(), undefined, adviseHugePages);
}

function threadCount(): number {
  const wish = process.env.THIMBLE_THREADS;
  if (wish === undefined) return availableParallelism();
  const n = Number(wish);
  if (!Number.isInteger(n) || n < 1) throw new Error(`[cpu] THIMBLE_THREADS is '${wish}'; it must be a whole number >= 1`);
  return n;
}

function load(path: string): ReturnType<typeof koffi.load> {
  try {
    return koffi.load(path);
  } catch (error) {
    throw new Error(
      `[cpu] the kernels in ${path} cannot be loaded (${(error as Error).message}); delete that file, and they are compiled anew`,
      {
        cause: error,
      },
    );
  }
}

/** The kernels of a library that was compiled on this machine. @throws where it cannot be loaded */
export function nativeBackend(path: string): Backend {
  const lib = load(path);
  const address = (x: NodeJS.TypedArray): number => Number(koffi.address(x));
  const alloc = lib.func('uintptr_t thimble_alloc(size_t)');
  const free = lib.func('void thimble_free(uintptr_t, size_t)');
  const copyIn = lib.func('thimble_copy', 'void', ['uintptr_t', 'const uint8_t *', 'size_t']);
  const copyOut = lib.func('thimble_copy', 'void', [koffi.out('uint8_t *'), 'uintptr_t', 'size_t']);
  const run = lib.func('int64_t thimble_run(uintptr_t, uintptr_t, int, int, int)');
  const threads = threadCount();
  return {
    kind: 'native',
    isa: String(lib.func('const char *thimble_isa()')()),
    threads,
    alloc: (bytes) => Number(alloc(bytes)),
    free: (at, bytes) => {
      free(at, bytes);
    },
    write: (at, data) => {
      copyIn(at, data, data.byteLength);
    },
    read(at, bytes) {
      const out = new Uint8Array(bytes);
      if (bytes) copyOut(out, at, bytes);
      return out;
    },
    load(words, count) {
      const slots = new Uint32Array(2 * Math.max(count, 32)); // large enough to lie outside the garbage-collected heap
      const program = address(words);
      const table = address(slots);
      return {
        slot(i, at) {
          slots[2 * i] = at;
          slots[2 * i + 1] = Math.floor(at / 2 ** 32);
        },
        words, // what `program` points at: kept as long as this object
        run: (first, last) => Number(run(program, table, threads, first, last)),
        runAsync: (first, last) =>
          new Promise((resolve, reject) => {
            run.async(program, table, threads, first, last, (error: Error | null, n: number) =>
              error ? reject(error) : resolve(Number(n)),
            );
          }),
        free() {},
      };
    },
  };
}
