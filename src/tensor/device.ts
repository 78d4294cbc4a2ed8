/** What the tensor layer asks of a device. It does not know which devices exist: they register themselves here. */

import type { AnyCall, Call, Program, View } from './lower/program.ts';
import type { TensorType } from './shape.ts';

/** What lowering asks of a device. */
export type Target = Pick<
  Device,
  'fused' | 'gemmReads' | 'epilogue' | 'scratchBytes' | 'skinny' | 'appends' | 'reduceParts' | 'normGradParts'
>;

/** A piece of device memory. `address` means something to its device only. */
export interface DeviceBuffer {
  readonly address: number | bigint;
  readonly bytes: number;
}

/** A program that a device has translated into its own terms. */
export interface Executable {
  /** `buffers[i]` backs the program's external buffer i. Blocks until done. */
  run(buffers: readonly DeviceBuffer[]): void;
  /** As `run`, on another thread; the event loop stays free. */
  runAsync(buffers: readonly DeviceBuffer[]): Promise<void>;
  /**
   * As `run`, but returns when the program is in the device's queue. What is run, read or freed later waits for it; its errors come out of
   * `Device.fetch` or of the next run. Absent: the device has no queue.
   */
  enqueue?(buffers: readonly DeviceBuffer[]): void;
  /** Runs calls one by one and stops after the first whose float outputs hold a NaN or infinity; returns its index, or -1. */
  findNonFinite(buffers: readonly DeviceBuffer[]): number;
  /** As `run`, with the device's own time of each call in milliseconds. Absent: the device cannot tell. */
  profile?(buffers: readonly DeviceBuffer[]): Float64Array;
}

export interface Device {
  readonly name: string;
  /** null and plan-only devices hold no numbers: reading from them throws. */
  readonly holdsData: boolean;
  /** Whether there is a kernel for a fused op on such operands; otherwise programs hold its reference. */
  fused(op: string, inputs: readonly TensorType[]): boolean;
  /** Whether a matrix product can read an operand [..., rows, columns] as it lies; otherwise it is copied first. Absent: always. */
  gemmReads?(operand: View): boolean;
  /** Bytes that a call needs beside its operands: planned with them, and handed to the call as its last write. Absent: none. */
  scratchBytes?(call: AnyCall): number;
  /** Parts that a reduction over the middle of [outer, count, inner] is wished to be split into, to be reduced again. Absent: few. */
  reduceParts?(outer: number, count: number, inner: number): number;
  /** Parts in which the gradient of a norm of x [..., width] gives its sums over the rows. Absent: 16 to 256. */
  normGradParts?(x: TensorType): number;
  /** Products of a few rows that take their neighbours in (lower/skinny.ts); absent: every product is a gemm. */
  readonly skinny?: {
    /** Whether a [m, k] x [k, n] may be one. */
    fits(a: TensorType, w: TensorType): boolean;
    /** Whether the weights [k, n] can be read as they lie, for m rows. */
    reads(w: View, m: number): boolean;
  };
  /** Whether a matrix product can end in what the call's attributes say: sums of matrices of its type, a GELU. Absent: in nothing. */
  epilogue?(call: Call<'gemm'>): boolean;
  /** Whether attention over a cache can take in the entries of so many tokens and what makes them (lower/append.ts). Absent: none. */
  appends?(tokens: number): boolean;
  alloc(bytes: number): DeviceBuffer;
  free(buffer: DeviceBuffer): void;
  /** New memory that holds `data` for all that runs later; the copy may still be on its way. Absent: `alloc` and `write`. */
  upload?(data: Uint8Array): DeviceBuffer;
  write(buffer: DeviceBuffer, data: Uint8Array): void;
  read(buffer: DeviceBuffer, bytes: number): Uint8Array;
  /**
   * The first bytes of buffers as they are after what has been enqueued so far. Later work is not waited for, and the event loop stays free; the
   * buffers must live until then. Absent: the device has no queue.
   */
  fetch?(parts: readonly { buffer: DeviceBuffer; bytes: number }[]): Promise<Uint8Array[]>;
  prepare(program: Program): Executable;
  /** Bytes that the device has handed out and not got back. */
  readonly allocatedBytes: number;
}

/** How a device is chosen where none was asked for. */
export interface Automatic {
  /** The highest is tried first. */
  priority: number;
  /** Whether it is worth opening here; costs a few milliseconds at most. Absent: always. */
  present?(): boolean;
}

interface Registration {
  make(): Device;
  automatic?: Automatic | undefined;
}
const devices = new Map<string, Registration>();
const open = new Map<string, Device>();
let current: Device | undefined;

/** Makes a device available under a name; `make` runs at its first use. @param automatic without it, it is used only when asked for. */
export function registerDevice(name: string, make: () => Device, automatic?: Automatic): void {
  devices.set(name, { make, automatic });
}

/** The device of that name, opened once per process; throws with the names that exist. */
export function device(name: string): Device {
  let d = open.get(name);
  if (d) return d;
  const registered = devices.get(name);
  if (!registered)
    throw new Error(`[device] '${name}' is unknown; available: ${[...devices.keys()].join(', ') || 'none (import thimble/device)'}`);
  d = registered.make();
  open.set(name, d);
  return d;
}

/** The first device by priority that is present and opens; one that is present and does not open is told about on stderr, in one line. */
function automaticDevice(): Device {
  const rank = (r: Registration): number => r.automatic?.priority ?? -Infinity;
  const candidates = [...devices]
    .filter(([, r]) => r.automatic && r.automatic.present?.() !== false)
    .sort(([, a], [, b]) => rank(b) - rank(a));
  for (const [i, [name]] of candidates.entries())
    try {
      return device(name);
    } catch (error) {
      const next = candidates[i + 1]?.[0];
      if (next === undefined) throw error;
      process.stderr.write(
        `${(error as Error).message.split('\n')[0]}; running on the ${next} device (THIMBLE_DEVICE=${next} asks for it)\n`,
      );
    }
  throw new Error('[device] there is none; import thimble/device');
}

/** The device on which new tensors are placed: `using`, else THIMBLE_DEVICE, else the best that is here. */
export function defaultDevice(): Device {
  current ??= process.env.THIMBLE_DEVICE ? device(process.env.THIMBLE_DEVICE) : automaticDevice();
  return current;
}

/** Runs `body` with another default device. */
export function withDevice<T>(d: Device | string, body: () => T): T {
  const before = current;
  current = typeof d === 'string' ? device(d) : d;
  try {
    return body();
  } finally {
    current = before;
  }
}
