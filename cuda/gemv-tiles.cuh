// Products of a few rows of halves on tensor cores: y[m, n] = sum_k a[m, k] w[n, k] with the weights as the left operand, so that up to eight rows
// cost what one does. A block for each processor walks over tiles of 16 columns (or 8 of each half of a gated row), each of its warps over a
// share of k. What a thread has asked for lies in its own places of shared memory: enough in flight to stream the weights, and, since two such
// kernels fit on a processor, the next one's first weights arrive while this one ends.
__device__ inline void multiply(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1, bf16) {
#if __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
#endif
}
__device__ inline void multiply(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1, f16) {
#if __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
#endif
}

// Columns n, n + N, ... of P parts are finished together: out(m, n, sums..., beside), where beside = right(m, n) is read before the sums are known.
// Grid: any; it is walked in strides. Dynamic shared memory: M * (K + 32) elements, then DEPTH * 2 * THREADS * 16 bytes.
template <class T, int M, int K, int P, int DEPTH, int THREADS, bool NORM, bool STEADY, class A, class Right, class Out>
__device__ inline void gemv_tiles(const T *w, u64 step, u32 N, A a, const float *gain, float eps, Right right, Out out) {
  constexpr int WARPS = THREADS / 32, C = 16 / P, PITCH = K + 32, STEPS = (K + 32 * WARPS - 1) / (32 * WARPS), EACH = (K + THREADS - 1) / THREADS;
  extern __shared__ uint4 memory[];
  __shared__ float parts[2][WARPS][16 * M], squares[M][WARPS];
  T *x = (T *)memory;
  uint4 *ring = memory + M * PITCH * sizeof(T) / 16 + threadIdx.x;
  const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, row = lane / 4, start = warp * STEPS * 32 + lane % 4 * 8, tiles = (N + C - 1) / C;
  // two rows of the tile are a lane's: columns 8 apart, or the same one of both parts
  u32 tile = blockIdx.x, at = 0;
  auto fetch = [&](u32 slot) {
    #pragma unroll
    for (int i = 0; i < 2; i++) {
      const u32 n = tile * C + row + (P == 1 ? 8 * i : 0), k = start + at * 32;
      const bool there = n < N && k < K;
      copy_async<16>(ring + (slot * 2 + i) * THREADS, there ? w + (n + (u64)(P == 1 ? 0 : i) * N) * step + k : w, there);
    }
    commit_copies();
    if (++at == STEPS) at = 0, tile += gridDim.x;
  };
  let_next_in();
  float gains[NORM ? EACH : 1];
  auto begin_reading = [&] {
    #pragma unroll
    for (int i = 0; i < DEPTH; i++) fetch(i);
    if (NORM)
      #pragma unroll
      for (int i = 0; i < EACH; i++) gains[i] = gain && threadIdx.x + i * THREADS < K ? gain[threadIdx.x + i * THREADS] : 1.f;
  };
  if (STEADY) begin_reading(); // nothing of this need wait for the kernel before
  await_previous();
  if (!STEADY) begin_reading();

  // the operand, in rows that lie in different banks; its numbers stay in registers from the norm's first pass to the second where they fit
  constexpr bool KEEP = M * EACH <= 16;
  float value[KEEP ? M : 1][EACH];
  if (NORM) {
    #pragma unroll
    for (int m = 0; m < M; m++) {
      float square = 0;
      #pragma unroll
      for (int i = 0; i < EACH; i++) {
        const float v = threadIdx.x + i * THREADS < K ? a(m, threadIdx.x + i * THREADS) : 0;
        square = fmaf(v, v, square);
        if (KEEP) value[m][i] = v;
      }
      for (int d = 16; d; d /= 2) square += __shfl_xor_sync(~0u, square, d);
      if (lane == 0) squares[m][warp] = square;
    }
    __syncthreads();
  }
  #pragma unroll
  for (int m = 0; m < M; m++) {
    float total = 0;
    if (NORM)
      #pragma unroll
      for (int i = 0; i < WARPS; i++) total += squares[m][i];
    const float scale = rsqrtf(total / K + eps);
    #pragma unroll
    for (int i = 0; i < EACH; i++)
      if (threadIdx.x + i * THREADS < K) {
        const float v = NORM && KEEP ? value[m][i] : a(m, threadIdx.x + i * THREADS);
        store(x[m * PITCH + threadIdx.x + i * THREADS], NORM ? v * scale * gains[i] : v);
      }
  }
  __syncthreads();

  u32 slot = 0, turn = 0;
  const u32 m = threadIdx.x / C, c = threadIdx.x % C;
  for (u32 t = blockIdx.x; t < tiles; t += gridDim.x, turn ^= 1) {
    const u32 n = t * C + c;
    const bool finishes = m < M && n < N;
    decltype(right(0u, 0u)) beside;
    if (finishes) beside = right(m, n);
    float sum[4] = {};
    #pragma unroll
    for (int s = 0; s < STEPS; s++) {
      await_copies<DEPTH - 1>();
      const uint4 w0 = ring[slot * 2 * THREADS], w1 = ring[(slot * 2 + 1) * THREADS];
      const u32 k = start + s * 32;
      const uint4 b = row < M && k < K ? *(const uint4 *)(x + row * PITCH + k) : uint4{0, 0, 0, 0};
      multiply(sum, w0.x, w1.x, w0.y, w1.y, b.x, b.y, T());
      multiply(sum, w0.z, w1.z, w0.w, w1.w, b.z, b.w, T());
      fetch(slot);
      if (++slot == DEPTH) slot = 0;
    }
    #pragma unroll
    for (int i = 0; i < 4; i++) {
      const u32 column = lane % 4 * 2 + i % 2;
      if (column < M) parts[turn][warp][(row + i / 2 * 8) * M + column] = sum[i];
    }
    __syncthreads();
    if (finishes) {
      float total[P] = {};
      #pragma unroll
      for (int p = 0; p < P; p++)
        #pragma unroll
        for (int i = 0; i < WARPS; i++) total[p] += parts[turn][i][(p * C + c) * M + m];
      if constexpr (P == 1) out(m, n, total[0], beside);
      else out(m, n, total[0], total[1], beside);
    }
  }
}
