// The gradient of attention, which makes the probabilities again from the scores and their log-sum-exp (Dao et al. 2022, algorithm 4). One kernel
// owns keys (dK, dV), one owns queries (dQ): seven products instead of five, but no atomics, and the same bits every time.

// delta[b, h, i] = sum_e dO * O. Rows are read in 16-byte chunks, a power of two of lanes to a row. Grid ceil(B * Tq * Hq * LANES / 256).
template <class T, int E> __device__ inline void attention_delta(const T *o, const T *dO, float *delta, Shape s) {
  const int LANES = E > 64 ? 16 : E > 32 ? 8 : E > 16 ? 4 : 2;
  u64 row = (blockIdx.x * 256ull + threadIdx.x) / LANES;
  int c = threadIdx.x % LANES;
  bool in = row < (u64)s.B * s.Tq * s.Hq && c < E / 8;
  float x = 0;
  if (in) {
    uint4 a = *(const uint4 *)(o + row * E + 8 * c), b = *(const uint4 *)(dO + row * E + 8 * c);
    const T *p = (const T *)&a, *q = (const T *)&b;
    #pragma unroll
    for (int k = 0; k < 8; k++) x += load(p[k]) * load(q[k]);
  }
  #pragma unroll
  for (int d = LANES / 2; d; d >>= 1) x += __shfl_xor_sync(~0u, x, d);
  u64 h = row % s.Hq, i = row / s.Hq % s.Tq, b = row / s.Hq / s.Tq;
  if (in && c == 0) delta[(b * s.Hq + h) * s.Tq + i] = x;
}

// What a score times log2 e is moved by before it is exponentiated; 0 for a query that sees no key, whose scores are all masked.
__device__ inline float exponent(float lse) { return lse == MINUS_INF ? 0 : lse * -LOG2E; }

// Grid (ceil(Tk / M), Hkv, B): a block owns M keys, a warp 32 of them, or 16 of wide heads, whose two sums fill the registers. It walks the
// queries of all heads of its group in tiles of N.
template <class T, int E, int M, int N> __device__ inline void attention_grad_kv(const T *q, Heads sq, const T *k, Heads sk, const T *v, Heads sv, const int *offsets, const T *dO, const float *lse, const float *delta, T *dk, Heads sdk, T *dv, Heads sdv, Shape s, bool aligned, bool aligned_to) {
  const int MB = E > 64 ? 1 : 2, ROWS = 16 * MB, THREADS = 32 * M / ROWS;
  extern __shared__ uint4 shared[];
  u32 base = shared_address(shared);
  Tile<M, E> kt{base}, vt{base + kt.BYTES};
  typedef Tile<N, E> Queries;
  auto queries = [&](int i) { return Queries{base + 2 * kt.BYTES + i % 2 * Queries::BYTES}; };
  auto gradients = [&](int i) { return Queries{base + 2 * kt.BYTES + (2 + i % 2) * Queries::BYTES}; };
  float *sums = (float *)((char *)shared + 2 * kt.BYTES + 4 * Queries::BYTES); // [2][lse, delta][N]
  int hk = blockIdx.y, b = blockIdx.z, group = s.Hq / s.Hkv, lane = threadIdx.x % 32, j0 = blockIdx.x * M, mine = threadIdx.x / 32 * ROWS;
  Ranges<M> ranges(sums + 4 * N, s, j0, false);
  ranges.fill(offsets);
  int2 tiles = ranges.tiles(N), earliest = ranges[mine], latest = ranges[mine + ROWS - 1];
  // The tile of queries from i0 of head h, into the buffers of turn i.
  auto fetch = [&](int i, int h, int i0) {
    queries(i).template fetch<THREADS>(q + b * sq.sB + h * sq.sH, sq.sT, i0, s.Tq, aligned);
    gradients(i).template fetch<THREADS>(dO + (u64)b * s.Tq * s.Hq * E + h * E, (u64)s.Hq * E, i0, s.Tq, true);
    if (threadIdx.x < 2 * N) {
      int t = i0 + threadIdx.x % N;
      bool in = s.Tq % N == 0 || t < s.Tq;
      const float *from = (threadIdx.x < N ? lse : delta) + ((u64)b * s.Hq + h) * s.Tq + (in ? t : 0);
      u32 to = shared_address(sums + i % 2 * 2 * N + threadIdx.x);
      asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(in ? 4 : 0));
    }
  };
  kt.template fetch<THREADS>(k + b * sk.sB + hk * sk.sH, sk.sT, j0, s.Tk, aligned);
  vt.template fetch<THREADS>(v + b * sv.sB + hk * sv.sH, sv.sT, j0, s.Tk, aligned);
  int h = hk * group, tile = tiles.x, left = max(0, tiles.y - tiles.x) * group; // the turn's head and tile, and how many turns are left
  if (left) fetch(0, h, tile * N);
  sent();
  const float away = s.scale < 0 ? -MINUS_INF : MINUS_INF; // a score whose exponential is 0
  float accK[MB][E / 8][4] = {}, accV[MB][E / 8][4] = {};
  for (int turn = 0; left--; turn++) {
    arrived<0>();
    int i0 = tile * N;
    if (++tile == tiles.y) tile = tiles.x, h++;
    if (left) fetch(turn + 1, h, tile * N);
    sent();
    if (i0 >= latest.y || i0 + N <= earliest.x) continue;
    float p[MB][N / 8][4], dp[MB][N / 8][4]; // rows are keys, columns queries
    times_transposed<T, MB, N>(p, kt, mine, queries(turn), 0);
    if (i0 < latest.x || i0 + N > earliest.y) mask<MB, N>(p, ranges, mine, lane, i0, away);
    times_transposed<T, MB, N>(dp, vt, mine, gradients(turn), 0);
    const float2 *lses = (const float2 *)(sums + turn % 2 * 2 * N + lane % 4 * 2), *deltas = lses + N / 2;
    #pragma unroll
    for (int n = 0; n < N / 8; n++) {
      float2 l = lses[4 * n];
      l.x = exponent(l.x), l.y = exponent(l.y);
      #pragma unroll
      for (int m = 0; m < MB; m++)
        #pragma unroll
        for (int x = 0; x < 4; x++) p[m][n][x] = exp2_fast(fmaf(p[m][n][x], s.scale * LOG2E, x % 2 ? l.y : l.x));
    }
    plus_times<T, MB, N>(accV, p, gradients(turn), 0);
    #pragma unroll
    for (int n = 0; n < N / 8; n++) {
      float2 d = deltas[4 * n];
      #pragma unroll
      for (int m = 0; m < MB; m++)
        #pragma unroll
        for (int x = 0; x < 4; x++) p[m][n][x] *= dp[m][n][x] - (x % 2 ? d.y : d.x);
    }
    plus_times<T, MB, N>(accK, p, queries(turn), 0);
  }
  arrived<0>();
  store_rows<T>(dk + b * sdk.sB + hk * sdk.sH, sdk.sT, j0, s.Tk, accK, s.scale, kt, mine, aligned_to);
  store_rows<T>(dv + b * sdv.sB + hk * sdv.sH, sdv.sT, j0, s.Tk, accV, 1, vt, mine, aligned_to);
}

// Grid (ceil(Tq / 128), Hq, B), 128 threads: a block owns 128 queries, a warp 32 of them, and walks the keys in tiles of N.
template <class T, int E, int N> __device__ inline void attention_grad_q(const T *q, Heads sq, const T *k, Heads sk, const T *v, Heads sv, const int *offsets, const T *dO, const float *lse, const float *delta, T *dq, Heads sdq, Shape s, bool aligned, bool aligned_to) {
  const int M = 128;
  extern __shared__ uint4 shared[];
  u32 base = shared_address(shared);
  Tile<M, E> qt{base}, gt{base + qt.BYTES};
  typedef Tile<N, E> Keys;
  auto keys = [&](int i) { return Keys{base + 2 * qt.BYTES + i % 2 * Keys::BYTES}; };
  auto values = [&](int i) { return Keys{base + 2 * qt.BYTES + (2 + i % 2) * Keys::BYTES}; };
  int block = gridDim.x - 1 - blockIdx.x;
  int h = blockIdx.y, b = blockIdx.z, hk = h / (s.Hq / s.Hkv), lane = threadIdx.x % 32, i0 = block * M, mine = threadIdx.x / 32 * 32, row = i0 + mine;
  k += b * sk.sB + hk * sk.sH, v += b * sv.sB + hk * sv.sH;
  Ranges<M> ranges((char *)shared + 2 * qt.BYTES + 4 * Keys::BYTES, s, i0, true);
  ranges.fill(offsets);
  int first = ranges.tiles(N).x, end = ranges.tiles(N).y;
  int2 earliest = ranges[mine], latest = ranges[mine + 31];
  auto fetch = [&](int i) {
    if (i < end) keys(i).template fetch<128>(k, sk.sT, i * N, s.Tk, aligned), values(i).template fetch<128>(v, sv.sT, i * N, s.Tk, aligned);
    sent();
  };
  qt.template fetch<128>(q + b * sq.sB + h * sq.sH, sq.sT, i0, s.Tq, aligned);
  gt.template fetch<128>(dO + (u64)b * s.Tq * s.Hq * E + h * E, (u64)s.Hq * E, i0, s.Tq, true);
  fetch(first);
  const float away = s.scale < 0 ? -MINUS_INF : MINUS_INF; // a score whose exponential is 0
  float acc[2][E / 8][4] = {}, l[4], d[4];
  #pragma unroll
  for (int r = 0; r < 4; r++) {
    int i = row + 8 * r + lane / 4;
    bool in = s.Tq % M == 0 || i < s.Tq;
    u64 at = ((u64)b * s.Hq + h) * s.Tq + (in ? i : 0);
    l[r] = exponent(lse[at]), d[r] = delta[at];
  }
  for (int i = first; i < end; i++) {
    int j0 = i * N;
    arrived<0>();
    fetch(i + 1);
    if (j0 >= latest.y || j0 + N <= earliest.x) continue;
    float p[2][N / 8][4], dp[2][N / 8][4];
    times_transposed<T, 2, N>(p, qt, mine, keys(i), 0);
    if (j0 < latest.x || j0 + N > earliest.y) mask<2, N>(p, ranges, mine, lane, j0, away);
    times_transposed<T, 2, N>(dp, gt, mine, values(i), 0);
    #pragma unroll
    for (int m = 0; m < 2; m++)
      #pragma unroll
      for (int n = 0; n < N / 8; n++)
        #pragma unroll
        for (int x = 0; x < 4; x++) {
          int r = 2 * m + x / 2;
          p[m][n][x] = exp2_fast(fmaf(p[m][n][x], s.scale * LOG2E, l[r])) * (dp[m][n][x] - d[r]);
        }
    plus_times<T, 2, N>(acc, p, keys(i), 0);
  }
  arrived<0>();
  store_rows<T>(dq + b * sdq.sB + h * sdq.sH, sdq.sT, i0, s.Tq, acc, s.scale, qt, mine, aligned_to);
}
