/** A program on the GPU: its kernels loaded, its products chosen, its launches as graphs. */
import type { DeviceBuffer, Executable } from '../../tensor/device.ts';
import { itemSize } from '../../tensor/dtype.ts';
import type { AnyCall, Program } from '../../tensor/lower/program.ts';
import { firstNonFinite } from '../check.ts';
import type { Launch } from './calls.ts';
import { CudaError } from './driver.ts';
import { earlyRule } from './early.ts';
import type { Gpu } from './gpu.ts';
import { Graphs } from './graphs.ts';
import { type Address, alignmentsOf, cudnnStep, gemmStep, kernelStep, nameOf, type Step } from './launch.ts';
import { archOf, cachedCubin } from './nvrtc.ts';

/** Programs that nobody can run any more leave the GPU. */
const forgotten = new FinalizationRegistry<() => void>((unload) => unload());

/** Apart from the executable, which what this returns must not hold. */
function unloading(gpu: Gpu, module: number, graphs?: Graphs): () => void {
  return () => {
    if (gpu.driver.lost) return; // with everything else on the GPU
    try {
      gpu.enter();
      gpu.synchronize(); // its last run may not have ended
      graphs?.clear();
      if (module) gpu.driver.cuModuleUnload(module);
    } catch (error) {
      if (!(error instanceof CudaError)) throw error; // of a run, whose caller is told as well
    }
  };
}

export class CudaExecutable implements Executable {
  readonly #program: Program;
  readonly #gpu: Gpu;
  /** The steps of each call. */
  readonly #calls: readonly Step[][];
  readonly #graphs: Graphs;
  readonly #apart: (() => CudaExecutable) | undefined;

  /** @param apart the same program with every call in its own place, where some wait for others. */
  constructor(program: Program, source: string, launches: readonly Launch[][], gpu: Gpu, apart?: () => CudaExecutable) {
    const d = gpu.driver;
    this.#program = program;
    this.#gpu = gpu;
    this.#apart = apart;
    const names = new Set(launches.flat().flatMap((l) => (l.kind === 'kernel' ? [l.name] : [])));
    const module = names.size ? d.get('cuModuleLoadData', cachedCubin(source, archOf(source, gpu.info.capability))) : 0;
    try {
      const functions = new Map([...names].map((name) => [name, d.get('cuModuleGetFunction', module, name)]));
      const earlyOf = earlyRule(
        d,
        gpu.info,
        program,
        launches.flat().find((l) => l.kind === 'kernel'),
      );
      const step = (call: AnyCall, l: Launch): Step => {
        if (l.kind === 'gemm') return gemmStep(gpu.stream, l, gpu.blas.product(l.call, gpu.tf32, alignmentsOf(program, l)));
        if (l.kind === 'cudnn') return cudnnStep(l, gpu.cudnn);
        const fn = functions.get(l.name)!;
        const early = earlyOf(l, fn);
        return kernelStep(d, gpu.stream, call, early ?? l, fn, !!early);
      };
      this.#calls = launches.map((list, i) => list.map((l) => step(program.calls[i]!, l)));
      this.#graphs = new Graphs(d, gpu.stream, this.#calls.flat(), program.externals, (b) => program.buffers[b]!.external);
    } catch (error) {
      unloading(gpu, module)();
      throw error;
    }
    forgotten.register(this, unloading(gpu, module, this.#graphs));
  }

  /** Makes ready what a run needs, and says where operands lie in it. */
  #begin(buffers: readonly DeviceBuffer[]): Address {
    const gpu = this.#gpu;
    gpu.enter();
    gpu.memory.reserve(this.#program);
    gpu.memory.join();
    const { arena } = gpu.memory;
    const specs = this.#program.buffers;
    return (operand) => {
      if (operand === null) return 0;
      if (typeof operand === 'number') return operand;
      if (typeof operand === 'string') return gpu.shared[operand];
      const { external, offset } = specs[operand.buffer]!;
      const base = external < 0 ? arena + offset : (buffers[external]!.address as number);
      return base + operand.offset * itemSize[operand.dtype];
    };
  }
  #launch(buffers: readonly DeviceBuffer[]): void {
    const at = this.#begin(buffers);
    if (this.#gpu.blocking) this.#calls.forEach((_, i) => this.#call(i, at));
    else
      this.#graphs.run(
        this.#gpu.memory.arena,
        buffers.map((b) => b.address as number),
        at,
      );
  }
  /** One call, to its end. */
  #call(i: number, at: Address): void {
    for (const step of this.#calls[i]!) step.submit(at);
    this.#gpu.synchronize(nameOf(this.#program.calls[i]!));
  }

  /** Kernels and matrix products of one run. */
  get launches(): number {
    return this.#calls.flat().length;
  }
  /** Puts the launches on the stream one by one and does not wait, e.g. while it is captured. */
  submit(buffers: readonly DeviceBuffer[]): void {
    const at = this.#begin(buffers);
    for (const step of this.#calls.flat()) step.submit(at);
  }
  run(buffers: readonly DeviceBuffer[]): void {
    this.#launch(buffers);
    this.#gpu.synchronize();
    this.#gpu.checkIndices();
  }
  async runAsync(buffers: readonly DeviceBuffer[]): Promise<void> {
    this.#launch(buffers);
    await this.#gpu.ended();
    this.#gpu.checkIndices();
  }
  enqueue(buffers: readonly DeviceBuffer[]): void {
    this.#launch(buffers);
  }
  findNonFinite(buffers: readonly DeviceBuffer[]): number {
    if (this.#apart) return this.#apart().findNonFinite(buffers);
    const at = this.#begin(buffers);
    return firstNonFinite(
      this.#program,
      (i) => this.#call(i, at),
      (v) => this.#gpu.memory.read(at({ ...v, offset: 0 }), this.#program.buffers[v.buffer]!.bytes),
    );
  }
  profile(buffers: readonly DeviceBuffer[]): Float64Array {
    const { driver: d, stream } = this.#gpu;
    const at = this.#begin(buffers);
    const events = Array.from({ length: this.#calls.length + 1 }, () => d.get('cuEventCreate', 0));
    d.cuEventRecord(events[0], stream);
    this.#calls.forEach((steps, i) => {
      for (const step of steps) step.submit(at);
      d.cuEventRecord(events[i + 1], stream);
    });
    this.#gpu.synchronize();
    this.#gpu.checkIndices();
    return Float64Array.from(this.#gpu.between(events));
  }
}
