// Attention in tiles (Dao 2023, arXiv 2307.08691) with mma.sync, for bf16 and f16 heads of E features, E a multiple of 16 up to 128. Shapes and
// strides are literals where these functions are inlined: the tests for ragged ends, windows and masks that cannot bite vanish.
struct Heads { u64 sB, sT, sH; }; // strides in elements; unit stride over E
// `sequences`: how many are packed into one batch of Tq = Tk tokens, at offsets[0], offsets[1], ...; 0 for a batch of whole ones.
struct Shape { int B, Hq, Hkv, Tq, Tk; int causal, window; float scale; int sequences; };
#define MINUS_INF __int_as_float(0xff800000)
#define LOG2E 1.4426950408889634f
#define LN2 0.6931471805599453f

template <class T> struct Half;
template <> struct Half<bf16> {
  static __device__ u32 pack(float lo, float hi) { u32 y; asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(hi), "f"(lo)); return y; }
  static __device__ void mma(float *c, const u32 *a, u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
};
template <> struct Half<f16> {
  static __device__ u32 pack(float lo, float hi) { u32 y; asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(hi), "f"(lo)); return y; }
  static __device__ void mma(float *c, const u32 *a, u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
};

__device__ inline void ldmatrix(u32 *r, u32 at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at));
}
__device__ inline void ldmatrix_transposed(u32 *r, u32 at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at));
}
__device__ inline void sent() { asm volatile("cp.async.commit_group;"); }
template <int PENDING> __device__ inline void arrived() {
  asm volatile("cp.async.wait_group %0;" ::"n"(PENDING));
  __syncthreads();
}

// R rows of E halves in shared memory. A row takes an odd number of 16-byte chunks: eight rows at one chunk meet different banks.
template <int R, int E> struct Tile {
  static const int STEP = (E / 8 | 1) * 16, BYTES = R * STEP;
  u32 base;
  // Starts copying rows first.. of a matrix of `rows` rows, what lies beyond being zero; `first` is a multiple of R.
  template <int THREADS, class T> __device__ void fetch(const T *x, u64 step, int first, int rows, bool aligned) const {
    const int CHUNKS = E / 8;
    x += first * step;
    #pragma unroll
    for (int pass = 0; pass < (R * CHUNKS + THREADS - 1) / THREADS; pass++) {
      int i = pass * THREADS + threadIdx.x, r = i / CHUNKS, c = i % CHUNKS;
      if (R * CHUNKS % THREADS && i >= R * CHUNKS) break;
      bool in = rows % R == 0 || first + r < rows;
      const T *from = x + (in ? r * step : 0) + c * 8;
      u32 to = base + r * STEP + c * 16;
      if (aligned) asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(in ? 16 : 0));
      else for (int k = 0; k < 8; k++) asm volatile("st.shared.u16 [%0], %1;" ::"r"(to + 2 * k), "h"(in ? from[k].bits : (unsigned short)0));
    }
  }
  // 16 rows x 16 columns as operand A.
  __device__ void operand_a(u32 *a, int row, int column) const { ldmatrix(a, lane(row + threadIdx.x % 16, column + threadIdx.x / 16 % 2 * 8)); }
  // 16 rows x 16 columns whose transpose is operand B of two products: rows 0-7 in b[0], b[1], rows 8-15 in b[2], b[3].
  __device__ void operand_bt(u32 *b, int row, int column) const {
    ldmatrix(b, lane(row + threadIdx.x % 8 + threadIdx.x / 16 % 2 * 8, column + threadIdx.x / 8 % 2 * 8));
  }
  // 16 rows x 16 columns as operand B of two products: columns 0-7 in b[0], b[1], columns 8-15 in b[2], b[3].
  __device__ void operand_b(u32 *b, int row, int column) const { ldmatrix_transposed(b, lane(row + threadIdx.x % 16, column + threadIdx.x / 16 % 2 * 8)); }
  __device__ u32 lane(int row, int column) const { return base + row * STEP + column * 2; }
};

// c[16 MB x N] = a[16 MB x E] * b[N x E]^T, of the rows of tiles `a` and `b` from `i` and `j`.
template <class T, int MB, int N, int RA, int RB, int E> __device__ inline void times_transposed(float (&c)[MB][N / 8][4], const Tile<RA, E> &a, int i, const Tile<RB, E> &b, int j) {
  #pragma unroll
  for (int m = 0; m < MB; m++)
    #pragma unroll
    for (int n = 0; n < N / 8; n++) c[m][n][0] = c[m][n][1] = c[m][n][2] = c[m][n][3] = 0;
  #pragma unroll
  for (int k = 0; k < E; k += 16) {
    u32 x[MB][4];
    #pragma unroll
    for (int m = 0; m < MB; m++) a.operand_a(x[m], i + 16 * m, k);
    #pragma unroll
    for (int n = 0; n < N / 16; n++) {
      u32 y[4];
      b.operand_bt(y, j + 16 * n, k);
      #pragma unroll
      for (int m = 0; m < MB; m++) Half<T>::mma(c[m][2 * n], x[m], y[0], y[1]), Half<T>::mma(c[m][2 * n + 1], x[m], y[2], y[3]);
    }
  }
}
// c[16 MB x E] += p[16 MB x N] * b[N x E], of the rows of tile `b` from `j`; p is rounded to T.
template <class T, int MB, int N, int R, int E> __device__ inline void plus_times(float (&c)[MB][E / 8][4], const float (&p)[MB][N / 8][4], const Tile<R, E> &b, int j) {
  #pragma unroll
  for (int k = 0; k < N / 16; k++) {
    u32 x[MB][4];
    #pragma unroll
    for (int m = 0; m < MB; m++)
      #pragma unroll
      for (int i = 0; i < 4; i++) x[m][i] = Half<T>::pack(p[m][2 * k + i / 2][i % 2 * 2], p[m][2 * k + i / 2][i % 2 * 2 + 1]);
    #pragma unroll
    for (int e = 0; e < E / 16; e++) {
      u32 y[4];
      b.operand_b(y, j + 16 * k, 16 * e);
      #pragma unroll
      for (int m = 0; m < MB; m++) Half<T>::mma(c[m][2 * e], x[m], y[0], y[1]), Half<T>::mma(c[m][2 * e + 1], x[m], y[2], y[3]);
    }
  }
}
// Writes 16 MB rows, times `scale`, of a matrix of `rows` rows that begin at first + mine, by way of the same rows of a tile that no other warp uses.
template <class T, int MB, int R, int E> __device__ inline void store_rows(T *x, u64 step, int first, int rows, const float (&c)[MB][E / 8][4], float scale, const Tile<R, E> &tile, int mine, bool aligned) {
  int lane = threadIdx.x % 32;
  #pragma unroll
  for (int r = 0; r < 2 * MB; r++)
    #pragma unroll
    for (int e = 0; e < E / 8; e++) {
      const float *y = c[r / 2][e] + r % 2 * 2;
      asm volatile("st.shared.u32 [%0], %1;" ::"r"(tile.lane(mine + 8 * r + lane / 4, 8 * e + lane % 4 * 2)), "r"(Half<T>::pack(y[0] * scale, y[1] * scale)));
    }
  __syncwarp();
  #pragma unroll
  for (int i = lane; i < 16 * MB * (E / 8); i += 32) {
    int r = mine + i / (E / 8), column = i % (E / 8) * 8;
    uint4 y;
    asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(y.x), "=r"(y.y), "=r"(y.z), "=r"(y.w) : "r"(tile.lane(r, column)));
    if (rows % R && first + r >= rows) continue;
    T *to = x + (u64)(first + r) * step + column;
    if (aligned) *(uint4 *)to = y;
    else for (int k = 0; k < 8; k++) to[k].bits = (unsigned short)((k < 2 ? y.x : k < 4 ? y.y : k < 6 ? y.z : y.w) >> k % 2 * 16);
  }
}
__device__ inline float exp2_fast(float x) { float y; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }
__device__ inline float quad_max(float x) { x = fmaxf(x, __shfl_xor_sync(~0u, x, 1)); return fmaxf(x, __shfl_xor_sync(~0u, x, 2)); }
__device__ inline float quad_sum(float x) { x += __shfl_xor_sync(~0u, x, 1); return x + __shfl_xor_sync(~0u, x, 2); }

// A range [x, y) of keys or queries.
__device__ inline bool inside(int2 range, int i) { return (u32)(i - range.x) < (u32)(range.y - range.x); }
// `range` cut to the tokens of the sequence that token i belongs to; empty for one of no sequence.
__device__ inline int2 within_sequence(int2 range, const Shape &s, const int *offsets, int i) {
  int t = 0, end = s.sequences; // offsets[t] <= i < offsets[end], if any
  while (end - t > 1) {
    int middle = (t + end) / 2;
    if (offsets[middle] <= i) t = middle;
    else end = middle;
  }
  int x = offsets[t], y = offsets[t + 1];
  if (i < x || i >= y) return {i < x ? 0 : s.Tk, i < x ? 0 : s.Tk};
  return {max(range.x, x), min(range.y, y)};
}
// The keys that query i sees, and the queries that see key j. Both ends grow with the number.
__device__ inline int2 keys_of(const Shape &s, const int *offsets, int i) {
  int own = i + s.Tk - s.Tq;
  int2 range = {s.window ? max(0, own - s.window + 1) : 0, s.causal ? max(0, min(s.Tk, own + 1)) : s.Tk};
  return s.sequences ? within_sequence(range, s, offsets, i) : range;
}
__device__ inline int2 queries_of(const Shape &s, const int *offsets, int j) {
  int own = j - (s.Tk - s.Tq);
  int2 range = {s.causal ? max(0, own) : 0, s.window ? max(0, min(s.Tq, own + s.window)) : s.Tq};
  return s.sequences ? within_sequence(range, s, offsets, j) : range;
}
// The ranges of the rows of a block: found once where sequences are packed (fill), computed where they are wanted otherwise.
template <int M> struct Ranges {
  int2 *table;
  const Shape &s;
  int first, rows;
  bool of_queries; // whether rows are queries, with ranges of keys
  __device__ Ranges(void *shared, const Shape &s, int first, bool of_queries)
      : table((int2 *)shared), s(s), first(first), rows(of_queries ? s.Tq : s.Tk), of_queries(of_queries) {}
  __device__ void fill(const int *offsets) {
    if (!s.sequences) return;
    if (threadIdx.x < M) table[threadIdx.x] = find(offsets, threadIdx.x);
    __syncthreads();
  }
  __device__ int2 find(const int *offsets, int r) const {
    int i = min(first + r, rows - 1);
    return of_queries ? keys_of(s, offsets, i) : queries_of(s, offsets, i);
  }
  __device__ int2 operator[](int r) const { return s.sequences ? table[r] : find(nullptr, r); }
  // Tiles of N from `start` on that some row sees: [first, end).
  __device__ int2 tiles(int N) const { return {(*this)[0].x / N, ((*this)[M - 1].y + N - 1) / N}; }
};
// Sets to `away` what lies outside the ranges of a warp's 16 MB rows, from `mine` on, in the N columns from `first` on.
template <int MB, int N, int M> __device__ inline void mask(float (&p)[MB][N / 8][4], const Ranges<M> &ranges, int mine, int lane, int first, float away) {
  #pragma unroll
  for (int r = 0; r < 2 * MB; r++) {
    int2 seen = ranges[mine + 8 * r + lane / 4];
    #pragma unroll
    for (int n = 0; n < N / 8; n++)
      #pragma unroll
      for (int x = 0; x < 2; x++)
        if (!inside(seen, first + 8 * n + lane % 4 * 2 + x)) p[r / 2][n][r % 2 * 2 + x] = away;
  }
}
// Turns the scores of a warp's 16 MB rows into probabilities beside those before: `top` is what scores are taken from, `sum` each thread's part, a
// score times `unit` a power of two.
//
// The maximum that scores are taken from need not be the true one: it is raised only when a score exceeds it by SLACK (in powers of two), which
// after the first tile is rare; the sums stay far from overflow and the result is the same.
template <int MB, int N, int E> __device__ inline void absorb(float (&p)[MB][N / 8][4], float (&acc)[MB][E / 8][4], float (&top)[2 * MB], float (&sum)[2 * MB], float unit) {
  const float SLACK = 8;
  float high[2 * MB];
  bool exceeds = false;
  #pragma unroll
  for (int r = 0; r < 2 * MB; r++) {
    high[r] = top[r];
    #pragma unroll
    for (int n = 0; n < N / 8; n++) high[r] = fmaxf(high[r], fmaxf(p[r / 2][n][r % 2 * 2], p[r / 2][n][r % 2 * 2 + 1]));
    exceeds |= high[r] > top[r] + SLACK / unit;
  }
  if (__any_sync(~0u, exceeds)) {
    #pragma unroll
    for (int r = 0; r < 2 * MB; r++) {
      float m = quad_max(high[r]), shrink = top[r] == MINUS_INF ? 0 : exp2_fast((top[r] - m) * unit);
      sum[r] *= shrink, top[r] = m;
      #pragma unroll
      for (int e = 0; e < E / 8; e++) acc[r / 2][e][r % 2 * 2] *= shrink, acc[r / 2][e][r % 2 * 2 + 1] *= shrink;
    }
  }
  #pragma unroll
  for (int r = 0; r < 2 * MB; r++) {
    float least = top[r] == MINUS_INF ? 0 : -top[r] * unit;
    #pragma unroll
    for (int n = 0; n < N / 8; n++)
      #pragma unroll
      for (int x = r % 2 * 2; x < r % 2 * 2 + 2; x++) p[r / 2][n][x] = exp2_fast(fmaf(p[r / 2][n][x], unit, least)), sum[r] += p[r / 2][n][x];
  }
}
// Divides the outputs by the sums of their probabilities and writes the log-sum-exp of a head's rows, `row` being this thread's first of `rows`.
template <int MB, int E> __device__ inline void settle_rows(float (&acc)[MB][E / 8][4], const float (&top)[2 * MB], const float (&sum)[2 * MB], float unit, float *lse, int row, int rows) {
  #pragma unroll
  for (int r = 0; r < 2 * MB; r++) {
    float whole = quad_sum(sum[r]), inverse = whole > 0 || whole != whole ? 1 / whole : 0;
    int i = row + 8 * r;
    if (threadIdx.x % 4 == 0 && i < rows) lse[i] = whole > 0 ? (top[r] * unit + log2f(whole)) * LN2 : MINUS_INF;
    #pragma unroll
    for (int e = 0; e < E / 8; e++) acc[r / 2][e][r % 2 * 2] *= inverse, acc[r / 2][e][r % 2 * 2 + 1] *= inverse;
  }
}

// Grid (ceil(Tq / 128), Hq, B), 128 threads: a block owns 128 queries, a warp 32 of them. Keys and values come in tiles of N, the next one on its
// way while this one is worked on. Shared memory: the queries, two tiles of each, 1 KB.
template <class T, int E, int N> __device__ inline void attention(const T *q, Heads sq, const T *k, Heads sk, const T *v, Heads sv, const int *offsets, T *o, float *lse, Shape s, bool aligned) {
  const int M = 128;
  extern __shared__ uint4 shared[];
  u32 base = shared_address(shared);
  Tile<M, E> qt{base};
  auto keys = [&](int i) { return Tile<N, E>{base + qt.BYTES + i % 2 * Tile<N, E>::BYTES}; };
  auto values = [&](int i) { return Tile<N, E>{base + qt.BYTES + (2 + i % 2) * Tile<N, E>::BYTES}; };
  int block = gridDim.x - 1 - blockIdx.x; // the longest rows of a causal matrix first
  int h = blockIdx.y, b = blockIdx.z, hk = h / (s.Hq / s.Hkv), lane = threadIdx.x % 32, i0 = block * M, mine = threadIdx.x / 32 * 32, row = i0 + mine;
  q += b * sq.sB + h * sq.sH, k += b * sk.sB + hk * sk.sH, v += b * sv.sB + hk * sv.sH;
  float acc[2][E / 8][4] = {}, top[4], sum[4] = {};
  for (int r = 0; r < 4; r++) top[r] = MINUS_INF;
  const float c2 = s.scale * LOG2E, unit = s.scale > 0 ? c2 : 1; // a score times `unit` is a power of two
  Ranges<M> ranges((char *)shared + qt.BYTES + 4 * Tile<N, E>::BYTES, s, i0, true);
  ranges.fill(offsets);
  int first = ranges.tiles(N).x, end = ranges.tiles(N).y;
  int2 earliest = ranges[mine], latest = ranges[mine + 31];
  auto fetch = [&](int i) {
    if (i < end) keys(i).fetch<128>(k, sk.sT, i * N, s.Tk, aligned), values(i).fetch<128>(v, sv.sT, i * N, s.Tk, aligned);
    sent();
  };
  qt.fetch<128>(q, sq.sT, i0, s.Tq, aligned);
  fetch(first);
  for (int i = first; i < end; i++) {
    int j0 = i * N;
    arrived<0>();
    fetch(i + 1);
    if (j0 >= latest.y || j0 + N <= earliest.x) continue;
    float p[2][N / 8][4];
    times_transposed<T, 2, N>(p, qt, mine, keys(i), 0);
    if (!(s.scale > 0))
      for (int x = 0; x < N; x++) p[x / (N / 2)][x % (N / 2) / 4][x % 4] *= c2;
    if (j0 < latest.x || j0 + N > earliest.y) mask<2, N>(p, ranges, mine, lane, j0, MINUS_INF);
    absorb<2, N, E>(p, acc, top, sum, unit);
    plus_times<T, 2, N>(acc, p, values(i), 0);
  }
  arrived<0>();
  settle_rows<2, E>(acc, top, sum, unit, lse + ((u64)b * s.Hq + h) * s.Tq, row + lane / 4, s.Tq);
  store_rows<T>(o + (u64)b * s.Tq * s.Hq * E + h * E, (u64)s.Hq * E, i0, s.Tq, acc, 1, qt, mine, true);
}
