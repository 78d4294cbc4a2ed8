// What attention on the tiles of wgmma.cuh is made of, for heads of 64 or 128 features: a persistent block takes works of 128 rows, 64 to each of two
// multiplying warpgroups; the third copies those rows, and tiles of N of the other side into a ring, as far ahead as there is room. Scores never
// leave registers: they are rounded to T there, as the first operand of the products that follow.

// ROWS x E halves as panels of 64 features, rows of 128 bytes in the 128-byte swizzle: an operand along its features and across them.
template <int ROWS, int E> struct Panels {
  static const u32 BYTES = ROWS * E * 2, PANEL = ROWS * 128;
  u32 base;
  __device__ u32 chunk(int row, int c) const { return base + c / 8 * PANEL + row * 128 + ((c % 8 ^ row & 7) << 4); }
  // Copies rows first.. of a matrix of `rows` rows, what lies beyond being zero. 128 threads.
  template <class T> __device__ void fetch(const T *x, u64 step, int first, int rows) const {
    const int CHUNKS = E / 8, AT_ONCE = 128 / CHUNKS; // a multiple of 8: the rows of a thread are permuted alike
    int r = threadIdx.x % 128 / CHUNKS, c = threadIdx.x % CHUNKS;
    const T *from = x + (u64)(first + r) * step + 8 * c;
    u32 to = chunk(r, c);
    #pragma unroll
    for (int i = 0; i < ROWS; i += AT_ONCE) {
      bool in = rows % ROWS == 0 || first + r + i < rows;
      copy16(to + i * 128, in ? from + i * step : x, in);
    }
  }
  // 16 features from k on of the rows from `row` on, inner axis of a product.
  __device__ u64 along(int row, int k) const { return describe(base + row * 128, 16, 1024) + (k / 64 * PANEL + k % 64 * 2) / 16; }
  // All features of 16 rows from `row` on, which are the inner axis.
  __device__ u64 across(int row) const { return describe(base, PANEL, 1024) + row * 8; }
  // Writes 16 rows from `own` on, times `scale`, into `rows` rows of x that begin at first + own, by way of the same rows here. A warp.
  template <class T> __device__ void store(T *x, u64 step, int first, int rows, const float (&d)[E / 2], float scale, int own) const {
    int lane = threadIdx.x % 32;
    #pragma unroll
    for (int i = 0; i < E / 4; i++)
      asm volatile("st.shared.u32 [%0], %1;" ::"r"(chunk(own + lane / 4 + i % 2 * 8, i / 2) + lane % 4 * 4), "r"(Half<T>::pack(d[2 * i] * scale, d[2 * i + 1] * scale)));
    __syncwarp();
    #pragma unroll
    for (int i = lane; i < 16 * (E / 8); i += 32) {
      int r = own + i / (E / 8), c = i % (E / 8);
      uint4 y;
      asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(y.x), "=r"(y.y), "=r"(y.z), "=r"(y.w) : "r"(chunk(r, c)));
      if (rows % ROWS == 0 || first + r < rows) *(uint4 *)(x + (u64)(first + r) * step + 8 * c) = y;
    }
  }
};
// Stages of two tiles of N rows, and 1 KB: N values of lse and of delta, or the ranges of 128 rows.
template <int COUNT, int N, int E> struct Pairs : Stages<COUNT, 2 * Panels<N, E>::BYTES + 1024, Panels<N, E>::BYTES> {
  static const u32 BYTES = COUNT * (2 * Panels<N, E>::BYTES + 1024);
  __device__ Panels<N, E> first() const { return {this->a()}; }
  __device__ Panels<N, E> second() const { return {this->b()}; }
  __device__ u32 rest() const { return this->b() + Panels<N, E>::BYTES; }
};
// What the copying warpgroup hands over: a block's own rows with the number of their work, OWN of them at most, and the tiles of all works in turn.
template <int OWN, int COUNT, int N, int E> struct Feed {
  Pairs<OWN, 128, E> own;
  Pairs<COUNT, N, E> ring;
  int *works;
  u32 *tickets;
  int total;
  // The next work, when there is room for its rows; `total` or more after the last. All threads of the copying warpgroup.
  __device__ int take() {
    room(own);
    if (threadIdx.x % 128 == 0) {
      works[own.at] = atomicInc(tickets, total + gridDim.x - 1); // as many are taken as it counts: 0 again for the next launch
      arrive(own.filled());
    }
    asm volatile("bar.sync 3, 128;" ::: "memory");
    return works[own.at];
  }
  __device__ int work() const { wait(own.filled(), own.phase); return works[own.at]; }
};
// All threads call it once.
template <int OWN, int COUNT, int N, int E> __device__ inline Feed<OWN, COUNT, N, E> open_feed(u32 *tickets, int total) {
  __shared__ u64 barriers[2 * (OWN + COUNT)];
  __shared__ int works[OWN];
  u32 at = aligned_memory(), b = shared_address(barriers);
  Feed<OWN, COUNT, N, E> feed{{{at, b, b + 8 * OWN}}, {{at + Pairs<OWN, 128, E>::BYTES, b + 16 * OWN, b + 16 * OWN + 8 * COUNT}}, works, tickets, total};
  if (threadIdx.x == 0) open_stages(feed.own, 129, 8), open_stages(feed.ring, 128, 2);
  __syncthreads();
  return feed;
}

__device__ inline void started() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int PENDING> __device__ inline void ended() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory"); }
template <int N> __device__ inline void settle(float (&d)[N]) {
  #pragma unroll
  for (int i = 0; i < N; i++) asm volatile("" : "+f"(d[i])::"memory");
}
__device__ inline void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
// d[64 x N] = the rows of `a` from `mine` on, times the transpose of b.
template <class T, int N, int M, int E> __device__ inline void scores(float (&d)[N / 2], const Panels<M, E> &a, int mine, const Panels<N, E> &b) {
  #pragma unroll
  for (int k = 0; k < E; k += 16) Multiply<T, N, 0, 0>::run(d, a.along(mine, k), b.along(0, k), k);
  started();
}
// d[64 x E] += p b; p stays as it is until the product has ended.
template <class T, int N, int E> __device__ inline void plus_product(float (&d)[E / 2], const u32 (&p)[N / 16][4], const Panels<N, E> &b) {
  #pragma unroll
  for (int k = 0; k < N / 16; k++) Accumulate<T, E>::run(d, p[k], b.across(16 * k));
  started();
}
template <class T, int N> __device__ inline void to_operand(u32 (&x)[N / 16][4], const float (&p)[N / 2]) {
  #pragma unroll
  for (int i = 0; i < N / 4; i++) x[i / 4][i % 4] = Half<T>::pack(p[2 * i], p[2 * i + 1]);
}
template <int N> __device__ inline float (&as_tiles(float (&d)[N]))[1][N / 4][4] { return *(float (*)[1][N / 4][4])&d; }
__device__ inline void warpgroup_meets() { asm volatile("bar.sync %0, 128;" ::"r"(1 + threadIdx.x / 128) : "memory"); }
// The number of this thread's warp, as the compiler knows to be the warp's.
__device__ inline int warp_number() { return __shfl_sync(~0u, threadIdx.x / 32, 0); }
__device__ inline float2 shared_pair(u32 at) { float2 x; asm volatile("ld.shared.v2.f32 {%0,%1}, [%2];" : "=f"(x.x), "=f"(x.y) : "r"(at)); return x; }

// Takes part in `turns` stages that hold nothing for this warpgroup.
template <class R> __device__ inline void pass_over(R &ring, int turns) {
  for (; turns > 0; turns--, ring.next()) {
    wait(ring.filled(), ring.phase);
    if (threadIdx.x % 128 == 0) arrive(ring.emptied());
  }
}
// Takes the tiles that a warpgroup sees, whose rows have the ranges `earliest` to `latest`, in a row, `turn(tile)` being one: its products may be
// under way while the next begins, which says that they have ended by emptying the stage before.
template <int N, class R, class F> __device__ inline void walk(R &ring, int2 tiles, int2 earliest, int2 latest, F turn) {
  int from = min(max(tiles.x, earliest.x / N), tiles.y), to = min(max(from, (latest.y + N - 1) / N), tiles.y);
  pass_over(ring, from - tiles.x);
  if (from < to) {
    for (int tile = from;;) {
      wait(ring.filled(), ring.phase);
      copies_are_seen();
      turn(tile, tile > from);
      ring.next();
      if (++tile == to) break;
    }
    ended<0>();
    if (threadIdx.x % 128 == 0) arrive(ring.emptied_before());
  }
  pass_over(ring, tiles.y - to);
}
// The ranges of this warpgroup's rows, in the rest of the block's own stage.
__device__ inline void find_ranges(const Ranges<128> &ranges, const int *offsets, int mine) {
  if (!ranges.s.sequences) return;
  int r = threadIdx.x % 128;
  if (r < 64) ranges.table[mine + r] = ranges.find(offsets, mine + r);
  warpgroup_meets();
}
// Tiles of N that some row of 128 sees.
__device__ inline int2 tiles_of(const Ranges<128> &ranges, const int *offsets, int N) {
  return {ranges.find(offsets, 0).x / N, (ranges.find(offsets, 127).y + N - 1) / N};
}
__device__ inline void *generic_address(u32 shared) { u64 x; asm("cvta.shared.u64 %0, %1;" : "=l"(x) : "l"((u64)shared)); return (void *)x; }

// The works of a block, taken in turn: the copying warpgroup has fetch(work) fill the block's own stage and the ring, each warp of the others
// make(work, its number) its 16 rows of the results.
template <class F, class Fetch, class Make> __device__ inline void take_works(F &feed, Fetch fetch, Make make) {
  int warp = warp_number();
  if (warp >= 8) {
    registers_down<40>();
    for (int work; (work = feed.take()) < feed.total; feed.own.next()) fetch(work);
    hand_over(feed.own);
    return;
  }
  registers_up<232>();
  for (int work; (work = feed.work()) < feed.total; feed.own.next()) {
    make(work, warp);
    __syncwarp();
    if (threadIdx.x % 32 == 0) arrive(feed.own.emptied());
  }
}
// A work that owns queries: 128 from i0 on of a head, the longest rows first.
struct QueryWork { int i0, h, b, hk; };
__device__ inline int query_blocks(const Shape &s) { return (s.Tq + 127) / 128; }
__device__ inline QueryWork query_work(int work, const Shape &s) {
  int blocks = query_blocks(s), h = work / blocks % s.Hq;
  return {(blocks - 1 - work % blocks) * 128, h, work / blocks / s.Hq, h / (s.Hq / s.Hkv)};
}
// Sends the tiles of N keys and values of such a work through the ring.
template <int N, class R, class T> __device__ inline void fetch_keys(R &ring, int2 tiles, const QueryWork &w, const T *k, Heads sk, const T *v, Heads sv, int Tk) {
  for (int tile = tiles.x; tile < tiles.y; tile++) {
    room(ring);
    ring.first().fetch(k + w.b * sk.sB + w.hk * sk.sH, sk.sT, tile * N, Tk);
    ring.second().fetch(v + w.b * sv.sB + w.hk * sv.sH, sv.sT, tile * N, Tk);
    hand_over(ring);
  }
}
