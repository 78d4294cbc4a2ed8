// Elementary functions of vectors of f32. NaN and infinities behave as in C. The polynomials are minimax fits of our own; the
// rounding of multiply-adds differs between ISAs (fused or not), and with it the last bit.
//
// Largest error in ulp against a float64 reference, subnormals included, fused or not: exp 1.0, log 0.9, tanh 1.5, erf 2.0,
// sin and cos 1.6 for any finite argument, pow 0.6, sqrt 0.5, rsqrt 1.5.
#ifndef THIMBLE_VMATH_H
#define THIMBLE_VMATH_H
#include "simd.h"

typedef double vd __attribute__((vector_size(VW * 4))); // VW / 2 lanes
typedef uint64_t vq __attribute__((vector_size(VW * 4)));
typedef float vf_half __attribute__((vector_size(VW * 2)));

// Adding 1.5 * 2^23 rounds to an integer, which is then also in the low bits of the sum.
#define ROUND_MAGIC 0x1.8p23f
#define ROUND_MAGIC_BITS 0x4b400000
#define V_INF v_splat(__builtin_inff())

INLINE vf v_abs(vf x) { return (vf)((vi)x & 0x7fffffff); }
INLINE vf v_copysign(vf size, vf sign) { return (vf)(((vi)size & 0x7fffffff) | ((vi)sign & INT32_MIN)); }
INLINE vi v_is_nan(vf x) { return x != x; }

INLINE int v_any(vi mask) {
#if VW == 16
  return _mm512_movepi32_mask((__m512i)mask) != 0;
#elif VW == 8
  return _mm256_movemask_ps((__m256)mask) != 0;
#elif defined(__x86_64__)
  return _mm_movemask_ps((__m128)mask) != 0;
#elif defined(__aarch64__)
  return vmaxvq_u32((uint32x4_t)mask) != 0;
#elif defined(__wasm__)
  return wasm_v128_any_true((v128_t)mask);
#else
  return (mask[0] | mask[1] | mask[2] | mask[3]) != 0;
#endif
}

INLINE vf v_sqrt(vf x) {
#if VW == 16
  return (vf)_mm512_sqrt_ps((__m512)x);
#elif VW == 8
  return (vf)_mm256_sqrt_ps((__m256)x);
#elif defined(__x86_64__)
  return (vf)_mm_sqrt_ps((__m128)x);
#elif defined(__aarch64__)
  return (vf)vsqrtq_f32((float32x4_t)x);
#elif defined(__wasm__)
  return (vf)wasm_f32x4_sqrt((v128_t)x);
#else
  for (int i = 0; i < VW; i++) x[i] = __builtin_sqrtf(x[i]);
  return x;
#endif
}
INLINE vf v_rsqrt(vf x) { return 1.0f / v_sqrt(x); }

INLINE vf v_floor(vf x) {
#if VW == 16
  return (vf)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEG_INF);
#elif VW == 8
  return (vf)_mm256_floor_ps((__m256)x);
#elif defined(__SSE4_1__)
  return (vf)_mm_floor_ps((__m128)x);
#elif defined(__aarch64__)
  return (vf)vrndmq_f32((float32x4_t)x);
#elif defined(__wasm__)
  return (vf)wasm_f32x4_floor((v128_t)x);
#else
  for (int i = 0; i < VW; i++) x[i] = __builtin_floorf(x[i]);
  return x;
#endif
}

// NaN where either is NaN.
INLINE vf v_max_nan(vf a, vf b) { return v_select(v_is_nan(a), a, v_max(a, b)); }
INLINE vf v_min_nan(vf a, vf b) { return v_select(v_is_nan(a), a, v_min(a, b)); }

// p * 2^n for an integer n in [-252, 254], rounded once.
INLINE vf v_scale(vf p, vi n) {
#if VW == 16
  return (vf)_mm512_scalef_ps((__m512)p, (__m512)__builtin_convertvector(n, vf));
#else
  vi half = n >> 1;
  return p * (vf)((half + 127) << 23) * (vf)((n - half + 127) << 23);
#endif
}

// exp(n ln2 + r), |r| <= ln2 / 2, ln2 in two parts of which the first times n is exact; returns exp(r) and the bits of n + ROUND_MAGIC.
INLINE vf exp_parts(vf x, vf *magic) {
  vf t = v_fma(x, v_splat(0x1.715476p0f), v_splat(ROUND_MAGIC)), n = t - ROUND_MAGIC;
  vf r = v_fma(n, v_splat(-0x1.62e4p-1f), x);
  r = v_fma(n, v_splat(-0x1.7f7d1cp-20f), r);
  vf p = v_fma(v_splat(1.3814596e-3f), r, v_splat(8.3687171e-3f));
  p = v_fma(p, r, v_splat(4.16683881e-2f));
  p = v_fma(p, r, v_splat(0.1666652063f));
  p = v_fma(p, r, v_splat(0.4999999345f));
  *magic = t;
  return v_fma(p, r * r, r) + 1.0f;
}

INLINE vf v_exp(vf x) {
  vf t, p = exp_parts(v_min(v_splat(89.0f), v_max(v_splat(-104.0f), x)), &t); // beyond these it is infinity and zero; NaN passes
#if VW == 16
  return (vf)_mm512_scalef_ps((__m512)p, (__m512)(t - ROUND_MAGIC));
#else
  return v_scale(p, (vi)t - ROUND_MAGIC_BITS);
#endif
}

// exp of x in [-87, 88], whose result is a normal number; NaN passes.
INLINE vf exp_normal(vf x) {
  vf t, p = exp_parts(x, &t);
  return p * (vf)(((vi)t - ROUND_MAGIC_BITS + 127) << 23);
}

// exp of x <= 0, or little more, as a softmax needs it: 0 for what is under exp(-87). A result below the normal numbers would cost
// x86 more than a hundred cycles, and every hidden score, exp(-inf), would be one.
INLINE vf v_exp_share(vf x) {
  return v_select(x < -87.0f, v_splat(0.0f), exp_normal(v_min(v_splat(88.0f), v_max(v_splat(-87.0f), x))));
}

// x = 2^e m with m in [sqrt(1/2), sqrt(2)); log x = e ln2 + log1p(m - 1).
INLINE vf v_log(vf x) {
  vi small = x < 0x1p-126f;
  vi bits = (vi)v_select(small, x * 0x1p25f, x) - 0x3f3504f3; // the bits of sqrt(1/2)
  vf e = __builtin_convertvector((bits >> 23) - (small & 25), vf);
  vf f = (vf)((bits & 0x7fffff) + 0x3f3504f3) - 1.0f, f2 = f * f;
  vf p = v_fma(v_splat(-0.0763442991f), f, v_splat(0.1276155036f));
  p = v_fma(p, f, v_splat(-0.1316019505f));
  p = v_fma(p, f, v_splat(0.1420176247f));
  p = v_fma(p, f, v_splat(-0.1662335648f));
  p = v_fma(p, f, v_splat(0.2000122667f));
  p = v_fma(p, f, v_splat(-0.2500082106f));
  p = v_fma(p, f, v_splat(0.3333333171f));
  vf y = v_fma(p * f, f2, e * 0x1.7f7d1cp-20f);
  y = v_fma(f2, v_splat(-0.5f), y) + f;
  y = v_fma(e, v_splat(0x1.62e4p-1f), y);
  y = v_select(x < 0.0f, v_splat(__builtin_nanf("")), y);
  y = v_select(x == 0.0f, -V_INF, y);
  return v_select((x == V_INF) | v_is_nan(x), x, y);
}

INLINE vf v_tanh(vf x) {
  vf a = v_abs(x), s = x * x;
  vf p = v_fma(v_splat(-6.28246673e-3f), s, v_splat(2.10777534e-2f));
  p = v_fma(p, s, v_splat(-5.385385664e-2f));
  p = v_fma(p, s, v_splat(0.13332601672f));
  p = v_fma(p, s, v_splat(-0.33333318045f));
  vf small = v_fma(p, s * x, x), large = 1.0f - 2.0f / (exp_normal(v_min(v_splat(88.0f), a + a)) + 1.0f);
  return v_select(a < 0.55f, small, v_copysign(large, x));
}

// 1 - exp(-q(|x|)), where q = -log erfc is nearly a parabola. As -expm1(-q) it keeps its relative accuracy near zero.
INLINE vf v_erf(vf x) {
  vf a = v_min(v_splat(4.0f), v_abs(x)), a2 = a * a; // beyond it the result rounds to 1; NaN passes
  vf odd = v_fma(v_splat(1.1764111113e-4f), a2, v_splat(1.66702628548e-3f)); // powers of both kinds apart: half the latency
  vf even = v_fma(v_splat(-9.256248125e-6f), a2, v_splat(-6.3283625105e-4f));
  odd = v_fma(odd, a2, v_splat(-1.915306465229781e-2f));
  even = v_fma(even, a2, v_splat(-1.603948006827e-4f));
  odd = v_fma(odd, a2, v_splat(0.6366193819359923f));
  even = v_fma(even, a2, v_splat(0.1027778307362239f));
  even = v_fma(even, a2, v_splat(0.1283791676124751f));
  vf q = v_fma(v_fma(odd, a, even), a, a);
  // q = n ln2 + r with 0 <= n <= 26, and p = -expm1(-r)
  vf t = v_fma(q, v_splat(-0x1.715476p0f), v_splat(ROUND_MAGIC)), n = ROUND_MAGIC - t;
  vf r = v_fma(n, v_splat(-0x1.62e43p-1f), q);
  vf p = v_fma(v_splat(-1.3814596e-3f), r, v_splat(8.3687171e-3f));
  p = v_fma(p, r, v_splat(-4.16683881e-2f));
  p = v_fma(p, r, v_splat(0.1666652063f));
  p = v_fma(p, r, v_splat(-0.4999999345f));
  p = v_fma(p, r * r, r);
  vf power = (vf)(((vi)t - ROUND_MAGIC_BITS + 127) << 23);
  return (vf)((vi)v_fma(p, power, 1.0f - power) | ((vi)x & INT32_MIN));
}

// r = |x| - n pi/2 and n mod 4 for any finite |x| >= 2^12: x is a 24-bit integer times a power of two, so that the 96 bits of
// 2/pi which decide are known (Payne and Hanek 1983).
static inline float trig_reduce_large(float x, int32_t *quadrant) {
  static const uint32_t two_over_pi[8] = {0, 0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0, 0xdb629599, 0x3c439041, 0xfe5163ab};
  uint32_t u = f32_bits(x) & 0x7fffffff;
  uint64_t m = (u & 0x7fffff) | 0x800000, word[3];
  int bit = (int)(u >> 23) - 120;
  if (u >= 0x7f800000) return *quadrant = 0, __builtin_nanf("");
  for (int i = 0; i < 3; i++) {
    const uint32_t *w = two_over_pi + (bit >> 5) + i;
    word[i] = ((uint64_t)w[0] << 32 | w[1]) << (bit & 31) >> 32;
  }
  uint64_t low = m * word[2], mid = m * word[1] + (low >> 32), high = m * word[0] + (mid >> 32);
  uint64_t turns = high << 32 | (mid & 0xffffffff); // quarter turns, 2 bits before the point
  *quadrant = (int32_t)((turns + (1ull << 61)) >> 62);
  return (float)((double)(int64_t)(turns << 2) * (0x1.921fb54442d18p0 * 0x1p-64));
}

// sin for shift = 0, cos for shift = 1.
INLINE vf v_trig(vf x, int shift) {
  vf a = v_abs(x), t = v_fma(a, v_splat(0x1.45f306p-1f), v_splat(ROUND_MAGIC)), n = t - ROUND_MAGIC;
  vi quadrant = (vi)t; // its low bits
  vf r = v_fma(n, v_splat(-0x1.92p0f), a); // pi/2 in five parts; the first four have 11 bits: exact products for n < 2^13
  r = v_fma(n, v_splat(-0x1.fb4p-12f), r);
  vf r3 = v_fma(n, v_splat(-0x1.444p-24f), r);
  vf rest = v_fma(n, v_splat(-0x1.444p-24f), r - r3); // what the rounding of r3 lost
  rest = v_fma(n, v_splat(-0x1.68cp-39f), rest);
  r = r3 + v_fma(n, v_splat(-0x1.1a6264p-54f), rest);
  vi large = a > 12000.0f;
  if (__builtin_expect(v_any(large), 0)) {
    float lane[VW], angle[VW];
    int32_t turn[VW];
    v_store(lane, a), v_store(angle, r), vi_store(turn, quadrant);
    for (int i = 0; i < VW; i++)
      if (lane[i] > 12000.0f) angle[i] = trig_reduce_large(lane[i], turn + i);
    r = v_load(angle), quadrant = vi_load(turn);
  }
  vf s = r * r;
  vf sine = v_fma(v_splat(-1.951665e-4f), s, v_splat(8.3321735e-3f));
  sine = v_fma(sine, s, v_splat(-0.1666665487f));
  sine = v_fma(sine, s * r, r);
  vf cosine = v_fma(v_splat(2.4437728181e-5f), s, v_splat(-1.3887361431e-3f));
  cosine = v_fma(cosine, s, v_splat(4.1666646747e-2f));
  cosine = v_fma(cosine, s * s, v_fma(s, v_splat(-0.5f), v_splat(1.0f)));
  quadrant += shift;
  vi sign = (quadrant & 2) << 30;
  if (!shift) sign ^= (vi)x & INT32_MIN;
  return (vf)((vi)v_select((quadrant & 1) != 0, cosine, sine) ^ sign);
}
INLINE vf v_sin(vf x) { return v_trig(x, 0); }
INLINE vf v_cos(vf x) { return v_trig(x, 1); }

// 2^(y log2 x) in f64 for x > 0 and finite: the error of log2 is magnified by up to 128.
INLINE vf_half pow_positive(vf_half xf, vf_half yf) {
  vd x = __builtin_convertvector(xf, vd), y = __builtin_convertvector(yf, vd);
  const uint64_t sqrt_half = 0x3fe6a09e667f3bcd;
  vq bits = (vq)x - sqrt_half + (1023ull << 52); // biased, so that the exponent stays positive
  vd e = (vd)((bits >> 52) | 0x4330000000000000) - (0x1p52 + 1023);
  vd m = (vd)((bits & 0xfffffffffffff) + sqrt_half), s = (m - 1.0) / (m + 1.0), s2 = s * s;
  vd log2 = s * (2.8853900817779268 + s2 * (0.9617966939259756 + s2 * (0.5770780163555854 + s2 * (0.4121985831111324 +
            s2 * (0.3205988979753252 + s2 * (0.2623081892525388 + s2 * 0.2219530832136867)))))) + e; // 2 / (k ln2)
  vd t = y * log2, low = (vd){0} - 160.0, high = (vd){0} + 160.0;
  vq under = (vq)(t < low), over = (vq)(t > high);
  t = (vd)(((vq)t & ~(under | over)) | ((vq)low & under) | ((vq)high & over));
  vd magic = t + 0x1.8p52, f = (t - (magic - 0x1.8p52)) * 0.6931471805599453;
  vd p = 1.0 + f * (1.0 + f * (0.5 + f * (1.0 / 6 + f * (1.0 / 24 + f * (1.0 / 120 + f * (1.0 / 720 + f / 5040.0))))));
  return __builtin_convertvector((vd)((vq)p + ((vq)magic << 52)), vf_half);
}

INLINE vf v_pow(vf x, vf y) {
  vf a = v_abs(x), r, zero = {0};
  vf_half ah[2], yh[2], rh[2];
  memcpy(ah, &a, sizeof a), memcpy(yh, &y, sizeof y);
  for (int i = 0; i < 2; i++) rh[i] = pow_positive(ah[i], yh[i]);
  memcpy(&r, rh, sizeof r);
  vi y_zero = y == zero, y_inf = v_abs(y) == V_INF, negative = y < zero;
  vi whole = v_floor(y) == y;
  vi odd = whole & (v_abs(y) < 0x1p24f) & (v_floor(y * 0.5f) * 2.0f != y);
  // |x| = 0 or infinity, or y infinite: 0 or infinity by whether y (or log |x|) is negative.
  r = v_select(a == zero, v_select(negative, V_INF, zero), r);
  r = v_select(a == V_INF, v_select(negative, zero, V_INF), r);
  r = v_select(y_inf, v_select((a > 1.0f) ^ negative, V_INF, zero), r);
  r = (vf)((vi)r ^ ((vi)x & INT32_MIN & odd));
  r = v_select((x < zero) & (a < V_INF) & ~whole, v_splat(__builtin_nanf("")), r);
  r = v_select(v_is_nan(x) | v_is_nan(y), x + y, r);
  return v_select(y_zero | (x == 1.0f) | (y_inf & (a == 1.0f)), v_splat(1.0f), r);
}
#endif
