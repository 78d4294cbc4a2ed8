/** Copies between the host's memory and the GPU's through page-locked slots: the DMA engine works while the processor goes on. */
import koffi from 'koffi';
import type { Driver } from './driver.ts';

const SLOT = 4 << 20;
const SLOTS = 8;

/** Host memory that the GPU copies from and to by itself. */
export interface PageLocked {
  address: bigint;
  view: Uint8Array;
}
export function pageLocked(driver: Driver, bytes: number): PageLocked {
  const address = BigInt(driver.get('cuMemHostAlloc', bytes, 0));
  return { address, view: new Uint8Array(koffi.view(address, bytes)) };
}

interface Slot extends PageLocked {
  /** After the latest copy from or into the slot. */
  event: number;
}

export class Staging {
  readonly #driver: Driver;
  readonly #slots: Slot[] = [];
  #turn = 0;

  constructor(driver: Driver) {
    this.#driver = driver;
  }

  /** The slot that was used longest ago, when its copy is over. */
  #next(): Slot {
    const d = this.#driver;
    const at = this.#turn++ % SLOTS;
    const known = this.#slots[at];
    if (known) {
      d.cuEventSynchronize(known.event);
      return known;
    }
    return (this.#slots[at] = { ...pageLocked(d, SLOT), event: d.get('cuEventCreate', 2) });
  }

  /** Puts the copy of `data` to a device address on a stream; `data` may change afterwards. */
  upload(to: number, data: Uint8Array, stream: number): void {
    for (let at = 0; at < data.byteLength; at += SLOT) {
      const part = data.subarray(at, at + SLOT);
      const slot = this.#next();
      slot.view.set(part);
      this.#driver.cuMemcpyHtoDAsync_v2(to + at, slot.address, part.byteLength, stream);
      this.#driver.cuEventRecord(slot.event, stream);
    }
  }

  /** Bytes at a device address once what is on the stream is done. Blocks. */
  download(from: number, bytes: number, stream: number): Uint8Array {
    const out = new Uint8Array(bytes);
    const pending: { slot: Slot; at: number }[] = [];
    const take = (): void => {
      const { slot, at } = pending.shift()!;
      this.#driver.cuEventSynchronize(slot.event);
      out.set(slot.view.subarray(0, Math.min(SLOT, bytes - at)), at);
    };
    for (let at = 0; at < bytes; at += SLOT) {
      if (pending.length === SLOTS / 2) take();
      const slot = this.#next();
      this.#driver.cuMemcpyDtoHAsync_v2(slot.address, from + at, Math.min(SLOT, bytes - at), stream);
      this.#driver.cuEventRecord(slot.event, stream);
      pending.push({ slot, at });
    }
    while (pending.length) take();
    return out;
  }
}
