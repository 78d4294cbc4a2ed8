// One pass over a row of f32 | bf16 | f16, in vectors. `dtype` is a constant in the functions that use this: ROW_KERNEL makes an
// instance for each.
#ifndef THIMBLE_ROW_H
#define THIMBLE_ROW_H
#include "kernels.h"
#include "vmath.h"

#define LANES 4    // independent accumulators that a pass keeps: the latency of an addition is hidden
#define PIECE 4096 // elements that are summed in these before they are added up: the error grows slowly

// Runs the statements for each vector of elements [first, end): elements [i, i + n), n = VW except for a shorter last one, with
// accumulator u < LANES.
#define OVER_ROW(first, end, ...) do { \
    W i = first; \
    while (i + LANES * VW <= (end)) { AT_LANE(0, __VA_ARGS__) AT_LANE(1, __VA_ARGS__) AT_LANE(2, __VA_ARGS__) AT_LANE(3, __VA_ARGS__) } \
    while (i + VW <= (end)) AT_LANE(0, __VA_ARGS__) \
    if (i < (end)) { enum { u = 0 }; W n = (end) - i; __VA_ARGS__; } \
  } while (0)
#define AT_LANE(lane, ...) { enum { n = VW, u = lane }; __VA_ARGS__; i += VW; }
#define EACH_PIECE(D) for (W first = 0, end; end = MIN(D, first + PIECE), first < (D); first = end)

// Elements [i, i + n); lanes beyond them are 0 | untouched.
INLINE vf row_load(const void *p, W dtype, W i, W n) {
  if (n == VW) return v_load_real(p, dtype, i);
  if (dtype == F32) return v_load_n((const float *)p + i, n);
  uint16_t half[VW] = {0};
  memcpy(half, (const uint16_t *)p + i, (size_t)n * 2);
  return v_load_real(half, dtype, 0);
}
INLINE void row_store(void *p, W dtype, W i, W n, vf x) {
  if (n == VW) { v_store_real(p, dtype, i, x); return; }
  if (dtype == F32) { v_store_n((float *)p + i, x, n); return; }
  uint16_t half[VW];
  v_store_real(half, dtype, 0, x);
  memcpy((uint16_t *)p + i, half, (size_t)n * 2);
}

// x in the first n lanes, `fill` in the others.
INLINE vf first_lanes(vf x, W n, float fill) {
  static const int32_t lane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return n == VW ? x : v_select(vi_load(lane) < (int32_t)n, x, v_splat(fill));
}

INLINE float lanes_sum(const vf *acc) { return v_sum((acc[0] + acc[1]) + (acc[2] + acc[3])); }

// The kernel `name`: the rows [lo, hi) by the inline function `rows`, instantiated for each dtype.
#define ROW_KERNEL(name, rows, Args) \
  static void rows##_f32(const Args *a, char *const *base, W lo, W hi) { rows(a, base, lo, hi, F32); } \
  static void rows##_bf16(const Args *a, char *const *base, W lo, W hi) { rows(a, base, lo, hi, BF16); } \
  static void rows##_f16(const Args *a, char *const *base, W lo, W hi) { rows(a, base, lo, hi, F16); } \
  void name(const void *args, char *const *base, W lo, W hi, Scratch *scratch) { \
    (void)scratch; \
    W dtype = ((const Args *)args)->dtype; \
    (dtype == F32 ? rows##_f32 : dtype == BF16 ? rows##_bf16 : rows##_f16)(args, base, lo, hi); \
  }
#endif
