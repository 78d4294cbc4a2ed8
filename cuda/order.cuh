// Stable orders of rows. A key has the order asked for as its unsigned order; with its index it is an entry, and no two entries are equal.

// Keys of B bytes. NaN comes last, both zeros are equal.
template <int B> __device__ inline u32 key_of_bits(u32 bits, bool nan, bool zero, bool descending) {
  constexpr u32 SIGN = 1u << (8 * B - 1), ALL = SIGN | (SIGN - 1);
  if (nan) return ALL;
  u32 key = zero ? SIGN : bits & SIGN ? ~bits & ALL : bits | SIGN;
  return descending ? ~key & ALL : key;
}
__device__ inline u32 key_of(float x, bool descending) { return key_of_bits<4>(__float_as_uint(x), x != x, x == 0, descending); }
__device__ inline u32 key_of(bf16 x, bool descending) { return key_of_bits<2>(x.bits, load(x) != load(x), load(x) == 0, descending); }
__device__ inline u32 key_of(f16 x, bool descending) { return key_of_bits<2>(x.bits, load(x) != load(x), load(x) == 0, descending); }
__device__ inline u32 key_of(int x, bool descending) { return (u32)x ^ 0x80000000u ^ (descending ? ~0u : 0u); }
__device__ inline u32 key_of(unsigned char x, bool descending) { return x ^ (descending ? 255u : 0u); }
__device__ inline u32 key_of(signed char x, bool descending) { return (unsigned char)x ^ 128u ^ (descending ? 255u : 0u); }
__device__ inline u32 key_of(bool8 x, bool descending) { return key_of(x.bits, descending); }
__device__ inline u64 key_of(long long x, bool descending) { return (u64)x ^ 1ull << 63 ^ (descending ? ~0ull : 0ull); }
// What is sorted already has its keys.
__device__ inline u32 key_of(u32 key, bool) { return key; }
__device__ inline u64 key_of(u64 key, bool) { return key; }

// A key of 4 bytes and its index are one number.
__device__ inline u64 entry(u32 key, u32 at) { return (u64)key << 32 | at; }
struct WideEntry { u64 key; u32 at; };
__device__ inline WideEntry entry(u64 key, u32 at) { return {key, at}; }
__device__ inline bool operator<(const WideEntry &a, const WideEntry &b) { return a.key < b.key || (a.key == b.key && a.at < b.at); }
__device__ inline int index_of(u64 e) { return (int)(u32)e; }
__device__ inline int index_of(const WideEntry &e) { return (int)e.at; }
__device__ inline u64 of_lane(u64 e, u32 mask) { return __shfl_xor_sync(~0u, e, mask); }
__device__ inline WideEntry of_lane(const WideEntry &e, u32 mask) { return {__shfl_xor_sync(~0u, e.key, mask), __shfl_xor_sync(~0u, e.at, mask)}; }

// The `first` indices of rows of D in order: a bitonic sort (Batcher 1968) of P entries by N threads, E neighbours in the registers of each. Partners
// of a step are in one thread, in one warp, or meet in shared memory. Every merge begins with the second half turned round, so that all of it
// goes one way. `from` [rows, n] (nullptr: all) lists the indices that can be among the first, -1: none.
template <u32 P, class T> __device__ inline void sort_rows(const T *x, const int *from, int *to, u64 rows, u32 D, u32 n, u32 first, bool descending) {
  using K = decltype(key_of(T(), false));
  using Entry = decltype(entry(K(), 0u));
  constexpr u32 E = P < 256 ? P / 32 : 8, N = P / E;
  __shared__ Entry s[E][256];
  __shared__ int sorted[256 * E * 33 / 32];
  u32 t = threadIdx.x % N, group = threadIdx.x - t;
  u64 row = (u64)blockIdx.x * (256 / N) + threadIdx.x / N, there = min(row, rows - 1);
  x += there * D;
  int at[E];
  Entry v[E];
  #pragma unroll
  for (u32 e = 0; e < E; e++) {
    u32 i = e * N + t, known = min(i, n - 1);
    at[e] = from ? from[there * n + known] : (int)known;
    if (i >= n) at[e] = -1;
  }
  #pragma unroll
  for (u32 e = 0; e < E; e++) { // all at once: reads that nothing hangs on
    K key = key_of(x[max(at[e], 0)], descending);
    v[e] = entry(at[e] < 0 ? ~K(0) : key, (u32)at[e]);
  }
  // one step within each thread: partners differ by `mask`
  auto within = [&](u32 mask, u32 j) {
    #pragma unroll
    for (u32 e = 0; e < E; e++) if (!(e & j)) {
      Entry a = v[e], b = v[e ^ mask];
      if (b < a) v[e] = b, v[e ^ mask] = a;
    }
  };
  // one step between threads: (t, e) and (t ^ lanes, e ^ turned), of which the one without `bit` keeps the lesser
  auto between = [&](u32 lanes, u32 turned, u32 bit) {
    Entry other[E];
    if (lanes < 32) {
      #pragma unroll
      for (u32 e = 0; e < E; e++) other[e] = of_lane(v[e ^ turned], lanes);
    } else {
      __syncthreads();
      #pragma unroll
      for (u32 e = 0; e < E; e++) s[e][threadIdx.x] = v[e];
      __syncthreads();
      #pragma unroll
      for (u32 e = 0; e < E; e++) other[e] = s[e ^ turned][group + (t ^ lanes)];
    }
    bool lower = !(t & bit);
    #pragma unroll
    for (u32 e = 0; e < E; e++) if ((other[e] < v[e]) == lower) v[e] = other[e];
  };
  #pragma unroll
  for (u32 k = 2; k <= E; k *= 2) {
    within(k - 1, k / 2);
    #pragma unroll
    for (u32 j = k / 4; j; j /= 2) within(j, j);
  }
  #pragma unroll 1
  for (u32 k = 2; k <= N; k *= 2) {
    between(k - 1, E - 1, k / 2);
    #pragma unroll 1
    for (u32 j = k / 4; j; j /= 2) between(j, 0, j);
    #pragma unroll
    for (u32 j = E / 2; j; j /= 2) within(j, j);
  }
  auto padded = [](u32 i) { return i + i / 32; };
  #pragma unroll
  for (u32 e = 0; e < E; e++) sorted[padded(threadIdx.x * E + e)] = index_of(v[e]);
  __syncthreads();
  if (row < rows) for (u32 i = t; i < first; i += N) to[row * first + i] = sorted[padded(group * E + i)];
}

// The `first` entries in order of each chunk of 256 * ITEMS, listed in any order: `to` [rows, chunks, first], -1 where there are fewer. From the
// highest digit of the key down to the lowest of the index, the entries with the digit that the last of them has stay undecided.
template <u32 ITEMS, class T> __device__ inline void select(
    const T *x, const int *from, int *to, u32 D, u32 n, u32 chunks, u32 first, bool descending) {
  using K = decltype(key_of(T(), false));
  __shared__ u32 counts[256], border, rest, listed;
  u64 row = blockIdx.x / chunks;
  u32 base = blockIdx.x % chunks * (256 * ITEMS);
  x += row * D, to += (u64)blockIdx.x * first;
  K key[ITEMS];
  int at[ITEMS];
  #pragma unroll
  for (u32 j = 0; j < ITEMS; j++) {
    u32 i = base + j * 256 + threadIdx.x;
    at[j] = i >= n ? -1 : from ? from[row * n + i] : (int)i;
  }
  #pragma unroll
  for (u32 j = 0; j < ITEMS; j++) key[j] = at[j] < 0 ? ~K(0) : key_of(x[at[j]], descending);
  u32 open = (1u << ITEMS) - 1, taken = 0, wanted = first;
  for (int shift = 24 + 8 * sizeof(T); shift >= 0; shift -= 8) {
    u32 digits[ITEMS];
    #pragma unroll
    for (u32 j = 0; j < ITEMS; j++) digits[j] = (u32)(shift >= 32 ? key[j] >> (shift - 32) : (K)((u32)at[j] >> shift)) & 255;
    counts[threadIdx.x] = 0;
    if (threadIdx.x == 0) listed = 0;
    __syncthreads();
    #pragma unroll
    for (u32 j = 0; j < ITEMS; j++) if (open >> j & 1) atomicAdd(&counts[digits[j]], 1u);
    __syncthreads();
    u32 own = counts[threadIdx.x], total, before = block_prefix(own, total);
    if (before < wanted && wanted <= before + own) border = threadIdx.x, rest = wanted - before;
    __syncthreads();
    #pragma unroll
    for (u32 j = 0; j < ITEMS; j++) if (open >> j & 1) {
      if (digits[j] < border) taken |= 1u << j;
      if (digits[j] != border) open &= ~(1u << j);
    }
    wanted = rest;
    if (counts[border] == rest) break;
    __syncthreads();
  }
  taken |= open;
  #pragma unroll
  for (u32 j = 0; j < ITEMS; j++) if (taken >> j & 1 && at[j] >= 0) to[atomicAdd(&listed, 1u)] = at[j];
  __syncthreads();
  for (u32 i = listed + threadIdx.x; i < first; i += 256) to[i] = -1;
}

// Radix sort, from the lowest digit of 8 bits up (Knuth, The Art of Computer Programming 3, 5.2.5), in two launches a digit. Blocks take chunks of
// rows; this one counts their digits: `counts` [rows, chunks, 256].
template <class T> __device__ inline void digit_counts(const T *x, u32 *counts, u32 D, u32 chunk, u32 chunks, u32 shift, bool descending) {
  __shared__ u32 s[256];
  u32 c = blockIdx.x % chunks, end = min(D, (c + 1) * chunk);
  x += (u64)(blockIdx.x / chunks) * D;
  s[threadIdx.x] = 0;
  __syncthreads();
  #pragma unroll 8
  for (u32 i = c * chunk + threadIdx.x; i < end; i += 256) atomicAdd(&s[(u32)(key_of(x[i], descending) >> shift) & 255], 1u);
  __syncthreads();
  counts[blockIdx.x * 256 + threadIdx.x] = s[threadIdx.x];
}
// ... and this one puts each entry behind those of smaller digits and, of its own digit, those before it. Keys are written where another digit
// follows; `from` = nullptr: the identity order; the last digit leaves the `first` indices.
template <u32 ITEMS, bool MORE, class T, class K> __device__ inline void digit_scatter(
    const T *x, const int *from, const u32 *counts, K *keys, int *to, u32 D, u32 chunk, u32 chunks, u32 first, u32 shift, bool descending) {
  constexpr u32 TILE = 256 * ITEMS;
  __shared__ K key[TILE];
  __shared__ int index[TILE];
  __shared__ u32 ranks[8][256], offset[256];
  u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, digit = threadIdx.x, c = blockIdx.x % chunks, end = min(D, (c + 1) * chunk);
  u64 row = blockIdx.x / chunks;
  auto digit_of = [&](K k) { return (u32)(k >> shift) & 255; };
  x += row * D, keys += row * D, to += row * first;
  u32 before = 0, all = 0, total;
  #pragma unroll 8
  for (u32 b = 0; b < chunks; b++) {
    u32 n = counts[(row * chunks + b) * 256 + digit];
    if (b < c) before += n;
    all += n;
  }
  u32 next = before + block_prefix(all, total); // where this chunk's entries of `digit` go on
  for (u32 tile = c * chunk; tile < end; tile += TILE) {
    u32 n = min(TILE, end - tile), own = warp * 32 * ITEMS + lane;
    K k[ITEMS];
    int at[ITEMS];
    u32 rank[ITEMS];
    #pragma unroll
    for (u32 j = 0; j < ITEMS; j++) { // what is beyond the end comes last
      u32 i = own + j * 32;
      k[j] = i < n ? (K)key_of(x[tile + i], descending) : ~K(0);
      at[j] = i < n && from ? from[row * D + tile + i] : (int)(tile + i);
    }
    #pragma unroll
    for (u32 w = 0; w < 8; w++) ranks[w][digit] = 0;
    __syncthreads();
    #pragma unroll
    for (u32 j = 0; j < ITEMS; j++) { // ranks among the warp's entries of a digit
      u32 d = digit_of(k[j]), peers = ~0u;
      #pragma unroll
      for (u32 b = 0; b < 8; b++) {
        u32 votes = __ballot_sync(~0u, d >> b & 1);
        peers &= d >> b & 1 ? votes : ~votes;
      }
      u32 seen = ranks[warp][d], older = __popc(peers & ((1u << lane) - 1));
      __syncwarp();
      if (older == 0) ranks[warp][d] = seen + __popc(peers);
      __syncwarp();
      rank[j] = seen + older;
    }
    __syncthreads();
    u32 sum = 0;
    #pragma unroll
    for (u32 w = 0; w < 8; w++) { u32 count = ranks[w][digit]; ranks[w][digit] = sum; sum += count; }
    u32 start = block_prefix(sum, total);
    #pragma unroll
    for (u32 w = 0; w < 8; w++) ranks[w][digit] += start;
    offset[digit] = next - start, next += sum;
    __syncthreads();
    #pragma unroll
    for (u32 j = 0; j < ITEMS; j++) {
      u32 p = ranks[warp][digit_of(k[j])] + rank[j];
      key[p] = k[j], index[p] = at[j];
    }
    __syncthreads();
    #pragma unroll
    for (u32 j = 0; j < ITEMS; j++) {
      u32 p = j * 256 + threadIdx.x;
      if (p >= n) continue;
      K q = key[p];
      u32 place = offset[digit_of(q)] + p;
      if (MORE) keys[place] = q;
      if (place < first) to[place] = index[p];
    }
    __syncthreads();
  }
}
