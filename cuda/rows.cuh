// Norms, softmax and cross-entropy over rows of D elements, D known when a kernel is made. Rows that fit are read once and held in registers,
// a warp or a block a row; the rest is walked again.

// A row over G threads: each holds N packs of W neighbours, pack n of thread `lane` at (n * G + lane) * W.
template <class T, int D, int G> struct Row {
  static constexpr int W = pack_width(D, sizeof(T)), N = (D + G * W - 1) / (G * W);
  using Pack = pack<T, W, W * sizeof(T)>;
  Pack p[N];
  static __device__ int lane() { return threadIdx.x % G; }
  static __device__ int at(int n) { return (n * G + lane()) * W; }
  static __device__ bool has(int n) { return D % (G * W) == 0 || at(n) < D; }
  __device__ void read(const T *x) {
    #pragma unroll
    for (int n = 0; n < N; n++) if (has(n)) p[n] = *(const Pack *)(x + at(n));
  }
  // f(index, value) for all elements of this thread
  template <class F> __device__ void each(F f) const {
    #pragma unroll
    for (int n = 0; n < N; n++) if (has(n)) {
      #pragma unroll
      for (int k = 0; k < W; k++) f(at(n) + k, load(p[n].x[k]));
    }
  }
  // to[i] = f(n * W + k, i, value)
  template <class F> __device__ void write(T *to, F f) const {
    #pragma unroll
    for (int n = 0; n < N; n++) if (has(n)) {
      float r[W];
      #pragma unroll
      for (int k = 0; k < W; k++) r[k] = f(n * W + k, at(n) + k, load(p[n].x[k]));
      put<W * sizeof(T)>(to + at(n), r);
    }
  }
};
// The f32 parameters of a pack of W elements; the same number for all where there are none.
template <int W> struct Parameters {
  float x[W];
  __device__ void read(const float *from, int at, float otherwise) {
    pack<float, W, (W < 4 ? W : 4) * 4> p;
    if (from) p = *(const decltype(p) *)(from + at);
    #pragma unroll
    for (int k = 0; k < W; k++) x[k] = from ? p.x[k] : otherwise;
  }
};

// The joined state of the G threads of a row, in each of them.
template <class P, int G> __device__ inline P share(P p) {
  if constexpr (G == 32) {
    #pragma unroll
    for (int delta = 16; delta; delta >>= 1) p.join(shuffle(p, delta));
    return broadcast(p);
  } else return share_block<P, G>(p);
}
template <int G> __device__ inline float share_sum(float x) {
  Sum<float> s;
  s.x = x;
  return share<Sum<float>, G>(s).x;
}

// M rows for each group of threads, so that gamma and beta are read once for all of them.
template <int D, int G, int M, class T> __device__ inline void norm(const T *x, const float *gamma, const float *beta, T *y, float *mean, float *rstd, u64 R, float eps, bool rms) {
  using In = Row<T, D, G>;
  u64 first = (blockIdx.x * (256ull / G) + threadIdx.x / G) * M;
  if (first >= R) return;
  In row[M];
  float m[M], k[M];
  #pragma unroll
  for (int i = 0; i < M; i++) row[i].read(x + min(first + i, R - 1) * D);
  #pragma unroll
  for (int i = 0; i < M; i++) {
    float s = 0, q = 0;
    if (!rms) row[i].each([&](int, float v) { s += v; });
    m[i] = rms ? 0 : share_sum<G>(s) / D;
    row[i].each([&](int, float v) { q += (v - m[i]) * (v - m[i]); });
    k[i] = rsqrtf(share_sum<G>(q) / D + eps);
  }
  #pragma unroll
  for (int n = 0; n < In::N; n++) if (In::has(n)) {
    Parameters<In::W> g, b;
    g.read(gamma, In::at(n), 1), b.read(beta, In::at(n), 0);
    #pragma unroll
    for (int i = 0; i < M; i++) if (first + i < R) {
      float r[In::W];
      #pragma unroll
      for (int j = 0; j < In::W; j++) r[j] = (load(row[i].p[n].x[j]) - m[i]) * k[i] * g.x[j] + b.x[j];
      put<In::W * sizeof(T)>(y + (first + i) * D + In::at(n), r);
    }
  }
  #pragma unroll
  for (int i = 0; i < M; i++) if (In::lane() == 0 && first + i < R) { if (mean) mean[first + i] = m[i]; rstd[first + i] = k[i]; }
}

// A block takes rowsPerPart rows: their dx, and its own part of the sums that dgamma and dbeta [parts, D] are.
template <int D, int G, class T> __device__ inline void norm_grad(const T *dy, const T *x, const float *gamma, const float *mean, const float *rstd, T *dx, float *dgamma, float *dbeta, u64 R, u64 rowsPerPart, bool rms) {
  using In = Row<T, D, G>;
  constexpr int M = In::N * In::W, groups = 256 / G;
  u64 end = min(R, (blockIdx.x + 1) * rowsPerPart);
  float sg[M] = {}, sb[M] = {};
  for (u64 r = blockIdx.x * rowsPerPart + threadIdx.x / G; r < end; r += groups) {
    In a, v;
    a.read(dy + r * D), v.read(x + r * D);
    float g[M], m = rms ? 0 : mean[r], k = rstd[r], p = 0, q = 0;
    #pragma unroll
    for (int n = 0; n < In::N; n++) if (In::has(n)) {
      Parameters<In::W> own;
      own.read(gamma, In::at(n), 1);
      #pragma unroll
      for (int j = 0; j < In::W; j++) g[n * In::W + j] = own.x[j];
    }
    #pragma unroll
    for (int j = 0; j < M; j++) if (In::has(j / In::W)) {
      float d = load(a.p[j / In::W].x[j % In::W]), hat = (load(v.p[j / In::W].x[j % In::W]) - m) * k;
      if (dgamma) sg[j] += d * hat;
      if (dbeta) sb[j] += d;
      d *= g[j];
      p += d, q += d * hat;
    }
    p = rms ? 0 : share_sum<G>(p) / D;
    q = share_sum<G>(q) / D;
    a.write(dx + r * D, [&](int j, int, float d) { return k * (d * g[j] - p - (load(v.p[j / In::W].x[j % In::W]) - m) * k * q); });
  }
  __shared__ float parts[groups][D];
  for (int which = 0; which < 2; which++) {
    float *to = which ? dbeta : dgamma;
    if (!to) continue;
    __syncthreads();
    #pragma unroll
    for (int j = 0; j < M; j++) if (In::has(j / In::W)) parts[threadIdx.x / G][In::at(j / In::W) + j % In::W] = which ? sb[j] : sg[j];
    __syncthreads();
    for (int i = threadIdx.x; i < D; i += 256) {
      float sum = parts[0][i];
      #pragma unroll
      for (int w = 1; w < groups; w++) sum += parts[w][i];
      to[(u64)blockIdx.x * D + i] = sum;
    }
  }
}

// max and sum(exp(x - max)) of what a thread saw; nothing, or only -inf, counts as max 0. The fast exponential (2 ulp near 0,
// 25 at -20) keeps the kernels at the speed of memory.
struct Lse {
  float top = __int_as_float(0xff800000), sum = 0;
  static __device__ float finite(float top) { return top == __int_as_float(0xff800000) ? 0 : top; }
  __device__ void raise(float to) { if (!(to <= top)) sum *= expf(top - finite(to)), top = to; }
  __device__ void add(const float *x, u32 n) {
    float most = x[0];
    #pragma unroll
    for (u32 k = 1; k < n; k++) most = max_nan(most, x[k]);
    raise(most);
    float m = finite(top);
    #pragma unroll
    for (u32 k = 0; k < n; k++) sum += __expf(x[k] - m);
  }
  __device__ void join(Lse later) {
    float to = max_nan(top, later.top);
    raise(to), later.raise(to);
    sum += later.sum;
  }
};
// A row of any alignment by a block of B threads: f(first index, values, their number), W of them from the first whole line of memory on, one at
// the edges.
template <int B, class T, class F> __device__ inline void walk(const T *x, u32 D, F f) {
  constexpr u32 W = 16 / sizeof(T), LINE = 128;
  u32 head = min(D, (u32)((LINE - (u64)x % LINE) % LINE / sizeof(T))), packs = (D - head) / W;
  if (threadIdx.x < head) { float v = load(x[threadIdx.x]); f(threadIdx.x, &v, 1); }
  #pragma unroll 2
  for (u32 n = threadIdx.x; n < packs; n += B) {
    pack<T, W, 16> p = *(const pack<T, W, 16> *)(x + head + n * W);
    float v[W];
    #pragma unroll
    for (u32 k = 0; k < W; k++) v[k] = load(p.x[k]);
    f(head + n * W, v, W);
  }
  u32 last = head + packs * W + threadIdx.x;
  if (last < D) { float v = load(x[last]); f(last, &v, 1); }
}
// n results to a place that is aligned as the row that was walked, or not at all.
template <class T> __device__ inline void put_walked(T *to, const float (&r)[16 / sizeof(T)], u32 n) {
  if (n > 1 && ((u64)to & 15) == 0) { put<16>(to, r); return; }
  #pragma unroll
  for (u32 k = 0; k < n; k++) store(to[k], r[k]);
}

template <int D, int G, class T> __device__ inline void softmax(const T *x, T *y, u64 R) {
  u64 r = blockIdx.x * (256ull / G) + threadIdx.x / G;
  if (r >= R) return;
  Row<T, D, G> row;
  row.read(x + r * D);
  Max<float> most;
  row.each([&](int i, float v) { most.add(v, i); });
  float top = Lse::finite(share<Max<float>, G>(most).x), e[Row<T, D, G>::N * Row<T, D, G>::W], sum = 0;
  #pragma unroll
  for (int j = 0; j < Row<T, D, G>::N * Row<T, D, G>::W; j++)
    if (Row<T, D, G>::has(j / Row<T, D, G>::W)) sum += e[j] = expf(load(row.p[j / Row<T, D, G>::W].x[j % Row<T, D, G>::W]) - top);
  sum = share_sum<G>(sum);
  float k = sum > 0 || sum != sum ? 1 / sum : 0;
  row.write(y + r * D, [&](int j, int, float) { return e[j] * k; });
}
template <int D, int G, class T> __device__ inline void softmax_grad(const T *dy, const T *y, T *dx, u64 R) {
  u64 r = blockIdx.x * (256ull / G) + threadIdx.x / G;
  if (r >= R) return;
  using In = Row<T, D, G>;
  In d, p;
  d.read(dy + r * D), p.read(y + r * D);
  float dot = 0;
  #pragma unroll
  for (int j = 0; j < In::N * In::W; j++) if (In::has(j / In::W)) dot += load(d.p[j / In::W].x[j % In::W]) * load(p.p[j / In::W].x[j % In::W]);
  dot = share_sum<G>(dot);
  d.write(dx + r * D, [&](int j, int, float v) { return load(p.p[j / In::W].x[j % In::W]) * (v - dot); });
}

// Rows too long for registers: a block of 256 threads a row.
template <class T> __device__ inline void norm_long(const T *x, const float *gamma, const float *beta, T *y, float *mean, float *rstd, u32 D, float eps, bool rms) {
  u64 r = blockIdx.x;
  x += r * D, y += r * D;
  float s = 0, q = 0;
  if (!rms) walk<256>(x, D, [&](u32, const float *v, u32 n) { for (u32 k = 0; k < n; k++) s += v[k]; });
  float m = rms ? 0 : share_sum<256>(s) / D;
  walk<256>(x, D, [&](u32, const float *v, u32 n) { for (u32 k = 0; k < n; k++) q += (v[k] - m) * (v[k] - m); });
  float k = rsqrtf(share_sum<256>(q) / D + eps);
  for (u32 i = threadIdx.x; i < D; i += 256) store(y[i], (load(x[i]) - m) * k * (gamma ? gamma[i] : 1) + (beta ? beta[i] : 0));
  if (threadIdx.x == 0) { if (mean) mean[r] = m; rstd[r] = k; }
}
template <class T> __device__ inline void norm_grad_x_long(const T *dy, const T *x, const float *gamma, const float *mean, const float *rstd, T *dx, u32 D, bool rms) {
  u64 r = blockIdx.x;
  dy += r * D, x += r * D, dx += r * D;
  float m = rms ? 0 : mean[r], k = rstd[r], a = 0, b = 0;
  for (u32 i = threadIdx.x; i < D; i += 256) {
    float d = load(dy[i]) * (gamma ? gamma[i] : 1.f);
    a += d, b += d * (load(x[i]) - m) * k;
  }
  float sa = rms ? 0 : share_sum<256>(a) / D, sb = share_sum<256>(b) / D;
  for (u32 i = threadIdx.x; i < D; i += 256) {
    float d = load(dy[i]) * (gamma ? gamma[i] : 1.f);
    store(dx[i], k * (d - sa - (load(x[i]) - m) * k * sb));
  }
}
// Partial sums over rowsPerPart rows: 32 columns by 8 rows of threads a block; grid (columns, parts).
template <class T> __device__ inline void norm_grad_parameters_long(const T *dy, const T *x, const float *mean, const float *rstd, float *dgamma, float *dbeta, u64 R, u64 D, u64 rowsPerPart, bool rms) {
  __shared__ float parts[2][8][33];
  u64 i = blockIdx.x * 32ull + threadIdx.x % 32, lane = threadIdx.x / 32, end = min(R, (blockIdx.y + 1) * rowsPerPart);
  float g = 0, b = 0;
  if (i < D) for (u64 r = blockIdx.y * rowsPerPart + lane; r < end; r += 8) {
    float d = load(dy[r * D + i]);
    g += d * (load(x[r * D + i]) - (rms ? 0 : mean[r])) * rstd[r], b += d;
  }
  parts[0][lane][threadIdx.x % 32] = g, parts[1][lane][threadIdx.x % 32] = b;
  __syncthreads();
  if (lane == 0 && i < D) {
    for (int w = 1; w < 8; w++) g += parts[0][w][threadIdx.x % 32], b += parts[1][w][threadIdx.x % 32];
    if (dgamma) dgamma[blockIdx.y * D + i] = g;
    if (dbeta) dbeta[blockIdx.y * D + i] = b;
  }
}
template <class T> __device__ inline Lse row_lse(const T *x, u32 D) {
  Lse s;
  walk<256>(x, D, [&](u32, const float *v, u32 n) { s.add(v, n); });
  s = share_block<Lse, 256>(s);
  s.top = Lse::finite(s.top);
  return s;
}
template <class T> __device__ inline void softmax_long(const T *x, T *y, u32 D) {
  x += blockIdx.x * (u64)D, y += blockIdx.x * (u64)D;
  Lse s = row_lse(x, D);
  float k = s.sum > 0 || s.sum != s.sum ? 1 / s.sum : 0;
  walk<256>(x, D, [&](u32 i, const float *v, u32 n) {
    float r[16 / sizeof(T)];
    #pragma unroll
    for (u32 j = 0; j < n; j++) r[j] = __expf(v[j] - s.top) * k;
    put_walked(y + i, r, n);
  });
}
template <class T> __device__ inline void softmax_grad_long(const T *dy, const T *y, T *dx, u32 D) {
  dy += blockIdx.x * (u64)D, y += blockIdx.x * (u64)D, dx += blockIdx.x * (u64)D;
  float dot = 0;
  for (u32 i = threadIdx.x; i < D; i += 256) dot += load(dy[i]) * load(y[i]);
  dot = share_sum<256>(dot);
  for (u32 i = threadIdx.x; i < D; i += 256) store(dx[i], load(y[i]) * (load(dy[i]) - dot));
}
template <class T, class L> __device__ inline void cross_entropy(const T *x, const L *labels, float *loss, float *lse, u32 D) {
  u64 r = blockIdx.x;
  x += r * D;
  Lse s = row_lse(x, D);
  if (threadIdx.x) return;
  float l = logf(s.sum) + s.top;
  long long y = load(labels[r]);
  lse[r] = l;
  loss[r] = y < 0 || y >= (long long)D ? 0 : l - load(x[y]);
}
// By 512 threads.
template <class T, class L> __device__ inline void cross_entropy_grad(const T *x, const L *labels, const float *lse, const float *g, T *dx, u32 D) {
  u64 r = blockIdx.x;
  x += r * D, dx += r * D;
  long long y = load(labels[r]);
  float k = y < 0 || y >= (long long)D ? 0 : g[r], l = lse[r];
  walk<512>(x, D, [&](u32 i, const float *v, u32 n) {
    float e[16 / sizeof(T)];
    #pragma unroll
    for (u32 j = 0; j < n; j++) e[j] = k == 0 ? 0.f : (__expf(v[j] - l) - (i + j == (u32)y)) * k;
    put_walked(dx + i, e, n);
  });
}
