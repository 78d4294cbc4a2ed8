// Attention without the T x T matrix (Dao et al. 2022, arXiv 2205.14135): tiles of scores, a running maximum and sum per
// query (Milakov and Gimelshein 2018), and the output rescaled when the maximum grows.
#include "attention.h"

typedef struct {
  float *queries;      // panels of MR queries, scaled
  float *keys;         // panels of NR keys
  float *values;       // rows, where they must be copied
  float *scores;       // SIDE x S_STEP
  float *out;          // sums, rows of `width`
  float max[SIDE], sum[SIDE];
} Work;

// s[from, to) becomes exp(s - maximum) where the query sees the key ([lo, hi)), 0 elsewhere up to whole vectors; the running
// maximum, sum and output row follow.
static void soften(float *s, Span columns, W lo, W hi, float *max, float *sum, float *out, W width) {
  W end = ROUND_UP(columns.to, VW);
  for (W j = columns.from; j < lo; j++) s[j] = -__builtin_inff();
  for (W j = MAX(hi, columns.from); j < end; j++) s[j] = -__builtin_inff();
  vf most = v_splat(*max);
  for (W j = columns.from; j < end; j += VW) most = v_max(v_load(s + j), most);
  float now = v_hmax(most);
  if (now == -__builtin_inff()) { // nothing is seen yet
    for (W j = columns.from; j < end; j++) s[j] = 0;
    return;
  }
  vf total = {0};
  for (W j = columns.from; j < end; j += VW) {
    vf p = v_exp_share(v_load(s + j) - now);
    v_store(s + j, p);
    total += p;
  }
  float shrink = 1;
  if (now > *max) {
    shrink = v_exp_share(v_splat(*max - now))[0];
    for (W e = 0; e < width; e += VW) v_store(out + e, v_load(out + e) * shrink);
  }
  *sum = *sum * shrink + v_sum(total);
  *max = now;
}

// Queries [i0, i0 + m) of head (b, h).
static void attend(const AttentionArgs *a, W Tk, char *const *base, W b, W h, W i0, W m, W side, Work *w) {
  const Mask mask = {Tk, Tk - a->Tq, a->causal, a->window, a->sequences, a->sequences ? PTR(base, a->offsets) : 0};
  const W E = a->E, Ev = a->Ev, width = ROUND_UP(Ev, VW), kv = h / (a->Hq / a->Hkv);
  pack_rows(w->queries, MR, view_at(base, &a->q, a->dtype, b, i0, h), a->dtype, a->q.sT, m, E);
  for (W x = 0; x < ROUND_UP(m, MR) * E; x++) w->queries[x] *= (float)a->scale;
  memset(w->out, 0, (size_t)(m * width) * sizeof(float));
  for (W i = 0; i < m; i++) w->max[i] = -__builtin_inff(), w->sum[i] = 0;

  for (W j0 = first_key(&mask, i0) / side * side, end = end_key(&mask, i0 + m - 1); j0 < end; j0 += side) {
    W n = MIN(side, Tk - j0);
    pack_rows(w->keys, NR, view_at(base, &a->k, a->dtype, b, j0, kv), a->dtype, a->k.sT, n, E);
    Rows values = rows_of(view_at(base, &a->v, a->dtype, b, j0, kv), a->dtype, a->v.sT, n, Ev, w->values);
    for (W r = 0; r < m; r += MR) {
      W rows = MIN(MR, m - r);
      Span columns = seen_columns(&mask, i0 + r, rows, j0, n);
      if (columns.from >= columns.to) continue;
      float *s = w->scores + r * S_STEP;
      scores(rows, columns, n, E, w->queries + r * E, w->keys, s);
      for (W i = r; i < r + rows; i++)
        soften(w->scores + i * S_STEP, columns, MIN(columns.to, first_key(&mask, i0 + i) - j0), end_key(&mask, i0 + i) - j0,
               &w->max[i], &w->sum[i], w->out + i * width, width);
      strips_rows(rows, Ev, columns.to - columns.from, s + columns.from, S_STEP, values.at + columns.from * values.step, values.step, NR,
                  w->out + r * width, width, 1);
    }
  }

  char *o = (char *)PTR(base, a->o) + ((b * a->Tq + i0) * a->Hq + h) * Ev * dtype_size(a->dtype);
  float *lse = (float *)PTR(base, a->lse) + (b * a->Hq + h) * a->Tq + i0;
  for (W i = 0; i < m; i++) {
    float *row = w->out + i * width, inverse = w->sum[i] > 0 ? 1 / w->sum[i] : w->sum[i]; // a NaN stays, an unseen row is 0
    for (W e = 0; e < width; e += VW) v_store(row + e, v_load(row + e) * inverse);
    store_row(o + i * a->Hq * Ev * dtype_size(a->dtype), a->dtype, row, Ev);
    lse[i] = w->max[i] + v_log(v_splat(w->sum[i]))[0];
  }
}

void k_attention(const void *args, char *const *base, W lo, W hi, Scratch *scratch) {
  const AttentionArgs *a = args;
  W Tk = a->length.slot < 0 ? a->Tk : MIN(a->Tk, index_at(PTR(base, a->length), a->lengthType, 0));
  W side = tile_side(a->E, a->Ev), qblocks = (a->Tq + a->QB - 1) / a->QB;
  Work w;
  w.queries = (float *)scratch->bytes;
  w.keys = w.queries + (side + MR) * a->E + PANEL_SLACK;
  w.values = w.keys + (side + NR) * a->E + PANEL_SLACK;
  w.scores = w.values + side * (a->Ev + VW);
  w.out = w.scores + SIDE * S_STEP;
  for (W block = lo; block < hi; block++) {
    W qb = block % qblocks, h = block / qblocks % a->Hq, b = block / (qblocks * a->Hq);
    W end = MIN((qb + 1) * a->QB, a->Tq);
    for (W i0 = qb * a->QB; i0 < end; i0 += side) attend(a, Tk, base, b, h, i0, MIN(side, end - i0), side, &w);
  }
}
