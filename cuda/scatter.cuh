// Sums of rows of dy [O, J, N] by index: out [O, A, N]. The indices are sorted first (`order`, stable), so that the terms of a row are neighbours,
// and `out` is cleared beside that. Each warp adds up the rows of a chunk of the order, for a slice of 32 * W columns; rows that go beyond their
// chunk leave partial sums [O, chunks, 2, N]: 0 of the row that comes from the chunk before, 1 of the one that begins here and goes on. A
// second launch adds those up: `runs` [chunks] has the row that begins in a chunk and goes on, THROUGH where a chunk is all of one that came
// from before and goes on, or NONE. The indices alone decide the order of every sum.
enum { NONE = -1, THROUGH = -2 };
template <int W, class T> __device__ inline void clear(T *out, u64 first, u64 end, u32 block) {
  pack<T, W, W * sizeof(T)> zero = {};
  #pragma unroll
  for (u32 k = 0; k < 8; k++) {
    u64 i = first + (u64)block * 2048 + k * 256 + threadIdx.x;
    if (i < end) ((pack<T, W, W * sizeof(T)> *)out)[i] = zero;
  }
}

template <int W, class T> struct Terms {
  using Number = decltype(load(T()));
  using Pack = pack<T, W, W * sizeof(T)>;
  Number sum[W];
  __device__ void reset() {
    #pragma unroll
    for (u32 e = 0; e < W; e++) sum[e] = 0;
  }
  __device__ void add(const Pack &p) {
    #pragma unroll
    for (u32 e = 0; e < W; e++) sum[e] += element(p, e);
  }
};

template <u32 CHUNK, int W, class T, class I, class Number> __device__ inline void sum_runs(
    const T *dy, const I *index, const int *order, T *out, Number *partial, int *runs, u32 *bad, u64 warps, u32 A, u32 N, u32 J, u32 chunks, u32 slices) {
  using Pack = pack<T, W, W * sizeof(T)>;
  constexpr u32 AHEAD = 8;
  u64 g = blockIdx.x * 8ull + threadIdx.x / 32;
  if (g >= warps) return;
  u32 lane = threadIdx.x % 32, slice = g % slices, c = g / slices % chunks, column = (slice * 32 + lane) * W;
  u64 o = g / slices / chunks;
  dy += o * J * N + column, out += o * A * N + column, partial += (o * chunks + c) * 2 * N + column;
  bool in = column < N;
  u32 first = c * CHUNK, n = min(CHUNK, J - first);
  // lane l holds entry first + l, and the last lanes the neighbours of the chunk
  auto id_at = [&](u32 i) { return load(index[order[i]]); };
  int at = lane < n ? order[first + lane] : 0;
  auto id = lane < n ? load(index[at]) : 0;
  bool from_before = c > 0 && id_at(first - 1) == __shfl_sync(~0u, id, 0);
  bool goes_on = first + n < J && id_at(first + n) == __shfl_sync(~0u, id, n - 1);
  bool valid = id >= 0 && id < A;
  if (lane < n && !valid && slice == 0 && o == 0) atomicAdd(bad, 1u);
  auto later = __shfl_down_sync(~0u, id, 1);
  u32 ends = __ballot_sync(~0u, lane + 1 >= n || id != later), valids = __ballot_sync(~0u, valid);
  int last = (int)__shfl_sync(~0u, id, n - 1);
  if (slice == 0 && o == 0 && lane == 0) {
    bool through = from_before && __ffs(ends) == (int)n;
    runs[c] = !goes_on ? NONE : through ? THROUGH : valids >> (n - 1) & 1 ? last : NONE;
  }
  Terms<W, T> run;
  run.reset();
  bool open = from_before;
  for (u32 base = 0; base < n; base += AHEAD) {
    Pack p[AHEAD];
    #pragma unroll
    for (u32 k = 0; k < AHEAD; k++) {
      u32 from = __shfl_sync(~0u, at, base + k);
      if (in && base + k < n) p[k] = *(const Pack *)(dy + (u64)from * N);
    }
    #pragma unroll
    for (u32 k = 0; k < AHEAD; k++) {
      u32 e = base + k;
      if (e >= n) break;
      run.add(p[k]);
      if (!(ends >> e & 1)) continue;
      bool beyond = e + 1 == n && goes_on;
      u64 row = (u64)__shfl_sync(~0u, id, e);
      if (in && (open || beyond)) {
        #pragma unroll
        for (u32 j = 0; j < W; j++) partial[(open ? 0 : N) + j] = run.sum[j];
      } else if (in && valids >> e & 1) put<W * sizeof(T)>(out + row * N, run.sum);
      run.reset(), open = false;
    }
  }
}
template <int W, class T, class Number> __device__ inline void join_runs(
    const int *runs, T *out, const Number *partial, u64 warps, u32 A, u32 N, u32 chunks, u32 slices) {
  u64 g = blockIdx.x * 8ull + threadIdx.x / 32;
  if (g >= warps) return;
  u32 lane = threadIdx.x % 32, slice = g % slices, c = g / slices % chunks, column = (slice * 32 + lane) * W;
  u64 o = g / slices / chunks;
  int row = runs[c];
  if (row < 0) return;
  u32 more = 1; // chunks that it goes on in
  for (u32 ended = 0; !ended;) {
    u32 i = c + more + lane;
    ended = __ballot_sync(~0u, i >= chunks || runs[i] != THROUGH);
    more += ended ? __ffs(ended) - 1 : 32;
  }
  if (column >= N) return;
  Number sum[W];
  const Number *p = partial + (o * chunks + c) * 2 * N + column;
  #pragma unroll
  for (u32 j = 0; j < W; j++) sum[j] = p[N + j];
  #pragma unroll 8
  for (u32 k = 1; k <= more; k++)
    #pragma unroll
    for (u32 j = 0; j < W; j++) sum[j] += p[(u64)k * 2 * N + j];
  put<W * sizeof(T)>(out + (o * A + row) * N + column, sum);
}
