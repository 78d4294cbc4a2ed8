// What the pool asks of the system: a lock, a word to sleep on, a clock, and to let others run. POSIX, and WebAssembly with shared
// memory, where the host starts the threads and has the clock.
#ifndef THIMBLE_THREADS_H
#define THIMBLE_THREADS_H
#ifdef __wasm__
#include <stdatomic.h>
#include <stdint.h>

__attribute__((import_module("host"), import_name("now"))) double host_now(void); // milliseconds
static inline int64_t now(void) { return (int64_t)(host_now() * 1e6); }
static inline void relax(void) {}

static inline void wait_while(atomic_uint *word, int value, int64_t ns) { __builtin_wasm_memory_atomic_wait32((int *)word, value, ns); }
static inline void notify(atomic_uint *word) { __builtin_wasm_memory_atomic_notify((int *)word, 1); }

// There is no call that gives the core away. A short sleep does, which takes 80 us at least: longer than a thread should spin.
#define YIELDS_AT_ONCE 0
static inline void yield(void) {
  atomic_uint nobody = 0;
  wait_while(&nobody, 0, 10000);
}
static inline void sleep_on(atomic_uint *word) { wait_while(word, 1, -1); }
static inline void wake_from(atomic_uint *word) {
  if (atomic_exchange(word, 0)) notify(word);
}

typedef atomic_uint Lock; // 0 free, 1 taken, 2 taken and somebody may wait
#define UNLOCKED 0
static inline void lock(Lock *l) {
  unsigned was = 0;
  if (!atomic_compare_exchange_strong(l, &was, 1)) while (atomic_exchange(l, 2)) wait_while(l, 2, -1);
}
static inline void unlock(Lock *l) {
  if (atomic_exchange(l, 0) == 2) notify(l);
}

#else
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

static inline int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
static inline void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");
#endif
}
#define YIELDS_AT_ONCE 1
static inline void yield(void) { sched_yield(); }

#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
static inline void sleep_on(atomic_uint *word) { syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0); }
static inline void wake_from(atomic_uint *word) {
  if (atomic_exchange(word, 0)) syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
#else
static pthread_mutex_t sleepers = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t woken = PTHREAD_COND_INITIALIZER;
static inline void sleep_on(atomic_uint *word) {
  pthread_mutex_lock(&sleepers);
  while (atomic_load(word)) pthread_cond_wait(&woken, &sleepers);
  pthread_mutex_unlock(&sleepers);
}
static inline void wake_from(atomic_uint *word) {
  pthread_mutex_lock(&sleepers);
  atomic_store(word, 0);
  pthread_cond_broadcast(&woken);
  pthread_mutex_unlock(&sleepers);
}
#endif

typedef pthread_mutex_t Lock;
#define UNLOCKED PTHREAD_MUTEX_INITIALIZER
static inline void lock(Lock *l) { pthread_mutex_lock(l); }
static inline void unlock(Lock *l) { pthread_mutex_unlock(l); }

// Starts a thread that lives as long as the process. 0, or what pthread_create says.
static inline int start_thread(void *(*body)(void *), void *argument, size_t stack_bytes) {
  pthread_t thread;
  pthread_attr_t attr;
  sigset_t all, before; // signals are the host's business
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_attr_init(&attr);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attr, stack_bytes);
  int failed = pthread_create(&thread, &attr, body, argument);
  pthread_attr_destroy(&attr);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return failed;
}
#endif
#endif
