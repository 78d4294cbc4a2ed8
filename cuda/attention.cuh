// Attention in tiles (Dao 2023, arXiv 2307.08691) with mma.sync, for bf16 and f16 heads of E features, E a multiple of 16 up to 128. A
// block is four warps; a warp owns 16 rows of the score matrix. Gradients come from two kernels that recompute the scores, one that owns keys
// (dK, dV) and one that owns queries (dQ): no atomics, the same bits every time.
struct Heads { u64 sB, sT, sH; }; // strides in elements; unit stride over E
struct Shape { int B, Hq, Hkv, Tq, Tk; int causal, window; float scale; };
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

// R rows of E halves in shared memory; the 16-byte chunks of a row are permuted by its number, so that eight rows at one chunk meet eight banks.
template <int R, int E> struct Tile {
  uint4 chunks[R * E / 8];
  static const int PER_ROW = E / 8, MASK = PER_ROW >= 8 ? 7 : PER_ROW - 1;
  __device__ uint4 *at(int row, int chunk) { return chunks + row * PER_ROW + (chunk ^ (PER_ROW & (PER_ROW - 1) ? 0 : row & MASK)); }
  // Starts copying rows first.. of a matrix of `rows` rows; what lies beyond is zero. `ready()` before use.
  template <class T> __device__ void fetch(const T *x, u64 step, int first, int rows, bool aligned) {
    for (int i = threadIdx.x; i < R * PER_ROW; i += 128) {
      int r = i / PER_ROW, c = i % PER_ROW;
      bool in = first + r < rows;
      const T *from = x + (in ? first + r : 0) * step + c * 8;
      if (aligned) {
        u32 to = (u32)__cvta_generic_to_shared(at(r, c));
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(in ? 16 : 0));
      } else {
        unsigned short *to = (unsigned short *)at(r, c);
        for (int k = 0; k < 8; k++) to[k] = in ? from[k].bits : 0;
      }
    }
    asm volatile("cp.async.commit_group;");
  }
};
template <int PENDING> __device__ inline void arrived() {
  asm volatile("cp.async.wait_group %0;" ::"n"(PENDING));
  __syncthreads();
}
__device__ inline void ldmatrix(u32 *r, const void *p, bool trans) {
  u32 a = (u32)__cvta_generic_to_shared(p);
  if (trans) asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(a));
  else asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(a));
}

// 16 rows x E of a matrix as operand A, straight from global memory.
template <class T, int E> __device__ inline void load_rows(u32 (&a)[E / 16][4], const T *x, u64 step, int first, int rows) {
  int lane = threadIdx.x % 32, r0 = first + lane / 4, r1 = r0 + 8, c = lane % 4 * 2;
  auto pair = [&](int r, int e) -> u32 { return r < rows ? x[r * step + e].bits | (u32)x[r * step + e + 1].bits << 16 : 0u; };
  #pragma unroll
  for (int k = 0; k < E / 16; k++) {
    a[k][0] = pair(r0, 16 * k + c), a[k][1] = pair(r1, 16 * k + c);
    a[k][2] = pair(r0, 16 * k + 8 + c), a[k][3] = pair(r1, 16 * k + 8 + c);
  }
}
// c[16 x N] = a[16 x E] * tile[N x E]^T
template <class T, int N, int E> __device__ inline void times_transposed(float (&c)[N / 8][4], const u32 (&a)[E / 16][4], Tile<N, E> &tile) {
  int lane = threadIdx.x % 32;
  #pragma unroll
  for (int n = 0; n < N / 8; n++) c[n][0] = c[n][1] = c[n][2] = c[n][3] = 0;
  #pragma unroll
  for (int k = 0; k < E / 16; k++)
    #pragma unroll
    for (int n = 0; n < N / 16; n++) {
      u32 b[4]; // rows n..n+7 at e, e+8; rows n+8..n+15 at e, e+8
      ldmatrix(b, tile.at(16 * n + lane % 8 + lane / 16 * 8, 2 * k + lane / 8 % 2), false);
      Half<T>::mma(c[2 * n], a[k], b[0], b[1]);
      Half<T>::mma(c[2 * n + 1], a[k], b[2], b[3]);
    }
}
// c[16 x E] += p[16 x N] * tile[N x E]; p is rounded to T.
template <class T, int N, int E> __device__ inline void plus_times(float (&c)[E / 8][4], const float (&p)[N / 8][4], Tile<N, E> &tile) {
  int lane = threadIdx.x % 32;
  #pragma unroll
  for (int k = 0; k < N / 16; k++) {
    u32 a[4] = {Half<T>::pack(p[2 * k][0], p[2 * k][1]), Half<T>::pack(p[2 * k][2], p[2 * k][3]),
                Half<T>::pack(p[2 * k + 1][0], p[2 * k + 1][1]), Half<T>::pack(p[2 * k + 1][2], p[2 * k + 1][3])};
    #pragma unroll
    for (int e = 0; e < E / 16; e++) {
      u32 b[4]; // rows 16k..+7, +8..+15 at e; the same at e + 8
      ldmatrix(b, tile.at(16 * k + lane % 16, 2 * e + lane / 16), true);
      Half<T>::mma(c[2 * e], a, b[0], b[1]);
      Half<T>::mma(c[2 * e + 1], a, b[2], b[3]);
    }
  }
}
template <class T, int E> __device__ inline void store_rows(T *x, u64 step, int first, int rows, const float (&c)[E / 8][4], float k0, float k1) {
  int lane = threadIdx.x % 32, r0 = first + lane / 4, r1 = r0 + 8;
  #pragma unroll
  for (int e = 0; e < E / 8; e++) {
    int col = 8 * e + lane % 4 * 2;
    if (r0 < rows) store(x[r0 * step + col], c[e][0] * k0), store(x[r0 * step + col + 1], c[e][1] * k0);
    if (r1 < rows) store(x[r1 * step + col], c[e][2] * k1), store(x[r1 * step + col + 1], c[e][3] * k1);
  }
}
__device__ inline float quad_max(float x) { x = fmaxf(x, __shfl_xor_sync(~0u, x, 1)); return fmaxf(x, __shfl_xor_sync(~0u, x, 2)); }
__device__ inline float quad_sum(float x) { x += __shfl_xor_sync(~0u, x, 1); return x + __shfl_xor_sync(~0u, x, 2); }
__device__ inline bool sees(const Shape &s, int i, int j) {
  int d = i + s.Tk - s.Tq - j; // how far the key lies behind the query's own place
  return j < s.Tk && i < s.Tq && (!s.causal || d >= 0) && (!s.window || d < s.window);
}
// The keys [first, last) that queries [i0, i1) can see, and the other way round.
__device__ inline int first_key(const Shape &s, int i0) { return s.window ? max(0, i0 + s.Tk - s.Tq - s.window + 1) : 0; }
__device__ inline int last_key(const Shape &s, int i1) { return s.causal ? min(s.Tk, i1 + s.Tk - s.Tq) : s.Tk; }
__device__ inline int first_query(const Shape &s, int j0) { return s.causal ? max(0, j0 - (s.Tk - s.Tq)) : 0; }
__device__ inline int last_query(const Shape &s, int j1) { return s.window ? min(s.Tq, j1 - 1 - (s.Tk - s.Tq) + s.window) : s.Tq; }

// Grid (ceil(Tq / 64), Hq, B).
template <class T, int E> __device__ inline void attention(const T *q, Heads sq, const T *k, Heads sk, const T *v, Heads sv, T *o, float *lse, Shape s, bool aligned) {
  const int N = 64;
  __shared__ Tile<N, E> kt, vt;
  int block = gridDim.x - 1 - blockIdx.x; // the longest rows of a causal matrix first
  int h = blockIdx.y, b = blockIdx.z, hk = h / (s.Hq / s.Hkv), lane = threadIdx.x % 32, i0 = block * 64, row = i0 + threadIdx.x / 32 * 16;
  q += b * sq.sB + h * sq.sH, k += b * sk.sB + hk * sk.sH, v += b * sv.sB + hk * sv.sH;
  u32 qa[E / 16][4];
  load_rows<T, E>(qa, q, sq.sT, row, s.Tq);
  float acc[E / 8][4] = {}, top[2] = {MINUS_INF, MINUS_INF}, sum[2] = {0, 0}, c2 = s.scale * LOG2E;
  int j0 = first_key(s, i0) / N * N, end = last_key(s, min(s.Tq, i0 + 64));
  if (j0 < end) kt.fetch(k, sk.sT, j0, s.Tk, aligned), vt.fetch(v, sv.sT, j0, s.Tk, aligned);
  for (; j0 < end; j0 += N) {
    arrived<1>();
    float p[N / 8][4];
    times_transposed<T, N, E>(p, qa, kt);
    __syncthreads();
    if (j0 + N < end) kt.fetch(k, sk.sT, j0 + N, s.Tk, aligned);
    else asm volatile("cp.async.commit_group;");
    bool whole = j0 + N <= s.Tk && (!s.causal || j0 + N - 1 <= row + s.Tk - s.Tq) && !s.window;
    #pragma unroll
    for (int n = 0; n < N / 8; n++)
      #pragma unroll
      for (int x = 0; x < 4; x++) p[n][x] = whole || sees(s, row + lane / 4 + x / 2 * 8, j0 + 8 * n + lane % 4 * 2 + x % 2) ? p[n][x] * c2 : MINUS_INF;
    #pragma unroll
    for (int half = 0; half < 2; half++) {
      float m = top[half];
      #pragma unroll
      for (int n = 0; n < N / 8; n++) m = fmaxf(m, fmaxf(p[n][2 * half], p[n][2 * half + 1]));
      m = quad_max(m);
      float base = m == MINUS_INF ? 0 : m, shrink = exp2f(top[half] - base), part = 0;
      #pragma unroll
      for (int n = 0; n < N / 8; n++)
        #pragma unroll
        for (int x = 2 * half; x < 2 * half + 2; x++) p[n][x] = exp2f(p[n][x] - base), part += p[n][x];
      sum[half] = sum[half] * shrink + part;
      #pragma unroll
      for (int e = 0; e < E / 8; e++) acc[e][2 * half] *= shrink, acc[e][2 * half + 1] *= shrink;
      top[half] = m;
    }
    arrived<1>();
    plus_times<T, N, E>(acc, p, vt);
    __syncthreads();
    if (j0 + N < end) vt.fetch(v, sv.sT, j0 + N, s.Tk, aligned);
    else asm volatile("cp.async.commit_group;");
  }
  float k2[2];
  for (int half = 0; half < 2; half++) {
    sum[half] = quad_sum(sum[half]);
    k2[half] = sum[half] > 0 || sum[half] != sum[half] ? 1 / sum[half] : 0;
    int i = row + lane / 4 + 8 * half;
    if (lane % 4 == 0 && i < s.Tq) lse[((u64)b * s.Hq + h) * s.Tq + i] = sum[half] > 0 ? (top[half] + log2f(sum[half])) * LN2 : MINUS_INF;
  }
  store_rows<T, E>(o + (u64)b * s.Tq * s.Hq * E + h * E, (u64)s.Hq * E, row, s.Tq, acc, k2[0], k2[1]);
}

// delta[b, h, i] = sum_e dO * O: a warp a row. Grid ceil(B * Tq * Hq / 8) of 256 threads.
template <class T> __device__ inline void attention_delta(const T *o, const T *dO, float *delta, Shape s, int E) {
  u64 row = blockIdx.x * 8ull + threadIdx.x / 32;
  if (row >= (u64)s.B * s.Tq * s.Hq) return;
  float x = 0;
  for (int e = threadIdx.x % 32; e < E; e += 32) x += load(o[row * E + e]) * load(dO[row * E + e]);
  for (int d = 16; d; d >>= 1) x += __shfl_down_sync(~0u, x, d);
  u64 h = row % s.Hq, i = row / s.Hq % s.Tq, b = row / s.Hq / s.Tq;
  if (threadIdx.x % 32 == 0) delta[(b * s.Hq + h) * s.Tq + i] = x;
}
// Probabilities and their gradients from scores p and dp, for query i and key j of a place; a row without keys has lse -inf.
__device__ inline void score_gradient(float &p, float &dp, float lse, float delta, bool seen, const Shape &s) {
  p = seen && lse != MINUS_INF ? exp2f(p * s.scale * LOG2E - lse * LOG2E) : 0;
  dp = p * (dp - delta) * s.scale;
}

// Grid (ceil(Tk / 64), Hkv, B): a block owns 64 keys and walks the queries of all heads of its group.
template <class T, int E> __device__ inline void attention_grad_kv(const T *q, Heads sq, const T *k, Heads sk, const T *v, Heads sv, const T *dO, const float *lse, const float *delta, T *dk, Heads sdk, T *dv, Heads sdv, Shape s, bool aligned) {
  const int N = E > 64 ? 32 : 64;
  __shared__ Tile<N, E> qt, gt;
  __shared__ float lses[N], deltas[N];
  int hk = blockIdx.y, b = blockIdx.z, group = s.Hq / s.Hkv, lane = threadIdx.x % 32, j0 = blockIdx.x * 64, row = j0 + threadIdx.x / 32 * 16;
  u32 ka[E / 16][4], va[E / 16][4];
  load_rows<T, E>(ka, k + b * sk.sB + hk * sk.sH, sk.sT, row, s.Tk);
  load_rows<T, E>(va, v + b * sv.sB + hk * sv.sH, sv.sT, row, s.Tk);
  float accK[E / 8][4] = {}, accV[E / 8][4] = {};
  int first = first_query(s, j0) / N * N, end = last_query(s, min(s.Tk, j0 + 64));
  for (int h = hk * group; h < (hk + 1) * group; h++)
    for (int i0 = first; i0 < end; i0 += N) {
      __syncthreads();
      qt.fetch(q + b * sq.sB + h * sq.sH, sq.sT, i0, s.Tq, aligned);
      gt.fetch(dO + (u64)b * s.Tq * s.Hq * E + h * E, (u64)s.Hq * E, i0, s.Tq, aligned);
      if (threadIdx.x < N) {
        u64 at = ((u64)b * s.Hq + h) * s.Tq + i0 + threadIdx.x;
        lses[threadIdx.x] = i0 + threadIdx.x < s.Tq ? lse[at] : MINUS_INF, deltas[threadIdx.x] = i0 + threadIdx.x < s.Tq ? delta[at] : 0;
      }
      arrived<0>();
      float p[N / 8][4], dp[N / 8][4]; // rows are keys, columns queries
      times_transposed<T, N, E>(p, ka, qt);
      times_transposed<T, N, E>(dp, va, gt);
      #pragma unroll
      for (int n = 0; n < N / 8; n++)
        #pragma unroll
        for (int x = 0; x < 4; x++) {
          int column = 8 * n + lane % 4 * 2 + x % 2;
          score_gradient(p[n][x], dp[n][x], lses[column], deltas[column], sees(s, i0 + column, row + lane / 4 + x / 2 * 8), s);
        }
      plus_times<T, N, E>(accV, p, gt);
      plus_times<T, N, E>(accK, dp, qt);
    }
  store_rows<T, E>(dk + b * sdk.sB + hk * sdk.sH, sdk.sT, row, s.Tk, accK, 1, 1);
  store_rows<T, E>(dv + b * sdv.sB + hk * sdv.sH, sdv.sT, row, s.Tk, accV, 1, 1);
}
// Grid (ceil(Tq / 64), Hq, B): a block owns 64 queries and walks the keys.
template <class T, int E> __device__ inline void attention_grad_q(const T *q, Heads sq, const T *k, Heads sk, const T *v, Heads sv, const T *dO, const float *lse, const float *delta, T *dq, Heads sdq, Shape s, bool aligned) {
  const int N = 64;
  __shared__ Tile<N, E> kt, vt;
  int h = blockIdx.y, b = blockIdx.z, hk = h / (s.Hq / s.Hkv), lane = threadIdx.x % 32, i0 = blockIdx.x * 64, row = i0 + threadIdx.x / 32 * 16;
  k += b * sk.sB + hk * sk.sH, v += b * sv.sB + hk * sv.sH;
  u32 qa[E / 16][4], ga[E / 16][4];
  load_rows<T, E>(qa, q + b * sq.sB + h * sq.sH, sq.sT, row, s.Tq);
  load_rows<T, E>(ga, dO + (u64)b * s.Tq * s.Hq * E + h * E, (u64)s.Hq * E, row, s.Tq);
  float acc[E / 8][4] = {}, l[2], d[2];
  for (int half = 0; half < 2; half++) {
    int i = row + lane / 4 + 8 * half;
    u64 at = ((u64)b * s.Hq + h) * s.Tq + i;
    l[half] = i < s.Tq ? lse[at] : MINUS_INF, d[half] = i < s.Tq ? delta[at] : 0;
  }
  for (int j0 = first_key(s, i0) / N * N, end = last_key(s, min(s.Tq, i0 + 64)); j0 < end; j0 += N) {
    __syncthreads();
    kt.fetch(k, sk.sT, j0, s.Tk, aligned), vt.fetch(v, sv.sT, j0, s.Tk, aligned);
    arrived<0>();
    float p[N / 8][4], dp[N / 8][4];
    times_transposed<T, N, E>(p, qa, kt);
    times_transposed<T, N, E>(dp, ga, vt);
    #pragma unroll
    for (int n = 0; n < N / 8; n++)
      #pragma unroll
      for (int x = 0; x < 4; x++)
        score_gradient(p[n][x], dp[n][x], l[x / 2], d[x / 2], sees(s, row + lane / 4 + x / 2 * 8, j0 + 8 * n + lane % 4 * 2 + x % 2), s);
    plus_times<T, N, E>(acc, dp, kt);
  }
  store_rows<T, E>(dq + b * sdq.sB + h * sdq.sH, sdq.sT, row, s.Tq, acc, 1, 1);
}
