/**
 * The WebAssembly build of the kernels. Its threads are workers over one shared memory: those of the pool, which sleep in it while there is
 * nothing to do, and one that makes the asynchronous calls. None of them keeps the process alive. Without shared memory there is one thread.
 */
import { existsSync, readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { Worker } from 'node:worker_threads';
import type { Backend, LoadedProgram } from './backend.ts';
import { Heap } from './heap.ts';

const PAGE = 65536;
const INITIAL_PAGES = 256; // as the build declares it
const MAX_PAGES = 65536; // 4 GiB, all that 32-bit addresses reach
const STACK_BYTES = 1 << 20;
const SCRATCH_BYTES = 4 << 20; // of native/thimble.h
const BROKEN_POOL = -6; // of native/runtime.h

export interface WasmExports {
  memory?: WebAssembly.Memory;
  __heap_base: WebAssembly.Global;
  __stack_pointer: WebAssembly.Global;
  thimble_isa(): number;
  thimble_run(program: number, slots: number, threads: number, first: number, last: number): bigint;
  /** Becomes a member of the pool; does not return. */
  thimble_serve(scratch: number): void;
  /** To be called when a kernel has crashed, so that nobody waits for it. */
  thimble_abandon(): void;
}

/** What a worker is given. With `scratch` it serves in the pool, without it runs what it is sent. */
export interface WorkerData {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  stack: number;
  scratch?: number;
}
export type RunArguments = [program: number, slots: number, threads: number, first: number, last: number];

export function instantiate(module: WebAssembly.Module, memory: WebAssembly.Memory | null): WasmExports {
  const imports = { env: { memory }, host: { now: () => performance.now() } };
  return new WebAssembly.Instance(module, imports).exports as unknown as WasmExports;
}

/** As large a memory as the system lets us reserve; addresses, not bytes. Null where none can be shared. */
function sharedMemory(): WebAssembly.Memory | null {
  for (let maximum = MAX_PAGES; maximum >= INITIAL_PAGES; maximum /= 2)
    try {
      return new WebAssembly.Memory({ initial: INITIAL_PAGES, maximum, shared: true });
    } catch {}
  return null;
}

const wayOut = 'reinstall the package, or install a C compiler for the native kernels';

/** The best of the builds in the file that this engine runs. @throws where there is no file, or it is no longer what was built */
function openModule(path: string, shared: boolean): WebAssembly.Module {
  if (!existsSync(path)) throw new Error(`[cpu] native/thimble.wasm is missing; ${wayOut}`);
  try {
    return bestModule(readFileSync(path), shared);
  } catch (error) {
    throw new Error(`[cpu] ${path} is damaged (${(error as Error).message}); ${wayOut}`, { cause: error });
  }
}

function bestModule(file: Uint8Array, shared: boolean): WebAssembly.Module {
  const plain = new WebAssembly.Module(file);
  if (!shared) return plain;
  const build = (name: string): Uint8Array => new Uint8Array(WebAssembly.Module.customSections(plain, name)[0]!);
  const relaxed = build('thimble.relaxed');
  if (!WebAssembly.validate(relaxed)) setFlagsFromString('--experimental-wasm-relaxed-simd'); // V8 has had it since Node 20, by default since 21
  return new WebAssembly.Module(WebAssembly.validate(relaxed) ? relaxed : build('thimble.threads'));
}

/**
 * @param memory the memory that threads share; null: the build for one thread, with a memory of its own.
 * @param onMemory sees the memory at the start and whenever it has grown.
 */
export function wasmBackend(
  path: string,
  threads: number,
  memory = sharedMemory(),
  onMemory: (bytes: ArrayBufferLike) => void = () => {},
): Backend {
  const module = openModule(path, memory !== null);
  const exports = instantiate(module, memory);
  const pages = memory ?? exports.memory!;
  const heap = new Heap(exports.__heap_base.value as number, pages.buffer.byteLength, (bytes) => {
    const more = Math.ceil(Math.max(bytes, 1 << 20) / PAGE);
    try {
      pages.grow(more);
    } catch {
      throw new Error(
        `[cpu] WebAssembly memory cannot grow from ${pages.buffer.byteLength} by ${more * PAGE} bytes (its limit is 4 GiB); install a C compiler for the native kernels, or make the program smaller`,
      );
    }
    onMemory(pages.buffer);
    return pages.buffer.byteLength;
  });
  onMemory(pages.buffer);
  const view = (at: number, bytes: number): Uint8Array => new Uint8Array(pages.buffer, at, bytes);
  const pool = memory && new WorkerPool(exports, module, memory, heap);
  const count = pool ? threads : 1;
  const name = view(exports.thimble_isa(), 32).slice();
  return {
    kind: 'wasm',
    isa: new TextDecoder().decode(name.slice(0, name.indexOf(0))),
    threads: count,
    alloc: (bytes) => heap.alloc(bytes),
    free: (at, bytes) => {
      heap.free(at, bytes);
    },
    write: (at, data) => {
      view(at, data.byteLength).set(data);
    },
    read: (at, bytes) => view(at, bytes).slice(),
    load(words, slotCount): LoadedProgram {
      const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
      const program = heap.alloc(bytes.byteLength);
      const slots = heap.alloc(4 * slotCount);
      view(program, bytes.byteLength).set(bytes);
      view(slots, 4 * slotCount).fill(0);
      const one = (first: number, last: number): number => Number(exports.thimble_run(program, slots, 1, first, last));
      return {
        slot: (i, at) => {
          new DataView(pages.buffer).setUint32(slots + 4 * i, at, true);
        },
        run: pool ? (first, last) => pool.run([program, slots, count, first, last]) : one,
        runAsync: pool ? (first, last) => pool.runAsync([program, slots, count, first, last]) : async (first, last) => one(first, last),
        free() {
          heap.free(program, bytes.byteLength);
          heap.free(slots, 4 * slotCount);
        },
      };
    },
  };
}

class WorkerPool {
  readonly #exports: WasmExports;
  readonly #start: (scratch: boolean) => Worker;
  #members = 1; // this thread
  #caller: Worker | undefined;
  #waiting: { resolve: (n: number) => void; reject: (error: Error) => void }[] = [];
  #crash: Error | undefined;

  constructor(exports: WasmExports, module: WebAssembly.Module, memory: WebAssembly.Memory, heap: Heap) {
    this.#exports = exports;
    this.#start = (serves) => {
      const stack = heap.alloc(STACK_BYTES) + STACK_BYTES;
      const workerData: WorkerData = { module, memory, stack, ...(serves && { scratch: heap.alloc(SCRATCH_BYTES) }) };
      const worker = new Worker(new URL('./wasm-worker.js', import.meta.url), { workerData, execArgv: [] });
      worker.unref();
      worker.on('error', (error: Error) => this.#fail(error));
      return worker;
    };
  }

  /** The threads come while the first programs run: nobody waits for one that has not begun. */
  #grow(threads: number): void {
    for (; this.#members < threads; this.#members++) this.#start(true);
  }
  #fail(error: Error): Error {
    this.#crash ??= error;
    const told = new Error(
      `[cpu] a WebAssembly kernel crashed (${this.#crash.message}) and its threads are lost; start the process again, and please report the program`,
      { cause: this.#crash },
    );
    for (const { reject } of this.#waiting.splice(0)) reject(told);
    this.#caller?.unref();
    return told;
  }

  run(args: RunArguments): number {
    this.#grow(args[2]);
    let n: number;
    try {
      n = Number(this.#exports.thimble_run(...args));
    } catch (error) {
      this.#exports.thimble_abandon();
      throw this.#fail(error as Error);
    }
    if (n === BROKEN_POOL) throw this.#fail(new Error('in another thread'));
    return n;
  }

  runAsync(args: RunArguments): Promise<number> {
    this.#grow(args[2]);
    this.#caller ??= this.#start(false).on('message', (n: number) => {
      if (n === BROKEN_POOL) return void this.#fail(new Error('in another thread'));
      this.#waiting.shift()?.resolve(n);
      if (!this.#waiting.length) this.#caller!.unref();
    });
    const caller = this.#caller;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      caller.ref();
      caller.postMessage(args);
    });
  }
}
