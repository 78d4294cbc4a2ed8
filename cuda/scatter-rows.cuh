// Sums of rows of dy [J, N] by index in one launch: out [A, N]. Rows of out lie in classes, in turns of UNIT rows, and a class belongs to `slices` blocks.
// Each of them reads the whole index, lists what names a row of its class, in order (row, then place), and adds up neighbours for a slice of L packs
// of columns; then it writes a share of the rows that nothing names. The list is shared out evenly to GROUPS of L threads: what a group has of a row
// that began before it is in `heads`, and joined last. Shapes and the index alone decide the order of every sum.
__device__ inline bool below(int i, u32 end) { return (u32)i < end; }
__device__ inline bool below(long long i, u32 end) { return (u64)i < end; }
// The sum over the threads before this one, of a block of B.
template <u32 B> __device__ inline u32 sum_before(u32 value) {
  __shared__ u32 warps[B / 32];
  u32 lane = threadIdx.x % 32, sum = value, earlier = 0;
  #pragma unroll
  for (u32 d = 1; d < 32; d *= 2) { u32 u = __shfl_up_sync(~0u, sum, d); if (lane >= d) sum += u; }
  __syncthreads();
  if (lane == 31) warps[threadIdx.x / 32] = sum;
  __syncthreads();
  #pragma unroll 8
  for (u32 w = 0; w < threadIdx.x / 32; w++) earlier += warps[w];
  return earlier + sum - value;
}
template <u32 B, u32 SHIFT, u32 UNIT, u32 L, int W, u32 AHEAD, class T, class I> __device__ inline void scatter_rows(
    const T *dy, const I *index, T *out, u32 *bad, u32 A, u32 N, u32 J, u32 classes, u32 slices) {
  using Pack = pack<T, W, W * sizeof(T)>;
  constexpr u32 PLACE = (1u << SHIFT) - 1, AT_ONCE = 16, GROUPS = B / L, FEW = 256, WORDS = (PLACE + 32) / 32;
  extern __shared__ u32 list[]; // entries: row << SHIFT | place
  // entries as they come, and in order at last; by row of the class: how many, then where the next goes, and at last the end
  u32 *found = list + PLACE + 1, *ends = found + PLACE + 1;
  __shared__ float heads[GROUPS][L * W];
  __shared__ u32 n, heavy, heavies[PLACE / FEW + 1], places[WORDS];
  u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, k = blockIdx.x % classes, slice = blockIdx.x / classes, P = N / W;
  u32 turns = ((A + UNIT - 1) / UNIT - k + classes - 1) / classes, rows = turns * UNIT; // of the class
  auto row_of = [&](u32 local) { return (local / UNIT * classes + k) * UNIT + local % UNIT; };
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
    #pragma unroll
    for (u32 u = 0; u < AT_ONCE; u++) {
      bool there = base + u * B < J, valid = below(id[u], A);
      mine |= (u32)(there & valid & ((u32)id[u] / UNIT % classes == k)) << u;
      wrong += there & !valid;
    }
    if (blockIdx.x == 0 && wrong) atomicAdd(bad, wrong);
    u32 own = __popc(mine), at = own, begin = 0;
    #pragma unroll
    for (u32 d = 1; d < 32; d *= 2) { u32 u = __shfl_up_sync(~0u, at, d); if (lane >= d) at += u; }
    if (lane == 31 && at) begin = atomicAdd(&n, at);
    at += __shfl_sync(~0u, begin, 31) - own;
    for (; mine; mine &= mine - 1) {
      u32 i = base + (__ffs(mine) - 1) * B, row = (u32)load(index[i]), local = row / UNIT / classes * UNIT + row % UNIT;
      atomicAdd(&ends[local], 1u);
      found[at++] = local << SHIFT | i;
    }
  }
  __syncthreads();
  u32 each = (rows + B - 1) / B, from = min(rows, threadIdx.x * each), to = min(rows, from + each), count = 0;
  #pragma unroll 1
  for (u32 i = from; i < to; i++) count += ends[i];
  count = sum_before<B>(count);
  #pragma unroll 1
  for (u32 i = from; i < to; i++) {
    u32 own = ends[i];
    if (own > FEW) heavies[atomicAdd(&heavy, 1u)] = i;
    ends[i] = count, count += own;
  }
  __syncthreads();
  #pragma unroll 1
  for (u32 e = threadIdx.x; e < n; e += B) { u32 entry = found[e]; list[atomicAdd(&ends[entry >> SHIFT], 1u)] = entry; }
  __syncthreads();
  auto begin_of = [&](u32 local) { return local ? ends[local - 1] : 0; };
  // Places of a row in order: of few each finds its own rank, of many they are marked.
  #pragma unroll 1
  for (u32 e = threadIdx.x; e < n; e += B) {
    u32 entry = list[e], local = entry >> SHIFT, begin = begin_of(local), end = ends[local], rank = begin;
    if (end - begin > FEW) continue;
    #pragma unroll 4
    for (u32 o = begin; o < end; o++) rank += list[o] < entry;
    found[rank] = entry;
  }
  #pragma unroll 1
  for (u32 h = 0; h < heavy; h++) {
    u32 local = heavies[h], begin = begin_of(local), end = ends[local];
    if (threadIdx.x < WORDS) places[threadIdx.x] = 0;
    __syncthreads();
    #pragma unroll 1
    for (u32 e = begin + threadIdx.x; e < end; e += B) { u32 i = list[e] & PLACE; atomicOr(&places[i / 32], 1u << i % 32); }
    __syncthreads();
    u32 bits = threadIdx.x < WORDS ? places[threadIdx.x] : 0, at = begin + sum_before<B>(__popc(bits));
    for (; bits; bits &= bits - 1) found[at++] = local << SHIFT | (threadIdx.x * 32 + __ffs(bits) - 1);
  }
  __syncthreads();
  auto row_at = [&](u32 e) { return found[e] >> SHIFT; };
  u32 g = threadIdx.x / L, own = threadIdx.x % L, column = (slice * L + own) * W;
  u32 share = (n + GROUPS - 1) / GROUPS, first = min(n, g * share), end = min(n, first + share);
  bool works = g < GROUPS && first < end && column < N;
  bool open = works && first > 0 && row_at(first - 1) == row_at(first), goes_on = works && end < n && row_at(end) == row_at(end - 1), begun = false;
  auto leave = [&](u32 local, const float (&sum)[W]) { put<W * sizeof(T)>(out + (u64)row_of(local) * N + column, sum); };
  Terms<W, T> sum;
  sum.reset();
  #pragma unroll 1
  for (u32 e = first; works && e < end; e += AHEAD) {
    Pack p[AHEAD];
    #pragma unroll
    for (u32 u = 0; u < AHEAD; u++) if (e + u < end) p[u] = *(const Pack *)(dy + (u64)(found[e + u] & PLACE) * N + column);
    #pragma unroll
    for (u32 u = 0; u < AHEAD; u++) {
      if (e + u >= end) break;
      sum.add(p[u]);
      u32 row = row_at(e + u);
      bool last = e + u + 1 == end;
      if (!last && row_at(e + u + 1) == row) continue;
      begun = last & goes_on & !open;
      if (begun) break; // what it has waits in its registers
      if (open) {
        #pragma unroll
        for (int w = 0; w < W; w++) heads[g][w * L + own] = sum.sum[w];
      } else leave(row, sum.sum);
      sum.reset(), open = false;
    }
  }
  __syncthreads();
  if (begun) {
    u32 row = row_at(end - 1);
    #pragma unroll 1
    for (u32 q = g + 1; q * share < n && row_at(q * share) == row; q++)
      #pragma unroll
      for (int w = 0; w < W; w++) sum.sum[w] += heads[q][w * L + own];
    leave(row, sum.sum);
  }
  Pack zero = {};
  #pragma unroll 1
  for (u32 i = warp; i / UNIT * slices + slice < turns; i += B / 32) {
    u32 local = (i / UNIT * slices + slice) * UNIT + i % UNIT, row = row_of(local);
    if (row >= A || begin_of(local) < ends[local]) continue;
    #pragma unroll 4
    for (u32 p = lane; p < P; p += 32) ((Pack *)(out + (u64)row * N))[p] = zero;
  }
}
