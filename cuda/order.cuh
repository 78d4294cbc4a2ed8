// Orders and running sums.

// Keys whose unsigned order is the one asked for: NaN last, both zeros equal.
__device__ inline u32 order_key(float x, bool descending) {
  if (x != x) return ~0u;
  u32 b = __float_as_uint(x + 0.f), key = b >> 31 ? ~b : b | 0x80000000u;
  return descending ? ~key : key;
}
__device__ inline u32 order_key(int x, bool descending) { u32 key = (u32)x ^ 0x80000000u; return descending ? ~key : key; }

// What comes before this thread's value among those of a block of 256, and what all have together.
template <class N> __device__ inline N block_prefix(N value, N &total) {
  __shared__ N warps[8];
  u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  N sum = value;
  #pragma unroll
  for (u32 d = 1; d < 32; d *= 2) { N u = __shfl_up_sync(~0u, sum, d); if (lane >= d) sum += u; }
  N before = __shfl_up_sync(~0u, sum, 1);
  if (lane == 0) before = 0;
  __syncthreads();
  if (lane == 31) warps[warp] = sum;
  __syncthreads();
  N own = 0;
  total = 0;
  #pragma unroll
  for (u32 w = 0; w < 8; w++) { if (w < warp) own += warps[w]; total += warps[w]; }
  return own + before;
}

// Tiles of P elements of rows of D, a block each: a bitonic sort of (key, index), which is stable since no two are equal.
template <u32 P, class T> __device__ inline void sort_tiles(const T *x, int *to, u32 D, bool descending) {
  __shared__ u64 s[P];
  u32 tiles = (D + P - 1) / P, first = blockIdx.x % tiles * P, n = min(P, D - first);
  u64 row = (u64)(blockIdx.x / tiles) * D + first;
  for (u32 i = threadIdx.x; i < P; i += 256) s[i] = i < n ? (u64)order_key(load(x[row + i]), descending) << 32 | (first + i) : ~0ull;
  for (u32 k = 2; k <= P; k *= 2)
    for (u32 j = k / 2; j; j /= 2) {
      __syncthreads();
      for (u32 i = threadIdx.x; i < P / 2; i += 256) {
        u32 a = 2 * i - (i & (j - 1)), b = a + j;
        u64 low = s[a], high = s[b];
        if ((low > high) == !(a & k)) s[a] = high, s[b] = low;
      }
    }
  __syncthreads();
  for (u32 i = threadIdx.x; i < n; i += 256) to[row + i] = (int)s[i];
}

// One pass of a stable merge sort over rows of D: runs of `run` become runs of 2 x run. from = nullptr: the identity order.
// Each element finds its place by a binary search in the sibling run.
template <class T> __device__ inline bool goes_before(T a, T b, bool descending, bool ties) {
  bool na = a != a, nb = b != b;
  if (na || nb) return na == nb ? ties : nb;
  return a == b ? ties : descending ? a > b : a < b;
}
template <class T> __device__ inline void merge_pass(const T *x, const int *from, int *to, u64 R, u64 D, u64 run, bool descending) {
  u64 t = blockIdx.x * 256ull + threadIdx.x;
  if (t >= R * D) return;
  u64 r = t / D, i = t % D, pair = i / (2 * run) * (2 * run);
  bool left = i < pair + run;
  u64 lo = left ? min(D, pair + run) : pair, hi = left ? min(D, pair + 2 * run) : min(D, pair + run), start = lo;
  int self = from ? from[t] : (int)i;
  auto value = load(x[r * D + self]);
  while (lo < hi) { // how many of the sibling run go before this element
    u64 mid = (lo + hi) / 2;
    int other = from ? from[r * D + mid] : (int)mid;
    if (goes_before(load(x[r * D + other]), value, descending, !left)) lo = mid + 1;
    else hi = mid;
  }
  to[r * D + pair + (i - (left ? pair : pair + run)) + (lo - start)] = self;
}

// Running sums along rows of A: `chunks` of a row by a block each. Where there are several, `sums` [O, chunks] are those of the chunks.
template <int W, class T, class N> __device__ inline void row_sums(const T *x, N *sums, u32 A, u32 chunk, u32 chunks) {
  u32 c = blockIdx.x % chunks, end = min(A, (c + 1) * chunk);
  x += (u64)(blockIdx.x / chunks) * A;
  N sum = 0, total;
  #pragma unroll 4
  for (u32 i = c * chunk + threadIdx.x * W; i < end; i += 256 * W) {
    pack<T, W, W * sizeof(T)> p = *(const pack<T, W, W * sizeof(T)> *)(x + i);
    #pragma unroll
    for (int k = 0; k < W; k++) sum += load(p.x[k]);
  }
  block_prefix(sum, total);
  if (threadIdx.x == 0) sums[blockIdx.x] = total;
}
template <int W, class T, class N> __device__ inline void cumsum_rows(const T *x, const N *sums, T *out, u32 A, u32 chunk, u32 chunks) {
  u32 c = blockIdx.x % chunks, end = min(A, (c + 1) * chunk);
  u64 row = blockIdx.x / chunks;
  x += row * A, out += row * A;
  N carry = 0, total;
  if (chunks > 1) {
    N sum = 0;
    for (u32 b = threadIdx.x; b < c; b += 256) sum += sums[row * chunks + b];
    block_prefix(sum, carry);
  }
  for (u32 base = c * chunk; base < end; base += 256 * W) {
    u32 i = base + threadIdx.x * W;
    pack<T, W, W * sizeof(T)> p = {};
    if (i < end) p = *(const pack<T, W, W * sizeof(T)> *)(x + i);
    N r[W];
    #pragma unroll
    for (int k = 0; k < W; k++) r[k] = load(p.x[k]) + (k ? r[k - 1] : N(0));
    N before = carry + block_prefix(r[W - 1], total);
    #pragma unroll
    for (int k = 0; k < W; k++) r[k] += before;
    if (i < end) put<W * sizeof(T)>(out + i, r);
    carry += total;
  }
}
// ... and along the columns of [O, A, inner]: a thread a column of a chunk; sums [chunks, O * inner], grid (columns, chunks).
template <class T, class N> __device__ inline void column_sums(const T *x, N *sums, u64 columns, u32 A, u32 inner, u32 chunk) {
  u64 t = blockIdx.x * 256ull + threadIdx.x;
  u32 end = min(A, (blockIdx.y + 1) * chunk);
  if (t >= columns) return;
  x += t / inner * A * inner + t % inner;
  N sum = 0;
  #pragma unroll 8
  for (u32 a = blockIdx.y * chunk; a < end; a++) sum += load(x[(u64)a * inner]);
  sums[blockIdx.y * columns + t] = sum;
}
template <class T, class N> __device__ inline void cumsum_columns(const T *x, const N *sums, T *out, u64 columns, u32 A, u32 inner, u32 chunk) {
  u64 t = blockIdx.x * 256ull + threadIdx.x, at = t / inner * A * inner + t % inner;
  u32 a = blockIdx.y * chunk, end = min(A, a + chunk);
  if (t >= columns) return;
  x += at, out += at;
  N sum = 0;
  #pragma unroll 8
  for (u32 c = 0; c < blockIdx.y; c++) sum += sums[c * columns + t];
  for (; a + 8 <= end; a += 8) {
    T v[8];
    #pragma unroll
    for (u32 k = 0; k < 8; k++) v[k] = x[(u64)(a + k) * inner];
    #pragma unroll
    for (u32 k = 0; k < 8; k++) store(out[(u64)(a + k) * inner], sum += load(v[k]));
  }
  for (; a < end; a++) store(out[(u64)a * inner], sum += load(x[(u64)a * inner]));
}
