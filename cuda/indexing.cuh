// Gathers, scatters, orders, scans and windows. x is [O, A, N]; bad indices are counted in *bad.
template <class I> __device__ inline long long checked(const I *index, u64 at, u64 A, u32 *bad) {
  long long i = load(index[at]);
  if (i < 0 || i >= (long long)A) { atomicAdd(bad, 1u); return -1; }
  return i;
}
template <class T, class I> __device__ inline void take(const T *x, const I *index, T *out, u32 *bad, u64 O, u64 A, u64 N, u64 J) {
  u64 t = blockIdx.x * 256ull + threadIdx.x;
  if (t >= O * J * N) return;
  u64 n = t % N, j = t / N % J, o = t / N / J;
  long long i = load(index[j]);
  bool in = i >= 0 && i < (long long)A;
  if (!in && n == 0 && o == 0) atomicAdd(bad, 1u);
  T zero = {};
  out[t] = in ? x[(o * A + i) * N + n] : zero;
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
// A block owns 64 rows of the result: it zeroes them, then walks all indices in order and adds the rows that are its own. Fixed
// order, no atomics. Grid (ceil(A / 64), O).
template <class T, class I> __device__ inline void scatter_add(const T *dy, const I *index, T *out, u32 *bad, u64 A, u64 N, u64 J) {
  __shared__ u32 mine[256];
  __shared__ u32 warp_count[8];
  u64 first = blockIdx.x * 64ull, last = min(A, first + 64), o = blockIdx.y;
  for (u64 t = threadIdx.x; t < (last - first) * N; t += 256) store(out[(o * A + first) * N + t], 0.f);
  for (u64 base = 0; base < J; base += 256) {
    u64 j = base + threadIdx.x;
    long long i = j < J ? load(index[j]) : -1;
    if (j < J && (i < 0 || i >= (long long)A) && blockIdx.x == 0 && o == 0) atomicAdd(bad, 1u);
    bool own = j < J && i >= (long long)first && i < (long long)last;
    u32 votes = __ballot_sync(~0u, own);
    if (threadIdx.x % 32 == 0) warp_count[threadIdx.x / 32] = __popc(votes);
    __syncthreads();
    u32 before = 0, total = 0;
    for (u32 w = 0; w < 8; w++) { if (w < threadIdx.x / 32) before += warp_count[w]; total += warp_count[w]; }
    if (own) mine[before + __popc(votes & ((1u << threadIdx.x % 32) - 1))] = threadIdx.x;
    __syncthreads();
    for (u32 k = 0; k < total; k++) {
      u64 from = base + mine[k];
      long long to = load(index[from]);
      for (u64 n = threadIdx.x; n < N; n += 256) { T &x = out[(o * A + to) * N + n]; store(x, load(x) + load(dy[(o * J + from) * N + n])); }
    }
    __syncthreads();
  }
}

// One pass of a stable merge sort over rows of D: runs of `run` become runs of 2 x run. from = nullptr: the identity order.
// Each element finds its place by a binary search in the sibling run.
template <class T> __device__ inline bool goes_before(T a, T b, bool descending, bool ties) {
  bool na = a != a, nb = b != b;
  if (na || nb) return na == nb ? ties : nb;
  return a == b ? ties : descending ? a > b : a < b;
}
template <class T> __device__ inline void merge_pass(const T *x, const int *from, int *to, u64 R, u64 D, u64 run, bool descending) {
  u64 t = blockIdx.x * 256ull + threadIdx.x;
  if (t >= R * D) return;
  u64 r = t / D, i = t % D, pair = i / (2 * run) * (2 * run);
  bool left = i < pair + run;
  u64 lo = left ? min(D, pair + run) : pair, hi = left ? min(D, pair + 2 * run) : min(D, pair + run), start = lo;
  int self = from ? from[t] : (int)i;
  auto value = load(x[r * D + self]);
  while (lo < hi) { // how many of the sibling run go before this element
    u64 mid = (lo + hi) / 2;
    int other = from ? from[r * D + mid] : (int)mid;
    if (goes_before(load(x[r * D + other]), value, descending, !left)) lo = mid + 1;
    else hi = mid;
  }
  to[r * D + pair + (i - (left ? pair : pair + run)) + (lo - start)] = self;
}
template <class T> __device__ inline void cumsum(const T *x, T *out, u64 O, u64 A, u64 N) {
  if (N == 1) { // a warp a row
    u64 o = (blockIdx.x * 256ull + threadIdx.x) / 32, lane = threadIdx.x % 32;
    if (o >= O) return;
    auto carry = load(x[o * A]) * 0;
    for (u64 base = 0; base < A; base += 32) {
      auto v = base + lane < A ? load(x[o * A + base + lane]) : carry * 0;
      for (int d = 1; d < 32; d *= 2) { auto u = __shfl_up_sync(~0u, v, d); if (lane >= d) v += u; }
      v += carry;
      if (base + lane < A) store(out[o * A + base + lane], v);
      carry = __shfl_sync(~0u, v, 31);
    }
    return;
  }
  u64 t = blockIdx.x * 256ull + threadIdx.x;
  if (t >= O * N) return;
  u64 o = t / N, n = t % N;
  auto sum = load(x[o * A * N + n]) * 0;
  for (u64 a = 0; a < A; a++) sum += load(x[(o * A + a) * N + n]), store(out[(o * A + a) * N + n], sum);
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
