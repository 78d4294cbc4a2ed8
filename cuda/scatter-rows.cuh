// Sums of rows of dy [J, N] by index in one launch: out [A, N]. Row r of out is of class r % classes, and a class belongs to `slices` blocks. Each of them
// reads the whole index and marks the rows of its class that it names. Its last warps then write zeros to a share of the others, which are most of
// what is written, while its first WORKERS threads list what names a row of the class, in order (row, then place), and add up neighbours for a slice of
// L packs of columns. The list is shared out evenly to GROUPS of L threads: what a group has of a row that began before it is in `heads`, and
// joined last. Shapes and the index alone decide the order of every sum.
__device__ inline bool below(int i, u32 end) { return (u32)i < end; }
__device__ inline bool below(long long i, u32 end) { return (u64)i < end; }
// A barrier of the first `THREADS` of a block.
template <u32 THREADS> __device__ inline void workers_meet() { asm volatile("bar.sync 1, %0;" ::"n"(THREADS) : "memory"); }
// The sum over the threads before this one, of the first B of a block.
template <u32 B> __device__ inline u32 sum_before(u32 value) {
  __shared__ u32 warps[B / 32];
  u32 lane = threadIdx.x % 32, sum = value, earlier = 0;
  #pragma unroll
  for (u32 d = 1; d < 32; d *= 2) { u32 u = __shfl_up_sync(~0u, sum, d); if (lane >= d) sum += u; }
  workers_meet<B>();
  if (lane == 31) warps[threadIdx.x / 32] = sum;
  workers_meet<B>();
  #pragma unroll 8
  for (u32 w = 0; w < threadIdx.x / 32; w++) earlier += warps[w];
  return earlier + sum - value;
}
template <u32 B, u32 WORKERS, u32 SHIFT, u32 L, int W, u32 AHEAD, class T, class I> __device__ inline void scatter_rows(
    const T *dy, const I *index, T *out, u32 *bad, u32 A, u32 N, u32 J, u32 classes, u32 slices) {
  using Pack = pack<T, W, W * sizeof(T)>;
  constexpr u32 PLACE = (1u << SHIFT) - 1, AT_ONCE = 16, GROUPS = WORKERS / L, FEW = 128, ASKED = 96 << 10, PIECE = 2048, WORDS = (PLACE + 32) / 32;
  extern __shared__ u32 list[]; // entries: row of the class << SHIFT | place; behind the last, what is of no row
  // entries as they come, and in order at last; by row of the class: how many, then where the next goes, and at last the end; a bit for each that has any
  u32 k = blockIdx.x % classes, slice = blockIdx.x / classes, rows = (A - k + classes - 1) / classes;
  u32 *found = list + PLACE + 5, *ends = found + PLACE + 2, *named = ends + rows;
  __shared__ float heads[GROUPS][L * W];
  __shared__ u32 n, heavy, heavies[PLACE / FEW + 1], places[WORDS];
  u32 lane = threadIdx.x % 32;
  #pragma unroll 1
  for (u32 i = threadIdx.x; i < rows; i += B) ends[i] = 0;
  if (threadIdx.x == 0) n = heavy = 0;
  __syncthreads();
  #pragma unroll 1
  for (u32 first = 0; first < J; first += B * AT_ONCE) {
    u32 base = first + threadIdx.x, mine = 0, wrong = 0;
    decltype(load(I())) id[AT_ONCE];
    #pragma unroll
    for (u32 u = 0; u < AT_ONCE; u++) id[u] = base + u * B < J ? load(index[base + u * B]) : 0;
    if constexpr (sizeof(Pack) == 16) { // memory has nothing else to do: terms are on their way into L2, a piece of each block in turn
      u64 at = ((u64)threadIdx.x * gridDim.x + blockIdx.x) * PIECE, all = (u64)J * N * sizeof(T);
      if (first == 0 && threadIdx.x < ASKED / PIECE && at < all) ask_for((const char *)dy + at, (u32)min((u64)PIECE, all - at));
    }
    #pragma unroll
    for (u32 u = 0; u < AT_ONCE; u++) {
      bool there = base + u * B < J, valid = below(id[u], A);
      mine |= (u32)(there & valid & ((u32)id[u] % classes == k)) << u;
      wrong += there & !valid;
    }
    if (blockIdx.x == 0 && wrong) atomicAdd(bad, wrong);
    u32 own = __popc(mine), at = own, begin = 0;
    #pragma unroll
    for (u32 d = 1; d < 32; d *= 2) { u32 u = __shfl_up_sync(~0u, at, d); if (lane >= d) at += u; }
    if (lane == 31 && at) begin = atomicAdd(&n, at);
    at += __shfl_sync(~0u, begin, 31) - own;
    for (; mine; mine &= mine - 1) {
      u32 i = base + (__ffs(mine) - 1) * B, local = (u32)load(index[i]) / classes;
      atomicAdd(&ends[local], 1u);
      found[at++] = local << SHIFT | i;
    }
  }
  __syncthreads();
  #pragma unroll 1
  for (u32 i = threadIdx.x; i - lane < rows; i += B) {
    u32 word = __ballot_sync(~0u, i < rows && ends[i]);
    if (lane == 0) named[i / 32] = word;
  }
  __syncthreads();
  if (threadIdx.x >= WORKERS) {
    Pack zero = {};
    #pragma unroll 1
    for (u32 i = slice + (threadIdx.x - WORKERS) / 32 * slices; i < rows; i += slices * ((B - WORKERS) / 32)) {
      if (named[i / 32] >> i % 32 & 1) continue;
      Pack *row = (Pack *)(out + (u64)(i * classes + k) * N);
      #pragma unroll 4
      for (u32 p = lane; p < N / W; p += 32) row[p] = zero;
    }
    return;
  }
  u32 each = (rows + WORKERS - 1) / WORKERS, from = min(rows, threadIdx.x * each), to = min(rows, from + each), count = 0;
  #pragma unroll 1
  for (u32 i = from; i < to; i++) count += ends[i];
  count = sum_before<WORKERS>(count);
  #pragma unroll 1
  for (u32 i = from; i < to; i++) {
    u32 own = ends[i];
    if (own > FEW) heavies[atomicAdd(&heavy, 1u)] = i;
    ends[i] = count, count += own;
  }
  workers_meet<WORKERS>();
  #pragma unroll 1
  for (u32 e = threadIdx.x; e < n; e += WORKERS) { u32 entry = found[e]; list[atomicAdd(&ends[entry >> SHIFT], 1u)] = entry; }
  if (threadIdx.x < 4) list[n + threadIdx.x] = ~0u;
  workers_meet<WORKERS>();
  if (threadIdx.x == 0) found[n] = ~0u;
  auto begin_of = [&](u32 local) { return local ? ends[local - 1] : 0; };
  // Places of a row in order: of few each finds its own rank, of many they are marked.
  #pragma unroll 1
  for (u32 e = threadIdx.x; e < n; e += WORKERS) {
    u32 entry = list[e], local = entry >> SHIFT, begin = begin_of(local), end = ends[local], rank = begin & ~3u;
    if (end - begin > FEW) continue;
    #pragma unroll 4
    for (u32 o = begin & ~3u; o < end; o += 4) { // four at once; what is of other rows has its place, too
      pack<u32, 4, 16> four = *(const pack<u32, 4, 16> *)(list + o);
      #pragma unroll
      for (u32 u = 0; u < 4; u++) rank += four.x[u] < entry;
    }
    found[rank] = entry;
  }
  #pragma unroll 1
  for (u32 h = 0; h < heavy; h++) {
    u32 local = heavies[h], begin = begin_of(local), end = ends[local];
    if (threadIdx.x < WORDS) places[threadIdx.x] = 0;
    workers_meet<WORKERS>();
    #pragma unroll 1
    for (u32 e = begin + threadIdx.x; e < end; e += WORKERS) { u32 i = list[e] & PLACE; atomicOr(&places[i / 32], 1u << i % 32); }
    workers_meet<WORKERS>();
    u32 bits = threadIdx.x < WORDS ? places[threadIdx.x] : 0, at = begin + sum_before<WORKERS>(__popc(bits));
    for (; bits; bits &= bits - 1) found[at++] = local << SHIFT | (threadIdx.x * 32 + __ffs(bits) - 1);
  }
  workers_meet<WORKERS>();
  u32 g = threadIdx.x / L, own = threadIdx.x % L, column = (slice * L + own) * W;
  u32 share = (n + GROUPS - 1) / GROUPS, first = min(n, g * share), end = min(n, first + share);
  bool works = g < GROUPS && first < end && column < N;
  auto goes_on = [&](u32 e) { return (found[e - 1] ^ found[e]) >> SHIFT == 0; }; // the row of the entry before e
  bool open = works && first > 0 && goes_on(first);
  Terms<W, T> sum;
  sum.reset();
  auto leave = [&](u32 entry) { put<W * sizeof(T)>(out + (u64)((entry >> SHIFT) * classes + k) * N + column, sum.sum); };
  auto leave_head = [&]() {
    #pragma unroll
    for (int w = 0; w < W; w++) heads[g][w * L + own] = sum.sum[w];
  };
  if (works) {
    Pack p[AHEAD];
    auto ask = [&](u32 u, u32 e) { if (e < end) p[u] = *(const Pack *)(dy + (u64)(found[e] & PLACE) * N + column); };
    #pragma unroll
    for (u32 u = 0; u < AHEAD; u++) ask(u, first + u);
    #pragma unroll 1
    for (u32 e = first; e < end; e += AHEAD)
      #pragma unroll
      for (u32 u = 0; u < AHEAD; u++) {
        if (e + u >= end) break;
        sum.add(p[u]);
        ask(u, e + u + AHEAD);
        if (goes_on(e + u + 1)) continue;
        if (open) leave_head();
        else leave(found[e + u]);
        sum.reset(), open = false;
      }
    if (open) leave_head(); // all of it is of a row that began before and goes on
  }
  workers_meet<WORKERS>();
  if (works && !open && goes_on(end)) { // what began here waits in registers
    #pragma unroll 1
    for (u32 q = g + 1; q * share < n && (found[q * share] ^ found[end - 1]) >> SHIFT == 0; q++)
      #pragma unroll
      for (int w = 0; w < W; w++) sum.sum[w] += heads[q][w * L + own];
    leave(found[end - 1]);
  }
}
