// Softmax and cross-entropy over rows, and their gradients.
#include "row.h"

// The largest element; NaN may be lost here, the exponentials show it.
INLINE float row_max(const char *x, W dtype, W D) {
  vf max[LANES];
  for (int u = 0; u < LANES; u++) max[u] = -V_INF;
  OVER_ROW(0, D, max[u] = v_max(max[u], first_lanes(row_load(x, dtype, i, n), n, -__builtin_inff())));
  return v_hmax(v_max(v_max(max[0], max[1]), v_max(max[2], max[3])));
}

// What is subtracted before exp: the maximum, or 0 where that is -inf and the differences would be NaN.
INLINE float row_shift(const char *x, W dtype, W D) {
  float max = row_max(x, dtype, D);
  return max == -__builtin_inff() ? 0 : max;
}

INLINE void softmax_rows(const SoftmaxArgs *a, char *const *base, W lo, W hi, W dtype) {
  W D = a->D;
  for (W r = lo; r < hi; r++) {
    const char *x = (const char *)PTR(base, a->x) + r * D * dtype_size(dtype);
    char *y = (char *)PTR(base, a->y) + r * D * dtype_size(dtype);
    float shift = row_shift(x, dtype, D);
    float total = 0;
    EACH_PIECE(D) {
      vf sum[LANES] = {0};
      OVER_ROW(first, end, vf e = v_exp_share(row_load(x, dtype, i, n) - shift);
               sum[u] += first_lanes(e, n, 0);
               if (dtype == F32) row_store(y, dtype, i, n, e));
      total += lanes_sum(sum);
    }
    float scale = total == 0 ? 0 : 1 / total;
    if (dtype == F32) OVER_ROW(0, D, row_store(y, dtype, i, n, row_load(y, dtype, i, n) * scale));
    else OVER_ROW(0, D, row_store(y, dtype, i, n, v_exp_share(row_load(x, dtype, i, n) - shift) * scale)); // not rounded to a half twice
  }
}

// dx = y (dy - sum(y dy))
INLINE void softmax_grad_rows(const SoftmaxGradArgs *a, char *const *base, W lo, W hi, W dtype) {
  W D = a->D;
  for (W r = lo; r < hi; r++) {
    W at = r * D * dtype_size(dtype);
    const char *dy = (const char *)PTR(base, a->dy) + at, *y = (const char *)PTR(base, a->y) + at;
    char *dx = (char *)PTR(base, a->dx) + at;
    float dot = 0;
    EACH_PIECE(D) {
      vf sum[LANES] = {0};
      OVER_ROW(first, end, sum[u] = v_fma(row_load(y, dtype, i, n), row_load(dy, dtype, i, n), sum[u]));
      dot += lanes_sum(sum);
    }
    OVER_ROW(0, D, row_store(dx, dtype, i, n, row_load(y, dtype, i, n) * (row_load(dy, dtype, i, n) - dot)));
  }
}

// -1 for a label that is to be ignored.
INLINE W label_of(const void *labels, W type, W r, W D) {
  W label = type == I64 ? ((const W *)labels)[r] : ((const int32_t *)labels)[r];
  return label >= 0 && label < D ? label : -1;
}

INLINE void xent_rows(const XentArgs *a, char *const *base, W lo, W hi, W dtype) {
  W D = a->D;
  float *loss = PTR(base, a->loss), *lse = PTR(base, a->lse);
  for (W r = lo; r < hi; r++) {
    const char *x = (const char *)PTR(base, a->logits) + r * D * dtype_size(dtype);
    W label = label_of(PTR(base, a->labels), a->labelType, r, D);
    float shift = row_shift(x, dtype, D);
    float total = 0;
    EACH_PIECE(D) {
      vf sum[LANES] = {0};
      OVER_ROW(first, end, sum[u] += first_lanes(v_exp_share(row_load(x, dtype, i, n) - shift), n, 0));
      total += lanes_sum(sum);
    }
    float log_sum = v_log(v_splat(total))[0];
    lse[r] = shift + log_sum;
    loss[r] = label < 0 ? 0 : log_sum - (load_real(x, dtype, label) - shift); // small beside large logits: do not add the shift first
  }
}

INLINE void xent_grad_rows(const XentGradArgs *a, char *const *base, W lo, W hi, W dtype) {
  W D = a->D;
  const float *lse = PTR(base, a->lse), *g = PTR(base, a->g);
  for (W r = lo; r < hi; r++) {
    W at = r * D * dtype_size(dtype), label = label_of(PTR(base, a->labels), a->labelType, r, D);
    const char *x = (const char *)PTR(base, a->logits) + at;
    char *dx = (char *)PTR(base, a->dlogits) + at;
    if (label < 0) { memset(dx, 0, (size_t)(D * dtype_size(dtype))); continue; }
    float l = lse[r], scale = g[r], hit = load_real(x, dtype, label); // dx may lie over x
    OVER_ROW(0, D, row_store(dx, dtype, i, n, v_exp_share(row_load(x, dtype, i, n) - l) * scale));
    store_real(dx, dtype, label, (v_exp_share(v_splat(hit - l))[0] - 1) * scale);
  }
}

ROW_KERNEL(k_softmax, softmax_rows, SoftmaxArgs)
ROW_KERNEL(k_softmax_grad, softmax_grad_rows, SoftmaxGradArgs)
ROW_KERNEL(k_xent, xent_rows, XentArgs)
ROW_KERNEL(k_xent_grad, xent_grad_rows, XentGradArgs)
