/** The null device: counts bytes and runs nothing. For plans and for shapes, without memory and without time. */
import type { Device, DeviceBuffer, Executable } from '../../tensor/device.ts';

export class NullDevice implements Device {
  readonly name = 'null';
  readonly holdsData = false;
  #allocated = 0;
  #peak = 0;

  fused(): boolean {
    return true;
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
