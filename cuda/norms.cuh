// Norms over rows (rows.cuh) and their gradients: rows on their way to shared memory while others are worked on, long ones walked.

// S rows of each of O operands on their way to a group of threads: each thread fetches the packs that it will hold itself, to places of shared
// memory that only it touches. What cannot be copied that way, and S = 0, is read when it is taken.
template <class T, int D, int G, int S, int O, int B = Row<T, D, G>::BLOCK> struct Ahead {
  using In = Row<T, D, G>;
  using Pack = typename In::Pack;
  static constexpr bool async = S > 0 && ASYNC_COPIES && sizeof(Pack) >= 4;
  const T *x[O];
  u64 end, step, next;
  Pack *own;
  u32 stage = 0;
  __device__ Ahead(const T *const (&from)[O], u64 first, u64 step, u64 end, void *shared) : end(end), step(step), next(first), own((Pack *)shared + threadIdx.x) {
    #pragma unroll
    for (int o = 0; o < O; o++) x[o] = from[o];
    if constexpr (async)
      #pragma unroll
      for (u32 s = 0; s < S; s++) fetch(s);
  }
  __device__ Pack &place(u32 s, int o, int n) { return own[((s * O + o) * In::N + n) * B]; }
  __device__ void fetch(u32 s) {
    if (next < end)
      #pragma unroll
      for (int o = 0; o < O; o++)
        #pragma unroll
        for (int n = 0; n < In::N; n++) if (In::has(n)) copy_async<sizeof(Pack)>(&place(s, o, n), x[o] + next * D + In::at(n), true);
    commit_copies();
    next += step;
  }
  // The next row of each is there; nothing from `end` on.
  __device__ void await() { if constexpr (async) await_copies<(S > 0 ? S - 1 : 0)>(); }
  __device__ Pack at(int o, int n) {
    if constexpr (async) return place(stage, o, n);
    else return *(const Pack *)(x[o] + next * D + In::at(n));
  }
  // It is no longer wanted, and one more is on its way.
  __device__ void pass() {
    if constexpr (async) fetch(stage), stage = stage + 1 == S ? 0 : stage + 1;
    else next += step;
  }
  // All of it at once.
  __device__ void take(In (&row)[O]) {
    await();
    if (async || next < end)
      #pragma unroll
      for (int o = 0; o < O; o++)
        #pragma unroll
        for (int n = 0; n < In::N; n++) if (In::has(n)) row[o].p[n] = at(o, n);
    pass();
  }
};

// Groups of G threads go over the rows, S > 0 ahead; gamma and beta stay in their registers.
template <int D, int G, int S, class T> __device__ inline void norm(const T *x, const float *gamma, const float *beta, T *y, float *mean, float *rstd, u64 R, float eps, bool rms) {
  extern __shared__ uint4 ring[];
  using In = Row<T, D, G>;
  u64 step = gridDim.x * (u64)In::GROUPS, first = In::first();
  Ahead<T, D, G, S, 1> rows({x}, first, step, R, ring);
  Parameters<In::W> g[In::N], b[In::N];
  #pragma unroll
  for (int n = 0; n < In::N; n++) if (In::has(n)) g[n].read(gamma, In::at(n), 1), b[n].read(beta, In::at(n), 0);
  u32 turn = 0;
  for (u64 r = first; r < R; r += step, turn ^= 1) {
    In row[1];
    rows.take(row);
    float s[1] = {}, q[1] = {};
    if (!rms) row[0].each([&](int, float v) { s[0] += v; }), share_sums<G>(s, 0);
    float m = s[0] * (1.f / D);
    row[0].each([&](int, float v) { q[0] += (v - m) * (v - m); });
    share_sums<G>(q, rms ? turn : 1);
    float k = rsqrtf(q[0] * (1.f / D) + eps);
    #pragma unroll
    for (int n = 0; n < In::N; n++) if (In::has(n)) {
      float o[In::W];
      #pragma unroll
      for (int j = 0; j < In::W; j++) o[j] = (row[0][n * In::W + j] - m) * k * g[n].x[j] + b[n].x[j];
      put<In::W * sizeof(T)>(y + r * D + In::at(n), o);
    }
    if (In::lane() == 0) { if (mean) mean[r] = m; rstd[r] = k; }
  }
}

// Blocks of B threads go over the rows, groups of G of them a row each, S > 0 ahead: dx, and each block's part of the sums that dgamma and dbeta
// [blocks, D] are, or of the first AFFINE of the two.
template <int D, int G, int B, int S, int AFFINE, class T> __device__ inline void norm_grad(const T *dy, const T *x, const float *gamma, const float *mean, const float *rstd, T *dx, float *dgamma, float *dbeta, u64 R, bool rms) {
  extern __shared__ uint4 ring[];
  using In = Row<T, D, G>;
  constexpr int W = In::W, M = In::N * W, groups = B / G;
  constexpr bool HELD = M <= (sizeof(T) > 2 ? 16 : 24); // a row has registers; else it is read from shared memory, and gamma from the cache, twice
  u64 step = gridDim.x * (u64)groups, r = blockIdx.x * (u64)groups + threadIdx.x / G;
  Ahead<T, D, G, S, 2, B> rows({dy, x}, r, step, R, ring);
  float sg[M] = {}, sb[M] = {}, next_m = 0, next_k = 0;
  auto read_moments = [&](u64 r) { if (r < R) next_m = rms ? 0 : mean[r], next_k = rstd[r]; };
  read_moments(r);
  u32 turn = 0;
  for (u64 at = blockIdx.x * (u64)groups; at < R; at += step, r += step, turn ^= 1) {
    In row[2];
    if (HELD) rows.take(row);
    else rows.await();
    auto of = [&](int o, int n) { return HELD ? row[o].p[n] : rows.at(o, n); };
    float m = next_m, k = next_k, sums[2] = {}, due[M]; // gamma, then dy * gamma
    auto gains = [&](int n) {
      pack<float, W, (W < 4 ? W : 4) * 4> g;
      if (AFFINE > 0) g = *(const decltype(g) *)(gamma + In::at(n));
      #pragma unroll
      for (int e = 0; e < W; e++) due[n * W + e] = AFFINE > 0 ? g.x[e] : 1;
    };
    read_moments(r + step);
    if (HELD && r < R)
      #pragma unroll
      for (int n = 0; n < In::N; n++) if (In::has(n)) gains(n);
    if (r < R)
      #pragma unroll
      for (int n = 0; n < In::N; n++) if (In::has(n)) {
        if (!HELD) gains(n);
        auto d = of(0, n), v = of(1, n);
        #pragma unroll
        for (int e = 0; e < W; e++) {
          int j = n * W + e;
          float own = element(d, e), hat = (element(v, e) - m) * k;
          if (AFFINE > 0) sg[j] += own * hat;
          if (AFFINE > 1) sb[j] += own;
          due[j] *= own;
          sums[0] += due[j], sums[1] += due[j] * hat;
        }
      }
    share_sums<G, B>(sums, turn);
    float p = rms ? 0 : sums[0] * (1.f / D) * k, q = sums[1] * (1.f / D) * k * k;
    if (r < R)
      #pragma unroll
      for (int n = 0; n < In::N; n++) if (In::has(n)) {
        auto v = of(1, n);
        if constexpr (!HELD) {
          gains(n);
          auto d = of(0, n);
          #pragma unroll
          for (int e = 0; e < W; e++) due[n * W + e] *= element(d, e);
        }
        float o[W];
        #pragma unroll
        for (int e = 0; e < W; e++) o[e] = k * due[n * W + e] - p - (element(v, e) - m) * q;
        put<W * sizeof(T)>(dx + r * D + In::at(n), o);
      }
    if (!HELD) rows.pass();
  }
  // Each group leaves its sums behind the rows, whoever is still at work on them, and the block adds them up.
  constexpr int V = W < 4 ? W : 4;
  using Sums = pack<float, V, V * 4>;
  float *all = (float *)((typename In::Pack *)ring + S * 2 * In::N * B);
  #pragma unroll
  for (int which = 0; which < AFFINE; which++) {
    float *to = groups == 1 ? (which ? dbeta : dgamma) + blockIdx.x * (u64)D : all + (threadIdx.x / G * AFFINE + which) * D;
    #pragma unroll
    for (int j = 0; j < M; j += V) if (In::has(j / W)) {
      Sums own;
      #pragma unroll
      for (int e = 0; e < V; e++) own.x[e] = which ? sb[j + e] : sg[j + e];
      *(Sums *)(to + In::at(j / W) + j % W) = own;
    }
  }
  if (groups == 1) return;
  __syncthreads();
  for (int i = threadIdx.x * V; i < AFFINE * D; i += B * V) {
    Sums sum = *(const Sums *)(all + i);
    #pragma unroll
    for (int w = 1; w < groups; w++) {
      auto other = *(const Sums *)(all + w * AFFINE * D + i);
      #pragma unroll
      for (int e = 0; e < V; e++) sum.x[e] += other.x[e];
    }
    *(Sums *)((i < D ? dgamma : dbeta - D) + blockIdx.x * (u64)D + i) = sum;
  }
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
  walk<256>(x, D, [&](u32 i, const float *v, u32 n) {
    float o[16 / sizeof(T)];
    #pragma unroll
    for (u32 j = 0; j < n; j++) o[j] = (v[j] - m) * k * (gamma ? gamma[i + j] : 1) + (beta ? beta[i + j] : 0);
    put_walked(y + i, o, n);
  });
  if (threadIdx.x == 0) { if (mean) mean[r] = m; rstd[r] = k; }
}
template <class T> __device__ inline void norm_grad_x_long(const T *dy, const T *x, const float *gamma, const float *mean, const float *rstd, T *dx, u32 D, bool rms) {
  u64 r = blockIdx.x;
  dy += r * D, x += r * D, dx += r * D;
  float m = rms ? 0 : mean[r], k = rstd[r], a = 0, b = 0;
  walk_both<256>(dy, x, D, [&](u32 i, const float *g, const float *v, u32 n) {
    for (u32 j = 0; j < n; j++) {
      float d = g[j] * (gamma ? gamma[i + j] : 1.f);
      a += d, b += d * (v[j] - m) * k;
    }
  });
  float sa = rms ? 0 : share_sum<256>(a) / D, sb = share_sum<256>(b) / D;
  walk_both<256>(dy, x, D, [&](u32 i, const float *g, const float *v, u32 n) {
    float o[16 / sizeof(T)];
    #pragma unroll
    for (u32 j = 0; j < n; j++) o[j] = k * (g[j] * (gamma ? gamma[i + j] : 1.f) - sa - (v[j] - m) * k * sb);
    put_walked(dx + i, o, n);
  });
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
