// Products of a few rows: y[m, n] = sum_k a[m, k] w[n, k]. They are as fast as the weights can be read, so all of a warp's first loads are in
// flight before anything else happens. `a` is made by each block for itself, in shared memory: an expression, or an RMS norm of one; `out` is given
// each sum and stores what is to become of it. Sums are taken in an order that depends on the shape alone.
template <class T> struct alignas(16) Pack { T x[16 / sizeof(T)]; };
// Read once, so not kept in L1.
template <class T> __device__ inline Pack<T> stream_pack(const T *p) {
  union { uint4 bits; Pack<T> pack; } v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
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

// The N columns of each of P parts lie N apart. A warp owns R neighbouring columns of each part; its lanes stride over k, U packs of each column in
// flight; `out` is given the sums of a column of all parts. Grid: ceil(N / (R * THREADS / 32)).
template <class T, int M, int K, int R, int P, int U, int THREADS, bool NORM, class A, class Out>
__device__ inline void gemv(const T *w, u64 step, u32 N, A a, const float *gain, float eps, Out out) {
  constexpr int V = 16 / sizeof(T), WARPS = THREADS / 32, STRIDE = 32 * V, C = R * P;
  __shared__ alignas(16) T x[M * K];
  const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, first = (blockIdx.x * WARPS + warp) * R;
  const T *mine = w + first * step + lane * V;
  Pack<T> pack[U][C];
  auto fetch = [&](u32 k) {
    #pragma unroll
    for (int u = 0; u < U; u++)
      #pragma unroll
      for (int c = 0; c < C; c++)
        if (first + c % R < N && lane * V + k + u * STRIDE < K) pack[u][c] = stream_pack(mine + (c % R + (u64)N * (c / R)) * step + k + u * STRIDE);
  };
  fetch(0);
  if (NORM) {
    __shared__ float parts[M][WARPS];
    #pragma unroll
    for (int m = 0; m < M; m++) {
      float square = 0;
      #pragma unroll 8
      for (u32 k = threadIdx.x; k < K; k += THREADS) { float v = a(m, k); store(x[m * K + k], v); square = fmaf(v, v, square); }
      for (int d = 16; d; d /= 2) square += __shfl_xor_sync(~0u, square, d);
      if (lane == 0) parts[m][warp] = square;
    }
    __syncthreads();
    #pragma unroll
    for (int m = 0; m < M; m++) {
      float total = 0;
      for (int i = 0; i < WARPS; i++) total += parts[m][i];
      const float scale = rsqrtf(total / K + eps);
      #pragma unroll 8
      for (u32 k = threadIdx.x; k < K; k += THREADS) store(x[m * K + k], load(x[m * K + k]) * scale * (gain ? gain[k] : 1.f));
    }
  } else {
    #pragma unroll 8
    for (u32 i = threadIdx.x; i < M * K; i += THREADS) store(x[i], a(i / K, i % K));
  }
  __syncthreads();

  float sum[C][M] = {};
  for (u32 k = 0; k < K; k += U * STRIDE) {
    #pragma unroll
    for (int u = 0; u < U; u++) {
      const u32 at = k + u * STRIDE + lane * V;
      if (at >= K) continue;
      #pragma unroll
      for (int m = 0; m < M; m++) {
        const Pack<T> b = *(const Pack<T> *)(x + m * K + at);
        #pragma unroll
        for (int c = 0; c < C; c++) sum[c][m] = dot(pack[u][c], b, sum[c][m]);
      }
    }
    fetch(k + U * STRIDE);
  }
  #pragma unroll
  for (int c = 0; c < C; c++)
    #pragma unroll
    for (int m = 0; m < M; m++)
      for (int d = 16; d; d /= 2) sum[c][m] += __shfl_xor_sync(~0u, sum[c][m], d);
  #pragma unroll
  for (int r = 0; r < R; r++)
    #pragma unroll
    for (int m = 0; m < M; m++)
      if (lane == (r * M + m) % 32 && first + r < N) {
        if constexpr (P == 1) out(m, first + r, sum[r][m]);
        else out(m, first + r, sum[r][m], sum[R + r][m]);
      }
}
