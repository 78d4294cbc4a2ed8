// REDUCE and ARGREDUCE: the tile interpreter evaluates the expression, what comes out is folded along C.
#include "map.h"
#include "row.h"

#define LONG_ROW 64         // tiles summed into one set of lanes before it is added to the totals
#define STRIP 16384         // columns that are folded together

// One instance for each operation.
#define BY_OP(op, f, ...) \
  ((op) == R_SUM ? f(R_SUM, __VA_ARGS__) : (op) == R_MAX ? f(R_MAX, __VA_ARGS__) : (op) == R_MIN ? f(R_MIN, __VA_ARGS__) : f(R_PROD, __VA_ARGS__))

// ---- Elementwise d = a op b. NaN wins a maximum and a minimum.
#define COMBINE(T, U) \
  { const T *x = a, *y = b; T *to = d; \
    switch (op) { \
      case R_SUM: for (W i = 0; i < n; i++) to[i] = (T)((U)x[i] + (U)y[i]); break; \
      case R_PROD: for (W i = 0; i < n; i++) to[i] = (T)((U)x[i] * (U)y[i]); break; \
      case R_MAX: for (W i = 0; i < n; i++) to[i] = ((x[i] > y[i]) | (x[i] != x[i])) ? x[i] : y[i]; break; \
      default: for (W i = 0; i < n; i++) to[i] = ((x[i] < y[i]) | (x[i] != x[i])) ? x[i] : y[i]; \
    } }
INLINE vf combine_vectors(W op, vf x, vf y) {
  return op == R_SUM ? x + y : op == R_PROD ? x * y : op == R_MAX ? v_max_nan(x, y) : v_min_nan(x, y);
}
INLINE void combine_f32(W op, float *d, const float *a, const float *b, W n) {
  for (; n >= LANES * VW; n -= LANES * VW, d += LANES * VW, a += LANES * VW, b += LANES * VW)
    UNROLL for (int i = 0; i < LANES * VW; i += VW) v_store(d + i, combine_vectors(op, v_load(a + i), v_load(b + i)));
  for (; n >= VW; n -= VW, d += VW, a += VW, b += VW) v_store(d, combine_vectors(op, v_load(a), v_load(b)));
  if (n) v_store_n(d, combine_vectors(op, v_load_n(a, n), v_load_n(b, n)), n);
}
static void combine(W type, W op, void *d, const void *a, const void *b, W n) {
  if (type == T_F32) BY_OP(op, combine_f32, d, a, b, n);
  else if (type == T_I32) COMBINE(int32_t, uint32_t)
  else COMBINE(W, uint64_t)
}

INLINE float identity_f32(W op) { return op == R_MAX ? -__builtin_inff() : op == R_MIN ? __builtin_inff() : op == R_PROD; }
static void fill_identity(W type, W op, void *to, W n) {
  float f = identity_f32(op);
  int32_t i = op == R_MAX ? INT32_MIN : op == R_MIN ? INT32_MAX : op == R_PROD;
  W l = op == R_MAX ? INT64_MIN : op == R_MIN ? INT64_MAX : op == R_PROD;
  for (W k = 0; k < n; k++) {
    if (type == T_F32) ((float *)to)[k] = f;
    else if (type == T_I32) ((int32_t *)to)[k] = i;
    else ((W *)to)[k] = l;
  }
}

// x[0..count) to VW lanes.
INLINE vf fold_to_lanes(W op, const float *x, W count) {
  vf acc[LANES];
  for (int u = 0; u < LANES; u++) acc[u] = v_splat(identity_f32(op));
  OVER_ROW(0, count, acc[u] = combine_vectors(op, acc[u], first_lanes(row_load(x, F32, i, n), n, identity_f32(op))));
  return combine_vectors(op, combine_vectors(op, acc[0], acc[1]), combine_vectors(op, acc[2], acc[3]));
}

// Folds `groups` x n values at x to the first n of `to` as a binary tree; `to` may be x.
static void fold(W type, W op, void *to, const void *x, W groups, W n) {
  W bytes = type == T_I64 ? 8 : 4;
  if (groups == 1 && to != x) memcpy(to, x, (size_t)(n * bytes));
  for (; groups > 1; x = to) {
    W half = (groups + 1) / 2;
    if (groups % 2 && to != x) memcpy((char *)to + (half - 1) * n * bytes, (const char *)x + (half - 1) * n * bytes, (size_t)(n * bytes));
    combine(type, op, to, x, (const char *)x + half * n * bytes, (groups - half) * n);
    groups = half;
  }
}

// ---- The walk over the space, common to both kernels
typedef struct Sweep Sweep;
struct Sweep {
  const ReduceArgs *args;
  Tile tile;
  W type, bytes, lanes; // register type; values that start() makes room for
  char *acc, *total, *out;
  void (*start)(Sweep *);
  // x[rows][columns] of the rows from c on; they belong to lanes [lane, lane + rows * columns) (folded later) or, where a
  // tile holds only part of a row, to [lane, lane + columns). turn counts the visits of these lanes.
  void (*visit)(Sweep *, const char *x, W c, W rows, W columns, W lane, W turn);
  void (*finish)(Sweep *, W first, W columns); // writes out[first, first + columns)
};

static void sweep_open(Sweep *s, char *const *base, Scratch *scratch) {
  const ReduceArgs *r = s->args;
  char *memory = tile_open(&s->tile, &r->map, base, scratch->bytes);
  s->type = s->tile.type[r->reg], s->bytes = s->type == T_I64 ? 8 : 4;
  s->acc = memory, s->total = memory + STRIP * 8, s->out = PTR(base, r->out);
}

static void sweep(Sweep *s, W lo, W hi) {
  const ReduceArgs *r = s->args;
  Tile *t = &s->tile;
  char *const *x = t->reg + r->reg;
  W C = r->C, N = r->N, blocks = (N + r->NB - 1) / r->NB, row = C * N;

  if (blocks == 1 && N <= TILE) {
    W batch = C && row * 2 <= TILE ? TILE / row : 1, step = TILE / N;
    s->lanes = MIN(step, C) * N;
    for (W o = lo; o < hi; o += batch) {
      W count = MIN(batch, hi - o);
      if (batch > 1) {
        tile_eval(t, o * row, count * row);
        for (W k = 0; k < count; k++) {
          s->start(s);
          s->visit(s, *x + k * row * s->bytes, 0, C, N, 0, 0);
          s->finish(s, (o + k) * N, N);
        }
        continue;
      }
      s->start(s);
      for (W c = 0, turn = 0; c < C; c += step, turn++) {
        W rows = MIN(step, C - c);
        tile_eval(t, o * row + c * N, rows * N);
        s->visit(s, *x, c, rows, N, 0, turn);
      }
      s->finish(s, o * N, N);
    }
    return;
  }
  for (W block = lo; block < hi; block++) {
    W o = block / blocks, end = MIN(N, (block % blocks + 1) * r->NB);
    for (W n = block % blocks * r->NB; n < end; n += STRIP) {
      W width = s->lanes = MIN(STRIP, end - n);
      s->start(s);
      for (W c = 0; c < C; c++)
        for (W i = 0; i < width; i += TILE) {
          W columns = MIN(TILE, width - i);
          tile_eval(t, o * row + c * N + n + i, columns);
          s->visit(s, *x, c, 1, columns, i, c);
        }
      s->finish(s, o * N + n, width);
    }
  }
}

// ---- REDUCE
// Rows of f32, C <= LONG_ROW tiles, N = 1. The lanes of VW rows are transposed: their folds become one fold of vectors.
INLINE void reduce_rows(W op, const ReduceArgs *r, Tile *t, char *out, W lo, W hi) {
  char *const *x = t->reg + r->reg;
  W C = r->C, batch = MAX(1, TILE / C), size = dtype_size(r->dtype);
  vf square[VW];
  W held = 0;
  for (W o = lo; o < hi; o += batch) {
    W rows = MIN(batch, hi - o);
    for (W k = 0; k < rows; k++) {
      vf row = v_splat(identity_f32(op));
      for (W c = 0; c < C; c += TILE) {
        if (k == 0) tile_eval(t, o * C + c, MIN(TILE, rows * C - c));
        row = combine_vectors(op, row, fold_to_lanes(op, (float *)*x + k * C, MIN(TILE, C - c)));
      }
      square[held++] = row;
      if (held < VW && o + k + 1 < hi) continue;
      for (W i = held; i < VW; i++) square[i] = row;
      v_transpose(square);
      for (int n = VW / 2; n; n /= 2)
        for (int i = 0; i < n; i++) square[i] = combine_vectors(op, square[i], square[i + n]);
      float result[VW];
      v_store(result, square[0]);
      tile_store(out + (o + k + 1 - held) * size, r->dtype, result, held);
      held = 0;
    }
  }
}

static void reduce_start(Sweep *s) {
  fill_identity(s->type, s->args->op, s->acc, s->lanes);
  fill_identity(s->type, s->args->op, s->total, s->lanes);
}
static void reduce_visit(Sweep *s, const char *x, W c, W rows, W columns, W lane, W turn) {
  (void)c;
  char *acc = s->acc + lane * s->bytes, *total = s->total + lane * s->bytes;
  W n = rows * columns;
  combine(s->type, s->args->op, acc, acc, x, n);
  if (turn % LONG_ROW == LONG_ROW - 1) {
    combine(s->type, s->args->op, total, total, acc, n);
    fill_identity(s->type, s->args->op, acc, n);
  }
}
static void reduce_finish(Sweep *s, W first, W columns) {
  combine(s->type, s->args->op, s->acc, s->acc, s->total, s->lanes);
  if (s->lanes) fold(s->type, s->args->op, s->acc, s->acc, s->lanes / columns, columns);
  else fill_identity(s->type, s->args->op, s->acc, columns);
  tile_store(s->out + first * dtype_size(s->args->dtype), s->args->dtype, s->acc, columns);
}

void k_reduce(const void *args, char *const *base, W lo, W hi, Scratch *scratch) {
  Sweep s = {.args = args, .start = reduce_start, .visit = reduce_visit, .finish = reduce_finish};
  sweep_open(&s, base, scratch);
  if (s.type == T_F32 && s.args->N == 1 && s.args->C > 0 && s.args->C <= LONG_ROW * TILE)
    BY_OP(s.args->op, reduce_rows, s.args, &s.tile, s.out, lo, hi);
  else
    sweep(&s, lo, hi);
}

// ---- ARGREDUCE: acc holds the best value of each column, total its index (i32)
static void arg_start(Sweep *s) { memset(s->total, 0, (size_t)s->args->N < STRIP ? (size_t)s->args->N * 4 : STRIP * 4); }

#define IMPROVE(T) \
  { const T *v = (const T *)x; T *best = (T *)s->acc + lane; \
    if (c == 0) { memcpy(best, v, (size_t)columns * sizeof(T)); v += columns, c++, rows--; } \
    for (W r = 0; r < rows; r++, v += columns) \
      for (W i = 0; i < columns; i++) { \
        int better = (max ? v[i] > best[i] : v[i] < best[i]) | ((v[i] != v[i]) & (best[i] == best[i])); \
        best[i] = better ? v[i] : best[i]; \
        index[i] = better ? (int32_t)(c + r) : index[i]; \
      } }
// Whether any of x is better: most tiles of a long row are not, and need no scan.
static int improves_row(int max, const float *x, W n, float best) {
  vf lanes = max ? fold_to_lanes(R_MAX, x, n) : fold_to_lanes(R_MIN, x, n);
  return best == best && v_any(max ? ~(lanes <= best) : ~(lanes >= best));
}

static void arg_visit(Sweep *s, const char *x, W c, W rows, W columns, W lane, W turn) {
  (void)turn;
  int32_t *index = (int32_t *)s->total + lane;
  int max = s->args->op == R_MAX;
  if (s->type == T_F32 && columns == 1 && c > 0 && !improves_row(max, (const float *)x, rows, *((float *)s->acc + lane))) return;
  if (s->type == T_F32) IMPROVE(float)
  else if (s->type == T_I32) IMPROVE(int32_t)
  else IMPROVE(W)
}
static void arg_finish(Sweep *s, W first, W columns) {
  memcpy((int32_t *)s->out + first, s->total, (size_t)columns * 4);
}

void k_argreduce(const void *args, char *const *base, W lo, W hi, Scratch *scratch) {
  Sweep s = {.args = args, .start = arg_start, .visit = arg_visit, .finish = arg_finish};
  sweep_open(&s, base, scratch);
  sweep(&s, lo, hi);
}
