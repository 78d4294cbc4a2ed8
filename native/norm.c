// LayerNorm (Ba et al. 2016, arXiv 1607.06450) and RMSNorm (Zhang and Sennrich 2019, arXiv 1910.07467) over rows, and their gradients.
#include "row.h"

static void *optional(char *const *base, Ref ref) { return ref.slot < 0 ? 0 : PTR(base, ref); }
INLINE float rsqrt_of(float x) { return 1.0f / __builtin_sqrtf(x); }

// Mean and variance in two passes: the squares are those of the deviations, so nothing cancels.
INLINE void norm_rows(const NormArgs *a, char *const *base, W lo, W hi, W dtype) {
  const float *gamma = optional(base, a->gamma), *beta = optional(base, a->beta);
  float *means = optional(base, a->mean), *rstds = PTR(base, a->rstd);
  W D = a->D;
  for (W r = lo; r < hi; r++) {
    const char *x = (const char *)PTR(base, a->x) + r * D * dtype_size(dtype);
    char *y = (char *)PTR(base, a->y) + r * D * dtype_size(dtype);
    float mean = 0, squares = 0;
    if (!a->rms) {
      EACH_PIECE(D) {
        vf sum[LANES] = {0};
        OVER_ROW(first, end, sum[u] += row_load(x, dtype, i, n));
        mean += lanes_sum(sum);
      }
      mean /= (float)D;
    }
    EACH_PIECE(D) {
      vf sum[LANES] = {0};
      OVER_ROW(first, end, vf d = first_lanes(row_load(x, dtype, i, n) - mean, n, 0); sum[u] = v_fma(d, d, sum[u]));
      squares += lanes_sum(sum);
    }
    float rstd = rsqrt_of(squares / (float)D + (float)a->eps);
    if (gamma && beta)
      OVER_ROW(0, D, vf h = (row_load(x, dtype, i, n) - mean) * rstd;
               row_store(y, dtype, i, n, v_fma(h, row_load(gamma, F32, i, n), row_load(beta, F32, i, n))));
    else
      OVER_ROW(0, D, vf h = (row_load(x, dtype, i, n) - mean) * rstd;
               if (gamma) h *= row_load(gamma, F32, i, n);
               if (beta) h += row_load(beta, F32, i, n);
               row_store(y, dtype, i, n, h));
    if (means) means[r] = mean;
    rstds[r] = rstd;
  }
}

ROW_KERNEL(k_norm, norm_rows, NormArgs)

// With h = (x - mean) rstd and e = dy gamma:  dx = rstd (e - mean(e) - h mean(e h)), dgamma = sum dy h, dbeta = sum dy.
// For the RMS norm mean and mean(e) are absent.
INLINE void norm_grad_rows(const NormGradArgs *a, char *const *base, W lo, W hi, W dtype) {
  W D = a->D, part = lo / a->rowsPerPart;
  const float *gamma = optional(base, a->gamma), *means = optional(base, a->mean), *rstds = PTR(base, a->rstd);
  float *dgamma = optional(base, a->dgamma), *dbeta = optional(base, a->dbeta);
  if (dgamma) memset(dgamma += part * D, 0, (size_t)D * 4);
  if (dbeta) memset(dbeta += part * D, 0, (size_t)D * 4);
  for (W r = lo; r < hi; r++) {
    W at = r * D * dtype_size(dtype);
    const char *dy = (const char *)PTR(base, a->dy) + at, *x = (const char *)PTR(base, a->x) + at;
    char *dx = (char *)PTR(base, a->dx) + at;
    float mean = a->rms ? 0 : means[r], rstd = rstds[r];
#define H (first_lanes((row_load(x, dtype, i, n) - mean) * rstd, n, 0))
    float mean_e = 0, mean_eh = 0;
    EACH_PIECE(D) {
      vf sum_e[LANES] = {0}, sum_eh[LANES] = {0};
      OVER_ROW(first, end, vf g = row_load(dy, dtype, i, n), h = H, e = g;
               if (gamma) e *= row_load(gamma, F32, i, n);
               sum_e[u] += e, sum_eh[u] = v_fma(e, h, sum_eh[u]);
               if (dgamma) row_store(dgamma, F32, i, n, v_fma(g, h, row_load(dgamma, F32, i, n)));
               if (dbeta) row_store(dbeta, F32, i, n, g + row_load(dbeta, F32, i, n)));
      mean_e += lanes_sum(sum_e), mean_eh += lanes_sum(sum_eh);
    }
    mean_e = a->rms ? 0 : mean_e / (float)D, mean_eh /= (float)D;
    OVER_ROW(0, D, vf e = row_load(dy, dtype, i, n), h = H;
             if (gamma) e *= row_load(gamma, F32, i, n);
             row_store(dx, dtype, i, n, (e - mean_e - h * mean_eh) * rstd));
#undef H
  }
}

ROW_KERNEL(k_norm_grad, norm_grad_rows, NormGradArgs)
