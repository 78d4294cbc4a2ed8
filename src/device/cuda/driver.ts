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
  cuDevicePrimaryCtxRelease_v2: ['int'],
  cuCtxSetCurrent: ['uintptr_t'],
  cuMemGetInfo_v2: ['void *', 'void *'],
  cuDeviceGetDefaultMemPool: ['void *', 'int'],
  cuMemPoolSetAttribute: ['uintptr_t', 'int', 'void *'],
  cuMemPoolTrimTo: ['uintptr_t', 'size_t'],
  cuMemAllocAsync: ['void *', 'size_t', 'uintptr_t'],
  cuMemFreeAsync: ['uintptr_t', 'uintptr_t'],
  cuMemAlloc_v2: ['void *', 'size_t'],
  cuMemFree_v2: ['uintptr_t'],
  cuMemHostAlloc: ['void *', 'size_t', 'uint'],
  cuMemFreeHost: ['void *'],
  cuMemcpyHtoDAsync_v2: ['uintptr_t', 'void *', 'size_t', 'uintptr_t'],
  cuMemcpyDtoHAsync_v2: ['void *', 'uintptr_t', 'size_t', 'uintptr_t'],
  cuModuleLoadData: ['void *', 'void *'],
  cuModuleGetFunction: ['void *', 'uintptr_t', 'str'],
  cuModuleUnload: ['uintptr_t'],
  cuFuncGetAttribute: ['void *', 'int', 'uintptr_t'],
  cuFuncSetAttribute: ['uintptr_t', 'int', 'int'],
  cuOccupancyMaxActiveBlocksPerMultiprocessor: ['void *', 'uintptr_t', 'int', 'size_t'],
  cuLaunchKernel: ['uintptr_t', 'uint', 'uint', 'uint', 'uint', 'uint', 'uint', 'uint', 'uintptr_t', 'uintptr_t', 'uintptr_t'],
  cuLaunchKernelEx: ['void *', 'uintptr_t', 'uintptr_t', 'uintptr_t'],
  cuStreamCreate: ['void *', 'uint'],
  cuStreamSynchronize: ['uintptr_t'],
  cuStreamDestroy_v2: ['uintptr_t'],
  cuStreamWaitEvent: ['uintptr_t', 'uintptr_t', 'uint'],
  cuStreamGetCaptureInfo_v2: ['uintptr_t', 'void *', 'void *', 'void *', 'void *', 'void *'],
  cuEventDestroy_v2: ['uintptr_t'],
  cuStreamBeginCapture_v2: ['uintptr_t', 'int'],
  cuStreamEndCapture: ['uintptr_t', 'void *'],
  cuGraphInstantiateWithFlags: ['void *', 'uintptr_t', 'uint64_t'],
  cuGraphLaunch: ['uintptr_t', 'uintptr_t'],
  cuGraphExecKernelNodeSetParams: ['uintptr_t', 'uintptr_t', 'void *'],
  cuGraphExecDestroy: ['uintptr_t'],
  cuGraphDestroy: ['uintptr_t'],
  cuEventCreate: ['void *', 'uint'],
  cuEventRecord: ['uintptr_t', 'uintptr_t'],
  cuEventSynchronize: ['uintptr_t'],
  cuEventElapsedTime: ['void *', 'uintptr_t', 'uintptr_t'],
  cuMemcpyDtoDAsync_v2: ['uintptr_t', 'uintptr_t', 'size_t', 'uintptr_t'],
  cuTensorMapEncodeTiled: ['void *', 'int', 'uint', 'uintptr_t', 'void *', 'void *', 'void *', 'void *', 'int', 'int', 'int', 'int'],
  cuGetErrorName: ['int', 'void *'],
} as const;

/** Of CUDA 11.8 and 12.0, as are the first drivers for what needs them: Hopper and its own instructions. */
const LATER: ReadonlySet<string> = new Set(['cuLaunchKernelEx', 'cuTensorMapEncodeTiled']);

export type Driver = { [K in keyof typeof signatures]: (...args: unknown[]) => void } & {
  /** Calls a function whose first argument receives a handle. */
  get(name: keyof typeof signatures, ...args: unknown[]): number;
  /** As a call, on another thread. */
  async(name: keyof typeof signatures, ...args: unknown[]): Promise<void>;
  readonly path: string;
  /** CUDA's name of the error after which nothing works any more in this process. */
  readonly lost: string | undefined;
};

/** Errors that end a context: every later call fails with the same one. */
const FATAL =
  /^CUDA_ERROR_(ILLEGAL_ADDRESS|LAUNCH_(TIMEOUT|FAILED)|HARDWARE_STACK_ERROR|ILLEGAL_INSTRUCTION|MISALIGNED_ADDRESS|INVALID_(ADDRESS_SPACE|PC)|ASSERT|ECC_UNCORRECTABLE|NVLINK_UNCORRECTABLE|CONTEXT_IS_DESTROYED|DEVICE_UNAVAILABLE|EXTERNAL_DEVICE|CONTAINED|UNKNOWN)$/;

let driver: Driver | undefined;

/** CUDA's own name of an error number. */
export class CudaError extends Error {
  override name = 'CudaError';
  readonly code: string;
  constructor(code: string, call: string, what = '') {
    const fatal =
      FATAL.test(code) &&
      'the GPU can no longer be used in this process: start again from the last checkpoint; THIMBLE_CUDA_BLOCKING=1 finds the op';
    super(`[cuda] ${[`${call} failed with ${code}`, what, fatal].filter(Boolean).join(': ')}`);
    this.code = code;
  }
}

export function openDriver(): Driver {
  if (driver) return driver;
  const { lib, path } = openLibrary('cuda');
  const bind = (name: string, args: readonly string[]): Fn => {
    try {
      return lib.func(name, 'int', [...args]) as unknown as Fn;
    } catch {
      const missing = (): never => {
        throw new Error(`[cuda] the driver at ${path} has no ${name}: it is older than CUDA 11.4, or no driver; update NVIDIA's driver`);
      };
      return LATER.has(name) ? missing : missing();
    }
  };
  const raw = Object.fromEntries(Object.entries(signatures).map(([name, args]) => [name, bind(name, args)])) as unknown as Record<
    keyof typeof signatures,
    Fn & { async: (...args: unknown[]) => void }
  >;
  const out = new BigUint64Array(1);
  const nameOf = (status: number): string => {
    if (raw.cuGetErrorName(status, out) !== 0 || !out[0]) return `error ${status}`;
    return koffi.decode(out[0], 'char', -1) as string;
  };
  const failed = (status: number, call: string): CudaError => {
    const code = nameOf(status);
    if (FATAL.test(code)) lost ??= code;
    return new CudaError(code, call);
  };
  const check = (status: number, call: string): void => {
    if (status !== 0) throw failed(status, call);
  };
  const calls = Object.fromEntries(Object.entries(raw).map(([name, f]) => [name, (...args: unknown[]) => check(f(...args), name)]));
  let lost: string | undefined;
  const made = Object.assign(calls, {
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
          else if (status !== 0) reject(failed(status, name));
          else resolve();
        });
      }),
  });
  driver = Object.defineProperty(made, 'lost', { get: () => lost }) as unknown as Driver;
  return driver;
}

const MAX_DYNAMIC_SHARED = 8; // CUfunction_attribute
/** Lets a kernel have so many bytes of dynamic shared memory. What it may have already stays: it may be launched with several sizes. */
export function allowShared(d: Driver, fn: number, bytes: number): void {
  if (bytes > d.get('cuFuncGetAttribute', MAX_DYNAMIC_SHARED, fn)) d.cuFuncSetAttribute(fn, MAX_DYNAMIC_SHARED, bytes);
}

export interface GpuInfo {
  name: string;
  /** Compute capability x 10, e.g. 90. */
  capability: number;
  multiprocessors: number;
  /** Shared memory that a block may have. */
  sharedBytes: number;
  driverVersion: number;
}

/** Opens the GPU of this index and makes it current on this thread. */
export function openGpu(index = 0): { driver: Driver; context: number; device: number; info: GpuInfo } {
  const d = openDriver();
  const int = new Int32Array(32); // above 64 bytes, so that it lies outside the collected heap
  try {
    d.cuInit(0);
  } catch (error) {
    if (!(error instanceof CudaError)) throw error;
    throw new CudaError(
      error.code,
      'cuInit',
      `the driver at ${d.path} has no GPU for this process; see what nvidia-smi says, and CUDA_VISIBLE_DEVICES`,
    );
  }
  d.cuDeviceGetCount(int);
  if (!Number.isInteger(index) || index < 0 || index >= int[0]!)
    throw new Error(`[cuda] GPU ${index} was asked for, ${int[0]} are visible; check THIMBLE_GPU and CUDA_VISIBLE_DEVICES`);
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
      sharedBytes: attribute(97),
      driverVersion,
    },
  };
}
