/** One GPU as everything on it shares it: driver, context, stream, memory, matrix products. */
import koffi from 'koffi';
import { CublasLt } from './cublaslt.ts';
import { AttentionLibrary } from './cudnn.ts';
import { CudaError, type Driver, type GpuInfo, openGpu } from './driver.ts';
import { capture, destroy } from './graphs.ts';
import { Memory } from './memory.ts';
import { nvrtcAbilities } from './nvrtc.ts';
import { unmet } from './requirements.ts';
import { type Shared, TICKETS, WORKSPACE_FLOATS } from './shared.ts';
import type { Bench, CapturedWork } from './tuning.ts';

export class Gpu {
  readonly driver: Driver;
  readonly info: GpuInfo;
  readonly stream: number;
  readonly memory: Memory;
  readonly blas: CublasLt;
  readonly cudnn: AttentionLibrary;
  /** Where the memory lies that all programs share: they run one after another. */
  readonly shared: Record<Shared, number>;
  /** The count of indices out of range: page-locked memory that kernels write and the host reads without a copy. */
  readonly bad: Uint32Array;
  readonly tf32 = process.env.THIMBLE_TF32 === '1';
  /** Every call is waited for, so that an error names the call it is of. Slow; for finding out. */
  readonly blocking = process.env.THIMBLE_CUDA_BLOCKING === '1';
  readonly #context: number;

  constructor(index: number) {
    const { driver, context, device, info } = openGpu(index);
    try {
      const bytes = new BigUint64Array(16);
      driver.cuMemGetInfo_v2(bytes, bytes.subarray(8));
      const { version: nvrtc, architectures } = nvrtcAbilities();
      const why = unmet({
        ...info,
        driver: info.driverVersion,
        freeBytes: Number(bytes[0]),
        totalBytes: Number(bytes[8]),
        nvrtc,
        architectures,
      });
      if (why) throw new Error(`[cuda] ${why}`);
      this.driver = driver;
      this.info = info;
      this.#context = context;
      this.stream = driver.get('cuStreamCreate', 1);
      this.memory = new Memory(driver, device, this.stream);
      const workspace = driver.get('cuMemAlloc_v2', 4 * WORKSPACE_FLOATS);
      const bench: Bench = {
        machine: `${info.name}, driver ${info.driverVersion}`,
        stream: this.stream,
        captured: (work) => this.captured(work),
        timed: (bodies) => this.timed(bodies),
        scratch: (bytes, body) => this.memory.scratch(bytes, body),
      };
      this.blas = new CublasLt(workspace, 4 * WORKSPACE_FLOATS, bench);
      this.cudnn = new AttentionLibrary(bench);
      const bad = driver.get('cuMemHostAlloc', 64, 2);
      this.bad = new Uint32Array(koffi.view(BigInt(bad), 64));
      const tickets = driver.get('cuMemAlloc_v2', 4 * TICKETS);
      this.memory.write({ address: tickets, bytes: 4 * TICKETS }, new Uint8Array(4 * TICKETS));
      this.shared = { bad, workspace, tickets };
    } catch (error) {
      driver.cuDevicePrimaryCtxRelease_v2(device); // with all that was allocated
      throw error;
    }
  }

  /** Before the driver is called: a context belongs to the thread that entered it. */
  enter(): void {
    this.driver.cuCtxSetCurrent(this.#context);
  }
  /** Waits for all that was submitted. @param what it was, for an error. */
  synchronize(what?: string): void {
    try {
      this.driver.cuStreamSynchronize(this.stream);
    } catch (error) {
      throw what && error instanceof CudaError ? new CudaError(error.code, what) : error;
    }
  }
  /** Throws for the indices out of range of what has run. */
  checkIndices(): void {
    const bad = this.bad[0]!;
    this.bad[0] = 0; // not before a run: another may still be counting
    if (bad)
      throw new Error(`[cuda] ${bad} indices of take or scatter were outside their axis; check the ids against the size of the table`);
  }
  /** Milliseconds on the GPU of what each of `bodies` submits, one after the other without a wait between them. */
  timed(bodies: readonly (() => void)[]): number[] {
    const d = this.driver;
    this.enter();
    const events = [undefined, ...bodies].map(() => d.get('cuEventCreate', 0));
    d.cuEventRecord(events[0], this.stream);
    bodies.forEach((body, i) => {
      body();
      d.cuEventRecord(events[i + 1], this.stream);
    });
    this.synchronize();
    return this.between(events);
  }
  /** As `synchronize`, on another thread. It waits for an event: the stream itself may by then be captured for another program. */
  async ended(): Promise<void> {
    const d = this.driver;
    const event = d.get('cuEventCreate', 2);
    d.cuEventRecord(event, this.stream);
    await d.async('cuEventSynchronize', event);
    d.cuEventDestroy_v2(event);
  }
  /** Milliseconds on the GPU of what `body` submits, from the moment the GPU begins it. */
  elapsed(body: () => void): number {
    return this.timed([body])[0]!;
  }
  /** What `work` submits, as one graph. */
  captured(work: () => void): CapturedWork {
    const d = this.driver;
    this.enter();
    const graph = capture(d, this.stream, work);
    return { launch: () => d.cuGraphLaunch(graph.executable, this.stream), free: () => destroy(d, graph) };
  }
  /** Milliseconds from each event to the next; the events are given up. */
  between(events: readonly number[]): number[] {
    const ms = new Float32Array(32);
    const times = events.slice(1).map((e, i) => {
      this.driver.cuEventElapsedTime(ms, events[i], e);
      return ms[0]!;
    });
    for (const e of events) this.driver.cuEventDestroy_v2(e);
    return times;
  }
}
