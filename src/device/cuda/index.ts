/** The CUDA device: generated kernels and cuBLASLt, a program as one graph. No native build: everything goes through the driver's C API. */
import { readFileSync } from 'node:fs';
import koffi from 'koffi';
import type { Device, DeviceBuffer, Executable } from '../../tensor/device.ts';
import { itemSize } from '../../tensor/dtype.ts';
import type { Program, View } from '../../tensor/lower/program.ts';
import type { TensorType } from '../../tensor/shape.ts';
import { firstNonFinite } from '../check.ts';
import { type Launch, launchesOf, type Shared, Sources, TICKETS, WORKSPACE_FLOATS } from './calls.ts';
import { CublasLt, readable } from './cublaslt.ts';
import { CudaError, type Driver, type GpuInfo, openGpu } from './driver.ts';
import { cachedCubin } from './nvrtc.ts';

/** Graphs kept per program, one for each set of addresses it was called with. */
const MAX_GRAPHS = 8;
const MAX_SEEN = 1000;

/** The parameters of one launch: addresses, and the list of pointers to them that the driver wants. */
class Parameters {
  readonly #values: BigUint64Array;
  readonly #words: Uint32Array;
  readonly #pointers: BigUint64Array;
  readonly address: bigint;
  constructor(count: number) {
    this.#values = new BigUint64Array(Math.max(16, count)); // large enough to lie outside the collected heap, where nothing moves
    this.#words = new Uint32Array(this.#values.buffer);
    const base = koffi.address(this.#values);
    this.#pointers = this.#values.map((_, i) => base + BigInt(8 * i));
    this.address = koffi.address(this.#pointers);
  }
  set(i: number, value: number): void {
    this.#words[2 * i] = value;
    this.#words[2 * i + 1] = Math.floor(value / 2 ** 32);
  }
}

/** The .cuh files, which every program's source begins with. */
export function preludeSource(): string {
  return ['prelude', 'rows', 'indexing', 'attention', 'decode']
    .map((name) => readFileSync(new URL(`../../../cuda/${name}.cuh`, import.meta.url), 'utf8'))
    .join('\n');
}

/** The whole source of a program and its launches. */
export function programSource(program: Program): { source: string; launches: Launch[][] } {
  const sources = new Sources();
  const launches = program.calls.map((c) => launchesOf(c, sources));
  return { source: `${preludeSource()}\n${sources.text()}`, launches };
}

/** Attention has kernels for half-precision heads of 16 to 128 features; the rest of it runs as its reference. */
export function hasKernel(op: string, [q, k, v]: readonly TensorType[]): boolean {
  if (op === 'decodeAttention') {
    const [E, Tq] = [q!.shape[3]!, q!.shape[1]!];
    return E % (16 / itemSize[q!.dtype]) === 0 && E <= 128 && Tq <= 8 && v!.shape[3] === E;
  }
  if (op.startsWith('linearCrossEntropy')) return false;
  if (op !== 'attention' && op !== 'attentionGrad') return true;
  const E = q!.shape[3]!;
  return (q!.dtype === 'bf16' || q!.dtype === 'f16') && E % 16 === 0 && E <= 128 && v!.shape[3] === E && k!.shape[1]! > 0;
}

interface CudaBuffer extends DeviceBuffer {
  readonly address: number;
}

/** A program on the GPU; `submit` puts its launches on the stream and does not wait, for use inside `CudaDevice.replays`. */
export interface CudaExecutable extends Executable {
  submit(buffers: readonly DeviceBuffer[]): void;
  /** Kernels and matrix products of one run. */
  readonly launches: number;
}

export class CudaDevice implements Device {
  readonly name = 'cuda';
  readonly holdsData = true;
  readonly info: GpuInfo;
  readonly #driver: Driver;
  readonly #context: number;
  readonly #stream: number;
  readonly #blas: CublasLt;
  /** Counts indices out of range; page-locked memory that kernels write and the host reads without a copy. */
  readonly #bad: { address: number; view: Uint32Array };
  #events: [number, number] | undefined;
  readonly #shared: Record<Shared, number>;
  #allocated = 0;
  #arena: CudaBuffer = { address: 0, bytes: 0 };
  readonly #tf32 = process.env.THIMBLE_TF32 === '1';

  constructor() {
    const gpu = openGpu(Number(process.env.THIMBLE_GPU ?? 0));
    this.#driver = gpu.driver;
    this.#context = gpu.context;
    this.info = gpu.info;
    if (gpu.info.capability < 70)
      throw new Error(
        `[cuda] ${gpu.info.name} has compute capability ${gpu.info.capability / 10}, at least 7.0 is needed; use the cpu device`,
      );
    this.#stream = this.#driver.get('cuStreamCreate', 1);
    // freed memory stays with the process: the next allocation of its size is then immediate
    const pool = this.#driver.get('cuDeviceGetDefaultMemPool', gpu.device);
    this.#driver.cuMemPoolSetAttribute(pool, 4, new BigUint64Array(16).fill(2n ** 63n));
    const workspace = this.#alloc(4 * WORKSPACE_FLOATS);
    this.#blas = new CublasLt(workspace, 4 * WORKSPACE_FLOATS);
    const bad = this.#driver.get('cuMemHostAlloc', 64, 2);
    this.#bad = { address: bad, view: new Uint32Array(koffi.view(BigInt(bad), 64)) };
    this.#bad.view[0] = 0;
    const tickets = this.#alloc(4 * TICKETS);
    this.write({ address: tickets, bytes: 4 * TICKETS }, new Uint8Array(4 * TICKETS));
    this.#shared = { bad, workspace, tickets };
  }

  /** Milliseconds on the GPU of what `body` submits, from the moment the GPU begins it. */
  elapsed(body: () => void): number {
    const d = this.#driver;
    this.#current();
    const [start, end] = (this.#events ??= [d.get('cuEventCreate', 0), d.get('cuEventCreate', 0)]);
    d.cuEventRecord(start, this.#stream);
    body();
    d.cuEventRecord(end, this.#stream);
    d.cuEventSynchronize(end);
    const ms = new Float32Array(32);
    d.cuEventElapsedTime(ms, start, end);
    return ms[0]!;
  }

  fused(op: string, inputs: readonly TensorType[]): boolean {
    return hasKernel(op, inputs);
  }
  gemmReads(view: View): boolean {
    return readable(view);
  }
  get allocatedBytes(): number {
    return this.#allocated;
  }
  get arenaBytes(): number {
    return this.#arena.bytes;
  }

  #alloc(bytes: number): number {
    try {
      return this.#driver.get('cuMemAllocAsync', Math.max(256, bytes), this.#stream);
    } catch (error) {
      if (!(error instanceof CudaError) || error.code !== 'CUDA_ERROR_OUT_OF_MEMORY') throw error;
      const free = new BigUint64Array(16);
      this.#driver.cuMemGetInfo_v2(free, free.subarray(8));
      throw new CudaError(
        error.code,
        'allocation',
        `${bytes} bytes asked for, ${free[0]} of ${free[8]} free, ${this.#allocated} in use by tensors and ${this.#arena.bytes} by the arena; lower the batch size`,
      );
    }
  }
  alloc(bytes: number): CudaBuffer {
    const address = this.#alloc(bytes);
    this.#allocated += bytes;
    return { address, bytes };
  }
  free(buffer: DeviceBuffer): void {
    this.#allocated -= buffer.bytes;
    this.#driver.cuMemFreeAsync(buffer.address, this.#stream);
  }
  write(buffer: DeviceBuffer, data: Uint8Array): void {
    if (data.byteLength > buffer.bytes) throw new RangeError(`[cuda] ${data.byteLength} bytes do not fit into a buffer of ${buffer.bytes}`);
    if (!data.byteLength) return;
    this.#current();
    // small arrays may live in the collected heap and move: those are copied out first
    const stable = data.byteLength < 64 ? Buffer.concat([data, Buffer.alloc(64)]) : data;
    this.#driver.cuMemcpyHtoDAsync_v2(buffer.address, stable, data.byteLength, this.#stream);
    this.#driver.cuStreamSynchronize(this.#stream);
  }
  read(buffer: DeviceBuffer, bytes: number): Uint8Array {
    if (bytes > buffer.bytes) throw new RangeError(`[cuda] ${bytes} bytes asked from a buffer of ${buffer.bytes}`);
    return this.#readAt(buffer.address as number, bytes);
  }
  #readAt(address: number, bytes: number): Uint8Array {
    const out = new Uint8Array(Math.max(128, bytes));
    if (bytes) {
      this.#current();
      this.#driver.cuMemcpyDtoHAsync_v2(out, address, bytes, this.#stream);
      this.#driver.cuStreamSynchronize(this.#stream);
    }
    return out.subarray(0, bytes);
  }
  /** The context belongs to the calling thread. */
  #current(): void {
    this.#driver.cuCtxSetCurrent(this.#context);
  }

  #reserve(bytes: number): void {
    if (bytes <= this.#arena.bytes) return;
    if (this.#arena.bytes) this.free(this.#arena);
    this.#arena = { address: 0, bytes: 0 };
    this.#arena = this.alloc(bytes);
  }

  prepare(program: Program): CudaExecutable {
    const d = this.#driver;
    this.#current();
    const { source, launches } = programSource(program);
    const hasKernels = launches.some((ls) => ls.some((l) => l.kind === 'kernel'));
    const module = hasKernels ? d.get('cuModuleLoadData', cachedCubin(source, `sm_${this.info.capability}`)) : 0;
    const functions = new Map<string, number>();
    for (const l of launches.flat())
      if (l.kind === 'kernel' && !functions.has(l.name)) functions.set(l.name, d.get('cuModuleGetFunction', module, l.name));

    type Address = (v: View | Shared | null) => number;
    const addresses =
      (buffers: readonly DeviceBuffer[]): Address =>
      (v) => {
        if (v === null) return 0;
        if (typeof v === 'string') return this.#shared[v];
        const spec = program.buffers[v.buffer]!;
        const base = spec.external < 0 ? this.#arena.address + spec.offset : (buffers[spec.external]!.address as number);
        return base + v.offset * itemSize[v.dtype];
      };
    // The driver reads a kernel's parameters through a list of pointers to them; both are laid out once and only the values change.
    const parameters = new Map(launches.flat().flatMap((l) => (l.kind === 'kernel' ? [[l, new Parameters(l.views.length)] as const] : [])));
    const submit = (list: readonly Launch[], at: Address): void => {
      for (const l of list) {
        if (l.kind === 'gemm') {
          this.#gemm(l, at);
          continue;
        }
        const values = parameters.get(l)!;
        l.views.forEach((v, i) => {
          values.set(i, at(v));
        });
        d.cuLaunchKernel(functions.get(l.name), l.grid[0], l.grid[1], l.grid[2], l.block, 1, 1, 0, this.#stream, values.address, 0);
      }
    };

    const graphs = new Map<string, number>();
    const seen = new Set<string>();
    /** A graph holds addresses: it pays only for those that come again, so the first call with a set of them launches call by call. */
    const launch = (buffers: readonly DeviceBuffer[]): void => {
      this.#current();
      this.#reserve(program.arenaBytes);
      this.#bad.view[0] = 0;
      const key = `${this.#arena.address},${buffers.map((b) => b.address).join()}`;
      let graph = graphs.get(key);
      if (graph === undefined) {
        if (!seen.has(key)) {
          if (seen.size >= MAX_SEEN) seen.clear();
          seen.add(key);
          for (const list of launches) submit(list, addresses(buffers));
          return;
        }
        if (graphs.size >= MAX_GRAPHS) {
          const [oldest, handle] = graphs.entries().next().value!;
          graphs.delete(oldest);
          d.cuGraphExecDestroy(handle);
        }
        graph = this.#capture(() => {
          for (const list of launches) submit(list, addresses(buffers));
        });
        graphs.set(key, graph);
      }
      d.cuGraphLaunch(graph, this.#stream);
    };
    const check = (): void => {
      const bad = this.#bad.view[0]!;
      if (bad)
        throw new Error(`[cuda] ${bad} indices of take or scatter were outside their axis; check the ids against the size of the table`);
    };
    return {
      launches: launches.reduce((n, list) => n + list.length, 0),
      submit: (buffers) => {
        this.#current();
        this.#reserve(program.arenaBytes);
        for (const list of launches) submit(list, addresses(buffers));
      },
      run: (buffers) => {
        launch(buffers);
        d.cuStreamSynchronize(this.#stream);
        check();
      },
      runAsync: async (buffers) => {
        launch(buffers);
        await d.async('cuStreamSynchronize', this.#stream);
        check();
      },
      profile: (buffers) => {
        this.#current();
        this.#reserve(program.arenaBytes);
        const at = addresses(buffers);
        const events = Array.from({ length: launches.length + 1 }, () => d.get('cuEventCreate', 0));
        d.cuEventRecord(events[0], this.#stream);
        launches.forEach((list, i) => {
          submit(list, at);
          d.cuEventRecord(events[i + 1], this.#stream);
        });
        d.cuStreamSynchronize(this.#stream);
        check();
        const ms = new Float32Array(32);
        const times = launches.map((_, i) => {
          d.cuEventElapsedTime(ms, events[i], events[i + 1]);
          return ms[0]!;
        });
        for (const e of events) d.cuEventDestroy_v2(e);
        return Float64Array.from(times);
      },
      findNonFinite: (buffers) => {
        this.#current();
        this.#reserve(program.arenaBytes);
        const at = addresses(buffers);
        return firstNonFinite(
          program,
          (i) => {
            submit(launches[i]!, at);
            d.cuStreamSynchronize(this.#stream);
          },
          (v) => this.#readAt(at({ ...v, offset: 0 }), program.buffers[v.buffer]!.bytes),
        );
      },
    };
  }

  /** Copies inside the device, without waiting. */
  copy(to: DeviceBuffer, from: DeviceBuffer, bytes: number): void {
    this.#driver.cuMemcpyDtoDAsync_v2(to.address, from.address, bytes, this.#stream);
  }
  /** Microseconds on the GPU of each of `count` replays of what `work` submits, as one graph; memory that it reserves must be there. */
  replays(work: () => void, count: number): number[] {
    const d = this.#driver;
    this.#current();
    const graph = this.#capture(work);
    const events = Array.from({ length: count + 1 }, () => d.get('cuEventCreate', 0));
    d.cuGraphLaunch(graph, this.#stream);
    events.forEach((e, i) => {
      if (i) d.cuGraphLaunch(graph, this.#stream);
      d.cuEventRecord(e, this.#stream);
    });
    d.cuStreamSynchronize(this.#stream);
    const ms = new Float32Array(32);
    const times = events.slice(1).map((e, i) => {
      d.cuEventElapsedTime(ms, events[i], e);
      return 1e3 * ms[0]!;
    });
    for (const e of events) d.cuEventDestroy_v2(e);
    d.cuGraphExecDestroy(graph);
    return times;
  }

  /** What `work` submits, as a graph to launch. */
  #capture(work: () => void): number {
    const d = this.#driver;
    const out = new BigUint64Array(16);
    d.cuStreamBeginCapture_v2(this.#stream, 2);
    try {
      work();
    } finally {
      d.cuStreamEndCapture(this.#stream, out);
    }
    const captured = Number(out[0]);
    const graph = d.get('cuGraphInstantiateWithFlags', captured, 0);
    d.cuGraphDestroy(captured);
    return graph;
  }

  #gemm({ call }: Extract<Launch, { kind: 'gemm' }>, at: (v: View) => number): void {
    const product = this.#blas.product(call, this.#tf32);
    const [a, b] = call.reads as [View, View];
    const [c] = call.writes as [View];
    for (let i = 0; i < call.attrs.batch[0]; i++) {
      const step = (v: View): number => at(v) + i * v.strides[0]! * itemSize[v.dtype];
      product.run(step(a), step(b), step(c), this.#stream);
    }
  }
}
