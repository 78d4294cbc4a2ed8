// The few names of the C library that kernels use, for WebAssembly, which has none.
#ifndef THIMBLE_WASM_LIBC_H
#define THIMBLE_WASM_LIBC_H
#include <stddef.h>

// The bodies are in libc.c: with bulk memory on, the compiler turns most calls into memory.copy and memory.fill.
void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
#endif
