// Cross-entropy of a linear classifier without its logits (Wijmans et al. 2025, arXiv 2411.09009): a tile of them lives in a thread's
// scratch, rows of e against rows of c. The gradient makes each tile twice, for the chunk that owns its rows and sums de and for the chunk
// that owns its vocabulary and sums dc: in f32, in one order, with no sums across threads.
#include "microkernel.h"
#include "row.h"

#define MAX_ROWS 96
#define MAX_COLUMNS 512
#define DEPTH 256 // of a product: a panel of c of this depth stays in L1
#define GROUP 32  // vocabulary rows that share an entry of `skipped`
#define ROUND_UP(n, to) (((n) + (to) - 1) / (to) * (to))

typedef struct {
  const LinearXentArgs *a;
  char *const *base;
  const int32_t *order;                     // NULL: c as it lies
  W width, step;                            // floats from row to row of e, c and their sums; of the tile
  W m, n, j0;                               // rows that count, columns, the first of them
  W row[MAX_ROWS], target[MAX_ROWS];        // where they stand; the row of c they predict, -1 for none here
  float *rows, *row_panels;                 // e
  float *column_room, *column_panels;       // c
  const float *columns;
  W column_step;
  float *tile, *sums;
  float bias[MAX_COLUMNS];
  int32_t ids[MAX_COLUMNS];
} Work;

static float *take(float **room, W floats) {
  float *p = *room;
  *room += ROUND_UP(floats + PANEL_SLACK, 16);
  return p;
}

static Work work_on(const LinearXentArgs *a, char *const *base, const Scratch *scratch, W sums) {
  float *room = (float *)scratch->bytes;
  Work w = {.a = a, .base = base, .width = ROUND_UP(a->D, VW), .step = a->CB + 16};
  w.rows = take(&room, a->RB * w.width);
  w.row_panels = take(&room, (a->RB + MR) * a->D);
  w.column_panels = take(&room, (a->CB + NR) * a->D);
  w.tile = take(&room, (a->RB + MR) * w.step);
  if (sums) w.column_room = take(&room, a->CB * w.width), w.sums = take(&room, sums * w.width);
  return w;
}

// The rows of block `block` that count. A target outside the vocabulary is reported where `report` is set, and its row does not count.
static void load_rows(Work *w, W block, int report) {
  const LinearXentArgs *a = w->a;
  const char *e = PTR(w->base, a->e), *targets = PTR(w->base, a->targets);
  w->m = 0;
  for (W i = block * a->RB; i < MIN(a->N, (block + 1) * a->RB); i++) {
    W t = a->targetType == I64 ? ((const W *)targets)[i] : ((const int32_t *)targets)[i], place = t - a->first;
    if (t == a->ignore) continue;
    if (t < 0 || t >= a->total) {
      if (report) count_bad_indices(1);
      continue;
    }
    float *row = w->rows + w->m * w->width;
    load_row(row, e + i * a->D * dtype_size(a->dtype), a->dtype, a->D);
    for (W d = a->D; d < w->width; d++) row[d] = 0;
    w->row[w->m] = i;
    w->target[w->m++] = place >= 0 && place < a->V ? place : -1;
  }
  pack_panels(w->row_panels, MR, w->rows, F32, w->width, 1, w->m, a->D);
}

// Columns j0.. of the tiles; as rows too, where `rows` is set.
static void load_columns(Work *w, W j0, int rows) {
  const LinearXentArgs *a = w->a;
  const char *c = PTR(w->base, a->c);
  const W size = a->D * dtype_size(a->dtype);
  w->j0 = j0;
  w->n = MIN(a->CB, a->V - j0);
  for (W j = 0; j < w->n; j++) w->ids[j] = w->order ? w->order[j0 + j] : (int32_t)(j0 + j);
  for (W j = 0; j < w->n; j++) w->bias[j] = a->bias.slot < 0 ? 0 : ((const float *)PTR(w->base, a->bias))[w->ids[j]];
  for (W j = w->n; j < ROUND_UP(w->n, VW); j++) w->ids[j] = -1, w->bias[j] = 0;
  const void *from = c + j0 * size;
  W dtype = a->dtype, step = a->D;
  if (w->order || (rows && (dtype != F32 || step % VW))) {
    for (W j = 0; j < w->n; j++) {
      float *row = w->column_room + j * w->width;
      load_row(row, c + w->ids[j] * size, dtype, a->D);
      for (W d = a->D; d < w->width; d++) row[d] = 0;
    }
    from = w->column_room, dtype = F32, step = w->width;
  }
  w->columns = from, w->column_step = step;
  pack_panels(w->column_panels, NR, from, dtype, step, 1, w->n, a->D);
}

static void products(Work *w) {
  const W D = w->a->D;
  for (W k = 0; k == 0 || k < D; k += DEPTH)
    for (W r = 0; r < w->m; r += MR)
      strips_columns(MIN(MR, w->m - r), w->n, MIN(DEPTH, D - k), w->row_panels + r * D + k * MR, MR, w->column_panels + k * NR, NR, NR * D,
                     w->tile + r * w->step, w->step, k > 0);
}

// Logits from column j of a row of products; -inf beyond the last.
INLINE vf logits_at(const Work *w, const float *row, W j, float cap) {
  vf x = v_load(row + j) + v_load(w->bias + j);
  if (cap > 0) x = v_tanh(x * (1 / cap)) * cap;
  return first_lanes(x, MIN(VW, w->n - j), -__builtin_inff());
}

// The column of the tile that row i predicts, or -1.
static W target_of(const Work *w, W i) {
  W t = w->target[i], j = t - w->j0;
  if (!w->order || t < 0) return t >= 0 && j >= 0 && j < w->n ? j : -1;
  for (j = 0; j < w->n; j += VW)
    if (v_any(vi_load(w->ids + j) == (int32_t)t))
      for (;; j++)
        if (w->ids[j] == t) return j;
  return -1;
}

void k_linear_xent(const void *args, char *const *base, W lo, W hi, Scratch *scratch) {
  const LinearXentArgs *a = args;
  Work w = work_on(a, base, scratch, 0);
  float *logit = PTR(base, a->logit), *lse = PTR(base, a->lse), max[MAX_ROWS], sum[MAX_ROWS], cap = (float)a->softCap;
  for (W block = lo; block < hi; block++) {
    load_rows(&w, block, 1);
    for (W i = block * a->RB; i < MIN(a->N, (block + 1) * a->RB); i++) logit[i] = lse[i] = 0;
    for (W i = 0; i < w.m; i++) max[i] = -__builtin_inff(), sum[i] = 0;
    for (W j0 = 0; j0 < a->V && w.m; j0 += a->CB) {
      load_columns(&w, j0, 0);
      products(&w);
      for (W i = 0; i < w.m; i++) {
        float *row = w.tile + i * w.step;
        vf most = v_splat(max[i]), total = {0};
        for (W j = 0; j < w.n; j += VW) {
          vf x = logits_at(&w, row, j, cap);
          v_store(row + j, x);
          most = v_max(x, most);
        }
        float now = v_hmax(most);
        if (now == -__builtin_inff()) continue;
        for (W j = 0; j < w.n; j += VW) total += v_exp_share(v_load(row + j) - now);
        sum[i] = sum[i] * v_exp_share(v_splat(max[i] - now))[0] + v_sum(total);
        max[i] = now;
        W hit = target_of(&w, i);
        if (hit >= 0) logit[w.row[i]] = row[hit];
      }
    }
    for (W i = 0; i < w.m; i++) lse[w.row[i]] = max[i] + v_log(v_splat(sum[i]))[0];
  }
}

// The tile becomes the gradient of its logits. Says whether any element reaches eps before it is scaled: the softmax of a column, and at
// the target also softmax - 1.
static int gradients(Work *w, const LinearXentGradArgs *g) {
  const LinearXentArgs *a = w->a;
  const float *lse = PTR(w->base, a->lse), *d_logit = PTR(w->base, g->dLogit), *d_lse = PTR(w->base, g->dLse), cap = (float)a->softCap;
  int counts = 0;
  for (W i = 0; i < w->m; i++) {
    float *row = w->tile + i * w->step, l = lse[w->row[i]], dt = d_logit[w->row[i]], dl = d_lse[w->row[i]];
    float scale = MAX(dt < 0 ? -dt : dt, dl < 0 ? -dl : dl), top = 0;
    W hit = target_of(w, i);
    float own = hit < 0 ? 0 : logits_at(w, row, hit / VW * VW, cap)[hit % VW];
    vf most = {0};
    for (W j = 0; j < w->n; j += VW) {
      vf x = logits_at(w, row, j, cap), d = v_exp_share(x - l) * dl;
      most = v_max(v_abs(d), most);
      if (cap > 0) d = first_lanes(d * (1 - x * x * (1 / (cap * cap))), MIN(VW, w->n - j), 0);
      v_store(row + j, d);
    }
    if (hit >= 0) {
      float d = v_exp_share(v_splat(own - l))[0] * dl + dt;
      top = d < 0 ? -d : d;
      row[hit] += dt * (cap > 0 ? 1 - own * own / (cap * cap) : 1);
    }
    counts |= scale != 0 && !(MAX(v_hmax(most), top) < (float)g->eps * scale);
  }
  return counts;
}

static void store_sums(const Work *w, Ref to, W row, W i) {
  const LinearXentArgs *a = w->a;
  store_row((char *)PTR(w->base, to) + row * a->D * dtype_size(a->dtype), a->dtype, w->sums + i * w->width, a->D);
}

// de of a block of rows.
static void own_rows(Work *w, const LinearXentGradArgs *g, W block) {
  const LinearXentArgs *a = w->a;
  const W size = a->D * dtype_size(a->dtype), i0 = block * a->RB;
  load_rows(w, block, 0);
  memset((char *)PTR(w->base, g->dE) + i0 * size, 0, (size_t)(MIN(a->RB, a->N - i0) * size));
  memset(w->sums, 0, (size_t)(w->m * w->width) * sizeof(float));
  for (W j0 = 0; j0 < a->V && w->m; j0 += a->CB) {
    load_columns(w, j0, 1);
    products(w);
    if (!gradients(w, g) && g->filterE) continue;
    for (W r = 0; r < w->m; r += MR)
      strips_rows(MIN(MR, w->m - r), a->D, w->n, w->tile + r * w->step, w->step, w->columns, w->column_step, NR,
                  w->sums + r * w->width, w->width, 1);
  }
  for (W i = 0; i < w->m; i++) store_sums(w, g->dE, w->row[i], i);
}

// dc, dbias and `skipped` of a block of the vocabulary.
static void own_columns(Work *w, const LinearXentGradArgs *g, W block) {
  const LinearXentArgs *a = w->a;
  W tiles = 0, skipped = 0;
  float d_bias[MAX_COLUMNS] = {0};
  load_columns(w, block * a->CB, 1);
  memset(w->sums, 0, (size_t)(w->n * w->width) * sizeof(float));
  for (W rows = 0; rows * a->RB < a->N; rows++) {
    load_rows(w, rows, 0);
    if (!w->m) continue;
    products(w);
    int counts = gradients(w, g);
    for (W i = 0; i < w->m && a->bias.slot >= 0; i++)
      for (W j = 0; j < w->n; j++) d_bias[j] += w->tile[i * w->step + j];
    tiles++;
    skipped += !counts && (g->filterE || g->filterC);
    if (!counts && g->filterC) continue;
    for (W j = 0; j < w->n; j += MR)
      strips_columns(MIN(MR, w->n - j), a->D, w->m, w->tile + j, w->step, w->rows, w->width, NR, w->sums + j * w->width, w->width, 1);
  }
  for (W j = 0; j < w->n; j++) {
    store_sums(w, g->dC, w->ids[j], j);
    if (a->bias.slot >= 0) ((float *)PTR(w->base, g->dBias))[w->ids[j]] = d_bias[j];
    if (j % GROUP == 0) ((float *)PTR(w->base, g->skipped))[(w->j0 + j) / GROUP] = tiles ? (float)skipped / (float)tiles : 0;
  }
}

void k_linear_xent_grad(const void *args, char *const *base, W lo, W hi, Scratch *scratch) {
  const LinearXentGradArgs *g = args;
  const LinearXentArgs *a = &g->of;
  Work w = work_on(a, base, scratch, MAX(a->RB, a->CB));
  w.order = g->order.slot < 0 ? NULL : PTR(base, g->order);
  W row_blocks = (a->N + a->RB - 1) / a->RB;
  for (W block = lo; block < hi; block++) block < row_blocks ? own_rows(&w, g, block) : own_columns(&w, g, block - row_blocks);
}
