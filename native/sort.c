// ARGSORT: a stable merge sort of each row's indices.
#include "kernels.h"

#define RUN 16           // sorted by insertion
#define BLOCK (1 << 17)  // sorted as pairs in scratch: two buffers of 8 bytes each

// A key whose unsigned order is the wanted one: NaN last, -0 equal to 0. Of 32 bits, except for i64.
INLINE uint64_t key_of(const void *x, W dtype, W i, uint64_t descending) {
  if (dtype == I64) return ((const uint64_t *)x)[i] ^ (uint64_t)1 << 63 ^ descending;
  if (dtype == I32) return ((const uint32_t *)x)[i] ^ 0x80000000 ^ (uint32_t)descending;
  float f = ((const float *)x)[i];
  uint32_t u = f32_bits(f + 0.0f);
  if (f != f) return UINT32_MAX;
  return ((int32_t)u < 0 ? ~u : u | 0x80000000) ^ (uint32_t)descending;
}

// Pairs (key, index) differ all: any order of equal keys is by index, that is, stable.
static uint64_t *sort_pairs(uint64_t *a, uint64_t *b, W n) {
  for (W start = 0; start < n; start += RUN)
    for (W i = start + 1, end = MIN(n, start + RUN); i < end; i++) {
      uint64_t x = a[i];
      W j = i;
      for (; j > start && a[j - 1] > x; j--) a[j] = a[j - 1];
      a[j] = x;
    }
  for (W run = RUN; run < n; run *= 2) {
    for (W start = 0; start < n; start += 2 * run) {
      W i = start, middle = MIN(n, start + run), j = middle, end = MIN(n, start + 2 * run), k = start;
      while (i < middle && j < end) {
        uint64_t x = a[i], y = a[j];
        int right = y < x;
        b[k++] = right ? y : x;
        j += right, i += !right;
      }
      while (i < middle) b[k++] = a[i++];
      while (j < end) b[k++] = a[j++];
    }
    uint64_t *t = a;
    a = b, b = t;
  }
  return a;
}

void k_argsort(const void *args, char *const *base, W lo, W hi, Scratch *scratch) {
  const ArgsortArgs *s = args;
  W D = s->D, sorted_run = s->dtype == I64 ? 1 : BLOCK; // an i64 and its index are no pair of 8 bytes: merged from the start
  uint64_t descending = s->descending ? UINT64_MAX : 0;
  uint64_t *pairs = (uint64_t *)scratch->bytes, *spare = pairs + BLOCK;
  for (W r = lo; r < hi; r++) {
    const char *x = (const char *)PTR(base, s->x) + r * D * dtype_size(s->dtype);
    int32_t *out = (int32_t *)PTR(base, s->out) + r * D, *from = out, *to = (int32_t *)PTR(base, s->work) + r * D;
    W levels = 0;
    for (W run = sorted_run; run < D; run *= 2) levels++;
    if (levels % 2) from = to, to = out; // so that the last merge writes to out
    if (sorted_run == 1)
      for (W i = 0; i < D; i++) from[i] = (int32_t)i;
    else for (W start = 0; start < D; start += BLOCK) {
      W n = MIN(BLOCK, D - start);
      for (W i = 0; i < n; i++) pairs[i] = key_of(x, s->dtype, start + i, descending) << 32 | (uint64_t)i;
      uint64_t *sorted = sort_pairs(pairs, spare, n);
      for (W i = 0; i < n; i++) from[start + i] = (int32_t)(start + (W)(uint32_t)sorted[i]);
    }
    for (W run = sorted_run; run < D; run *= 2) {
      for (W start = 0; start < D; start += 2 * run) {
        W i = start, middle = MIN(D, start + run), j = middle, end = MIN(D, start + 2 * run);
        for (W k = start; k < end; k++) {
          int right = i == middle || (j < end && key_of(x, s->dtype, from[j], descending) < key_of(x, s->dtype, from[i], descending));
          to[k] = right ? from[j++] : from[i++];
        }
      }
      int32_t *t = from;
      from = to, to = t;
    }
  }
}
