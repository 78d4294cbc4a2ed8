// Products of a few rows: y[m, n] = sum_k a[m, k] w[k, n]. They are as fast as the weights can be read, so all of a warp's first loads are in
// flight before anything else happens. `a` is made by each block for itself, in shared memory: an expression, or an RMS norm of one; `out` is given
// the sums of a column and stores what is to become of them. Sums are taken in an order that depends on the shape alone.
template <class T> struct alignas(16) Pack { T x[16 / sizeof(T)]; };
// Read once, so not kept in L1. What another kernel may still write while this one is resident is no constant to it (no .nc).
template <bool STEADY, class T> __device__ inline Pack<T> stream_pack(const T *p) {
  union { uint4 bits; Pack<T> pack; } v;
  if (STEADY)
    asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.bits.x), "=r"(v.bits.y), "=r"(v.bits.z), "=r"(v.bits.w) : "l"(p));
  else
    asm volatile("ld.global.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.bits.x), "=r"(v.bits.y), "=r"(v.bits.z), "=r"(v.bits.w) : "l"(p) : "memory");
  return v.pack;
}

template <class T> __device__ inline float dot(const Pack<T> &a, const Pack<T> &b, float sum) {
  #pragma unroll
  for (int i = 0; i < (int)(16 / sizeof(T)); i++) sum = fmaf(load(a.x[i]), load(b.x[i]), sum);
  return sum;
}
// Two neighbours of a word become f32 by a shift and by a mask.
__device__ inline float dot(const Pack<bf16> &a, const Pack<bf16> &b, float sum) {
  const u32 *x = (const u32 *)&a, *y = (const u32 *)&b;
  #pragma unroll
  for (int i = 0; i < 4; i++) {
    sum = fmaf(__uint_as_float(x[i] << 16), __uint_as_float(y[i] << 16), sum);
    sum = fmaf(__uint_as_float(x[i] & 0xffff0000u), __uint_as_float(y[i] & 0xffff0000u), sum);
  }
  return sum;
}

// The operand x[m, k] = a(m, k), or its RMS norm over k with a gain (or none).
template <class T, int M, int K, int THREADS, bool NORM, class A>
__device__ inline void make_operand(T *x, A a, const float *gain, float eps) {
  if (NORM) {
    __shared__ float parts[M][THREADS / 32];
    #pragma unroll
    for (int m = 0; m < M; m++) {
      float square = 0;
      #pragma unroll 8
      for (u32 k = threadIdx.x; k < K; k += THREADS) { float v = a(m, k); store(x[m * K + k], v); square = fmaf(v, v, square); }
      for (int d = 16; d; d /= 2) square += __shfl_xor_sync(~0u, square, d);
      if (threadIdx.x % 32 == 0) parts[m][threadIdx.x / 32] = square;
    }
    __syncthreads();
    #pragma unroll
    for (int m = 0; m < M; m++) {
      float total = 0;
      for (int i = 0; i < THREADS / 32; i++) total += parts[m][i];
      const float scale = rsqrtf(total / K + eps);
      #pragma unroll 8
      for (u32 k = threadIdx.x; k < K; k += THREADS) store(x[m * K + k], load(x[m * K + k]) * scale * (gain ? gain[k] : 1.f));
    }
  } else {
    #pragma unroll 8
    for (u32 i = threadIdx.x; i < M * K; i += THREADS) store(x[i], a(i / K, i % K));
  }
  __syncthreads();
}
// The same of rows that lie in memory as they are, `step` apart: all of it is asked for at once.
template <class T, int M, int K, int THREADS, bool NORM>
__device__ inline void copy_operand(T *x, const T *rows, u64 step, const float *gain, float eps) {
  constexpr int V = 16 / sizeof(T), PACKS = M * (K / V), EACH = (PACKS + THREADS - 1) / THREADS, WARPS = THREADS / 32;
  Pack<T> own[EACH];
  float gains[NORM ? EACH : 1][V];
  #pragma unroll
  for (int i = 0; i < EACH; i++) {
    const u32 p = threadIdx.x + i * THREADS, m = p / (K / V), k = p % (K / V) * V;
    if (p >= PACKS) continue;
    own[i] = *(const Pack<T> *)(rows + m * step + k);
    if (NORM)
      #pragma unroll
      for (int j = 0; j < V; j += 4) {
        const float4 g = gain ? *(const float4 *)(gain + k + j) : float4{1, 1, 1, 1};
        gains[i][j] = g.x, gains[i][j + 1] = g.y, gains[i][j + 2] = g.z, gains[i][j + 3] = g.w;
      }
  }
  if (NORM) {
    static_assert(!NORM || M == 1, "one row's numbers are spread over all threads");
    __shared__ float parts[WARPS];
    float square = 0;
    #pragma unroll
    for (int i = 0; i < EACH; i++)
      #pragma unroll
      for (int j = 0; j < V; j++) {
        const float v = threadIdx.x + i * THREADS < PACKS ? load(own[i].x[j]) : 0;
        square = fmaf(v, v, square);
      }
    for (int d = 16; d; d /= 2) square += __shfl_xor_sync(~0u, square, d);
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = square;
    __syncthreads();
    float total = 0;
    #pragma unroll
    for (int i = 0; i < WARPS; i++) total += parts[i];
    const float scale = rsqrtf(total / K + eps);
    #pragma unroll
    for (int i = 0; i < EACH; i++)
      #pragma unroll
      for (int j = 0; j < V; j++) store(own[i].x[j], load(own[i].x[j]) * scale * gains[i][j]);
  }
  #pragma unroll
  for (int i = 0; i < EACH; i++)
    if (threadIdx.x + i * THREADS < PACKS) ((Pack<T> *)x)[threadIdx.x + i * THREADS] = own[i];
  __syncthreads();
}

// Weights with neighbours along k. The columns of P parts lie N apart. S warps share R neighbouring columns of each part, each a range of k; the lanes
// of a warp stride over it, U packs of each column in flight. make(x) makes the operand; `out` is given the sums of a column of all parts, and what
// right(m, n) has read beside them. Grid: ceil(N / (R * THREADS / 32 / S)).
template <class T, int M, int K, int R, int P, int S, int U, int THREADS, bool STEADY, class Make, class Right, class Out>
__device__ inline void gemv(const T *w, u64 step, u32 N, const float *gain, Make make, Right right, Out out) {
  constexpr int V = 16 / sizeof(T), GROUPS = THREADS / 32 / S, STRIDE = 32 * V, C = R * P, SHARE = ((K + STRIDE - 1) / STRIDE + S - 1) / S * STRIDE;
  __shared__ alignas(16) T x[M * K];
  __shared__ float parts[S > 1 ? S : 1][S > 1 ? GROUPS * C * M : 1];
  const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, group = warp / S, begin = S > 1 ? warp % S * SHARE : 0;
  const u32 first = (blockIdx.x * GROUPS + group) * R, end = S > 1 ? min((u32)K, begin + SHARE) : K;
  const T *from[C];
  #pragma unroll
  for (int c = 0; c < C; c++) from[c] = w + (min(first + c % R, N - 1) + (u64)N * (c / R)) * step + begin + lane * V;
  Pack<T> pack[U][C];
  auto fetch = [&](int u, u32 k) {
    #pragma unroll
    for (int c = 0; c < C; c++)
      if (lane * V + k < end) pack[u][c] = stream_pack<STEADY>(from[c] + (k - begin));
  };
  auto fetch_first = [&] {
    #pragma unroll
    for (int u = 0; u < U; u++) fetch(u, begin + u * STRIDE);
  };
  let_next_in();
  if (STEADY) { // nothing of this need wait for the kernel before
    fetch_first();
    if (gain && blockIdx.x + threadIdx.x == 0) ask_for(gain, K * sizeof(float));
  }
  await_previous();
  if (!STEADY) fetch_first();
  // where sums end: in the first lanes of each warp, or of the block
  const u32 t = S > 1 ? threadIdx.x : lane, r = t / M % R, m = t % M, column = S > 1 ? (blockIdx.x * GROUPS + t / (R * M)) * R + r : first + r;
  const bool finishes = t < (S > 1 ? GROUPS : 1) * R * M && column < N;
  decltype(right(0u, 0u)) beside;
  if (finishes) beside = right(m, column);
  make(x);

  float sum[C][M] = {};
  for (u32 k = begin; k < end; k += U * STRIDE) {
    #pragma unroll
    for (int u = 0; u < U; u++) {
      const u32 at = k + u * STRIDE + lane * V;
      if (at >= end) continue;
      #pragma unroll
      for (int m = 0; m < M; m++) {
        const Pack<T> b = *(const Pack<T> *)(x + m * K + at);
        #pragma unroll
        for (int c = 0; c < C; c++) sum[c][m] = dot(pack[u][c], b, sum[c][m]);
      }
      if (SHARE > U * STRIDE) fetch(u, k + (U + u) * STRIDE);
    }
  }
  #pragma unroll
  for (int c = 0; c < C; c++)
    #pragma unroll
    for (int m = 0; m < M; m++)
      for (int d = 16; d; d /= 2) sum[c][m] += __shfl_xor_sync(~0u, sum[c][m], d);
  float total[P] = {};
  if (S > 1) {
    #pragma unroll
    for (int c = 0; c < C; c++)
      #pragma unroll
      for (int m = 0; m < M; m++) if (lane == c * M + m) parts[warp % S][(group * C + c) * M + m] = sum[c][m];
    __syncthreads();
    if (finishes)
      #pragma unroll
      for (int p = 0; p < P; p++)
        #pragma unroll
        for (int s = 0; s < S; s++) total[p] += parts[s][(t / (R * M) * C + p * R + r) * M + m];
  } else
    #pragma unroll
    for (int c = 0; c < C; c++)
      #pragma unroll
      for (int i = 0; i < M; i++) if (lane == c % R * M + i) total[c / R] = sum[c][i];
  if (finishes) {
    if constexpr (P == 1) out(m, column, total[0], beside);
    else out(m, column, total[0], total[1], beside);
  }
}

// Weights with neighbours along n: 8 lanes hold a line of columns of each part, 32 lines of k are a block's, and k is shared out over gridDim.y
// blocks; the last of them to arrive adds what all have left in `partial`, in order. Grid: (ceil(N / line), splits).
template <class T, int M, int K, int P, int U, bool STEADY, class Make, class Right, class Out>
__device__ inline void gemv_columns(const T *w, u64 step, u32 N, const float *gain, Make make, float *partial, u32 *tickets, Right right, Out out) {
  constexpr int V = 16 / sizeof(T), LANES = 8, LINE = LANES * V, ROWS = 256 / LANES;
  __shared__ alignas(16) T x[M * K];
  __shared__ float lines[ROWS][LINE + 1];
  const u32 lane = threadIdx.x % LANES, row = threadIdx.x / LANES, n = blockIdx.x * LINE + lane * V;
  const u32 share = (K + gridDim.y - 1) / gridDim.y, from = blockIdx.y * share, to = min((u32)K, from + share);
  Pack<T> pack[U][P];
  auto fetch = [&](u32 k) {
    #pragma unroll
    for (int u = 0; u < U; u++)
      #pragma unroll
      for (int p = 0; p < P; p++)
        if (n < N && k + u * ROWS < to) pack[u][p] = stream_pack<STEADY>(w + (k + u * ROWS) * step + n + p * N);
  };
  let_next_in();
  if (STEADY) {
    fetch(from + row);
    if (gain && blockIdx.x + blockIdx.y + threadIdx.x == 0) ask_for(gain, K * sizeof(float));
  }
  await_previous();
  if (!STEADY) fetch(from + row);
  make(x);

  float sum[P][M][V] = {};
  for (u32 k = from + row; k < to; k += U * ROWS) {
    #pragma unroll
    for (int u = 0; u < U; u++) {
      if (n >= N || k + u * ROWS >= to) continue;
      #pragma unroll
      for (int m = 0; m < M; m++) {
        const float v = load(x[m * K + k + u * ROWS]);
        #pragma unroll
        for (int p = 0; p < P; p++)
          #pragma unroll
          for (int i = 0; i < V; i++) sum[p][m][i] = fmaf(v, load(pack[u][p].x[i]), sum[p][m][i]);
      }
    }
    fetch(k + U * ROWS);
  }
  float total[P][M];
  #pragma unroll
  for (int p = 0; p < P; p++)
    #pragma unroll
    for (int m = 0; m < M; m++) {
      #pragma unroll
      for (int i = 0; i < V; i++) lines[row][lane * V + i] = sum[p][m][i];
      __syncthreads();
      total[p][m] = 0;
      if (threadIdx.x < LINE) for (int r = 0; r < ROWS; r++) total[p][m] += lines[r][threadIdx.x];
      __syncthreads();
    }
  const u32 column = blockIdx.x * LINE + threadIdx.x;
  const bool mine = threadIdx.x < LINE && column < N;
  if (gridDim.y > 1) {
    auto left = [&](u32 split, int p, int m) -> float * { return partial + ((split * P + p) * M + m) * (u64)N + column; };
    #pragma unroll
    for (int p = 0; p < P; p++)
      #pragma unroll
      for (int m = 0; m < M; m++) if (mine) *left(blockIdx.y, p, m) = total[p][m];
    if (!arrives_last(tickets + blockIdx.x, gridDim.y)) return;
    #pragma unroll
    for (int p = 0; p < P; p++)
      #pragma unroll
      for (int m = 0; m < M; m++) {
        total[p][m] = 0;
        if (mine) for (u32 s = 0; s < gridDim.y; s++) total[p][m] += __ldcg(left(s, p, m));
      }
  }
  if (mine)
    #pragma unroll
    for (int m = 0; m < M; m++) {
      if constexpr (P == 1) out(m, column, total[0][m], right(m, column));
      else out(m, column, total[0][m], total[1][m], right(m, column));
    }
}
