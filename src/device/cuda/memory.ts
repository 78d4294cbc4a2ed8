/** The GPU's memory: buffers of the driver's pool, one arena for all programs, uploads beside the running program. */
import { printBytes } from '../../bytes/index.ts';
import type { DeviceBuffer } from '../../tensor/device.ts';
import type { Program } from '../../tensor/lower/program.ts';
import { largestBuffers } from '../largest.ts';
import { CudaError, type Driver } from './driver.ts';
import { Mail } from './mail.ts';
import { Staging } from './staging.ts';

export interface CudaBuffer extends DeviceBuffer {
  readonly address: number;
}

export class Memory {
  readonly #driver: Driver;
  readonly #pool: number;
  /** Where programs run, and where what they work on is allocated and freed: in their order. */
  readonly #stream: number;
  /** Uploads have a stream of their own: a batch travels while the step before it runs. */
  readonly #copies: number;
  readonly #uploaded: number;
  #uploads = false;
  readonly #staging: Staging;
  readonly #mail: Mail;
  #arena: CudaBuffer = { address: 0, bytes: 0 };
  #allocated = 0;

  constructor(driver: Driver, device: number, stream: number) {
    this.#driver = driver;
    this.#stream = stream;
    this.#pool = driver.get('cuDeviceGetDefaultMemPool', device);
    // freed memory stays with the process: the next allocation of its size is then immediate
    driver.cuMemPoolSetAttribute(this.#pool, 4, new BigUint64Array(16).fill(2n ** 63n));
    this.#copies = driver.get('cuStreamCreate', 1);
    this.#uploaded = driver.get('cuEventCreate', 2);
    this.#staging = new Staging(driver);
    this.#mail = new Mail(driver);
  }

  /** Bytes handed out and not got back, the arena's among them. */
  get allocatedBytes(): number {
    return this.#allocated;
  }
  get arenaBytes(): number {
    return this.#arena.bytes;
  }
  get arena(): number {
    return this.#arena.address;
  }

  /** Makes what is put on the programs' stream from now on wait for the uploads so far. */
  join(): void {
    if (!this.#uploads) return;
    this.#driver.cuEventRecord(this.#uploaded, this.#copies);
    this.#driver.cuStreamWaitEvent(this.#stream, this.#uploaded, 0);
    this.#uploads = false;
  }

  #take(bytes: number, stream: number, program?: Program): CudaBuffer {
    const d = this.#driver;
    const allocate = (): number => d.get('cuMemAllocAsync', Math.max(256, bytes), stream);
    const full = (error: unknown): boolean => error instanceof CudaError && error.code === 'CUDA_ERROR_OUT_OF_MEMORY';
    let address: number;
    try {
      address = allocate();
    } catch (error) {
      if (!full(error)) throw error;
      this.trim(); // what the pool keeps may be in pieces that are too small
      try {
        address = allocate();
      } catch (again) {
        throw full(again) ? this.#outOfMemory(bytes, program) : again;
      }
    }
    this.#allocated += bytes;
    return { address, bytes };
  }
  #outOfMemory(bytes: number, program?: Program): CudaError {
    this.trim(); // the pool may hold the larger part of what was asked for
    const info = new BigUint64Array(16);
    this.#driver.cuMemGetInfo_v2(info, info.subarray(8));
    const tensors = this.#allocated - this.#arena.bytes;
    const wanted = program
      ? `the plan needs ${printBytes(bytes)} for temporaries (${largestBuffers(program)})`
      : `${printBytes(bytes)} asked for, the arena of temporaries holds ${printBytes(this.#arena.bytes)}`;
    return new CudaError(
      'CUDA_ERROR_OUT_OF_MEMORY',
      'allocation',
      `${wanted}; ${printBytes(Number(info[0]))} of ${printBytes(Number(info[8]))} are free and tensors hold ${printBytes(tensors)}; lower the batch size, dispose of tensors, or end what else uses the GPU`,
    );
  }

  alloc(bytes: number): CudaBuffer {
    return this.#take(bytes, this.#stream);
  }
  free(buffer: DeviceBuffer): void {
    this.#allocated -= buffer.bytes;
    if (this.#driver.lost) return; // with everything else on the GPU
    this.join();
    this.#driver.cuMemFreeAsync(buffer.address, this.#stream);
  }
  /** New memory that will hold `data` for whatever runs later. */
  upload(data: Uint8Array): CudaBuffer {
    const buffer = this.#take(data.byteLength, this.#copies);
    this.#staging.upload(buffer.address, data, this.#copies);
    this.#uploads = true;
    return buffer;
  }
  write(to: DeviceBuffer, data: Uint8Array): void {
    this.join();
    this.#staging.upload(to.address as number, data, this.#stream);
  }
  read(address: number, bytes: number): Uint8Array {
    this.join();
    return this.#staging.download(address, bytes, this.#stream);
  }
  /** As `read` of each, when the programs' stream has come to here; what is put on it later is not waited for. */
  fetch(parts: readonly { buffer: DeviceBuffer; bytes: number }[]): Promise<Uint8Array[]> {
    this.join();
    return this.#mail.fetch(parts, this.#stream);
  }

  /** Makes the arena large enough for a program. */
  reserve(program: Program): void {
    if (program.arenaBytes <= this.#arena.bytes) return;
    if (this.#arena.bytes) {
      this.free(this.#arena);
      this.#arena = { address: 0, bytes: 0 };
      this.trim(); // the old arena would stay beside the new one
    }
    this.#arena = this.#take(program.arenaBytes, this.#stream, program);
  }
  /** Gives back to the driver what the pool holds and nothing uses. */
  trim(): void {
    this.#driver.cuStreamSynchronize(this.#stream);
    this.#driver.cuMemPoolTrimTo(this.#pool, 0);
  }

  /**
   * Memory outside the pool, for a moment; undefined where there is too little. Every 16 bits of it read as a number near 1, as f16 and as
   * bf16, and pairs of them as f32.
   */
  scratch<T>(bytes: readonly number[], body: (addresses: readonly number[]) => T): T | undefined {
    const d = this.#driver;
    const made: number[] = [];
    try {
      for (const n of bytes) made.push(d.get('cuMemAlloc_v2', Math.max(256, n)));
    } catch {
      for (const address of made) d.cuMemFree_v2(address);
      return undefined;
    }
    try {
      const noise = new Uint16Array(1 << 19);
      for (let i = 0, x = 1; i < noise.length; i++) {
        x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
        noise[i] = 0x3c00 | ((x >>> 16) & 0x83ff); // sign and mantissa are random
      }
      const block = new Uint8Array(noise.buffer);
      made.forEach((address, i) => {
        this.#staging.upload(address, block.subarray(0, bytes[i]), this.#stream);
        for (let have = block.length; have < bytes[i]!; have *= 2)
          d.cuMemcpyDtoDAsync_v2(address + have, address, Math.min(have, bytes[i]! - have), this.#stream);
      });
      return body(made);
    } finally {
      d.cuStreamSynchronize(this.#stream);
      for (const address of made) d.cuMemFree_v2(address);
    }
  }
}
