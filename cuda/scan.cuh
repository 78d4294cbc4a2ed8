// Running sums.

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

// Running sums along rows of A: `chunks` of a row by a block each. Where there are several, `sums` [O, chunks] are those of the chunks.
template <int W, class T, class N> __device__ inline void row_sums(const T *x, N *sums, u32 A, u32 chunk, u32 chunks) {
  u32 c = blockIdx.x % chunks, end = min(A, (c + 1) * chunk);
  x += (u64)(blockIdx.x / chunks) * A;
  N sum = 0, total;
  #pragma unroll 4
  for (u32 i = c * chunk + threadIdx.x * W; i < end; i += 256 * W) {
    pack<T, W, W * sizeof(T)> p = *(const pack<T, W, W * sizeof(T)> *)(x + i);
    #pragma unroll
    for (int k = 0; k < W; k++) sum += element(p, k);
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
    for (int k = 0; k < W; k++) r[k] = element(p, k) + (k ? r[k - 1] : N(0));
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
// ... and where there are columns enough for a block to take L of them from top to bottom: R rows a thread at a time, the next ones on their way.
template <u32 L, u32 R, class T> __device__ inline void cumsum_strips(const T *x, T *out, u32 A, u32 inner, u32 strips) {
  using N = decltype(load(T()));
  constexpr u32 Y = 1024 / L, PART = Y / 32;
  __shared__ N sums[2][Y][L + 1], totals[2][L];
  u32 column = threadIdx.x % L, y = threadIdx.x / L, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  u32 at = blockIdx.x % strips * L + column;
  u64 first = (u64)(blockIdx.x / strips) * A * inner + at;
  bool in = at < inner;
  x += first, out += first;
  T next[R] = {};
  #pragma unroll
  for (u32 r = 0; r < R; r++) if (in && y * R + r < A) next[r] = x[(u64)(y * R + r) * inner];
  N carry = 0;
  for (u32 base = 0, turn = 0; base < A; base += Y * R, turn ^= 1) {
    u32 row = base + y * R;
    N s[R];
    #pragma unroll
    for (u32 r = 0; r < R; r++) s[r] = load(next[r]) + (r ? s[r - 1] : N(0));
    #pragma unroll
    for (u32 r = 0; r < R; r++) {
      T zero = {};
      next[r] = in && row + Y * R + r < A ? x[(u64)(row + Y * R + r) * inner] : zero;
    }
    sums[turn][y][column] = s[R - 1];
    __syncthreads();
    if (warp < L) { // a warp a column: what comes before each thread's rows
      N own[PART], sum = 0;
      #pragma unroll
      for (u32 p = 0; p < PART; p++) own[p] = sum, sum += sums[turn][lane * PART + p][warp];
      N upto = sum;
      #pragma unroll
      for (u32 d = 1; d < 32; d *= 2) { N u = __shfl_up_sync(~0u, upto, d); if (lane >= d) upto += u; }
      N before = __shfl_up_sync(~0u, upto, 1);
      if (lane == 0) before = 0;
      #pragma unroll
      for (u32 p = 0; p < PART; p++) sums[turn][lane * PART + p][warp] = before + own[p];
      if (lane == 31) totals[turn][warp] = upto;
    }
    __syncthreads();
    N before = carry + sums[turn][y][column];
    #pragma unroll
    for (u32 r = 0; r < R; r++) if (in && row + r < A) store(out[(u64)(row + r) * inner], before + s[r]);
    carry += totals[turn][column];
  }
}
