#include "microkernel.h"

// m and nv (vectors per row) are constants at every call: each pair becomes straight-line code over registers.
INLINE void tile(int m, int nv, int by_rows, W n, W kc, const float *a, W a_step, const float *b, W b_step, float *c,
                 W c_step, int accumulate) {
  vf acc[MR][2];
  UNROLL for (int i = 0; i < m; i++)
    UNROLL for (int v = 0; v < nv; v++) acc[i][v] = (vf){0};
  for (W k = 0; k < kc; k++) {
    vf bv[2];
    UNROLL for (int v = 0; v < nv; v++) bv[v] = v_load(b + v * VW);
    UNROLL for (int i = 0; i < m; i++) {
      vf x = v_splat(by_rows ? a[i * a_step] : a[i]);
      UNROLL for (int v = 0; v < nv; v++) acc[i][v] = v_fma(x, bv[v], acc[i][v]);
    }
    a += by_rows ? 1 : a_step;
    b += b_step;
  }
  W last = n - (nv - 1) * VW; // columns of the last vector
  UNROLL for (int i = 0; i < m; i++, c += c_step) {
    UNROLL for (int v = 0; v < nv; v++) {
      float *p = c + v * VW;
      if (v < nv - 1 || last == VW) v_store(p, accumulate ? v_load(p) + acc[i][v] : acc[i][v]);
      else v_store_n(p, accumulate ? v_load_n(p, last) + acc[i][v] : acc[i][v], last);
    }
  }
}

#define ARGUMENTS W n, W kc, const float *a, W a_step, const float *b, W b_step, float *c, W c_step, int accumulate
#define VARIANT(m, nv, by_rows) \
  static void tile_##m##_##nv##_##by_rows(ARGUMENTS) { tile(m, nv, by_rows, n, kc, a, a_step, b, b_step, c, c_step, accumulate); }
#define VARIANTS(m) VARIANT(m, 1, 0) VARIANT(m, 2, 0) VARIANT(m, 1, 1) VARIANT(m, 2, 1)
#define ENTRIES(m, by_rows) {tile_##m##_1_##by_rows, tile_##m##_2_##by_rows},
#define UP_TO_4(X, ...) X(1, ##__VA_ARGS__) X(2, ##__VA_ARGS__) X(3, ##__VA_ARGS__) X(4, ##__VA_ARGS__)
#define UP_TO_5(X, ...) UP_TO_4(X, ##__VA_ARGS__) X(5, ##__VA_ARGS__)
#define UP_TO_6(X, ...) UP_TO_5(X, ##__VA_ARGS__) X(6, ##__VA_ARGS__)
#define UP_TO_8(X, ...) UP_TO_6(X, ##__VA_ARGS__) X(7, ##__VA_ARGS__) X(8, ##__VA_ARGS__)
#define UP_TO_12(X, ...) UP_TO_8(X, ##__VA_ARGS__) X(9, ##__VA_ARGS__) X(10, ##__VA_ARGS__) X(11, ##__VA_ARGS__) X(12, ##__VA_ARGS__)
#define PASTE(a, b) a##b
#define UP_TO_MR_(mr, ...) PASTE(UP_TO_, mr)(__VA_ARGS__)
#define UP_TO_MR(...) UP_TO_MR_(MR, __VA_ARGS__)

UP_TO_MR(VARIANTS)
typedef void Variant(ARGUMENTS);
static Variant *const columns[MR][2] = {UP_TO_MR(ENTRIES, 0)};
static Variant *const rows[MR][2] = {UP_TO_MR(ENTRIES, 1)};

void tile_columns(W m, W n, W kc, const float *a, W a_step, const float *b, W b_step, float *c, W c_step, int accumulate) {
  columns[m - 1][n > VW](n, kc, a, a_step, b, b_step, c, c_step, accumulate);
}
void tile_rows(W m, W n, W kc, const float *a, W a_step, const float *b, W b_step, float *c, W c_step, int accumulate) {
  rows[m - 1][n > VW](n, kc, a, a_step, b, b_step, c, c_step, accumulate);
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

INLINE void pack_typed(float *panel, int width, const void *src, W dtype, W line_step, W k_step, W count, W kc) {
  if (line_step == 1) { // the lines lie side by side: copy
    for (W k = 0; k < kc; k++)
      for (W w = 0; w < width; w += VW)
        v_store(panel + k * width + w, load_lanes(src, dtype, k * k_step + w, MAX(0, MIN(VW, count - w))));
    return;
  }
  W k = 0;
  if (k_step == 1) { // each line lies along k: transpose squares
    for (; k + VW <= kc; k += VW)
      for (W w = (width - 1) / VW * VW; w >= 0; w -= VW) { // downwards: see below
        vf square[VW];
        UNROLL for (int i = 0; i < VW; i++)
          square[i] = w + i < count ? v_load_real(src, dtype, (w + i) * line_step + k) : (vf){0};
        v_transpose(square);
        UNROLL for (int i = 0; i < VW; i++) v_store(panel + (k + i) * width + w, square[i]);
      }
  }
  for (; k < kc; k++)
    for (W w = 0; w < width; w++) panel[k * width + w] = w < count ? load_real(src, dtype, w * line_step + k * k_step) : 0;
}

// Where width is no multiple of VW the store of a row's end runs into the row of element k + 1, which is written after it.
void pack_panel(float *panel, int width, const void *src, W dtype, W line_step, W k_step, W count, W kc) {
  if (dtype == F32 && width == NR) pack_typed(panel, NR, src, F32, line_step, k_step, count, kc);
  else if (dtype == F32) pack_typed(panel, width, src, F32, line_step, k_step, count, kc);
  else if (dtype == BF16) pack_typed(panel, width, src, BF16, line_step, k_step, count, kc);
  else pack_typed(panel, width, src, F16, line_step, k_step, count, kc);
}
