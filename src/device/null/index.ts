/** The null device: counts bytes and runs nothing. For plans and for shapes, without memory and without time. */
import type { Device, DeviceBuffer, Executable, Target } from '../../tensor/device.ts';

/** A device without rules of its own: it has a kernel for everything, and none that wants room. */
const anything: Target = { fused: () => true };

export class NullDevice implements Device {
  readonly name = 'null';
  readonly holdsData = false;
  declare readonly fused: Device['fused'];
  #allocated = 0;
  #peak = 0;

  /** @param like plans are those of this device. */
  constructor(like: Target = anything) {
    Object.assign(this, rulesOf(like));
  }
  get allocatedBytes(): number {
    return this.#allocated;
  }
  /** The most that was allocated at once. */
  get peakBytes(): number {
    return this.#peak;
  }
  alloc(bytes: number): DeviceBuffer {
    this.#allocated += bytes;
    this.#peak = Math.max(this.#peak, this.#allocated);
    return { address: 0, bytes };
  }
  free(buffer: DeviceBuffer): void {
    this.#allocated -= buffer.bytes;
  }
  write(): void {}
  read(): never {
    throw new Error('[null] this device counts bytes and holds no numbers; run on cpu to read results');
  }
  prepare(): Executable {
    return { run() {}, async runAsync() {}, findNonFinite: () => -1 };
  }
}

/** What lowering asks, answered by `device`; what it leaves out stays out. */
function rulesOf(device: Target): Target {
  const { skinny, gemmReads, scratchBytes, reduceParts, normGradParts, epilogue, appends } = device;
  return {
    fused: (op, inputs) => device.fused(op, inputs),
    ...(skinny && { skinny }),
    ...(gemmReads && { gemmReads: (operand) => device.gemmReads!(operand) }),
    ...(scratchBytes && { scratchBytes: (call) => device.scratchBytes!(call) }),
    ...(reduceParts && { reduceParts: (...extents) => device.reduceParts!(...extents) }),
    ...(normGradParts && { normGradParts: (x) => device.normGradParts!(x) }),
    ...(epilogue && { epilogue: (call) => device.epilogue!(call) }),
    ...(appends && { appends: (tokens) => device.appends!(tokens) }),
  };
}
