// The library's face: memory, and what a program means. Who runs it is in pool.c.
#define _GNU_SOURCE
#include "runtime.h"
#include <stdatomic.h>
#ifndef __wasm__
#include <stdlib.h>
#include <sys/mman.h>
#include "threads.h"
#endif

#define EXPORT __attribute__((visibility("default"), used))

EXPORT int thimble_abi(void) { return THIMBLE_ABI; }

EXPORT const char *thimble_isa(void) {
#if VW == 16
  return "avx512";
#elif VW == 8
  return "avx2";
#elif defined(__x86_64__)
  return "sse";
#elif defined(__aarch64__)
  return "neon";
#elif defined(__wasm_relaxed_simd__)
  return "wasm-relaxed";
#else
  return "wasm";
#endif
}

// ---- Memory. In WebAssembly the host owns it, from __heap_base on.
EXPORT void thimble_copy(void *to, const void *from, size_t bytes) { memmove(to, from, bytes); }
EXPORT void thimble_fill(void *to, int byte, size_t bytes) { memset(to, byte, bytes); }

#ifndef __wasm__
#define MAPPED ((size_t)1 << 20)     // blocks from this size on are mapped, each by itself,
#define HUGE_PAGES ((size_t)8 << 20) // and from this size on use huge pages: fewer page faults and TLB misses
#define KEPT ((size_t)32 << 20)      // so many bytes of freed ones wait for the next of their size: new pages are cleared one by one

static struct {
  Lock lock;
  size_t count, bytes;
  struct { void *at; size_t bytes; } block[16]; // the oldest first
} kept = {.lock = UNLOCKED};

static void *forget(size_t i) {
  void *p = kept.block[i].at;
  kept.bytes -= kept.block[i].bytes;
  kept.count--;
  memmove(kept.block + i, kept.block + i + 1, (kept.count - i) * sizeof kept.block[0]);
  return p;
}
static void *take_kept(size_t bytes) {
  void *p = NULL;
  lock(&kept.lock);
  for (size_t i = kept.count; i-- && !p;)
    if (kept.block[i].bytes == bytes) p = forget(i);
  unlock(&kept.lock);
  return p;
}
static void keep(void *p, size_t bytes) {
  lock(&kept.lock);
  while (kept.count && (kept.bytes + bytes > KEPT || kept.count == sizeof kept.block / sizeof kept.block[0])) {
    size_t oldest = kept.block[0].bytes;
    munmap(forget(0), oldest);
  }
  kept.block[kept.count].at = p;
  kept.block[kept.count++].bytes = bytes;
  kept.bytes += bytes;
  unlock(&kept.lock);
}

// Aligned to 64 bytes, contents undefined; NULL when there is no memory.
EXPORT void *thimble_alloc(size_t bytes) {
  if (bytes < MAPPED) {
    void *p = NULL;
    return posix_memalign(&p, 64, bytes ? bytes : 1) ? NULL : p;
  }
  void *old = take_kept(bytes);
  if (old) return old;
  void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return NULL;
#ifdef MADV_HUGEPAGE
  if (bytes >= HUGE_PAGES) madvise(p, bytes, MADV_HUGEPAGE);
#endif
  return p;
}

// `bytes` is what was asked for.
EXPORT void thimble_free(void *p, size_t bytes) {
  if (bytes < MAPPED) free(p);
  else if (!p) return;
  else if (bytes <= KEPT) keep(p, bytes);
  else munmap(p, bytes);
}
#endif

// ---- Steps and stages
static const Kernel dispatch[NKERNELS] = {
#define ENTRY(name) name,
    KERNELS(ENTRY)
#undef ENTRY
};

static const Step *after(const Step *step) { return (const Step *)((const W *)(step + 1) + step->words); }
static W chunks_of(const Step *step) { return step->extent / step->grain + (step->extent % step->grain != 0); }

Stage stage_at(const Step *step, const Step *end) {
  Stage stage = {.first = step, .chunks = 0};
  while (step < end) {
    W chunks = chunks_of(step), group = step->chain + 1;
    if (chunks > 1 && stage.steps) break; // a run of single chunks ends here
    stage.chunks = MAX(chunks, 1);
    stage.steps += group;
    for (W i = 0; i < group; i++) step = after(step);
    if (chunks > 1) break;
  }
  stage.next = step;
  return stage;
}

// A product packs its operands once for all the chunks that it gets in one call, and has the same bits however it is cut. The
// shares shrink towards the end, so that a thread that comes late finds some.
W share(const Stage *stage, W left, int threads) {
  if (stage->steps > 1 || stage->first->kernel != K_GEMM) return 1;
  return MAX((left + threads - 1) / threads, MIN(left, stage->chunks / (4 * threads)));
}

void run_chunks(const Stage *stage, W chunk, W count, char *const *base, Scratch *scratch) {
  const Step *step = stage->first;
  for (W i = 0; i < stage->steps; i++, step = after(step)) {
    W lo = chunk * step->grain;
    if (step->extent) dispatch[step->kernel](step + 1, base, lo, MIN(lo + count * step->grain, step->extent), scratch);
  }
}

// ---- Running
static _Atomic W bad_indices;
void count_bad_indices(W n) { bad_indices += n; }

// 0, or what is wrong with the program. Its length is not known here: `words` is believed.
static int check(const W *program, W first, W last) {
  const Header *header = (const Header *)program;
  if (header->magic != THIMBLE_MAGIC) return NOT_A_PROGRAM;
  if (header->abi != THIMBLE_ABI) return OTHER_ABI;
  if (first < 0 || first > last || last > header->nsteps) return MALFORMED;
  const Step *step = (const Step *)(header + 1), *head = step;
  W chained = 0; // steps that still belong to the chain of `head`
  for (W i = 0; i < last; i++, step = after(step)) {
    if (step->kernel < 0 || step->kernel >= NKERNELS) return UNKNOWN_KERNEL;
    if (step->words < 0 || step->extent < 0 || step->grain < 1 || step->chain < 0) return MALFORMED;
    if (chunks_of(step) > INT32_MAX) return MALFORMED;
    if (i == first || !chained) {
      if (chained && i == first) return MALFORMED; // starts inside a chain
      head = step;
      chained = step->chain;
    } else {
      chained--;
      if (chunks_of(step) != chunks_of(head)) return MALFORMED;
    }
  }
  return chained ? MALFORMED : 0; // or ends inside one
}

// Runs steps [first, last) on up to `threads` threads. Slots are base addresses. Returns the number of bad indices that the
// kernels met, or a negative code: -1 not a program, -2 of another ABI, -3 unknown kernel, -4 malformed, -5 no memory,
// -6 a thread died at an earlier run or in this one (WebAssembly only).
EXPORT int64_t thimble_run(const W *program, char *const *slots, int threads, int first, int last) {
  int wrong = check(program, first, last);
  if (wrong) return wrong;
  const Header *header = (const Header *)program;
  const Step *from = (const Step *)(header + 1);
  for (int i = 0; i < first; i++) from = after(from);
  const Step *to = from;
  for (int i = first; i < last; i++) to = after(to);
  lock_pool();
  bad_indices = 0;
  W result = run_on_threads(from, to, slots, threads);
  if (!result) result = bad_indices;
  unlock_pool();
  return result;
}
