// Rows of D elements, D known when a kernel is made: how a warp or a block holds, walks and folds one; softmax and cross-entropy. Rows that fit are
// read once and held in registers; the rest is walked again.

// A row over G threads: each holds N packs of W neighbours, pack n of thread `lane` at (n * G + lane) * W.
template <class T, int D, int G> struct Row {
  static constexpr int W = pack_width(D, sizeof(T)), N = (D + G * W - 1) / (G * W);
  static constexpr int BLOCK = G > 256 ? G : 256, GROUPS = BLOCK / G; // threads of a block, and rows that it holds
  using Pack = pack<T, W, W * sizeof(T)>;
  Pack p[N];
  static __device__ u64 first() { return blockIdx.x * (u64)GROUPS + threadIdx.x / G; }
  static __device__ int lane() { return threadIdx.x % G; }
  static __device__ int at(int n) { return (n * G + lane()) * W; }
  static __device__ bool has(int n) { return D % (G * W) == 0 || at(n) < D; }
  __device__ void read(const T *x) {
    #pragma unroll
    for (int n = 0; n < N; n++) if (has(n)) p[n] = *(const Pack *)(x + at(n));
  }
  // number j of this thread's
  __device__ float operator[](int j) const { return element(p[j / W], j % W); }
  // f(index, value) for all elements of this thread
  template <class F> __device__ void each(F f) const {
    #pragma unroll
    for (int n = 0; n < N; n++) if (has(n)) {
      #pragma unroll
      for (int k = 0; k < W; k++) f(at(n) + k, element(p[n], k));
    }
  }
  // to[i] = f(n * W + k, i, value)
  template <class F> __device__ void write(T *to, F f) const {
    #pragma unroll
    for (int n = 0; n < N; n++) if (has(n)) {
      float r[W];
      #pragma unroll
      for (int k = 0; k < W; k++) r[k] = f(n * W + k, at(n) + k, element(p[n], k));
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
// The sums of K numbers over the G threads of a row, in each of them. All threads of the block call it; two places take turns, so that one barrier
// is enough.
template <int G, int B = (G > 256 ? G : 256), int K> __device__ inline void share_sums(float (&x)[K], u32 turn) {
  #pragma unroll
  for (int k = 0; k < K; k++)
    #pragma unroll
    for (int mask = G < 32 ? G / 2 : 16; mask; mask >>= 1) x[k] += __shfl_xor_sync(~0u, x[k], mask);
  if constexpr (G > 32) {
    constexpr int WARPS = G / 32, W = WARPS % 4 ? 1 : 4;
    __shared__ alignas(16) float parts[2][K][B / 32];
    u32 warp = threadIdx.x / 32, first = G == B ? 0 : warp / WARPS * WARPS;
    if (threadIdx.x % 32 == 0)
      #pragma unroll
      for (int k = 0; k < K; k++) parts[turn][k][warp] = x[k];
    if constexpr (G == B) __syncthreads();
    else asm volatile("bar.sync %0, %1;" ::"r"(1 + threadIdx.x / G), "n"(G) : "memory"); // the other rows of the block do not wait
    #pragma unroll
    for (int k = 0; k < K; k++) {
      x[k] = 0;
      #pragma unroll
      for (int w = 0; w < WARPS; w += W) {
        auto some = *(const pack<float, W, W * 4> *)&parts[turn][k][first + w];
        #pragma unroll
        for (int i = 0; i < W; i++) x[k] += some.x[i];
      }
    }
  }
}
template <int G> __device__ inline float share_sum(float x) {
  Sum<float> s;
  s.x = x;
  return share<Sum<float>, G>(s).x;
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
    for (u32 k = 0; k < W; k++) v[k] = element(p, k);
    f(head + n * W, v, W);
  }
  u32 last = head + packs * W + threadIdx.x;
  if (last < D) { float v = load(x[last]); f(last, &v, 1); }
}
// The same of two rows side by side, f(first index, values, values, their number); one by one where they do not lie alike.
template <int B, class T, class F> __device__ inline void walk_both(const T *x, const T *y, u32 D, F f) {
  constexpr u32 W = 16 / sizeof(T), LINE = 128;
  u32 head = ((u64)x ^ (u64)y) & 15 ? D : min(D, (u32)((LINE - (u64)x % LINE) % LINE / sizeof(T))), packs = (D - head) / W;
  for (u32 i = threadIdx.x; i < head; i += B) { float v = load(x[i]), w = load(y[i]); f(i, &v, &w, 1); }
  #pragma unroll 2
  for (u32 n = threadIdx.x; n < packs; n += B) {
    auto p = *(const pack<T, W, 16> *)(x + head + n * W), q = *(const pack<T, W, 16> *)(y + head + n * W);
    float v[W], w[W];
    #pragma unroll
    for (u32 k = 0; k < W; k++) v[k] = element(p, k), w[k] = element(q, k);
    f(head + n * W, v, w, W);
  }
  u32 last = head + packs * W + threadIdx.x;
  if (last < D) { float v = load(x[last]), w = load(y[last]); f(last, &v, &w, 1); }
}
// n results to a place that is aligned as the row that was walked, or not at all.
template <class T> __device__ inline void put_walked(T *to, const float (&r)[16 / sizeof(T)], u32 n) {
  if (n > 1 && ((u64)to & 15) == 0) { put<16>(to, r); return; }
  #pragma unroll
  for (u32 k = 0; k < n; k++) store(to[k], r[k]);
}

template <int D, int G, class T> __device__ inline void softmax(const T *x, T *y, u64 R) {
  u64 r = Row<T, D, G>::first();
  if (r >= R) return;
  Row<T, D, G> row;
  row.read(x + r * D);
  Max<float> most;
  row.each([&](int i, float v) { most.add(v, i); });
  float top = Lse::finite(share<Max<float>, G>(most).x), e[Row<T, D, G>::N * Row<T, D, G>::W], sum = 0;
  #pragma unroll
  for (int j = 0; j < Row<T, D, G>::N * Row<T, D, G>::W; j++)
    if (Row<T, D, G>::has(j / Row<T, D, G>::W)) sum += e[j] = exp2_approx((row[j] - top) * 1.442695041f);
  sum = share_sum<G>(sum);
  float k = sum > 0 || sum != sum ? 1 / sum : 0;
  row.write(y + r * D, [&](int j, int, float) { return e[j] * k; });
}
template <int D, int G, class T> __device__ inline void softmax_grad(const T *dy, const T *y, T *dx, u64 R) {
  using In = Row<T, D, G>;
  u64 r = In::first();
  if (r >= R) return;
  In d, p;
  d.read(dy + r * D), p.read(y + r * D);
  float dot = 0;
  #pragma unroll
  for (int j = 0; j < In::N * In::W; j++) if (In::has(j / In::W)) dot += d[j] * p[j];
  dot = share_sum<G>(dot);
  d.write(dx + r * D, [&](int j, int, float v) { return p[j] * (v - dot); });
}

// Rows too long for registers: a block of 256 threads a row.
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
  walk_both<256>(dy, y, D, [&](u32, const float *d, const float *p, u32 n) { for (u32 k = 0; k < n; k++) dot += d[k] * p[k]; });
  dot = share_sum<256>(dot);
  walk_both<256>(dy, y, D, [&](u32 i, const float *d, const float *p, u32 n) {
    float r[16 / sizeof(T)];
    #pragma unroll
    for (u32 k = 0; k < n; k++) r[k] = p[k] * (d[k] - dot);
    put_walked(dx + i, r, n);
  });
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
