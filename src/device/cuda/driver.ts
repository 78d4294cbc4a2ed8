/** The driver API, as far as it is used. Handles and device pointers are numbers below 2^53. */
import koffi from 'koffi';
import { openLibrary } from './libraries.ts';

type Fn = (...args: unknown[]) => number;

const signatures = {
  cuInit: ['uint'],
  cuDriverGetVersion: ['void *'],
  cuDeviceGetCount: ['void *'],
  cuDeviceGet: ['void *', 'int'],
  cuDeviceGetName: ['void *', 'int', 'int'],
  cuDeviceGetAttribute: ['void *', 'int', 'int'],
  cuDevicePrimaryCtxRetain: ['void *', 'int'],
  cuCtxSetCurrent: ['uintptr_t'],
  cuMemGetInfo_v2: ['void *', 'void *'],
  cuDeviceGetDefaultMemPool: ['void *', 'int'],
  cuMemPoolSetAttribute: ['uintptr_t', 'int', 'void *'],
  cuMemAllocAsync: ['void *', 'size_t', 'uintptr_t'],
  cuMemFreeAsync: ['uintptr_t', 'uintptr_t'],
  cuMemAlloc_v2: ['void *', 'size_t'],
  cuMemFree_v2: ['uintptr_t'],
  cuMemHostAlloc: ['void *', 'size_t', 'uint'],
  cuMemcpyHtoDAsync_v2: ['uintptr_t', 'void *', 'size_t', 'uintptr_t'],
  cuMemcpyDtoHAsync_v2: ['void *', 'uintptr_t', 'size_t', 'uintptr_t'],
  cuModuleLoadData: ['void *', 'void *'],
  cuModuleGetFunction: ['void *', 'uintptr_t', 'str'],
  cuModuleUnload: ['uintptr_t'],
  cuLaunchKernel: ['uintptr_t', 'uint', 'uint', 'uint', 'uint', 'uint', 'uint', 'uint', 'uintptr_t', 'uintptr_t', 'uintptr_t'],
  cuStreamCreate: ['void *', 'uint'],
  cuStreamSynchronize: ['uintptr_t'],
  cuEventDestroy_v2: ['uintptr_t'],
  cuStreamBeginCapture_v2: ['uintptr_t', 'int'],
  cuStreamEndCapture: ['uintptr_t', 'void *'],
  cuGraphInstantiateWithFlags: ['void *', 'uintptr_t', 'uint64_t'],
  cuGraphLaunch: ['uintptr_t', 'uintptr_t'],
  cuGraphExecDestroy: ['uintptr_t'],
  cuGraphDestroy: ['uintptr_t'],
  cuEventCreate: ['void *', 'uint'],
  cuEventRecord: ['uintptr_t', 'uintptr_t'],
  cuEventSynchronize: ['uintptr_t'],
  cuEventElapsedTime: ['void *', 'uintptr_t', 'uintptr_t'],
  cuMemcpyDtoDAsync_v2: ['uintptr_t', 'uintptr_t', 'size_t', 'uintptr_t'],
  cuGetErrorName: ['int', 'void *'],
} as const;

export type Driver = { [K in keyof typeof signatures]: (...args: unknown[]) => void } & {
  /** Calls a function whose first argument receives a handle. */
  get(name: keyof typeof signatures, ...args: unknown[]): number;
  /** As a call, on another thread. */
  async(name: keyof typeof signatures, ...args: unknown[]): Promise<void>;
  readonly path: string;
};

let driver: Driver | undefined;

/** CUDA's own name of an error number. */
export class CudaError extends Error {
  override name = 'CudaError';
  readonly code: string;
  constructor(code: string, call: string, what = '') {
    super(`[cuda] ${call} failed with ${code}${what && `: ${what}`}`);
    this.code = code;
  }
}

export function openDriver(): Driver {
  if (driver) return driver;
  const { lib, path } = openLibrary('cuda');
  const raw = Object.fromEntries(
    Object.entries(signatures).map(([name, args]) => [name, lib.func(name, 'int', [...args]) as unknown as Fn & { async: Fn }]),
  ) as unknown as Record<keyof typeof signatures, Fn & { async: (...args: unknown[]) => void }>;
  const out = new BigUint64Array(1);
  const nameOf = (status: number): string => {
    if (raw.cuGetErrorName(status, out) !== 0 || !out[0]) return `error ${status}`;
    return koffi.decode(out[0], 'char', -1) as string;
  };
  const check = (status: number, call: string): void => {
    if (status !== 0) throw new CudaError(nameOf(status), call);
  };
  const calls = Object.fromEntries(Object.entries(raw).map(([name, f]) => [name, (...args: unknown[]) => check(f(...args), name)]));
  driver = Object.assign(calls, {
    path,
    get(name: keyof typeof signatures, ...args: unknown[]): number {
      const into = new BigUint64Array(1);
      check(raw[name](into, ...args), name);
      return Number(into[0]);
    },
    async: (name: keyof typeof signatures, ...args: unknown[]) =>
      new Promise<void>((resolve, reject) => {
        raw[name].async(...args, (error: Error | null, status: number) => {
          if (error) reject(error);
          else if (status !== 0) reject(new CudaError(nameOf(status), name));
          else resolve();
        });
      }),
  }) as unknown as Driver;
  return driver;
}

export interface GpuInfo {
  name: string;
  /** Compute capability x 10, e.g. 90. */
  capability: number;
  multiprocessors: number;
  driverVersion: number;
}

/** Opens the first GPU and makes it current on this thread. */
export function openGpu(index = 0): { driver: Driver; context: number; device: number; info: GpuInfo } {
  const d = openDriver();
  const int = new Int32Array(32); // above 64 bytes, so that it lies outside the collected heap
  d.cuInit(0);
  d.cuDeviceGetCount(int);
  if (int[0]! <= index) throw new Error(`[cuda] GPU ${index} was asked for, ${int[0]} are visible; check CUDA_VISIBLE_DEVICES`);
  d.cuDeviceGet(int, index);
  const device = int[0]!;
  const context = d.get('cuDevicePrimaryCtxRetain', device);
  d.cuCtxSetCurrent(context);
  const attribute = (a: number): number => {
    d.cuDeviceGetAttribute(int, a, device);
    return int[0]!;
  };
  const name = Buffer.alloc(256);
  d.cuDeviceGetName(name, 256, device);
  d.cuDriverGetVersion(int);
  const driverVersion = int[0]!;
  return {
    driver: d,
    context,
    device,
    info: {
      name: name.toString('latin1').split('\0')[0]!,
      capability: attribute(75) * 10 + attribute(76),
      multiprocessors: attribute(16),
      driverVersion,
    },
  };
}
