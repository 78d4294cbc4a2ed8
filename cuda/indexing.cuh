// Gathers, scatters, orders, scans and windows. x is [O, A, N]; bad indices are counted in *bad.
template <class I> __device__ inline long long checked(const I *index, u64 at, u64 A, u32 *bad) {
  long long i = load(index[at]);
  if (i < 0 || i >= (long long)A) { atomicAdd(bad, 1u); return -1; }
  return i;
}
// A thread a pack of W neighbours; N is their number in a row.
template <int W, class U, class T, class I> __device__ inline void take(const T *x, const I *index, T *out, u32 *bad, U O, U A, U N, U J) {
  using Pack = pack<T, W, W * sizeof(T)>;
  U t = blockIdx.x * (U)256 + threadIdx.x, row = N / W;
  if (t >= O * J * row) return;
  U n = t % row, j = t / row % J, o = t / row / J;
  long long i = load(index[j]);
  bool in = i >= 0 && i < (long long)A;
  if (!in && n == 0 && o == 0) atomicAdd(bad, 1u);
  Pack p = {};
  if (in) p = *(const Pack *)(x + ((u64)(o * A + i) * N + n * W));
  *(Pack *)(out + (u64)t * W) = p;
}
template <class T, class I> __device__ inline void take_along(const T *x, const I *index, T *out, u32 *bad, u64 O, u64 A, u64 N, u64 J) {
  u64 t = blockIdx.x * 256ull + threadIdx.x;
  if (t >= O * J * N) return;
  long long i = checked(index, t, A, bad);
  T zero = {};
  out[t] = i >= 0 ? x[(t / N / J * A + i) * N + t % N] : zero;
}
// Entries [at, at + J) of the axis of `out` become those of y.
template <class T, class I> __device__ inline void update_at(const T *y, const I *at, T *out, u32 *bad, u64 O, u64 A, u64 N, u64 J) {
  u64 t = blockIdx.x * 256ull + threadIdx.x;
  if (t >= O * J * N) return;
  long long start = load(*at);
  if (start >= 0 && start + J <= A) out[(t / N / J * A + start + t / N % J) * N + t % N] = y[t];
  else if (t == 0) atomicAdd(bad, 1u);
}
template <class T, class I> __device__ inline void scatter_along(const T *dy, const I *index, T *out, u32 *bad, u64 O, u64 A, u64 N, u64 J) {
  u64 t = blockIdx.x * 256ull + threadIdx.x; // one thread a line of the axis: additions in order
  if (t >= O * N) return;
  u64 n = t % N, o = t / N;
  for (u64 a = 0; a < A; a++) store(out[(o * A + a) * N + n], 0.f);
  for (u64 j = 0; j < J; j++) {
    long long i = checked(index, (o * J + j) * N + n, A, bad);
    if (i >= 0) { T &to = out[(o * A + i) * N + n]; store(to, load(to) + load(dy[(o * J + j) * N + n])); }
  }
}
struct Window { int B, C, H, W, kh, kw, sh, sw, ph, pw, dh, dw, oh, ow; };
template <class T> __device__ inline void unfold(const T *x, T *out, Window w) {
  u64 t = blockIdx.x * 256ull + threadIdx.x;
  if (t >= (u64)w.B * w.C * w.kh * w.kw * w.oh * w.ow) return;
  u64 rest = t;
  int ox = rest % w.ow; rest /= w.ow;
  int oy = rest % w.oh; rest /= w.oh;
  int kx = rest % w.kw; rest /= w.kw;
  int ky = rest % w.kh; rest /= w.kh;
  int y = oy * w.sh - w.ph + ky * w.dh, col = ox * w.sw - w.pw + kx * w.dw;
  T zero = {};
  out[t] = y >= 0 && y < w.H && col >= 0 && col < w.W ? x[(rest * w.H + y) * w.W + col] : zero;
}
// Each pixel gathers from the windows that cover it: no races.
template <class T> __device__ inline void fold(const T *x, T *out, Window w) {
  u64 t = blockIdx.x * 256ull + threadIdx.x;
  if (t >= (u64)w.B * w.C * w.H * w.W) return;
  int col = t % w.W, y = t / w.W % w.H;
  u64 bc = t / w.W / w.H;
  float sum = 0;
  for (int ky = 0; ky < w.kh; ky++)
    for (int kx = 0; kx < w.kw; kx++) {
      int py = y + w.ph - ky * w.dh, px = col + w.pw - kx * w.dw;
      if (py < 0 || px < 0 || py % w.sh || px % w.sw || py / w.sh >= w.oh || px / w.sw >= w.ow) continue;
      sum += load(x[((bc * w.kh + ky) * w.kw + kx) * w.oh * w.ow + (u64)(py / w.sh) * w.ow + px / w.sw]);
    }
  store(out[t], sum);
}
