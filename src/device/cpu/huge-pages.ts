/** Huge pages for the memory of the WebAssembly kernels: fewer page faults and TLB misses. The native build asks for them itself. */
import koffi from 'koffi';

const MADV_HUGEPAGE = 14; // of Linux's sys/mman.h

/** Asks Linux to back the memory by huge pages where it can. It is advice: elsewhere, and where it is refused, nothing happens. */
export function adviseHugePages(memory: ArrayBufferLike): void {
  if (process.platform !== 'linux') return;
  try {
    const madvise = koffi.load(null).func('int madvise(void *address, size_t bytes, int advice)');
    madvise(new Uint8Array(memory), memory.byteLength, MADV_HUGEPAGE);
  } catch {}
}
