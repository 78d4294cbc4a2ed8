// Norms over rows (rows.cuh) and their gradients: rows on their way to shared memory while others are worked on, long ones walked.

// S rows of each of O operands on their way to a group of threads: each thread fetches the packs that it will hold itself, to places of shared
// memory that only it touches. What cannot be copied that way, and S = 0, is read when it is taken.
template <class T, int D, int G, int S, int O> struct Ahead {
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
  __device__ Pack &place(u32 s, int o, int n) { return own[((s * O + o) * In::N + n) * 256]; }
  __device__ void fetch(u32 s) {
    if (next < end)
      #pragma unroll
      for (int o = 0; o < O; o++)
        #pragma unroll
        for (int n = 0; n < In::N; n++) if (In::has(n)) copy_async<sizeof(Pack)>(&place(s, o, n), x[o] + next * D + In::at(n), true);
    commit_copies();
    next += step;
  }
  // The next row of each, and one more is on its way; nothing from `end` on.
  __device__ void take(In (&row)[O]) {
    if constexpr (async) {
      await_copies<(S > 0 ? S - 1 : 0)>();
      #pragma unroll
      for (int o = 0; o < O; o++)
        #pragma unroll
        for (int n = 0; n < In::N; n++) if (In::has(n)) row[o].p[n] = place(stage, o, n);
      fetch(stage);
      stage = stage + 1 == S ? 0 : stage + 1;
    } else {
      if (next < end)
        #pragma unroll
        for (int o = 0; o < O; o++) row[o].read(x[o] + next * D);
      next += step;
    }
  }
};

// Groups of G threads go over the rows, S > 0 ahead; gamma and beta stay in their registers.
template <int D, int G, int S, class T> __device__ inline void norm(const T *x, const float *gamma, const float *beta, T *y, float *mean, float *rstd, u64 R, float eps, bool rms) {
  extern __shared__ uint4 ring[];
  using In = Row<T, D, G>;
  u64 step = gridDim.x * (256ull / G), first = blockIdx.x * (256ull / G) + threadIdx.x / G;
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

// A block takes rowsPerPart rows: their dx, and its own part of the sums that dgamma and dbeta [parts, D] are, or of the first AFFINE of the two.
template <int D, int G, int S, int AFFINE, class T> __device__ inline void norm_grad(const T *dy, const T *x, const float *gamma, const float *mean, const float *rstd, T *dx, float *dgamma, float *dbeta, u64 R, u64 rowsPerPart, bool rms) {
  extern __shared__ uint4 ring[];
  using In = Row<T, D, G>;
  constexpr int W = In::W, M = In::N * W, groups = 256 / G;
  u64 first = blockIdx.x * rowsPerPart, end = min(R, first + rowsPerPart), r = first + threadIdx.x / G;
  Ahead<T, D, G, S, 2> rows({dy, x}, r, groups, end, ring);
  float sg[M] = {}, sb[M] = {}, next_m = 0, next_k = 0;
  auto read_moments = [&](u64 r) { if (r < end) next_m = rms ? 0 : mean[r], next_k = rstd[r]; };
  read_moments(r);
  u32 turn = 0;
  for (u64 at = first; at < end; at += groups, r += groups, turn ^= 1) {
    In row[2];
    In &a = row[0], &v = row[1];
    rows.take(row);
    float g[M], m = next_m, k = next_k, sums[2] = {};
    read_moments(r + groups);
    if (r < end) {
      #pragma unroll
      for (int n = 0; n < In::N; n++) if (In::has(n)) {
        Parameters<W> own;
        own.read(gamma, In::at(n), 1);
        #pragma unroll
        for (int e = 0; e < W; e++) g[n * W + e] = own.x[e];
      }
      #pragma unroll
      for (int j = 0; j < M; j++) if (In::has(j / W)) {
        float d = a[j], hat = (v[j] - m) * k;
        if (AFFINE > 0) sg[j] += d * hat;
        if (AFFINE > 1) sb[j] += d;
        d *= g[j];
        sums[0] += d, sums[1] += d * hat;
      }
    }
    share_sums<G>(sums, turn);
    float p = rms ? 0 : sums[0] * (1.f / D), q = sums[1] * (1.f / D) * k;
    if (r < end) a.write(dx + r * D, [&](int j, int, float d) { return k * (d * g[j] - p - (v[j] - m) * q); });
  }
  // The sums of a group: number j of each of its threads, one thread beside the other, at a pitch by which neighbours of a row meet different banks.
  constexpr int PITCH = G + (W > 1 ? 32 / W : 0);
  __shared__ float parts[groups][groups > 1 ? M * PITCH : 1];
  for (int which = 0; which < AFFINE; which++) {
    float *to = (which ? dbeta : dgamma) + (u64)blockIdx.x * D;
    if (groups == 1) {
      #pragma unroll
      for (int n = 0; n < In::N; n++) if (In::has(n)) {
        float own[W];
        #pragma unroll
        for (int e = 0; e < W; e++) own[e] = which ? sb[n * W + e] : sg[n * W + e];
        put<(W < 4 ? W : 4) * 4>(to + In::at(n), own);
      }
      continue;
    }
    __syncthreads();
    #pragma unroll
    for (int j = 0; j < M; j++) parts[threadIdx.x / G][j * PITCH + In::lane()] = which ? sb[j] : sg[j];
    __syncthreads();
    for (int i = threadIdx.x; i < D; i += 256) {
      int at = (i / (G * W) * W + i % W) * PITCH + i / W % G;
      float sum = parts[0][at];
      #pragma unroll
      for (int w = 1; w < groups; w++) sum += parts[w][at];
      to[i] = sum;
    }
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
