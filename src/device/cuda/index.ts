/** The CUDA device: generated kernels and cuBLASLt, a program as graphs. No native build: everything goes through the driver's C API. */
import { readFileSync } from 'node:fs';
import type { Device, DeviceBuffer } from '../../tensor/device.ts';
import type { AnyCall, Call, Program, View } from '../../tensor/lower/program.ts';
import type { TensorType } from '../../tensor/shape.ts';
import { type Abilities, type Launch, launchesOf, launchOfMany, Sources } from './calls.ts';
import type { GpuInfo } from './driver.ts';
import { CudaExecutable } from './executable.ts';
import { Gpu } from './gpu.ts';
import { groupCalls } from './group.ts';
import { rulesOn } from './rules.ts';
import type { CapturedWork } from './tuning.ts';

const sourceFiles = (names: readonly string[]): string =>
  names.map((name) => readFileSync(new URL(`../../../cuda/${name}.cuh`, import.meta.url), 'utf8')).join('\n');

/** The .cuh files, which every program's source begins with. */
export const preludeSource = (): string =>
  sourceFiles([
    'prelude',
    'clusters',
    'functions',
    'rows',
    'norms',
    'indexing',
    'scan',
    'order',
    'scatter',
    'scatter-rows',
    'attention',
    'attention-grad',
    'gemv',
    'gemv-tiles',
    'decode',
    'decode-any',
    'decode-halves',
  ]);

/** The .cuh files of Hopper's own instructions, where `text` calls what is in them: all of a module with them is for that architecture only. */
export function hopperSource(text: string): string {
  const files = [
    ...(text.includes('linear_xent') ? ['linear_xent', 'linear_xent-boxes', 'linear_xent-grad'] : []),
    ...(text.includes('_hopper') ? ['attention-panels', 'attention-hopper', 'attention-grad-hopper'] : []),
  ];
  return files.length ? sourceFiles(['wgmma', ...files]) : '';
}

/**
 * The whole source of a program, and the launches at the place of each call. Calls of one kind wait for each other and are one launch, unless
 * `apart`.
 */
export function programSource(
  program: Program,
  { apart = false, ...abilities }: Abilities & { apart?: boolean } = {},
): { source: string; launches: Launch[][] } {
  const sources = new Sources();
  const external = (v: View): number => program.buffers[v.buffer]!.external;
  const written = new Set(program.calls.flatMap((c) => c.writes.map(external)));
  const steady = (v: View): boolean => external(v) >= 0 && !written.has(external(v));
  const places = apart ? program.calls.map((_, i) => [[i]]) : groupCalls(program);
  const launches = places.map((groups) =>
    groups.flatMap((group) => {
      const calls = group.map((i) => program.calls[i]!);
      return calls.length > 1
        ? [launchOfMany(calls as (Call<'map'> | Call<'reduce'>)[], sources, abilities)]
        : launchesOf(calls[0]!, sources, { ...abilities, steady });
    }),
  );
  return { source: [preludeSource(), hopperSource(sources.text()), sources.text()].join('\n'), launches };
}

export class CudaDevice implements Device {
  readonly name = 'cuda';
  readonly holdsData = true;
  readonly #gpu: Gpu;
  readonly #rules: ReturnType<typeof rulesOn>;

  /** @param index which of the visible GPUs; default: THIMBLE_GPU, else the first. */
  constructor(index = Number(process.env.THIMBLE_GPU ?? 0)) {
    this.#gpu = new Gpu(index);
    this.#rules = rulesOn(this.info);
    this.skinny = this.#rules.skinny;
  }

  get info(): GpuInfo {
    return this.#gpu.info;
  }
  get allocatedBytes(): number {
    return this.#gpu.memory.allocatedBytes;
  }
  get arenaBytes(): number {
    return this.#gpu.memory.arenaBytes;
  }
  readonly skinny;
  appends(tokens: number): boolean {
    return this.#rules.appends(tokens);
  }
  fused(op: string, inputs: readonly TensorType[]): boolean {
    return this.#rules.fused(op, inputs);
  }
  gemmReads(view: View): boolean {
    return this.#rules.gemmReads(view);
  }
  reduceParts(outer: number, count: number, inner: number): number {
    return this.#rules.reduceParts(outer, count, inner);
  }
  normGradParts(x: TensorType): number {
    return this.#rules.normGradParts(x);
  }
  scratchBytes(call: AnyCall): number {
    const { cudnn } = this.#gpu;
    const byLibrary = (call.kernel === 'attention' || call.kernel === 'attentionGrad') && cudnn.takes(call);
    return byLibrary ? cudnn.scratchBytes(call) : this.#rules.scratchBytes(call);
  }
  epilogue(call: Call<'gemm'>): boolean {
    return this.#rules.epilogue(call);
  }
  /** Milliseconds on the GPU of what `body` runs, from the moment the GPU begins it. */
  elapsed(body: () => void): number {
    return this.#gpu.elapsed(body);
  }
  /** Milliseconds on the GPU of what each of `bodies` runs, one after the other without a wait between them. */
  timed(bodies: readonly (() => void)[]): number[] {
    return this.#gpu.timed(bodies);
  }
  /** What `work` submits, as one graph; memory that it reserves must be there. */
  captured(work: () => void): CapturedWork {
    return this.#gpu.captured(work);
  }
  /** Copies inside the device, without waiting. */
  copy(to: DeviceBuffer, from: DeviceBuffer, bytes: number): void {
    this.#gpu.driver.cuMemcpyDtoDAsync_v2(to.address, from.address, bytes, this.#gpu.stream);
  }

  alloc(bytes: number): DeviceBuffer {
    this.#gpu.enter();
    return this.#gpu.memory.alloc(bytes);
  }
  free(buffer: DeviceBuffer): void {
    this.#gpu.memory.free(buffer);
  }
  upload(data: Uint8Array): DeviceBuffer {
    this.#gpu.enter();
    return this.#gpu.memory.upload(data);
  }
  write(buffer: DeviceBuffer, data: Uint8Array): void {
    if (data.byteLength > buffer.bytes) throw new RangeError(`[cuda] ${data.byteLength} bytes do not fit into a buffer of ${buffer.bytes}`);
    this.#gpu.enter();
    this.#gpu.memory.write(buffer, data);
  }
  read(buffer: DeviceBuffer, bytes: number): Uint8Array {
    if (bytes > buffer.bytes) throw new RangeError(`[cuda] ${bytes} bytes asked from a buffer of ${buffer.bytes}`);
    this.#gpu.enter();
    return this.#gpu.memory.read(buffer.address as number, bytes);
  }
  async fetch(parts: readonly { buffer: DeviceBuffer; bytes: number }[]): Promise<Uint8Array[]> {
    this.#gpu.enter();
    const found = await this.#gpu.memory.fetch(parts);
    this.#gpu.checkIndices();
    return found;
  }

  prepare(program: Program): CudaExecutable {
    this.#gpu.enter();
    const abilities: Abilities = { library: (call) => this.#gpu.cudnn.takes(call), ...this.info };
    const { source, launches } = programSource(program, abilities);
    return new CudaExecutable(program, source, launches, this.#gpu, () => {
      const one = programSource(program, { ...abilities, apart: true });
      return new CudaExecutable(program, one.source, one.launches, this.#gpu);
    });
  }
}
