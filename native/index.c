// Gathers and scatters along an axis of [O, A, N], and cumulative sums.
#include "kernels.h"

#define SUMS (SCRATCH_BYTES / 4) // f32 that the scratch holds

INLINE int is_inside(W i, W A) { return i >= 0 && i < A; }

void k_take(const void *args, char *const *base, W lo, W hi, Scratch *scratch) {
  (void)scratch;
  const TakeArgs *t = args;
  W bytes = t->N * dtype_size(t->dtype), bad = 0;
  const char *x = PTR(base, t->x);
  char *out = PTR(base, t->out);
  const void *index = PTR(base, t->index);
  for (W r = lo; r < hi; r++) {
    W o = r / t->J, i = index_at(index, t->indexType, r % t->J);
    if (is_inside(i, t->A)) memcpy(out + r * bytes, x + (o * t->A + i) * bytes, (size_t)bytes);
    else memset(out + r * bytes, 0, (size_t)bytes), bad += o == 0; // each index counts once
  }
  if (bad) count_bad_indices(bad);
}

void k_update_at(const void *args, char *const *base, W lo, W hi, Scratch *scratch) {
  (void)scratch;
  const TakeArgs *t = args; // x holds the new entries
  W row = t->N * dtype_size(t->dtype), at = index_at(PTR(base, t->index), t->indexType, 0);
  if (t->J && !(is_inside(at, t->A) && is_inside(at + t->J - 1, t->A))) {
    if (lo == 0) count_bad_indices(1);
    return;
  }
  for (W o = lo; o < hi; o++)
    memcpy((char *)PTR(base, t->out) + (o * t->A + at) * row, (const char *)PTR(base, t->x) + o * t->J * row, (size_t)(t->J * row));
}

INLINE void add_row(float *restrict to, const void *restrict from, W dtype, W n) {
  W i = 0;
  for (; i + VW <= n; i += VW) v_store(to + i, v_load(to + i) + v_load_real(from, dtype, i));
  for (; i < n; i++) to[i] += load_real(from, dtype, i);
}

// f32 adds where the output lies. Halves are summed in f32 in scratch and rounded once: as many columns at a time as fit, and where
// not even one does, a part of its rows.
void k_scatter_add(const void *args, char *const *base, W lo, W hi, Scratch *scratch) {
  const ScatterAddArgs *s = args;
  W A = s->A, N = s->N, size = dtype_size(s->dtype), blocks = (N + s->NB - 1) / s->NB, bad = 0;
  const void *index = PTR(base, s->index);
  float *sums = (float *)scratch->bytes;
  int direct = s->dtype == F32;
  W rows = direct ? A : MIN(A, SUMS), fit = rows ? SUMS / rows : 0;
  for (W block = lo; block < hi; block++) {
    W o = block / blocks, first = block % blocks * s->NB, end = MIN(N, first + s->NB);
    W width = direct ? end - first : MIN(end - first, MAX(1, fit));
    const char *dy = (const char *)PTR(base, s->dy) + o * s->J * N * size;
    char *out = (char *)PTR(base, s->out) + o * A * N * size;
    for (W n = first; n < end; n += width) {
      W w = MIN(width, end - n), top = 0;
      do {
        W count = MIN(rows, A - top);
        if (direct) for (W a = 0; a < A; a++) memset(out + (a * N + n) * size, 0, (size_t)(w * size));
        else memset(sums, 0, (size_t)(count * w) * 4);
        for (W j = 0; j < s->J; j++) {
          W i = index_at(index, s->indexType, j);
          const char *from = dy + (j * N + n) * size;
          if (!is_inside(i, A)) bad += block == 0 && n == first && top == 0;
          else if (direct) add_row((float *)(out + (i * N + n) * size), from, F32, w);
          else if (is_inside(i - top, count)) add_row(sums + (i - top) * w, from, s->dtype, w);
        }
        for (W a = 0; a < count && !direct; a++) store_row(out + ((top + a) * N + n) * size, s->dtype, sums + a * w, w);
      } while ((top += rows) < A);
    }
  }
  if (bad) count_bad_indices(bad);
}

void k_take_along(const void *args, char *const *base, W lo, W hi, Scratch *scratch) {
  (void)scratch;
  const TakeAlongArgs *t = args;
  W A = t->A, N = t->N, size = dtype_size(t->dtype), bad = 0;
  const void *index = PTR(base, t->index);
  for (W o = lo; o < hi; o++) {
    const char *x = (const char *)PTR(base, t->x) + o * A * N * size;
    char *out = (char *)PTR(base, t->out) + o * t->J * N * size;
    for (W j = 0; j < t->J; j++)
      for (W n = 0; n < N; n++, out += size) {
        W i = index_at(index, t->indexType, (o * t->J + j) * N + n);
        int inside = is_inside(i, A);
        const char *from = x + (i * N + n) * size;
        bad += !inside;
        if (size == 4) { int32_t v = 0; if (inside) memcpy(&v, from, 4); memcpy(out, &v, 4); }
        else if (inside) memcpy(out, from, (size_t)size);
        else memset(out, 0, (size_t)size);
      }
  }
  if (bad) count_bad_indices(bad);
}

void k_scatter_along(const void *args, char *const *base, W lo, W hi, Scratch *scratch) {
  const TakeAlongArgs *t = args; // x is dy
  W A = t->A, N = t->N, size = dtype_size(t->dtype), bad = 0;
  const void *index = PTR(base, t->index);
  for (W o = lo; o < hi; o++) {
    const char *dy = (const char *)PTR(base, t->x) + o * t->J * N * size;
    char *out = (char *)PTR(base, t->out) + o * A * N * size;
    W whole = A * N, part = t->dtype == F32 ? whole : MIN(whole, SUMS), first = 0;
    do { // sums in f32, rounded once: of halves as many at a time as the scratch holds
      W count = MIN(part, whole - first);
      float *sums = t->dtype == F32 ? (float *)out : (float *)scratch->bytes;
      memset(sums, 0, (size_t)count * 4);
      for (W j = 0; j < t->J; j++)
        for (W n = 0; n < N; n++) {
          W i = index_at(index, t->indexType, (o * t->J + j) * N + n), to = i * N + n - first;
          if (!is_inside(i, A)) bad += first == 0;
          else if (is_inside(to, count)) sums[to] += load_real(dy, t->dtype, j * N + n);
        }
      if (t->dtype != F32) store_row(out + first * size, t->dtype, sums, count);
    } while ((first += part) < whole);
  }
  if (bad) count_bad_indices(bad);
}

// Columns side by side; f32 is summed in f64.
#define CUMSUM(T, Sum) \
  for (W n = 0; n < N; n += COLUMNS) { \
    Sum sum[COLUMNS] = {0}; \
    W w = MIN(COLUMNS, N - n); \
    const T *x = (const T *)PTR(base, c->x) + o * A * N + n; \
    T *out = (T *)PTR(base, c->out) + o * A * N + n; \
    for (W a = 0; a < A; a++, x += N, out += N) \
      for (W k = 0; k < w; k++) out[k] = (T)(sum[k] += (Sum)x[k]); \
  }
void k_cumsum(const void *args, char *const *base, W lo, W hi, Scratch *scratch) {
  (void)scratch;
  enum { COLUMNS = 64 };
  const CumsumArgs *c = args;
  W A = c->A, N = c->N;
  for (W o = lo; o < hi; o++) {
    if (c->dtype == F32) CUMSUM(float, double)
    else CUMSUM(int32_t, uint32_t)
  }
}
