// Strided copies: reshapes, slices, flips, broadcasts and transposes that are materialised.
#include "map.h"

// The iteration space with dimensions merged where both sides allow, innermost first. Strides are in bytes.
typedef struct { W ndim, size, dims[MAXD], in[MAXD], out[MAXD]; } Space;

INLINE void copy_element(char *to, const char *from, W size) {
  if (size == 4) memcpy(to, from, 4);
  else if (size == 2) memcpy(to, from, 2);
  else if (size == 8) memcpy(to, from, 8);
  else *to = *from;
}

INLINE void copy_row_of(char *to, W to_step, const char *from, W from_step, W n, W size) {
  for (W i = 0; i < n; i++, to += to_step, from += from_step) copy_element(to, from, size);
}
static void copy_row(char *to, W to_step, const char *from, W from_step, W n, W size) {
  if (to_step == size && from_step == size && n * size >= 32) memcpy(to, from, (size_t)(n * size));
  else if (size == 4) copy_row_of(to, to_step, from, from_step, n, 4);
  else if (size == 2) copy_row_of(to, to_step, from, from_step, n, 2);
  else if (size == 8) copy_row_of(to, to_step, from, from_step, n, 8);
  else copy_row_of(to, to_step, from, from_step, n, 1);
}

// to[k][j] = from[j][k]: both sides are contiguous along their last index. Blocks are so wide that every line of the cache is
// read and written once; the walk is along the rows that are written.
INLINE void transpose_of(char *to, W to_step, const char *from, W from_step, W nj, W nk, W size) {
  enum { BLOCK = 16 };
  for (W k = 0; k < nk; k += BLOCK)
    for (W j = 0; j < nj; j += BLOCK) {
      W rows = MIN(BLOCK, nk - k), columns = MIN(BLOCK, nj - j);
      for (W r = 0; r < rows; r++) {
        char *t = to + (k + r) * to_step + j * size;
        const char *f = from + j * from_step + (k + r) * size;
        for (W c = 0; c < columns; c++, f += from_step) copy_element(t + c * size, f, size);
      }
    }
}
static void transpose(char *to, W to_step, const char *from, W from_step, W nj, W nk, W size) {
  if (size == 2) transpose_of(to, to_step, from, from_step, nj, nk, 2);
  else if (size == 8) transpose_of(to, to_step, from, from_step, nj, nk, 8);
  else if (size == 1) transpose_of(to, to_step, from, from_step, nj, nk, 1);
  else {
    W whole = nj / VW * VW;
    for (W k = 0; k < nk; k += VW)
      for (W j = 0; j < whole; j += VW) {
        W rows = MIN(VW, nk - k);
        vf square[VW];
        if (rows == VW) UNROLL for (int i = 0; i < VW; i++) square[i] = v_load((const float *)(from + (j + i) * from_step) + k);
        else for (int i = 0; i < VW; i++) square[i] = v_load_n((const float *)(from + (j + i) * from_step) + k, rows);
        v_transpose(square);
        if (rows == VW) UNROLL for (int i = 0; i < VW; i++) v_store((float *)(to + (k + i) * to_step) + j, square[i]);
        else for (int i = 0; i < rows; i++) v_store((float *)(to + (k + i) * to_step) + j, square[i]);
      }
    if (whole < nj) transpose_of(to + whole * 4, to_step, from + whole * from_step, from_step, nj - whole, nk, 4);
  }
}

// Dimensions 0..top, of which the last has `count` and the others are whole.
static void copy_box(const Space *s, W top, W count, char *to, const char *from) {
  W dims[MAXD], index[MAXD] = {0}, unit = 0;
  for (W d = 0; d <= top; d++) {
    dims[d] = d == top ? count : s->dims[d];
    if (d && s->in[d] == s->size && s->in[0] != s->size && s->out[0] == s->size && dims[d] > 3) unit = d;
  }
  for (;;) {
    if (unit) transpose(to, s->out[unit], from, s->in[0], dims[0], dims[unit], s->size);
    else copy_row(to, s->out[0], from, s->in[0], dims[0], s->size);
    W d = 1;
    for (; d <= top; d++) {
      if (d == unit) continue;
      to += s->out[d], from += s->in[d];
      if (++index[d] < dims[d]) break;
      to -= dims[d] * s->out[d], from -= dims[d] * s->in[d], index[d] = 0;
    }
    if (d > top) return;
  }
}

// Elements [lo, hi) of the space of dimensions 0..d, as boxes: what is ragged at either end, and the middle.
static void copy_range(const Space *s, W d, char *to, const char *from, W lo, W hi) {
  W inner = 1;
  for (W k = 0; k < d; k++) inner *= s->dims[k];
  W first = lo / inner, last = hi / inner;
  lo -= first * inner, hi -= last * inner;
  to += first * s->out[d], from += first * s->in[d];
  if (d && first == last) { copy_range(s, d - 1, to, from, lo, hi); return; }
  if (lo) {
    copy_range(s, d - 1, to, from, lo, inner);
    first++, to += s->out[d], from += s->in[d];
  }
  if (first < last) copy_box(s, d, last - first, to, from);
  to += (last - first) * s->out[d], from += (last - first) * s->in[d];
  if (hi) copy_range(s, d - 1, to, from, 0, hi);
}

void copy_strided(const MapArgs *map, const Operand *in, const Operand *out, char *const *base, W lo, W hi) {
  Space s = {.size = dtype_size(in->dtype)};
  for (W d = map->ndim - 1; d >= 0; d--) {
    W dim = map->dims[d], a = in->stride[d] * s.size, b = out->stride[d] * s.size, n = s.ndim;
    if (dim == 1) continue;
    if (n && a == s.in[n - 1] * s.dims[n - 1] && b == s.out[n - 1] * s.dims[n - 1]) s.dims[n - 1] *= dim;
    else s.dims[n] = dim, s.in[n] = a, s.out[n] = b, s.ndim++;
  }
  if (!s.ndim) s.dims[0] = 1, s.in[0] = s.out[0] = s.size, s.ndim = 1;
  if (lo < hi) copy_range(&s, s.ndim - 1, PTR(base, out->ref), PTR(base, in->ref), lo, hi);
}
