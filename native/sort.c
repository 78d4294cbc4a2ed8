// ARGSORT: the first indices of each row in a stable order.
#include "kernels.h"

#define RUN 16           // sorted by insertion
#define BLOCK SORT_BLOCK // sorted as pairs in scratch: two buffers of 8 bytes each

typedef struct { const void *x; W dtype; uint64_t descending; } Keys;

// A key whose unsigned order is the wanted one: NaN last, -0 equal to 0. Of 32 bits, except for i64.
INLINE uint64_t key_of(Keys k, W i) {
  switch (k.dtype) {
    case I64: return ((const uint64_t *)k.x)[i] ^ (uint64_t)1 << 63 ^ k.descending;
    case I32: return ((const uint32_t *)k.x)[i] ^ 0x80000000 ^ (uint32_t)k.descending;
    case I8: return (uint32_t)((const int8_t *)k.x)[i] ^ 0x80000000 ^ (uint32_t)k.descending;
    case U8: case BOOL: return ((const uint8_t *)k.x)[i] ^ (uint32_t)k.descending;
  }
  float f = load_real(k.x, k.dtype, i);
  uint32_t u = f32_bits(f + 0.0f);
  if (f != f) return UINT32_MAX;
  return ((int32_t)u < 0 ? ~u : u | 0x80000000) ^ (uint32_t)k.descending;
}
INLINE uint64_t pair_of(Keys k, W i) { return key_of(k, i) << 32 | (uint64_t)i; }

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

// Pairs that can still be among the first are gathered; when the room is full, the first of them stay, and the last that stays is the bound.
static void first_of(Keys keys, W D, W first, int32_t *out, uint64_t *pairs, uint64_t *spare) {
  W room = MIN(BLOCK, MAX(4 * first, 4096)), n = 0;
  uint64_t bound = UINT64_MAX;
  for (W i = 0; i < D; i++) {
    uint64_t pair = pair_of(keys, i);
    if (pair > bound) continue;
    pairs[n++] = pair;
    if (n < room || i == D - 1) continue;
    uint64_t *sorted = sort_pairs(pairs, spare, n);
    if (sorted != pairs) spare = pairs, pairs = sorted;
    n = first, bound = pairs[first - 1];
  }
  const uint64_t *sorted = sort_pairs(pairs, spare, n);
  for (W i = 0; i < first; i++) out[i] = (int32_t)sorted[i];
}

// Runs of pairs are sorted, then merged as indices, in two buffers by turns; an i64 and its index are no pair of 8 bytes. Returns the buffer
// with the order.
static int32_t *merge_sort(Keys keys, W D, int32_t *from, int32_t *to, uint64_t *pairs, uint64_t *spare) {
  W sorted_run = keys.dtype == I64 ? 1 : BLOCK;
  for (W start = 0; start < D; start += sorted_run) {
    if (sorted_run == 1) { from[start] = (int32_t)start; continue; }
    W n = MIN(BLOCK, D - start);
    for (W i = 0; i < n; i++) pairs[i] = pair_of(keys, start + i);
    uint64_t *sorted = sort_pairs(pairs, spare, n);
    for (W i = 0; i < n; i++) from[start + i] = (int32_t)sorted[i];
  }
  for (W run = sorted_run; run < D; run *= 2) {
    for (W start = 0; start < D; start += 2 * run) {
      W i = start, middle = MIN(D, start + run), j = middle, end = MIN(D, start + 2 * run);
      for (W k = start; k < end; k++) {
        int right = i == middle || (j < end && key_of(keys, from[j]) < key_of(keys, from[i]));
        to[k] = right ? from[j++] : from[i++];
      }
    }
    int32_t *t = from;
    from = to, to = t;
  }
  return from;
}

void k_argsort(const void *args, char *const *base, W lo, W hi, Scratch *scratch) {
  const ArgsortArgs *s = args;
  W D = s->D, first = s->first;
  uint64_t *pairs = (uint64_t *)scratch->bytes, *spare = pairs + BLOCK;
  for (W r = lo; r < hi; r++) {
    Keys keys = {(const char *)PTR(base, s->x) + r * D * dtype_size(s->dtype), s->dtype, s->descending ? UINT64_MAX : 0};
    int32_t *out = (int32_t *)PTR(base, s->out) + r * first;
    if (s->work.slot < 0) first_of(keys, D, first, out, pairs, spare);
    else {
      int32_t *work = (int32_t *)PTR(base, s->work) + r * 2 * D;
      memcpy(out, merge_sort(keys, D, work, work + D, pairs, spare), (size_t)first * sizeof *out);
    }
  }
}
