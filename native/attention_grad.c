// The gradient of attention, which makes the probabilities again from the scores and lse (Dao et al. 2022, algorithm 4):
//   P = exp(S - lse), dV = P^T dO, dS = P * (dO V^T - rowsum(dO * O)), dQ = scale dS K, dK = scale dS^T Q.
#include "attention.h"

typedef struct {
  const AttentionGradArgs *a;
  char *const *base;
  Mask mask;
  W side, width, value_width;                  // of a tile, of a row of dk, of a row of dv
  W b, kv, h;                                  // sample, kv head, query head
  W i0, m, j0, n;                              // the tile: queries [i0, i0 + m), keys [j0, j0 + n)
  float *key_panels, *value_panels;            // NR
  float *query_panels, *dout_panels;           // MR; queries scaled
  float *key_room, *query_room, *dout_room;
  Rows keys, queries, douts;
  float *p, *ds;                               // SIDE x S_STEP
  float *dk, *dv, *dq;                         // sums
  float lse[SIDE], delta[SIDE];                // delta: rowsum(dO * O)
} Work;

static void load_keys(Work *w, W j0) {
  const AttentionGradArgs *a = w->a;
  const char *k = view_at(w->base, &a->k, a->dtype, w->b, j0, w->kv), *v = view_at(w->base, &a->v, a->dtype, w->b, j0, w->kv);
  w->j0 = j0;
  w->n = MIN(w->side, a->Tk - j0);
  pack_rows(w->key_panels, NR, k, a->dtype, a->k.sT, w->n, a->E);
  pack_rows(w->value_panels, NR, v, a->dtype, a->v.sT, w->n, a->Ev);
  w->keys = rows_of(k, a->dtype, a->k.sT, w->n, a->E, w->key_room);
}

static void load_queries(Work *w, W i0) {
  const AttentionGradArgs *a = w->a;
  const W row = a->Hq * a->Ev, at = (w->b * a->Tq + i0) * row + w->h * a->Ev, size = dtype_size(a->dtype);
  const char *q = view_at(w->base, &a->q, a->dtype, w->b, i0, w->h);
  const char *dout = (const char *)PTR(w->base, a->dO) + at * size, *out = (const char *)PTR(w->base, a->o) + at * size;
  w->i0 = i0;
  w->m = MIN(w->side, a->Tq - i0);
  pack_rows(w->query_panels, MR, q, a->dtype, a->q.sT, w->m, a->E);
  for (W x = 0; x < ROUND_UP(w->m, MR) * a->E; x++) w->query_panels[x] *= (float)a->scale;
  pack_rows(w->dout_panels, MR, dout, a->dtype, row, w->m, a->Ev);
  w->queries = rows_of(q, a->dtype, a->q.sT, w->m, a->E, w->query_room);
  w->douts = rows_of(dout, a->dtype, row, w->m, a->Ev, w->dout_room);
  memcpy(w->lse, (const float *)PTR(w->base, a->lse) + (w->b * a->Hq + w->h) * a->Tq + i0, (size_t)w->m * sizeof(float));
  for (W i = 0; i < w->m; i++) {
    vf sum = {0};
    float rest = 0;
    W e = 0;
    for (; e + VW <= a->Ev; e += VW) sum += v_load(w->douts.at + i * w->douts.step + e) * v_load_real(out, a->dtype, i * row + e);
    for (; e < a->Ev; e++) rest += w->douts.at[i * w->douts.step + e] * load_real(out, a->dtype, i * row + e);
    w->delta[i] = v_sum(sum) + rest;
  }
}

#define AROUND ROUND_UP(MR, VW) // as far as a panel of MR keys can stick out of the columns

// P and scale * dS of the tile, for queries [r, r + rows); both are 0 where a query does not see a key, and AROUND the columns.
static void probabilities(Work *w, W r, W rows, Span columns) {
  const AttentionGradArgs *a = w->a;
  scores(rows, columns, w->n, a->E, w->query_panels + r * a->E, w->key_panels, w->p + r * S_STEP);
  scores(rows, columns, w->n, a->Ev, w->dout_panels + r * a->Ev, w->value_panels, w->ds + r * S_STEP);
  W end = ROUND_UP(columns.to, VW);
  for (W i = r; i < r + rows; i++) {
    float *p = w->p + i * S_STEP, *ds = w->ds + i * S_STEP;
    W lo = MIN(end, first_key(&w->mask, w->i0 + i) - w->j0), hi = MAX(columns.from, end_key(&w->mask, w->i0 + i) - w->j0);
    for (W j = columns.from; j < lo; j++) p[j] = -__builtin_inff(), ds[j] = 0;
    for (W j = hi; j < end; j++) p[j] = -__builtin_inff(), ds[j] = 0;
    for (W j = columns.from; j < end; j += VW) {
      vf x = v_exp_share(v_load(p + j) - w->lse[i]);
      v_store(p + j, x);
      v_store(ds + j, x * (v_load(ds + j) - w->delta[i]) * (float)a->scale);
    }
    if (w->lse[i] == -__builtin_inff()) // a query that sees no key
      for (W j = columns.from; j < end; j++) p[j] = ds[j] = 0;
    for (W j = MAX(0, columns.from - AROUND); j < columns.from; j++) p[j] = ds[j] = 0;
    for (W j = end; j < MIN(end + AROUND, S_STEP); j++) p[j] = ds[j] = 0;
  }
}

// Adds the tile's share to dq, rows of dq_step (NULL: not wanted), and to dk and dv if `keys` is set.
static void add_tile(Work *w, float *dq, W dq_step, int keys) {
  const AttentionGradArgs *a = w->a;
  for (W r = 0; r < w->m; r += MR) {
    W rows = MIN(MR, w->m - r);
    Span columns = seen_columns(&w->mask, w->i0 + r, rows, w->j0, w->n);
    if (columns.from >= columns.to) continue;
    probabilities(w, r, rows, columns);
    if (dq)
      strips_rows(rows, a->E, columns.to - columns.from, w->ds + r * S_STEP + columns.from, S_STEP,
                  w->keys.at + columns.from * w->keys.step, w->keys.step, NR, dq + r * dq_step, dq_step, 1);
  }
  for (W j = 0; keys && j < w->n; j += MR) {
    W rows = MIN(MR, w->n - j);
    W from = MAX(0, first_query(&w->mask, w->j0 + j) - w->i0);
    W depth = MIN(w->m, end_query(&w->mask, w->j0 + j + rows - 1, a->Tq) - w->i0) - from;
    if (depth <= 0) continue;
    const float *p = w->p + from * S_STEP + j, *ds = w->ds + from * S_STEP + j;
    strips_columns(rows, a->Ev, depth, p, S_STEP, w->douts.at + from * w->douts.step, w->douts.step, NR, w->dv + j * w->value_width,
                   w->value_width, 1);
    strips_columns(rows, a->E, depth, ds, S_STEP, w->queries.at + from * w->queries.step, w->queries.step, NR, w->dk + j * w->width,
                   w->width, 1);
  }
}

static void store_rows(Work *w, const View *view, W t, W h, const float *rows, W count, W E, W width) {
  for (W i = 0; i < count; i++)
    store_row((char *)view_at(w->base, view, w->a->dtype, w->b, t + i, h), w->a->dtype, rows + i * width, E);
}

// One kv head of one sample, with its query heads. f32 dq is summed where it belongs, in the sweep over keys; a half dq would
// be rounded at every tile, and so a second sweep, over queries, sums it apart.
static void head(Work *w) {
  const AttentionGradArgs *a = w->a;
  const W group = a->Hq / a->Hkv, in_place = a->dtype == F32;
  for (W h = w->kv * group; in_place && h < (w->kv + 1) * group; h++)
    for (W i = 0; i < a->Tq; i++) memset((char *)view_at(w->base, &a->dq, F32, w->b, i, h), 0, (size_t)a->E * sizeof(float));
  for (W j0 = 0; j0 < a->Tk; j0 += w->side) {
    load_keys(w, j0);
    memset(w->dk, 0, (size_t)(w->n * w->width) * sizeof(float));
    memset(w->dv, 0, (size_t)(w->n * w->value_width) * sizeof(float));
    W first = first_query(&w->mask, j0) / w->side * w->side, end = end_query(&w->mask, j0 + w->n - 1, a->Tq);
    for (w->h = w->kv * group; w->h < (w->kv + 1) * group; w->h++)
      for (W i0 = first; i0 < end; i0 += w->side) {
        load_queries(w, i0);
        add_tile(w, in_place ? (float *)view_at(w->base, &a->dq, F32, w->b, i0, w->h) : NULL, a->dq.sT, 1);
      }
    store_rows(w, &a->dk, j0, w->kv, w->dk, w->n, a->E, w->width);
    store_rows(w, &a->dv, j0, w->kv, w->dv, w->n, a->Ev, w->value_width);
  }
  for (w->h = w->kv * group; !in_place && w->h < (w->kv + 1) * group; w->h++)
    for (W i0 = 0; i0 < a->Tq; i0 += w->side) {
      load_queries(w, i0);
      memset(w->dq, 0, (size_t)(w->m * w->width) * sizeof(float));
      for (W j0 = first_key(&w->mask, i0) / w->side * w->side; j0 < end_key(&w->mask, i0 + w->m - 1); j0 += w->side) {
        load_keys(w, j0);
        add_tile(w, w->dq, w->width, 0);
      }
      store_rows(w, &a->dq, i0, w->h, w->dq, w->m, a->E, w->width);
    }
}

static float *take(float **room, W floats) {
  float *p = *room;
  *room += ROUND_UP(floats + PANEL_SLACK, 16);
  return p;
}

void k_attention_grad(const void *args, char *const *base, W lo, W hi, Scratch *scratch) {
  const AttentionGradArgs *a = args;
  W side = tile_side(a->E, a->Ev), width = ROUND_UP(a->E, VW), value_width = ROUND_UP(a->Ev, VW);
  float *room = (float *)scratch->bytes;
  Work w = {.a = a, .base = base, .mask = {a->Tk, a->Tk - a->Tq, a->causal, a->window, a->sequences, a->sequences ? PTR(base, a->offsets) : 0}};
  w.side = side;
  w.width = width;
  w.value_width = value_width;
  w.key_panels = take(&room, (side + NR) * a->E);
  w.value_panels = take(&room, (side + NR) * a->Ev);
  w.query_panels = take(&room, (side + MR) * a->E);
  w.dout_panels = take(&room, (side + MR) * a->Ev);
  w.key_room = take(&room, side * width);
  w.query_room = take(&room, side * width);
  w.dout_room = take(&room, side * value_width);
  w.p = take(&room, SIDE * S_STEP);
  w.ds = take(&room, SIDE * S_STEP);
  w.dk = take(&room, side * width);
  w.dv = take(&room, side * value_width);
  w.dq = take(&room, side * width);
  for (W x = lo; x < hi; x++) {
    w.b = x / a->Hkv;
    w.kv = x % a->Hkv;
    head(&w);
  }
}
