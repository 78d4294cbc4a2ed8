// What kernel files share: their prototypes and the access to f32 | bf16 | f16 data.
#ifndef THIMBLE_KERNELS_H
#define THIMBLE_KERNELS_H
#include "simd.h"
#include "thimble.h"

// Every kernel by name; the order is that of the K_* constants, which the dispatch table of runtime.c relies on.
#define KERNELS(X) \
  X(k_map) X(k_reduce) X(k_argreduce) X(k_gemm) X(k_norm) X(k_norm_grad) X(k_softmax) X(k_softmax_grad) X(k_xent) \
  X(k_xent_grad) X(k_attention) X(k_attention_grad) X(k_take) X(k_scatter_add) X(k_take_along) X(k_scatter_along) \
  X(k_argsort) X(k_cumsum) X(k_unfold) X(k_fold) X(k_update_at) X(k_linear_xent) X(k_linear_xent_grad)
#define PROTOTYPE(name) void name(const void *args, char *const *base, W lo, W hi, Scratch *scratch);
KERNELS(PROTOTYPE)
#undef PROTOTYPE

// Adds n to the count of bad indices that thimble_run returns; any thread may call it.
void count_bad_indices(W n);

// Bytes of one element.
INLINE W dtype_size(W dtype) {
  static const W size[NDTYPES] = {[F32] = 4, [BF16] = 2, [F16] = 2, [I32] = 4, [I64] = 8, [U8] = 1, [I8] = 1, [BOOL] = 1};
  return size[dtype];
}

// Element i of I32 | I64 data.
INLINE W index_at(const void *index, W type, W i) { return type == I64 ? ((const W *)index)[i] : ((const int32_t *)index)[i]; }

// Element i of f32 | bf16 | f16 data.
INLINE float load_real(const void *p, W dtype, W i) {
  if (dtype == F32) return ((const float *)p)[i];
  uint16_t h = ((const uint16_t *)p)[i];
  return dtype == BF16 ? bf16_to_f32(h) : f16_to_f32(h);
}
INLINE void store_real(void *p, W dtype, W i, float x) {
  if (dtype == F32) ((float *)p)[i] = x;
  else ((uint16_t *)p)[i] = dtype == BF16 ? f32_to_bf16(x) : f32_to_f16(x);
}

// Elements [i, i + VW).
INLINE vf v_load_real(const void *p, W dtype, W i) {
  if (dtype == F32) return v_load((const float *)p + i);
  return dtype == BF16 ? v_load_bf16((const uint16_t *)p + i) : v_load_f16((const uint16_t *)p + i);
}
INLINE void v_store_real(void *p, W dtype, W i, vf x) {
  if (dtype == F32) v_store((float *)p + i, x);
  else if (dtype == BF16) v_store_bf16((uint16_t *)p + i, x);
  else v_store_f16((uint16_t *)p + i, x);
}

static inline void copy_floats(float *restrict to, const float *restrict from, W n) {
#ifdef __wasm__
  if (n % VW == 0 && n <= 256) { // a copy is a call out of the module, which takes longer than this
    for (W i = 0; i < n; i += VW) {
      v_store(to + i, v_load(from + i));
      KEEP_ORDER; // or the compiler would make it a copy
    }
    return;
  }
#endif
  memcpy(to, from, (size_t)n * 4);
}

// Rows of n contiguous elements, converted.
static inline void load_row(float *restrict to, const void *restrict from, W dtype, W n) {
  if (dtype == F32) { copy_floats(to, from, n); return; }
  W i = 0;
  for (; i + VW <= n; i += VW) v_store(to + i, v_load_real(from, dtype, i));
  for (; i < n; i++) to[i] = load_real(from, dtype, i);
}
static inline void store_row(void *restrict to, W dtype, const float *restrict from, W n) {
  if (dtype == F32) { copy_floats(to, from, n); return; }
  W i = 0;
  for (; i + VW <= n; i += VW) v_store_real(to, dtype, i, v_load(from + i));
  for (; i < n; i++) store_real(to, dtype, i, from[i]);
}
#endif
