// Functions that would wait for arithmetic, not for memory, as the compiler has them.

// erf(x) = x P(x^2) / Q(x^2), the best ratio of these degrees in relative error on [0, 3.92] and a trifle above 1 at its end, which is cut off there.
// Relative error below 5e-7, in half the instructions of erff.
__device__ inline float erf_ratio(float x) {
  const float p[] = {2.018223e-6f, 2.842402e-4f, 3.809583e-3f, 5.287501e-2f, 1.916424e-1f, 1.128379f};
  const float q[] = {3.773011e-5f, 1.170255e-3f, 1.505716e-2f, 1.145864e-1f, 5.031714e-1f, 1};
  float a = min_nan(fabsf(x), 3.92f), t = a * a, above = p[0], below = q[0], inverse;
  #pragma unroll
  for (int i = 1; i < 6; i++) above = fmaf(above, t, p[i]), below = fmaf(below, t, q[i]);
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(below));
  return copysignf(min_nan(a * above * inverse, 1.f), x);
}

__device__ inline float exp2_approx(float x) { float y; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }
// 1 + tanh(x) = 2 / (1 + e) with e = exp(-2 x), and 1 - tanh(x)^2 = e (1 + tanh(x))^2: no digits are lost beside the 1, where a GELU would wait for
// the arithmetic of tanhf, not for memory.
struct Logistic {
  float e, upper; // of |x|: exp(-2 |x|), 1 + tanh(|x|)
  __device__ Logistic(float x) : e(exp2_approx(fabsf(x) * -2.885390082f)) { asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(upper) : "f"(fmaf(0.5f, e, 0.5f))); }
};
__device__ inline float one_plus_tanh(float x) { Logistic l(x); return x < 0 ? l.e * l.upper : l.upper; }
__device__ inline float slope_of_tanh(float x) { Logistic l(x); return l.e * l.upper * l.upper; }
// 1 + erf(x) = erfc(-x). For a >= 0, erfc(a) = 2^(a p(a)), p the best polynomial of its degree on [0, 5.5] by the error of erfc, and by 3e-4 of it
// where that is more. Error below 4e-7; beyond -5.5 the result is 0 too soon.
__device__ inline float one_plus_erf(float x) {
  const float p[] = {-4.47018238e-6f, 5.94015473e-5f, -6.1689534e-5f, -3.38693499e-3f, 3.07447817e-2f, -1.49681926e-1f, -9.18157995e-1f, -1.62792623f};
  float a = fabsf(x), y = p[0];
  #pragma unroll
  for (int i = 1; i < 8; i++) y = fmaf(y, a, p[i]);
  y = exp2_approx(y * a);
  return x < 0 ? y : 2 - y;
}
