// Between runtime.c (what a program means) and pool.c (who runs it).
#ifndef THIMBLE_RUNTIME_H
#define THIMBLE_RUNTIME_H
#include "kernels.h"

// What runs between two barriers: either one step with its chain, cut in chunks, or several steps of one chunk each, run in
// order by one thread (chunks = 1).
typedef struct { const Step *first, *next; W steps, chunks; } Stage;

// The stage that starts at `step`; chunks = 0 where step == end.
Stage stage_at(const Step *step, const Step *end);
// Chunks [chunk, chunk + count); count is what `share` gave.
void run_chunks(const Stage *stage, W chunk, W count, char *const *base, Scratch *scratch);
// How many chunks one of `threads` should take at a time where `left` are left.
W share(const Stage *stage, W left, int threads);

enum { NOT_A_PROGRAM = -1, OTHER_ABI = -2, UNKNOWN_KERNEL = -3, MALFORMED = -4, NO_MEMORY = -5, BROKEN_POOL = -6 };

// Runs steps [first, end) on up to `threads` threads, the caller being one. Returns 0, NO_MEMORY (for scratch) or BROKEN_POOL.
int run_on_threads(const Step *first, const Step *end, char *const *base, int threads);
// Excludes other callers of thimble_run.
void lock_pool(void);
void unlock_pool(void);
#endif
