// What ATTENTION and its gradient share: which keys a query sees, and tiles of rows as f32.
#ifndef THIMBLE_ATTENTION_H
#define THIMBLE_ATTENTION_H
#include "microkernel.h"
#include "vmath.h"

#define SIDE 128                      // queries and keys of a tile
#define S_STEP (SIDE + 16)            // row step of a tile of scores: not a power of two, rows would share cache sets
#define ROUND_UP(n, to) (((n) + (to) - 1) / (to) * (to))

// Tiles must fit the scratch: wide heads (E or Ev up to 2048) take smaller ones.
static inline W tile_side(W E, W Ev) { return MAX(E, Ev) <= 256 ? SIDE : 32; }

typedef struct { W from, to; } Span;
typedef struct { W Tk, shift /* Tk - Tq */, causal, window, sequences; const int32_t *offsets; } Mask;
// The tokens of the sequence that token t belongs to; for one of no sequence nothing, beside the nearest sequence.
static inline Span sequence_of(const Mask *m, W t) {
  if (!m->sequences) return (Span){0, m->Tk};
  W s = 0, end = m->sequences; // offsets[s] <= t < offsets[end], if any
  while (end - s > 1) {
    W middle = (s + end) / 2;
    if (m->offsets[middle] <= t) s = middle;
    else end = middle;
  }
  Span own = {MAX(0, m->offsets[s]), MIN(m->Tk, m->offsets[s + 1])};
  if (t < own.from) own.to = own.from = MIN(own.from, m->Tk);
  if (t >= own.to) own.from = own.to = MAX(0, own.to);
  return own;
}
// Query i sees keys [first_key, end_key); both grow with i.
static inline W first_key(const Mask *m, W i) {
  W first = sequence_of(m, i).from;
  return m->window > 0 ? MAX(first, i + m->shift - m->window + 1) : first;
}
static inline W end_key(const Mask *m, W i) {
  W end = sequence_of(m, i).to;
  return m->causal ? MAX(0, MIN(end, i + m->shift + 1)) : end;
}
// Key j is seen by queries [first_query, end_query) of those under `queries`.
static inline W first_query(const Mask *m, W j) {
  W first = m->sequences ? sequence_of(m, j).from : 0;
  return m->causal ? MAX(first, j - m->shift) : first;
}
static inline W end_query(const Mask *m, W j, W queries) {
  W end = m->sequences ? sequence_of(m, j).to : queries;
  return m->window > 0 ? MIN(end, j - m->shift + m->window) : end;
}

// The columns of the tile at key j0, of n keys, that some of the queries [i, i + rows) sees: the first is rounded down to NR.
static inline Span seen_columns(const Mask *m, W i, W rows, W j0, W n) {
  Span s = {MAX(0, first_key(m, i) - j0) / NR * NR, MIN(n, end_key(m, i + rows - 1) - j0)};
  return s;
}

// `rows` rows of E elements as f32, whole vectors readable: where they lie, or a copy in `room`.
typedef struct { const float *at; W step; } Rows;
static inline Rows rows_of(const char *p, W dtype, W step, W rows, W E, float *room) {
  if (dtype == F32 && E % VW == 0) return (Rows){(const float *)p, step};
  W width = ROUND_UP(E, VW);
  for (W i = 0; i < rows; i++) {
    load_row(room + i * width, p + i * step * dtype_size(dtype), dtype, E);
    for (W e = E; e < width; e++) room[i * width + e] = 0;
  }
  return (Rows){room, width};
}

// Panels of `width` rows, interleaved along E.
static inline void pack_rows(float *panels, int width, const char *p, W dtype, W step, W rows, W E) {
  pack_panels(panels, width, p, dtype, step, 1, rows, E);
}

// out[rows, columns from..to) = the products of the packed rows `a` (at most MR) with the packed keys, over E.
static inline void scores(W rows, Span columns, W n, W E, const float *a, const float *keys, float *out) {
  W count = MIN(n - columns.from, ROUND_UP(columns.to - columns.from, NR));
  strips_columns(rows, count, E, a, MR, keys + columns.from * E, NR, NR * E, out + columns.from, S_STEP, 0);
}

static inline const char *view_at(char *const *base, const View *v, W dtype, W b, W t, W h) {
  return (const char *)PTR(base, v->ref) + (b * v->sB + t * v->sT + h * v->sH) * dtype_size(dtype);
}
#endif
