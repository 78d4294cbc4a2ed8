/** What the tensor layer asks of a device. It does not know which devices exist: they register themselves here. */

import type { Program, View } from './lower/program.ts';
import type { TensorType } from './shape.ts';

/** What lowering asks of a device. */
export type Target = Pick<Device, 'fused' | 'gemmReads'>;

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
  alloc(bytes: number): DeviceBuffer;
  free(buffer: DeviceBuffer): void;
  write(buffer: DeviceBuffer, data: Uint8Array): void;
  read(buffer: DeviceBuffer, bytes: number): Uint8Array;
  prepare(program: Program): Executable;
  /** Bytes that the device has handed out and not got back. */
  readonly allocatedBytes: number;
}

const devices = new Map<string, () => Device>();
const open = new Map<string, Device>();
let current: Device | undefined;

/** Makes a device available under a name; `make` runs at its first use. */
export function registerDevice(name: string, make: () => Device): void {
  devices.set(name, make);
}

/** The device of that name, opened once per process; throws with the names that exist. */
export function device(name: string): Device {
  let d = open.get(name);
  if (d) return d;
  const make = devices.get(name);
  if (!make)
    throw new Error(`[device] '${name}' is unknown; available: ${[...devices.keys()].join(', ') || 'none (import thimble/device)'}`);
  d = make();
  open.set(name, d);
  return d;
}

/** The device on which new tensors are placed: `using`, else THIMBLE_DEVICE, else 'cpu'. */
export function defaultDevice(): Device {
  current ??= device(process.env.THIMBLE_DEVICE ?? 'cpu');
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
