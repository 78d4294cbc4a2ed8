#include "microkernel.h"

#ifdef __wasm__
#define TURN 2 // steps of k in a turn of the loop
INLINE int is_somewhere(const float *p) { // which only we know
  const float *nowhere = (const float *)1;
  __asm__("" : "+r"(nowhere));
  return p != nowhere;
}
#else
#define TURN 1
#define is_somewhere(p) 1
#endif

typedef struct { const float *a, *row[MR], *b; } At; // where a step reads: A(i, k) at a[i] or *row[i], B(k, j) at b[j]

// Adds the products of `count` steps of k to the sums. V8 leaves loads in their order and puts a multiply-add where its sum is first used.
// Each step is the arm of a branch, and so its sums are used where the arms meet again, one after another: every row's load then stands
// beside its multiply-adds, and a step needs 15 of the 16 registers.
INLINE void add_products(int count, vf acc[MR][2], int m, int nv, int by_rows, At *at, W a_step, W b_step) {
  UNROLL for (int k = 0; k < count; k++) {
    if (is_somewhere(at->b)) {
      vf bv[2];
      UNROLL for (int v = 0; v < nv; v++) bv[v] = v_load(at->b + v * VW);
      KEEP_ORDER;
      UNROLL for (int i = 0; i < m; i++) {
        vf x = v_splat(by_rows ? at->row[i][k] : at->a[i]);
        KEEP_ORDER;
        UNROLL for (int v = 0; v < nv; v++) acc[i][v] = v_fma(x, bv[v], acc[i][v]);
      }
    }
    at->a += a_step, at->b += b_step;
  }
  UNROLL for (int i = 0; i < m; i++) at->row[i] += count;
}

// m and nv (vectors per row) are constants at every call, and n where the tile is whole: straight-line code over registers.
INLINE void tile(int m, int nv, int by_rows, W n, W kc, const float *a, W a_step, const float *b, W b_step, float *c,
                 W c_step, int accumulate) {
  vf acc[MR][2];
  UNROLL for (int i = 0; i < m; i++)
    UNROLL for (int v = 0; v < nv; v++) acc[i][v] = (vf){0};
  At at = {.a = a, .b = b};
  UNROLL for (int i = 0; i < m; i++) at.row[i] = a + i * a_step;
  for (W turns = kc / TURN; turns > 0; turns--) add_products(TURN, acc, m, nv, by_rows, &at, a_step, b_step);
  for (W rest = kc % TURN; rest > 0; rest--) add_products(1, acc, m, nv, by_rows, &at, a_step, b_step);
  W last = n - (nv - 1) * VW; // columns of the last vector
  if (VW < 16 && last < VW) { // where the ISA has no masks, through memory
    float sums[MR][NR];
    UNROLL for (int i = 0; i < m; i++)
      UNROLL for (int v = 0; v < nv; v++) v_store(sums[i] + v * VW, acc[i][v]);
    for (W i = 0; i < m; i++, c += c_step)
      for (W j = 0; j < n; j++) c[j] = accumulate ? c[j] + sums[i][j] : sums[i][j];
    return;
  }
  UNROLL for (int i = m - 1; i >= 0; i--) { // downwards: V8 takes the rows of its loop in the reverse order of the uses behind it
    UNROLL for (int v = nv - 1; v >= 0; v--) {
      float *p = c + i * c_step + v * VW;
      if (VW < 16 || v < nv - 1 || last == VW) v_store(p, accumulate ? v_load(p) + acc[i][v] : acc[i][v]);
      else v_store_n(p, accumulate ? v_load_n(p, last) + acc[i][v] : acc[i][v], last);
    }
  }
}

#define WHOLE_ARGUMENTS W kc, const float *a, W a_step, const float *b, W b_step, float *c, W c_step, int accumulate
#define RAGGED_ARGUMENTS W n, WHOLE_ARGUMENTS
#define STRIPS_ARGUMENTS W n, W kc, const float *a, W a_step, const float *b, W b_step, W b_next, float *c, W c_step, int accumulate
#define NOINLINE static __attribute__((noinline))
// Whole and ragged tiles in functions of their own: V8 keeps the sums in registers where there is nothing else.
#define VARIANT(m, by_rows) \
  NOINLINE void whole_##m##_##by_rows(WHOLE_ARGUMENTS) { tile(m, 2, by_rows, NR, kc, a, a_step, b, b_step, c, c_step, accumulate); } \
  NOINLINE void ragged_##m##_##by_rows(RAGGED_ARGUMENTS) { \
    if (n > VW) tile(m, 2, by_rows, n, kc, a, a_step, b, b_step, c, c_step, accumulate); \
    else tile(m, 1, by_rows, n, kc, a, a_step, b, b_step, c, c_step, accumulate); \
  } \
  static void strips_##m##_##by_rows(STRIPS_ARGUMENTS) { \
    for (; n >= NR; n -= NR, b += b_next, c += NR) whole_##m##_##by_rows(kc, a, a_step, b, b_step, c, c_step, accumulate); \
    if (n > 0) ragged_##m##_##by_rows(n, kc, a, a_step, b, b_step, c, c_step, accumulate); \
  }
#define VARIANTS(m) VARIANT(m, 0) VARIANT(m, 1)
#define ENTRY(m, by_rows) strips_##m##_##by_rows,
#define UP_TO_4(X, ...) X(1, ##__VA_ARGS__) X(2, ##__VA_ARGS__) X(3, ##__VA_ARGS__) X(4, ##__VA_ARGS__)
#define UP_TO_5(X, ...) UP_TO_4(X, ##__VA_ARGS__) X(5, ##__VA_ARGS__)
#define UP_TO_6(X, ...) UP_TO_5(X, ##__VA_ARGS__) X(6, ##__VA_ARGS__)
#define UP_TO_8(X, ...) UP_TO_6(X, ##__VA_ARGS__) X(7, ##__VA_ARGS__) X(8, ##__VA_ARGS__)
#define UP_TO_12(X, ...) UP_TO_8(X, ##__VA_ARGS__) X(9, ##__VA_ARGS__) X(10, ##__VA_ARGS__) X(11, ##__VA_ARGS__) X(12, ##__VA_ARGS__)
#define PASTE(a, b) a##b
#define UP_TO_MR_(mr, ...) PASTE(UP_TO_, mr)(__VA_ARGS__)
#define UP_TO_MR(...) UP_TO_MR_(MR, __VA_ARGS__)

UP_TO_MR(VARIANTS)
typedef void Variant(STRIPS_ARGUMENTS);
static Variant *const columns[MR] = {UP_TO_MR(ENTRY, 0)};
static Variant *const rows[MR] = {UP_TO_MR(ENTRY, 1)};

void strips_columns(W m, W n, W kc, const float *a, W a_step, const float *b, W b_step, W b_next, float *c, W c_step, int accumulate) {
  columns[m - 1](n, kc, a, a_step, b, b_step, b_next, c, c_step, accumulate);
}
void strips_rows(W m, W n, W kc, const float *a, W a_step, const float *b, W b_step, W b_next, float *c, W c_step, int accumulate) {
  rows[m - 1](n, kc, a, a_step, b, b_step, b_next, c, c_step, accumulate);
}

// ---- Packing
// `count` <= VW elements from element i.
INLINE vf load_lanes(const void *src, W dtype, W i, W count) {
  if (count == VW) return v_load_real(src, dtype, i);
  if (dtype == F32) {
    const float *p = (const float *)src + i;
    return count == MR % VW ? v_load_n(p, MR % VW) : v_load_n(p, count); // a constant length saves a call of memcpy
  }
  vf x = {0};
  for (W lane = 0; lane < count; lane++) x[lane] = load_real(src, dtype, i + lane);
  return x;
}

// Lines that lie side by side are copied for so many panels and so many k at a time: what they bring into the cache is used at once.
#define PANELS 4
#define CHUNK 32

// A row of a panel, `count` elements of it from src, the others 0.
INLINE void copy_row(float *row, int width, const void *src, W dtype, W at, W count) {
  const int whole = width / VW * VW;
  for (int w = 0; w < whole; w += VW) v_store(row + w, load_lanes(src, dtype, at + w, MAX(0, MIN(VW, count - w))));
  if (whole < width) v_store_n(row + whole, load_lanes(src, dtype, at + whole, MAX(0, count - whole)), width - whole);
}

INLINE void pack_typed(float *panels, int width, const void *src, W dtype, W line_step, W k_step, W lines, W kc) {
  if (line_step == 1) {
    for (W begin = 0, end; begin < kc; begin = end) {
      end = MIN(kc, begin + CHUNK);
      W line = 0;
      for (; line + PANELS * width <= lines; line += PANELS * width)
        for (W k = begin; k < end; k++)
          for (int p = 0; p < PANELS; p++)
            copy_row(panels + (line + p * width) * kc + k * width, width, src, dtype, k * k_step + line + p * width, width);
      for (; line < lines; line += width)
        for (W k = begin; k < end; k++)
          copy_row(panels + line * kc + k * width, width, src, dtype, k * k_step + line, MIN(width, lines - line));
    }
    return;
  }
  for (W first = 0; first < lines; first += width) {
    float *panel = panels + first * kc;
    W count = MIN(width, lines - first), k = 0;
    if (k_step == 1) { // a line lies along k: transpose squares
      for (; k + VW <= kc; k += VW)
        for (W w = (width - 1) / VW * VW; w >= 0; w -= VW) { // downwards: a square that sticks out is written over by the next row
          vf square[VW];
          UNROLL for (int i = 0; i < VW; i++)
            square[i] = w + i < count ? v_load_real(src, dtype, (first + w + i) * line_step + k) : (vf){0};
          v_transpose(square);
          UNROLL for (int i = 0; i < VW; i++) v_store(panel + (k + i) * width + w, square[i]);
        }
    }
    for (; k < kc; k++)
      for (W w = 0; w < width; w++) panel[k * width + w] = w < count ? load_real(src, dtype, (first + w) * line_step + k * k_step) : 0;
  }
}

// The width is a constant at every call.
#define PACK(type) \
  static void pack_##type(float *panels, int width, const void *src, W line_step, W k_step, W lines, W kc) { \
    if (width == NR) pack_typed(panels, NR, src, type, line_step, k_step, lines, kc); \
    else pack_typed(panels, MR, src, type, line_step, k_step, lines, kc); \
  }
PACK(F32)
PACK(BF16)
PACK(F16)

void pack_panels(float *panels, int width, const void *src, W dtype, W line_step, W k_step, W lines, W kc) {
  (dtype == F32 ? pack_F32 : dtype == BF16 ? pack_BF16 : pack_F16)(panels, width, src, line_step, k_step, lines, kc);
}
