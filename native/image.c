// UNFOLD (im2col) and FOLD, its adjoint.
#include "kernels.h"

// The outputs whose input, o * stride - pad + k * dilation, lies in [lo, hi): first and last + 1.
typedef struct { W first, end, shift; } Span; // input = output * stride + shift
INLINE W ceil_div(W a, W b) { return a > 0 ? (a + b - 1) / b : -(-a / b); }
static Span span(W lo, W hi, W outputs, W stride, W pad, W tap) {
  Span s = {.shift = tap - pad};
  s.first = MIN(outputs, MAX(0, ceil_div(lo - s.shift, stride)));
  s.end = MAX(s.first, MIN(outputs, ceil_div(hi - s.shift, stride)));
  return s;
}

INLINE void copy_stride(char *to, const char *from, W step, W n, W size) {
  if (step == 1) memcpy(to, from, (size_t)(n * size));
  else if (size == 4) for (W i = 0; i < n; i++) memcpy(to + i * 4, from + i * step * 4, 4);
  else for (W i = 0; i < n; i++) memcpy(to + i * 2, from + i * step * 2, 2);
}

void k_unfold(const void *args, char *const *base, W lo, W hi, Scratch *scratch) {
  (void)scratch;
  const UnfoldArgs *u = args;
  W size = dtype_size(u->dtype), taps = u->kh * u->kw, pixels = u->oh * u->ow;
  for (W plane = lo; plane < hi; plane++) {
    const char *x = (const char *)PTR(base, u->x) + plane * u->H * u->Wd * size;
    char *out = (char *)PTR(base, u->out) + plane * taps * pixels * size;
    for (W tap = 0; tap < taps; tap++) {
      Span across = span(0, u->Wd, u->ow, u->sw, u->pw, tap % u->kw * u->dw);
      for (W oy = 0; oy < u->oh; oy++, out += u->ow * size) {
        W y = oy * u->sh - u->ph + tap / u->kw * u->dh;
        if (y < 0 || y >= u->H || across.first == across.end) { memset(out, 0, (size_t)(u->ow * size)); continue; }
        memset(out, 0, (size_t)(across.first * size));
        copy_stride(out + across.first * size, x + (y * u->Wd + across.first * u->sw + across.shift) * size, u->sw,
                    across.end - across.first, size);
        memset(out + across.end * size, 0, (size_t)((u->ow - across.end) * size));
      }
    }
  }
}

// A band of the image is summed in f32 over the taps that reach it, and rounded once; a whole plane where it fits in scratch.
void k_fold(const void *args, char *const *base, W lo, W hi, Scratch *scratch) {
  const UnfoldArgs *u = args;
  W size = dtype_size(u->dtype), taps = u->kh * u->kw, pixels = u->oh * u->ow;
  W width = MIN(u->Wd, SCRATCH_BYTES / 4), height = MIN(u->H, SCRATCH_BYTES / 4 / width);
  float *sum = (float *)scratch->bytes;
  for (W plane = lo; plane < hi; plane++) {
    const char *x = (const char *)PTR(base, u->x) + plane * taps * pixels * size;
    char *out = (char *)PTR(base, u->out) + plane * u->H * u->Wd * size;
    for (W top = 0; top < u->H; top += height)
      for (W left = 0; left < u->Wd; left += width) {
        W bottom = MIN(u->H, top + height), right = MIN(u->Wd, left + width), w = right - left;
        memset(sum, 0, (size_t)((bottom - top) * w) * 4);
        for (W tap = 0; tap < taps; tap++) {
          Span down = span(top, bottom, u->oh, u->sh, u->ph, tap / u->kw * u->dh);
          Span across = span(left, right, u->ow, u->sw, u->pw, tap % u->kw * u->dw);
          for (W oy = down.first; oy < down.end; oy++) {
            const char *row = x + (tap * pixels + oy * u->ow + across.first) * size;
            float *to = sum + (oy * u->sh + down.shift - top) * w + across.first * u->sw + across.shift - left;
            W n = across.end - across.first;
            if (u->sw == 1 && u->dtype == F32) for (W i = 0; i < n; i++) to[i] += ((const float *)row)[i];
            else for (W i = 0; i < n; i++) to[i * u->sw] += load_real(row, u->dtype, i);
          }
        }
        for (W y = top; y < bottom; y++) store_row(out + (y * u->Wd + left) * size, u->dtype, sum + (y - top) * w, w);
      }
  }
}
