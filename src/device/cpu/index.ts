/** The CPU device: programs run in C, the whole list of calls in one go, on a pool of threads. */
import type { Device, DeviceBuffer, Executable } from '../../tensor/device.ts';
import type { AnyCall, Program, View } from '../../tensor/lower/program.ts';
import type { TensorType } from '../../tensor/shape.ts';
import { firstNonFinite } from '../check.ts';
import { type Backend, type LoadedProgram, openBackend } from './backend.ts';
import { argsortScratch, MAX_CLASSIFIER_WIDTH, tileRows } from './chunks.ts';
import { encode } from './encode.ts';

interface CpuBuffer extends DeviceBuffer {
  readonly address: number;
}

/** Programs that nobody can run any more. */
const forgotten = new FinalizationRegistry<LoadedProgram>((program) => program.free());

export class CpuDevice implements Device {
  readonly name = 'cpu';
  readonly holdsData = true;
  readonly backend: Backend;
  #allocated = 0;
  #arena: CpuBuffer = { address: 0, bytes: 0 };
  #running = 0;
  #retired: CpuBuffer[] = [];

  constructor(backend: Backend = openBackend()) {
    this.backend = backend;
  }
  fused(op: string, [x]: readonly TensorType[]): boolean {
    return !op.startsWith('linearCrossEntropy') || x!.shape[1]! <= MAX_CLASSIFIER_WIDTH;
  }
  scratchBytes(call: AnyCall): number {
    return call.kernel === 'argsort' ? argsortScratch(call) : 0;
  }
  get allocatedBytes(): number {
    return this.#allocated;
  }
  /** Bytes of the arena that all programs share. */
  get arenaBytes(): number {
    return this.#arena.bytes;
  }

  alloc(bytes: number): CpuBuffer {
    const address = this.backend.alloc(bytes);
    if (!address)
      throw new Error(
        `[cpu] out of memory: ${bytes} bytes asked for, ${this.#allocated} in use; lower the batch size or free tensors with dispose()`,
      );
    this.#allocated += bytes;
    return { address, bytes };
  }
  free(buffer: DeviceBuffer): void {
    this.#allocated -= buffer.bytes;
    this.backend.free(buffer.address as number, buffer.bytes);
  }
  write(buffer: DeviceBuffer, data: Uint8Array): void {
    if (data.byteLength > buffer.bytes) throw new RangeError(`[cpu] ${data.byteLength} bytes do not fit into a buffer of ${buffer.bytes}`);
    if (data.byteLength) this.backend.write(buffer.address as number, data);
  }
  read(buffer: DeviceBuffer, bytes: number): Uint8Array {
    if (bytes > buffer.bytes) throw new RangeError(`[cpu] ${bytes} bytes asked from a buffer of ${buffer.bytes}`);
    return this.backend.read(buffer.address as number, bytes);
  }

  /** One arena for all programs, as large as the largest needs: they never run at the same time. */
  #reserve(bytes: number): void {
    if (bytes <= this.#arena.bytes) return;
    const old = this.#arena;
    if (old.bytes) this.#running ? this.#retired.push(old) : this.free(old);
    this.#arena = { address: 0, bytes: 0 };
    this.#arena = this.alloc(bytes);
  }

  prepare(program: Program): Executable {
    const { words, slots } = encode(program, tileRows[this.backend.isa]!);
    const loaded = this.backend.load(words, slots);
    const steps = program.calls.length;
    const bind = (buffers: readonly DeviceBuffer[]): void => {
      this.#reserve(program.arenaBytes);
      loaded.slot(0, this.#arena.address);
      for (let i = 0; i < buffers.length; i++) loaded.slot(i + 1, buffers[i]!.address as number);
    };
    /** Call by call, the arena must stay as it is in between. */
    const bindAlone = (buffers: readonly DeviceBuffer[]): void => {
      if (this.#running)
        throw new Error('[cpu] another program is still running; await its async call before one is looked at call by call');
      bind(buffers);
    };
    const check = (bad: number): void => {
      if (bad < 0)
        throw new Error(
          `[cpu] the kernels refuse the program (code ${bad}); the native build and the package differ: delete the build folder`,
        );
      if (bad > 0)
        throw new Error(`[cpu] ${bad} indices of take or scatter were outside their axis; check the ids against the size of the table`);
    };
    const bytesOf = (view: View, buffers: readonly DeviceBuffer[]): Uint8Array => {
      const spec = program.buffers[view.buffer]!;
      const at = spec.external < 0 ? this.#arena.address + spec.offset : (buffers[spec.external]!.address as number);
      return this.backend.read(at, spec.bytes);
    };
    const executable: Executable = {
      run: (buffers) => {
        bind(buffers);
        check(loaded.run(0, steps));
      },
      runAsync: async (buffers) => {
        bind(buffers);
        this.#running++;
        try {
          check(await loaded.runAsync(0, steps));
        } finally {
          if (--this.#running === 0) for (const b of this.#retired.splice(0)) this.free(b);
        }
      },
      profile: (buffers) => {
        bindAlone(buffers);
        return Float64Array.from({ length: steps }, (_, i) => {
          const began = performance.now();
          check(loaded.run(i, i + 1));
          return performance.now() - began;
        });
      },
      findNonFinite: (buffers) => {
        bindAlone(buffers);
        return firstNonFinite(
          program,
          (i) => check(loaded.run(i, i + 1)),
          (view) => bytesOf(view, buffers),
        );
      },
    };
    forgotten.register(executable, loaded);
    return executable;
  }
}
