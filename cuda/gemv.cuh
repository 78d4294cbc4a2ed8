// Products of a few rows: y[m, n] = sum_k a[m, k] w[k, n]. They are as fast as the weights can be read, so all of a warp's first loads are in
// flight before anything else happens. `a` is made by each block for itself, in shared memory: an expression, or an RMS norm of one; `out` is given
// the sums of a column and stores what is to become of them. Sums are taken in an order that depends on the shape alone.
template <class T> struct alignas(16) Pack { T x[16 / sizeof(T)]; };
// Read once, so not kept in L1. A load of constants (.nc) would be as good, but for the assembler, which puts it off until after griddepcontrol.wait.
template <class T> __device__ inline Pack<T> stream_pack(const T *p) {
  union { uint4 bits; Pack<T> pack; } v;
  asm volatile("ld.global.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.bits.x), "=r"(v.bits.y), "=r"(v.bits.z), "=r"(v.bits.w) : "l"(p));
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

// The operand x[m, k] of a product: before() is what needs no other kernel's results, but a gain that is steady; make(x) the rest.
// ... an expression a(m, k), or its RMS norm over k with a gain (or none).
template <class T, int M, int K, int THREADS, bool NORM, class A> struct Expressed {
  A a;
  const float *gain;
  float eps;
  __device__ void before() const {
    if (NORM && gain && blockIdx.x + blockIdx.y + threadIdx.x == 0) ask_for(gain, K * sizeof(float));
  }
  __device__ void make(T *x) const {
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
};
template <class T, int M, int K, int THREADS, bool NORM, class A> __device__ inline Expressed<T, M, K, THREADS, NORM, A> expressed(A a, const float *gain, float eps) {
  return {a, gain, eps};
}
// ... rows that lie in memory as they are, `step` apart, or the RMS norm of a single one: all of it is asked for at once.
template <class T, int M, int K, int THREADS, bool NORM> struct Copied {
  static constexpr int V = 16 / sizeof(T), PACKS = M * (K / V), EACH = (PACKS + THREADS - 1) / THREADS;
  const T *rows;
  u64 step;
  const float *gain;
  float eps;
  __device__ static float *gains() { __shared__ alignas(16) float g[NORM ? K : 4]; return g; }
  __device__ void before() const {
    if (NORM && gain)
      for (u32 i = threadIdx.x; i < K / 4; i += THREADS) ((uint4 *)gains())[i] = ((const uint4 *)gain)[i];
  }
  __device__ void make(T *x) const {
    Pack<T> own[EACH];
    #pragma unroll
    for (int i = 0; i < EACH; i++) {
      const u32 p = threadIdx.x + i * THREADS;
      if (p < PACKS) own[i] = *(const Pack<T> *)(rows + p / (K / V) * step + p % (K / V) * V);
    }
    if (NORM) {
      static_assert(!NORM || M == 1, "one row's numbers are spread over all threads");
      __shared__ float parts[THREADS / 32];
      float square = 0;
      #pragma unroll
      for (int i = 0; i < EACH; i++)
        if (threadIdx.x + i * THREADS < PACKS)
          #pragma unroll
          for (int j = 0; j < V; j++) square = fmaf(load(own[i].x[j]), load(own[i].x[j]), square);
      for (int d = 16; d; d /= 2) square += __shfl_xor_sync(~0u, square, d);
      if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = square;
      __syncthreads();
      float total = 0;
      #pragma unroll
      for (int i = 0; i < THREADS / 32; i++) total += parts[i];
      const float scale = rsqrtf(total / K + eps);
      #pragma unroll
      for (int i = 0; i < EACH; i++) {
        const u32 p = threadIdx.x + i * THREADS;
        if (p < PACKS)
          #pragma unroll
          for (int j = 0; j < V; j++) store(own[i].x[j], load(own[i].x[j]) * scale * (gain ? gains()[p * V + j] : 1.f));
      }
    }
    #pragma unroll
    for (int i = 0; i < EACH; i++)
      if (threadIdx.x + i * THREADS < PACKS) ((Pack<T> *)x)[threadIdx.x + i * THREADS] = own[i];
    __syncthreads();
  }
};

// Weights with neighbours along k; the columns of P parts lie N apart. A block walks over its share of the columns, at most MOST of them, in one stream:
// each is read by S warps, a range of k each, of which a lane has D columns' packs in flight; the sums are added up at the end. `out` is given
// those of a column of all parts, and what right(m, n) has read beside them. Grid: any that leaves a block no more than MOST columns.
template <class T, int M, int K, int P, int S, int D, int MOST, int THREADS, bool STEADY, class Operand, class Right, class Out>
__device__ inline void gemv(const T *w, u64 step, u32 N, Operand operand, Right right, Out out) {
  constexpr int V = 16 / sizeof(T), STRIDE = 32 * V, PACKS = ((K + STRIDE - 1) / STRIDE + S - 1) / S, GROUPS = THREADS / 32 / S;
  constexpr bool KEEP = M * PACKS <= 4; // the lane's part of the operand stays in registers
  __shared__ alignas(16) T x[M * K];
  __shared__ float sums[MOST][P * M][S];
  const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, share = warp % S, group = warp / S, start = share * PACKS * STRIDE + lane * V;
  const u32 first = (u64)blockIdx.x * N / gridDim.x, count = (u64)(blockIdx.x + 1) * N / gridDim.x - first;
  const T *next = w + (first + group) * step + start; // what is asked for next
  Pack<T> pack[D][P][PACKS];
  auto fetch = [&](int d, u32 column) {
    if (column >= count) return;
    #pragma unroll
    for (int p = 0; p < P; p++)
      #pragma unroll
      for (int i = 0; i < PACKS; i++)
        if (start + i * STRIDE < K) pack[d][p][i] = stream_pack(next + (u64)p * N * step + i * STRIDE);
    next += GROUPS * step;
  };
  auto begin_reading = [&] {
    #pragma unroll
    for (int d = 0; d < D; d++) fetch(d, group + d * GROUPS);
    operand.before();
  };
  let_next_in();
  if (STEADY) begin_reading(); // nothing of this need wait for the kernel before
  await_previous();
  if (!STEADY) begin_reading();
  decltype(right(0u, 0u)) beside;
  if (threadIdx.x < count * M) beside = right(threadIdx.x % M, first + threadIdx.x / M);
  operand.make(x);

  Pack<T> kept[KEEP ? M : 1][KEEP ? PACKS : 1];
  if (KEEP)
    #pragma unroll
    for (int m = 0; m < M; m++)
      #pragma unroll
      for (int i = 0; i < PACKS; i++)
        if (start + i * STRIDE < K) kept[m][i] = *(const Pack<T> *)(x + m * K + start + i * STRIDE);
  for (u32 c = group; c < count; c += D * GROUPS) {
    #pragma unroll
    for (int d = 0; d < D; d++) {
      const u32 column = c + d * GROUPS;
      if (column >= count) break;
      float sum[P][M] = {};
      #pragma unroll
      for (int i = 0; i < PACKS; i++) {
        if (start + i * STRIDE >= K) continue;
        #pragma unroll
        for (int m = 0; m < M; m++) {
          const Pack<T> b = KEEP ? kept[m][i] : *(const Pack<T> *)(x + m * K + start + i * STRIDE);
          #pragma unroll
          for (int p = 0; p < P; p++) sum[p][m] = dot(pack[d][p][i], b, sum[p][m]);
        }
      }
      fetch(d, column + D * GROUPS);
      #pragma unroll
      for (int p = 0; p < P; p++)
        #pragma unroll
        for (int m = 0; m < M; m++) {
          for (int l = 16; l; l /= 2) sum[p][m] += __shfl_xor_sync(~0u, sum[p][m], l);
          if (lane == 0) sums[column][p * M + m][share] = sum[p][m];
        }
    }
  }
  __syncthreads();
  for (u32 t = threadIdx.x; t < count * M; t += THREADS) {
    const u32 column = t / M, m = t % M;
    float total[P] = {};
    #pragma unroll
    for (int p = 0; p < P; p++)
      #pragma unroll
      for (int i = 0; i < S; i++) total[p] += sums[column][p * M + m][i];
    if (t >= THREADS) beside = right(m, first + column);
    if constexpr (P == 1) out(m, first + column, total[0], beside);
    else out(m, first + column, total[0], total[1], beside);
  }
}

// Weights with neighbours along n: 8 lanes hold a line of columns of each part, 32 lines of k are a block's, and k is shared out over gridDim.y
// blocks; the last of them to arrive adds what all have left in `partial`, in order. Grid: (ceil(N / line), splits).
template <class T, int M, int K, int P, int U, bool STEADY, class Operand, class Right, class Out>
__device__ inline void gemv_columns(const T *w, u64 step, u32 N, Operand operand, float *partial, u32 *tickets, Right right, Out out) {
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
        if (n < N && k + u * ROWS < to) pack[u][p] = stream_pack(w + (k + u * ROWS) * step + n + p * N);
  };
  auto begin_reading = [&] {
    fetch(from + row);
    operand.before();
  };
  let_next_in();
  if (STEADY) begin_reading();
  await_previous();
  if (!STEADY) begin_reading();
  operand.make(x);

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
