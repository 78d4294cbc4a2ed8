// Vectors of VW floats by compiler vector extensions, half precision, and what differs between ISAs. One source serves AVX-512,
// AVX2, SSE4.2, NEON and WebAssembly; only the operations that the compiler does not find by itself use intrinsics.
#ifndef THIMBLE_SIMD_H
#define THIMBLE_SIMD_H
#include <stdint.h>
#ifdef __wasm__
#include "wasm/libc.h"
#include <wasm_simd128.h>
#else
#include <string.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define VW 16
#elif defined(__AVX2__) && defined(__FMA__)
#define VW 8
#else
#define VW 4
#endif

typedef float vf __attribute__((vector_size(VW * 4)));
typedef int32_t vi __attribute__((vector_size(VW * 4))); // also the type of a comparison: 0 or -1 in each lane
typedef uint32_t vu __attribute__((vector_size(VW * 4)));
typedef float vf_any __attribute__((vector_size(VW * 4), aligned(1), may_alias));
typedef int32_t vi_any __attribute__((vector_size(VW * 4), aligned(1), may_alias));

#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 64")
#endif
#define INLINE static inline __attribute__((always_inline))
#ifdef __wasm__
#define KEEP_ORDER __asm__ volatile("" ::: "memory") // the compiler moves no load or store over it
#else
#define KEEP_ORDER
#endif
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

INLINE vf v_load(const float *p) { return *(const vf_any *)p; }
INLINE void v_store(float *p, vf x) { *(vf_any *)p = x; }
INLINE vi vi_load(const void *p) { return *(const vi_any *)p; }
INLINE void vi_store(void *p, vi x) { *(vi_any *)p = x; }
INLINE vf v_splat(float x) { return x - (vf){0}; } // x - 0 is x, for -0 too: the subtraction goes away
INLINE vi vi_splat(int32_t x) { return x - (vi){0}; }
INLINE vf v_select(vi mask, vf yes, vf no) { return (vf)(((vi)yes & mask) | ((vi)no & ~mask)); }

// a * b + c, fused where the ISA has it (contraction is on in the build flags).
INLINE vf v_fma(vf a, vf b, vf c) {
#if defined(__wasm_relaxed_simd__)
  return (vf)__builtin_wasm_relaxed_madd_f32x4((v128_t)a, (v128_t)b, (v128_t)c);
#else
  return a * b + c;
#endif
}

// The larger (smaller) of each lane; where one is NaN the result is b on x86 and WebAssembly, NaN on ARM: mask NaN where it matters.
INLINE vf v_max(vf a, vf b) {
#if VW == 16
  return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif VW == 8
  return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__x86_64__)
  return (vf)_mm_max_ps((__m128)a, (__m128)b);
#elif defined(__aarch64__)
  return (vf)vmaxq_f32((float32x4_t)a, (float32x4_t)b);
#elif defined(__wasm__)
  return (vf)wasm_f32x4_pmax((v128_t)b, (v128_t)a); // one instruction on x86, where f32x4.max takes eight
#else
  return v_select(a > b, a, b);
#endif
}
INLINE vf v_min(vf a, vf b) {
#if VW == 16
  return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#elif VW == 8
  return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#elif defined(__x86_64__)
  return (vf)_mm_min_ps((__m128)a, (__m128)b);
#elif defined(__aarch64__)
  return (vf)vminq_f32((float32x4_t)a, (float32x4_t)b);
#elif defined(__wasm__)
  return (vf)wasm_f32x4_pmin((v128_t)b, (v128_t)a);
#else
  return v_select(a < b, a, b);
#endif
}

// The first n lanes (0 <= n <= VW), nothing beyond them is touched; the other lanes load as 0.
INLINE vf v_load_n(const float *p, int64_t n) {
#if VW == 16
  return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif VW == 4 // no call of memcpy
  float lane[VW] = {0};
  if (n & 4) return v_load(p);
  if (n & 2) memcpy(lane, p, 8);
  if (n & 1) lane[n & 2] = p[n & 2];
  return v_load(lane);
#else
  vf x = {0};
  memcpy(&x, p, (size_t)n * sizeof(float));
  return x;
#endif
}
INLINE void v_store_n(float *p, vf x, int64_t n) {
#if VW == 16
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)x);
#elif VW == 4
  float lane[VW];
  v_store(lane, x);
  if (n & 4) memcpy(p, lane, 16);
  if (n & 2) memcpy(p, lane, 8);
  if (n & 1) p[n & 2] = lane[n & 2];
#else
  memcpy(p, &x, (size_t)n * sizeof(float));
#endif
}

// Shuffles by constant indices, as __builtin_shufflevector, which gcc has only since version 12.
#ifdef __clang__
#define V_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define V_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (vi){__VA_ARGS__})
#endif

// r becomes its transpose: each round interleaves the halves of the list.
INLINE void v_transpose(vf r[VW]) {
  UNROLL for (int n = 1; n < VW; n *= 2) {
    vf t[VW];
    UNROLL for (int i = 0; i < VW / 2; i++) {
      vf a = r[i], b = r[i + VW / 2];
#if VW == 16
      t[2 * i] = V_SHUFFLE(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      t[2 * i + 1] = V_SHUFFLE(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#elif VW == 8
      t[2 * i] = V_SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
      t[2 * i + 1] = V_SHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#else
      t[2 * i] = V_SHUFFLE(a, b, 0, 4, 1, 5);
      t[2 * i + 1] = V_SHUFFLE(a, b, 2, 6, 3, 7);
#endif
    }
    UNROLL for (int i = 0; i < VW; i++) r[i] = t[i];
  }
}

// Lane i gets lane i ^ distance; every reduction below is this butterfly, in one order on one ISA.
#if VW == 16
#define V_SWAP_8(x) V_SHUFFLE(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)
#define V_SWAP_4(x) V_SHUFFLE(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11)
#define V_SWAP_2(x) V_SHUFFLE(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)
#define V_SWAP_1(x) V_SHUFFLE(x, x, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14)
#elif VW == 8
#define V_SWAP_4(x) V_SHUFFLE(x, x, 4, 5, 6, 7, 0, 1, 2, 3)
#define V_SWAP_2(x) V_SHUFFLE(x, x, 2, 3, 0, 1, 6, 7, 4, 5)
#define V_SWAP_1(x) V_SHUFFLE(x, x, 1, 0, 3, 2, 5, 4, 7, 6)
#else
#define V_SWAP_2(x) V_SHUFFLE(x, x, 2, 3, 0, 1)
#define V_SWAP_1(x) V_SHUFFLE(x, x, 1, 0, 3, 2)
#endif

INLINE float v_sum(vf x) {
#if VW >= 16
  x += V_SWAP_8(x);
#endif
#if VW >= 8
  x += V_SWAP_4(x);
#endif
  x += V_SWAP_2(x);
  x += V_SWAP_1(x);
  return x[0];
}
INLINE float v_hmax(vf x) {
#if VW >= 16
  x = v_max(x, V_SWAP_8(x));
#endif
#if VW >= 8
  x = v_max(x, V_SWAP_4(x));
#endif
  x = v_max(x, V_SWAP_2(x));
  x = v_max(x, V_SWAP_1(x));
  return x[0];
}

// ---- Bits and half precision. Conversions to a half round to nearest even; NaN stays NaN.
INLINE uint32_t f32_bits(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }
INLINE float bits_f32(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }

INLINE float bf16_to_f32(uint16_t h) { return bits_f32((uint32_t)h << 16); }
INLINE uint16_t f32_to_bf16(float x) {
  uint32_t u = f32_bits(x), rounded = (u + 0x7fff + (u >> 16 & 1)) >> 16, nan = u >> 16 | 0x40;
  return (uint16_t)((u & 0x7fffffff) > 0x7f800000 ? nan : rounded);
}

INLINE float f16_to_f32(uint16_t h) {
#if defined(__F16C__)
  return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(h)));
#elif defined(__aarch64__)
  _Float16 x;
  memcpy(&x, &h, 2);
  return (float)x;
#else
  uint32_t sign = (uint32_t)(h & 0x8000) << 16, u = h & 0x7fff;
  if (u < 0x400) return bits_f32(sign | f32_bits((float)(int32_t)u * 0x1p-24f)); // zero and subnormals
  return bits_f32(sign | (u >= 0x7c00 ? (u << 13) + (224u << 23) : (u << 13) + (112u << 23)));
#endif
}
INLINE uint16_t f32_to_f16(float x) {
#if defined(__F16C__)
  return (uint16_t)_mm_extract_epi16(_mm_cvtps_ph(_mm_set_ss(x), 0), 0);
#elif defined(__aarch64__)
  _Float16 y = (_Float16)x;
  uint16_t h;
  memcpy(&h, &y, 2);
  return h;
#else
  uint32_t u = f32_bits(x), sign = u >> 16 & 0x8000;
  u &= 0x7fffffff;
  if (u > 0x7f800000) return (uint16_t)(sign | 0x7e00);
  if (u >= 0x477ff000) return (uint16_t)(sign | 0x7c00); // 65520 and more rounds to infinity
  if (u < 0x38800000) return (uint16_t)(sign | (f32_bits(bits_f32(u) + 0.5f) - 0x3f000000)); // the adder rounds at 2^-24
  return (uint16_t)(sign | (u + 0xfff + (u >> 13 & 1) - (112u << 23)) >> 13);
#endif
}

INLINE vf v_load_bf16(const uint16_t *p) {
#if VW == 16
  return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)p)), 16);
#elif VW == 8
  return (vf)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)p)), 16);
#else
  vf x;
  for (int i = 0; i < VW; i++) x[i] = bf16_to_f32(p[i]);
  return x;
#endif
}
INLINE vf v_load_f16(const uint16_t *p) {
#if VW == 16
  return (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
#elif VW == 8
  return (vf)_mm256_cvtph_ps(_mm_loadu_si128((const void *)p));
#else
  vf x;
  for (int i = 0; i < VW; i++) x[i] = f16_to_f32(p[i]);
  return x;
#endif
}
INLINE void v_store_bf16(uint16_t *p, vf x) {
#if VW == 16
  vu u = (vu)x;
  vi nan = x != x;
  u = (u + 0x7fff + (u >> 16 & 1)) >> 16;
  u = (u & ~(vu)nan) | (((vu)x >> 16 | 0x40) & (vu)nan);
  _mm256_storeu_si256((void *)p, _mm512_cvtepi32_epi16((__m512i)u));
#else
  for (int i = 0; i < VW; i++) p[i] = f32_to_bf16(x[i]);
#endif
}
INLINE void v_store_f16(uint16_t *p, vf x) {
#if VW == 16
  _mm256_storeu_si256((void *)p, _mm512_cvtps_ph((__m512)x, 0));
#elif VW == 8
  _mm_storeu_si128((void *)p, _mm256_cvtps_ph((__m256)x, 0));
#else
  for (int i = 0; i < VW; i++) p[i] = f32_to_f16(x[i]);
#endif
}

// The nearest number of the half type, as f32.
INLINE vf v_round_bf16(vf x) {
  uint16_t half[VW];
  v_store_bf16(half, x);
  return v_load_bf16(half);
}
INLINE vf v_round_f16(vf x) {
  uint16_t half[VW];
  v_store_f16(half, x);
  return v_load_f16(half);
}
#endif
