/** First-fit allocation in a linear memory, with neighbours merged when freed. For WebAssembly, whose memory the host manages. */
const ALIGN = 64;

export class Heap {
  readonly #start: number;
  #end: number;
  /** Free blocks [address, bytes] in order of address. */
  #free: [number, number][] = [];
  readonly #grow: (bytes: number) => number;

  /** @param grow adds at least `bytes` at the end and returns the new end. */
  constructor(start: number, end: number, grow: (bytes: number) => number) {
    this.#start = Math.ceil(start / ALIGN) * ALIGN;
    this.#end = end;
    this.#grow = grow;
    if (end > this.#start) this.#free.push([this.#start, end - this.#start]);
  }

  alloc(bytes: number): number {
    const size = Math.max(ALIGN, Math.ceil(bytes / ALIGN) * ALIGN);
    let i = this.#free.findIndex(([, have]) => have >= size);
    if (i < 0) {
      const last = this.#free.at(-1);
      const tail = last && last[0] + last[1] === this.#end ? last[1] : 0;
      const before = this.#end;
      this.#end = this.#grow(size - tail);
      if (tail) last![1] += this.#end - before;
      else this.#free.push([before, this.#end - before]);
      i = this.#free.length - 1;
    }
    const block = this.#free[i]!;
    const address = block[0];
    if (block[1] === size) this.#free.splice(i, 1);
    else {
      block[0] += size;
      block[1] -= size;
    }
    return address;
  }

  free(address: number, bytes: number): void {
    const size = Math.max(ALIGN, Math.ceil(bytes / ALIGN) * ALIGN);
    let i = this.#free.findIndex(([a]) => a > address);
    if (i < 0) i = this.#free.length;
    const before = this.#free[i - 1];
    const after = this.#free[i];
    const joinsAfter = after && address + size === after[0];
    if (before && before[0] + before[1] === address) {
      before[1] += size + (joinsAfter ? after[1] : 0);
      if (joinsAfter) this.#free.splice(i, 1);
    } else if (joinsAfter) {
      after[0] = address;
      after[1] += size;
    } else this.#free.splice(i, 0, [address, size]);
  }
}
