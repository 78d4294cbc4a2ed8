// The threads. Every thread walks the stages of the job by itself; what they share is one word, the ticket: the number of
// the current stage and its next chunk. Who finishes the last chunk of a stage moves the ticket to the next stage, and so a
// thread that the system has put aside delays nobody unless it holds a chunk. Stage numbers run on from job to job.
//
// A thread without work spins for a short while, then sleeps until a stage that it can help with begins.
#define _GNU_SOURCE
#include "runtime.h"

static void run_alone(const Stage *stage, char *const *base, Scratch *scratch) {
  for (W chunk = 0, n; chunk < stage->chunks; chunk += n) {
    n = share(stage, stage->chunks - chunk, 1);
    run_chunks(stage, chunk, n, base, scratch);
  }
}

#if defined(__wasm__) && !defined(__wasm_atomics__)
static _Alignas(64) char scratch_bytes[SCRATCH_BYTES];

int run_on_threads(const Step *first, const Step *end, char *const *base, int threads) {
  (void)threads;
  Scratch scratch = {0, scratch_bytes};
  for (Stage stage = stage_at(first, end); stage.chunks; stage = stage_at(stage.next, end))
    run_alone(&stage, base, &scratch);
  return 0;
}
void lock_pool(void) {}
void unlock_pool(void) {}

#else
#include "threads.h"
#include <stdbool.h>
#ifndef __wasm__
#include <sys/mman.h>
#endif

#define MAX_THREADS 256
#define SPIN_NS 30000
#define STACK_BYTES (1 << 20)

typedef struct {
  _Alignas(64) atomic_uint parked; // asleep, or about to be
  bool joined;                     // works on the job; its own business
  Scratch scratch;
} Member; // member 0 is whoever calls

static struct {
  _Alignas(64) _Atomic uint64_t ticket; // stage number << 32 | next chunk
  _Alignas(64) _Atomic W done;          // finished chunks of the stage
  _Alignas(64) atomic_bool open;        // the job below may be joined
  atomic_int threads;                   // by members under this number
  atomic_int inside;                    // and this many workers did: it stays as it is until they have left
  const Step *first, *end;
  char *const *base;
  uint32_t start;     // the number of its first stage
  atomic_bool broken; // a member died at its work
  Member members[MAX_THREADS];
  atomic_int size; // members that exist
} pool;
static Lock callers = UNLOCKED;

void lock_pool(void) { lock(&callers); }
void unlock_pool(void) { unlock(&callers); }

static inline uint32_t number_of(uint64_t ticket) { return (uint32_t)(ticket >> 32); }
static inline W chunk_of(uint64_t ticket) { return (W)(uint32_t)ticket; }

// ---- Waiting
// Whether there is something for this member beyond stage `seen`. Sequentially consistent, as are the writes of these words
// and of `parked`: either the one who moves the ticket sees that we sleep, or we see that it moved.
static bool news(int tid, uint32_t seen) {
  if (number_of(atomic_load(&pool.ticket)) == seen) return false;
  return pool.members[tid].joined || (atomic_load(&pool.open) && tid < atomic_load(&pool.threads));
}

static bool spin(int tid, uint32_t seen) {
  int64_t start = now();
  for (int round = 0;; round++) {
    for (int i = 0; i < 32; i++, relax())
      if (news(tid, seen)) return true;
    int64_t spun = now() - start;
    if (spun > SPIN_NS) return false;
    if (YIELDS_AT_ONCE && spun > SPIN_NS / 4) yield(); // the one we wait for may need this core
  }
}

static void park(int tid, uint32_t seen) {
  atomic_uint *parked = &pool.members[tid].parked;
  atomic_store(parked, 1);
  while (!news(tid, seen) && atomic_load(parked)) sleep_on(parked);
  atomic_store(parked, 0);
}

static void wake(int tid) {
  if (atomic_load(&pool.members[tid].parked)) wake_from(&pool.members[tid].parked);
}

// ---- Working
// Wakes those whom the stage that has just begun concerns: one of one chunk is left to the caller, the end is for member 0.
static void call(const Stage *stage) {
  W helpers = stage->chunks > 1 ? MIN(stage->chunks, atomic_load(&pool.threads)) : stage->chunks == 0;
  for (int tid = 0; tid < helpers; tid++) wake(tid);
}

// Takes chunks until the job ends; a worker also gives up when it has waited long. Returns the last stage that was seen.
static uint32_t work(int tid) {
  Stage stage = stage_at(pool.first, pool.end);
  uint32_t number = pool.start;
  uint64_t ticket = atomic_load(&pool.ticket);
  W mine = 0; // chunks of this stage that were finished here and are not yet in pool.done
  for (;;) {
    for (; number != number_of(ticket); number++) stage = stage_at(stage.next, pool.end);
    if (stage.chunks == 0) return number;
    if (chunk_of(ticket) < stage.chunks) {
      W n = share(&stage, stage.chunks - chunk_of(ticket), atomic_load(&pool.threads));
      if (!atomic_compare_exchange_strong(&pool.ticket, &ticket, ticket + (uint64_t)n)) continue;
      run_chunks(&stage, chunk_of(ticket), n, pool.base, &pool.members[tid].scratch);
      mine += n;
      ticket += (uint64_t)n;
      continue;
    }
    if (mine && atomic_fetch_add(&pool.done, mine) + mine == stage.chunks) {
      Stage next = stage_at(stage.next, pool.end);
      atomic_store(&pool.done, 0);
      atomic_store(&pool.ticket, (uint64_t)(uint32_t)(number + 1) << 32);
      call(&next);
    } else if (!spin(tid, number)) {
      if (tid || atomic_load(&pool.broken)) return number;
      park(tid, number);
    }
    mine = 0;
    ticket = atomic_load(&pool.ticket);
  }
}

static void *serve(void *member) {
  int tid = (int)(intptr_t)member;
  for (uint32_t seen = 0;;) {
    while (!news(tid, seen))
      if (!spin(tid, seen)) park(tid, seen);
    atomic_fetch_add(&pool.inside, 1);
    if (news(tid, seen)) {
      pool.members[tid].joined = true;
      seen = work(tid);
      pool.members[tid].joined = false;
    }
    atomic_fetch_sub(&pool.inside, 1);
  }
  return NULL;
}

#ifdef __wasm__
#define EXPORT __attribute__((visibility("default"), used))

// The host's threads come by themselves; until they do, fewer work.
static int grow(int threads) {
  static _Alignas(64) char callers_scratch[SCRATCH_BYTES];
  if (atomic_load(&pool.size) == 0) {
    pool.members[0].joined = true;
    pool.members[0].scratch = (Scratch){0, callers_scratch};
    atomic_store(&pool.size, 1);
  }
  return MIN(atomic_load(&pool.size), threads);
}

// A thread of the host becomes a member. Does not return.
EXPORT void thimble_serve(char *scratch) {
  lock_pool();
  grow(1);
  int tid = atomic_load(&pool.size);
  if (tid < MAX_THREADS) {
    pool.members[tid].scratch = (Scratch){tid, scratch};
    atomic_store(&pool.size, tid + 1);
  }
  unlock_pool();
  if (tid < MAX_THREADS) serve((void *)(intptr_t)tid);
}

// A thread died inside a kernel: nobody waits for it any more, and nothing runs after it.
EXPORT void thimble_abandon(void) {
  atomic_store(&pool.broken, true);
  for (int tid = 0; tid < MAX_THREADS; tid++) wake(tid);
  unlock_pool();
}

#else
// Adds members until there are `threads`; returns how many there are, fewer where the system refuses.
static int grow(int threads) {
  while (pool.size < threads) {
    int tid = pool.size;
    void *bytes = mmap(NULL, SCRATCH_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED) break;
    pool.members[tid].joined = tid == 0;
    pool.members[tid].scratch = (Scratch){tid, bytes};
    if (tid && start_thread(serve, (void *)(intptr_t)tid, STACK_BYTES)) {
      munmap(bytes, SCRATCH_BYTES);
      break;
    }
    pool.size++;
  }
  return MIN(pool.size, threads);
}
#endif

int run_on_threads(const Step *first, const Step *end, char *const *base, int threads) {
  if (atomic_load(&pool.broken)) return BROKEN_POOL;
  threads = grow(MAX(1, MIN(threads, MAX_THREADS)));
  if (threads == 0) return NO_MEMORY;
  Stage stage = stage_at(first, end);
  bool alone = threads == 1 || (stage.chunks <= 1 && stage.next == end);
  if (alone) {
    for (; stage.chunks; stage = stage_at(stage.next, end))
      run_alone(&stage, base, &pool.members[0].scratch);
    return 0;
  }
  pool.first = first;
  pool.end = end;
  pool.base = base;
  pool.start = number_of(atomic_load(&pool.ticket)) + 1;
  atomic_store(&pool.threads, threads);
  atomic_store(&pool.ticket, (uint64_t)pool.start << 32);
  atomic_store(&pool.done, 0);
  atomic_store(&pool.open, true);
  call(&stage);
  work(0);
  atomic_store(&pool.open, false);
  for (int i = 0; atomic_load(&pool.inside) && !atomic_load(&pool.broken); i++) i < 1000 ? relax() : yield();
  return atomic_load(&pool.broken) ? BROKEN_POOL : 0;
}
#endif
