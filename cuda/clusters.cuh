// Blocks that run together, on cards that have clusters.

// Where the first of BLOCKS blocks that run together gets N numbers from each, without a way through memory (PTX ISA, st.async).
template <int BLOCKS, int N, class T = float> struct Inbox {
  __device__ static T *numbers() { __shared__ T x[BLOCKS * N]; return x; }
  __device__ static u64 *arrival() { __shared__ u64 barrier; return &barrier; }
  __device__ static u32 in_first(u32 place) {
    u32 there = place;
#if __CUDA_ARCH__ >= 900
    asm("mapa.shared::cluster.u32 %0, %1, 0;" : "=r"(there) : "r"(place));
#endif
    return there;
  }
  // By all threads of all blocks, some time before the first is sent.
  __device__ static void open() {
#if __CUDA_ARCH__ >= 900
    if (threadIdx.x == 0) {
      asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(arrival())));
      asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
      asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(arrival())), "r"(BLOCKS * N * (int)sizeof(T)) : "memory");
    }
    __syncwarp();
    asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
#endif
  }
  __device__ static void await_opening() {
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.wait.aligned;" ::: "memory");
#endif
  }
  __device__ static void send(int block, int i, T x) {
#if __CUDA_ARCH__ >= 900
    u32 to = in_first(shared_address(numbers() + block * N + i)), told = in_first(shared_address(arrival()));
    if constexpr (sizeof(T) == 8) {
      u64 word;
      memcpy(&word, &x, 8);
      asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.b64 [%0], %1, [%2];" ::"r"(to), "l"(word), "r"(told) : "memory");
    } else {
      u32 word;
      memcpy(&word, &x, 4);
      asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.b32 [%0], %1, [%2];" ::"r"(to), "r"(word), "r"(told) : "memory");
    }
#endif
  }
  __device__ static void await_all() {
#if __CUDA_ARCH__ >= 900
    u32 there;
    do asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], 0; selp.u32 %0, 1, 0, p; }" : "=r"(there) : "r"(shared_address(arrival())) : "memory");
    while (!there);
#endif
  }
};

// reduce_columns by BLOCKS blocks of THREADS that share out the rows, AHEAD of each thread at once; the first of them joins what they found.
template <class P, int X, int W, int THREADS, int BLOCKS, int AHEAD, class F, class O> __device__ inline void reduce_columns_together(F value, O *out, u64 count, u64 inner) {
  constexpr int Y = THREADS / X, COLUMNS = X * W;
  using Found = Inbox<BLOCKS, COLUMNS, typename P::type>;
  __shared__ P parts[Y][COLUMNS];
  u32 x = threadIdx.x % X, y = threadIdx.x / X, block = blockIdx.x % BLOCKS, group = blockIdx.x / BLOCKS;
  u32 across = (inner + COLUMNS - 1) / COLUMNS, first = group % across * COLUMNS;
  u64 i = first + x * W, o = group / across;
  Found::open();
  P p[W];
  if (i < inner) {
    #pragma unroll AHEAD
    for (u64 c = block * Y + y; c < count; c += Y * BLOCKS) {
      typename P::type r[W];
      value((o * count + c) * inner + i, r);
      #pragma unroll
      for (int k = 0; k < W; k++) p[k].add(r[k], c);
    }
  }
  #pragma unroll
  for (int k = 0; k < W; k++) parts[y][k * X + x] = p[k];
  Found::await_opening();
  __syncthreads();
  if (threadIdx.x >= COLUMNS) return;
  P q = parts[0][threadIdx.x];
  #pragma unroll
  for (int w = 1; w < Y; w++) q.join(parts[w][threadIdx.x]);
  Found::send(block, threadIdx.x, q.x);
  if (block) return;
  Found::await_all();
  P all;
  #pragma unroll
  for (int b = 0; b < BLOCKS; b++) {
    P found;
    found.x = Found::numbers()[b * COLUMNS + threadIdx.x];
    if (b) all.join(found);
    else all = found;
  }
  i = first + threadIdx.x % X * W + threadIdx.x / X;
  if (i < inner) all.finish(out[o * inner + i]);
}
