// Attention over a cache (decode.cuh) of any type and width, all of a chunk in flight on its way to registers.

// Features are kept as the words that they are read in: taken apart at once, they would be waited for at once.
template <class T> union Features {
  uint4 words;
  Pack<T> pack;
  __device__ Features() {}
};
template <bool ALIGNED, class T> __device__ inline uint4 load_words(const T *p) {
  Features<T> v;
  if (ALIGNED) v.words = *(const uint4 *)p;
  else for (int i = 0; i < (int)(16 / sizeof(T)); i++) v.pack.x[i] = p[i];
  return v.words;
}
template <class T> __device__ inline float feature(const uint4 &words, int e) {
  Features<T> v;
  v.words = words;
  return load(v.pack.x[e]);
}

constexpr int DECODE_THREADS = 128, DECODE_KEYS = 4; // keys of a chunk that one thread has in registers
// Lanes that hold the features of one key.
__device__ constexpr int decode_lanes(int packs) { int n = 1; while (n < packs) n *= 2; return n; }
template <class T, int E> __device__ constexpr int decode_chunk() { return DECODE_THREADS / decode_lanes(E * sizeof(T) / 16) * DECODE_KEYS; }

template <class T, int E, int Q, int NEW, bool ALIGNED, int TOGETHER, class Ask, class Made, class I>
__device__ inline void decode_attention(Ask ask, Made made, T *k, Steps ks, T *v, Steps vs, const I *length, long long guess, T *o, float *lse,
                                        float *partial, u32 *tickets, u32 *bad, DecodeShape s) {
  constexpr int V = 16 / sizeof(T), LANES = decode_lanes(E / V), GROUPS = DECODE_THREADS / LANES, CHUNK = decode_chunk<T, E>();
  constexpr int WARPS = DECODE_THREADS / 32;
  __shared__ float query[Q][E], sums[WARPS][Q][E + 2];
  __shared__ alignas(16) T fresh[NEW ? NEW : 1][2][E];
  const float none = MINUS_INF;
  const int lane = threadIdx.x % LANES, group = threadIdx.x / LANES, warp = threadIdx.x / 32;
  DecodeBlock<Q, NEW, CHUNK> block(s);
  const T *keys = block.rows(k, ks) + lane * V, *values = block.rows(v, vs) + lane * V;
  const bool holds = lane < E / V;
  uint4 key[DECODE_KEYS], value[DECODE_KEYS];
  auto fetch = [&](int chunk) {
    #pragma unroll
    for (int i = 0; i < DECODE_KEYS; i++) {
      const int j = chunk * CHUNK + i * GROUPS + group;
      key[i] = value[i] = uint4{0, 0, 0, 0};
      if (j < block.old && holds) key[i] = load_words<ALIGNED>(keys + j * ks.t), value[i] = load_words<ALIGNED>(values + j * vs.t);
    }
  };
  // all that is read at first is asked for at once, with no branch in between: the keys by a guess of the length, which is right but for first steps
  const long long wanted = load(*length);
  block.share_out(guess);
  fetch(block.own());
  const DecodeGiven<T, E, Q, NEW, DECODE_THREADS> given(block, ask, made);
  if (wanted != guess) {
    block.share_out(wanted);
    fetch(block.own());
  }
  if (NEW && !block.fits && blockIdx.x + blockIdx.y + blockIdx.z + threadIdx.x == 0) atomicAdd(bad, 1u);
  if (!TOGETHER && (int)blockIdx.x >= block.parts) return;

  float sum[Q][V] = {}, top[Q], total[Q] = {}; // of the keys of a warp: `top` of all, the rest of the lane's group
  #pragma unroll
  for (int u = 0; u < Q; u++) top[u] = none;
  for (int chunk = block.own(); chunk < block.chunks; chunk += block.parts) {
    if (chunk != block.own()) fetch(chunk);
    else {
      given.put(block, &query[0][0], s.scale * LOG2E, &fresh[0][0][0], k, ks, v, vs);
      __syncthreads();
    }
    if (NEW)
      #pragma unroll
      for (int i = 0; i < DECODE_KEYS; i++) {
        const int at = chunk * CHUNK + i * GROUPS + group - block.old;
        if (at >= 0 && at < block.n - block.old && holds) key[i] = *(const uint4 *)&fresh[at][0][lane * V], value[i] = *(const uint4 *)&fresh[at][1][lane * V];
      }
    #pragma unroll
    for (int u = 0; u < Q; u++) {
      float dot[DECODE_KEYS] = {};
      if (holds)
        #pragma unroll
        for (int e = 0; e < V; e++) {
          float x = query[u][lane * V + e];
          #pragma unroll
          for (int i = 0; i < DECODE_KEYS; i++) dot[i] = fmaf(x, feature<T>(key[i], e), dot[i]);
        }
      #pragma unroll
      for (int i = 0; i < DECODE_KEYS; i++) {
        for (int d = LANES / 2; d; d /= 2) dot[i] += __shfl_xor_sync(~0u, dot[i], d);
        if (!block.sees(u, chunk * CHUNK + i * GROUPS + group)) dot[i] = none;
      }
      float most = top[u];
      #pragma unroll
      for (int i = 0; i < DECODE_KEYS; i++) most = fmaxf(most, dot[i]);
      for (int d = LANES; d < 32; d *= 2) most = fmaxf(most, __shfl_xor_sync(~0u, most, d));
      const float base = most == none ? 0 : most, shrink = exp2_fast(top[u] - base);
      top[u] = most, total[u] *= shrink;
      #pragma unroll
      for (int i = 0; i < DECODE_KEYS; i++) dot[i] = exp2_fast(dot[i] - base), total[u] += dot[i];
      #pragma unroll
      for (int e = 0; e < V; e++) {
        float x = sum[u][e] * shrink;
        #pragma unroll
        for (int i = 0; i < DECODE_KEYS; i++) x = fmaf(dot[i], feature<T>(value[i], e), x);
        sum[u][e] = x;
      }
    }
  }
  #pragma unroll
  for (int u = 0; u < Q; u++) {
    for (int d = LANES; d < 32; d *= 2) {
      total[u] += __shfl_xor_sync(~0u, total[u], d);
      #pragma unroll
      for (int e = 0; e < V; e++) sum[u][e] += __shfl_xor_sync(~0u, sum[u][e], d);
    }
    if (threadIdx.x % 32 < LANES && holds)
      #pragma unroll
      for (int e = 0; e < V; e++) sums[warp][u][lane * V + e] = sum[u][e];
    if (threadIdx.x % 32 == 0) sums[warp][u][E] = top[u], sums[warp][u][E + 1] = total[u];
  }
  __syncthreads();
  decode_merge<E, Q, WARPS, TOGETHER>(block, [&](int w, int u, int e) { return sums[w][u][e]; }, o, lse, partial, tickets);
}
