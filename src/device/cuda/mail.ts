/** A few numbers of the GPU, sent to the host when the programs' stream comes to them, while it goes on. */
import type { DeviceBuffer } from '../../tensor/device.ts';
import type { Driver } from './driver.ts';
import { type PageLocked, pageLocked } from './staging.ts';

const BOX = 4096;

/** A letter box: page-locked memory, and a stream of its own that waits for the programs', copies and can be waited for. */
interface Box extends PageLocked {
  bytes: number;
  stream: number;
  /** On the programs' stream, behind what is to be read. */
  event: number;
}

export class Mail {
  readonly #driver: Driver;
  readonly #idle: Box[] = [];

  constructor(driver: Driver) {
    this.#driver = driver;
  }

  #box(bytes: number): Box {
    const known = bytes <= BOX && this.#idle.pop();
    if (known) return known;
    const d = this.#driver;
    const size = Math.max(BOX, bytes);
    return { ...pageLocked(d, size), bytes: size, stream: d.get('cuStreamCreate', 1), event: d.get('cuEventCreate', 2) };
  }
  #putBack(box: Box): void {
    if (box.bytes === BOX) this.#idle.push(box);
    else {
      this.#driver.cuMemFreeHost(box.address);
      this.#driver.cuStreamDestroy_v2(box.stream);
      this.#driver.cuEventDestroy_v2(box.event);
    }
  }

  /** The first bytes of buffers once `stream` has come to here. */
  async fetch(parts: readonly { buffer: DeviceBuffer; bytes: number }[], stream: number): Promise<Uint8Array[]> {
    const d = this.#driver;
    const box = this.#box(parts.reduce((sum, { bytes }) => sum + bytes, 0));
    d.cuEventRecord(box.event, stream);
    d.cuStreamWaitEvent(box.stream, box.event, 0);
    let end = 0;
    for (const { buffer, bytes } of parts) {
      d.cuMemcpyDtoHAsync_v2(box.address + BigInt(end), buffer.address, bytes, box.stream);
      end += bytes;
    }
    await d.async('cuStreamSynchronize', box.stream);
    const found: Uint8Array[] = [];
    let at = 0;
    for (const { bytes } of parts) {
      found.push(box.view.slice(at, at + bytes));
      at += bytes;
    }
    this.#putBack(box);
    return found;
  }
}
