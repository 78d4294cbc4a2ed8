// Cross-entropy of a linear classifier without its logits (Wijmans et al. 2025, arXiv 2411.09009) on the tiles of wgmma.cuh. e [N, D], c [V, D].
// A block owns 128 rows and a range of the vocabulary and keeps each row's running maximum and sum.
struct Problem { int N, V, D; int ignore, first, total; float cap; };
__device__ inline float power2(float x) { float y; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }
// cap tanh(x / cap), good to 1e-7 of the cap.
__device__ inline float capped(float x, float cap) { return cap > 0 ? cap - 2 * cap * __fdividef(1, 1 + power2(x * (2 * LOG2E / cap))) : x; }
// The row of the tile of sums that element d[2 * h + ...] belongs to, and its first column.
__device__ inline int row_of(int half) { return threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4 + 8 * half; }
__device__ inline int column_of(int j) { return 8 * j + threadIdx.x % 4 * 2; }
// The target of row i as a column of c: -1 elsewhere, -2 where the row does not count.
template <class L> __device__ inline int place(const L *targets, int i, const Problem &p) {
  if (i >= p.N) return -2;
  long long t = load(targets[i]);
  if (t == p.ignore || t < 0 || t >= p.total) return -2;
  return t >= p.first && t < p.first + p.V ? (int)(t - p.first) : -1;
}

// Rows of e and, in order, of c, by ordinary copies.
template <class T> struct Gathered {
  static const int BLOCKS = 1, DOWN = 80, UP = 208;
  const T *e, *c;
  const int *order;
  __device__ Ring open() const { return open_ring(); }
  __device__ void close() const {}
  // Slabs of the products of rows i0.. of e with columns j0..j1 of the vocabulary.
  __device__ void copy(Ring &ring, const Problem &p, int i0, int j0, int j1) const {
    int t = threadIdx.x % 128 / 8, rows[16];
    #pragma unroll
    for (int i = 0; i < 16; i++) { int j = j0 + t + 16 * i; rows[i] = j < j1 ? order ? order[j] : j : -1; }
    for (int k = 0; k < p.D; k += TILE_K) {
      room(ring);
      copy_k_major<128>(ring.a(), [&](int, int r) { bool in = i0 + r < p.N; return Line<T>{e + (u64)(in ? i0 + r : 0) * p.D, in}; }, k, p.D);
      copy_k_major<256>(ring.b(), [&](int i, int) { bool in = rows[i] >= 0; return Line<T>{c + (u64)(in ? rows[i] : 0) * p.D, in}; }, k, p.D);
      hand_over(ring);
    }
  }
  template <class> __device__ void multiply_all(Ring &ring, float (&d)[128], int D) const {
    for (int k = 0; k < D; k += TILE_K) multiply<T, 256, 0, 0>(ring, d, k == 0);
    finish(ring, d);
  }
};

__device__ inline void meet() { asm volatile("barrier.cta.sync 1, 256;" ::: "memory"); } // of the multiplying threads
// The products of a tile become logits: columns j0.. of the vocabulary in order, -inf from `end` on.
__device__ inline void to_logits(float (&d)[128], const float *bias, const int *order, int j0, int end, float cap) {
  if (bias) {
    __shared__ float shared_bias[256];
    int j = j0 + threadIdx.x;
    meet();
    shared_bias[threadIdx.x] = j < end ? bias[order ? order[j] : j] : 0;
    meet();
    #pragma unroll
    for (int x = 0; x < 128; x++) d[x] += shared_bias[column_of(x / 4) + x % 2];
  }
  if (cap > 0)
    #pragma unroll
    for (int x = 0; x < 128; x++) d[x] = capped(d[x], cap);
  if (j0 + 256 > end)
    #pragma unroll
    for (int x = 0; x < 128; x++) if (j0 + column_of(x / 4) + x % 2 >= end) d[x] = MINUS_INF;
}

// positions[order[j]] = j
__device__ inline void linear_xent_positions(const int *order, int *positions, int V) {
  int j = blockIdx.x * 256 + threadIdx.x;
  if (j < V) positions[order[j]] = j;
}
// Whether any of the 256 multiplying threads says so.
__device__ inline bool any_thread(bool x) {
  u32 y;
  asm volatile("{ .reg .pred p, q; setp.ne.u32 p, %1, 0; barrier.cta.red.or.pred q, 1, 256, p; selp.u32 %0, 1, 0, q; }" : "=r"(y) : "r"((u32)x) : "memory");
  return y;
}
// logit[i] of row i's target, 0 where this part of the vocabulary does not have it; a warp for each.
template <class T, class L> __device__ inline void linear_xent_target(const T *e, const T *c, const L *targets, const float *bias, float *logit, Problem p) {
  int i = blockIdx.x * 8 + threadIdx.x / 32, j = place(targets, i, p);
  if (i >= p.N) return;
  float x = 0;
  for (int k = threadIdx.x % 32 * 8; j >= 0 && k < p.D; k += 256) {
    uint4 a = *(const uint4 *)(e + (u64)i * p.D + k), b = *(const uint4 *)(c + (u64)j * p.D + k);
    const T *u = (const T *)&a, *v = (const T *)&b;
    #pragma unroll
    for (int y = 0; y < 8; y++) x += load(u[y]) * load(v[y]);
  }
  for (int lane = 16; lane; lane /= 2) x += __shfl_xor_sync(~0u, x, lane);
  if (threadIdx.x % 32 == 0) logit[i] = j >= 0 ? capped(bias ? x + bias[j] : x, p.cap) : 0;
}
// Grid (splits, row tiles), by clusters where the operands come to both blocks of one. parts [splits, N]: maximum and sum of 2^logit over the
// split's columns. Where `keep` is wanted, it says of each 128 x 256 tile whether it has a target or an element of eps or more: neither the
// running sum nor the target's part is more than the whole, so none is missed, and the largest logits come first, so that few are kept in vain.
template <class T, class L, class From> __device__ inline void linear_xent(From from, const L *targets, const float *bias, const int *order, const int *positions, const float *logit, unsigned char *keep, float2 *parts, Problem p, float log_eps) {
  Ring ring = from.open();
  int split = blockIdx.x / From::BLOCKS, splits = gridDim.x / From::BLOCKS, tiles = (p.V + 255) / 256;
  int i0 = (blockIdx.y * From::BLOCKS + blockIdx.x % From::BLOCKS) * TILE_M;
  if (threadIdx.x >= 256) {
    registers_down<From::DOWN>();
    for (int tile = tiles - 1 - split; tile >= 0; tile -= splits) from.copy(ring, p, i0, tile * 256, p.V);
    return from.close();
  }
  registers_up<From::UP>();
  float top[2] = {MINUS_INF, MINUS_INF}, sum[2] = {0, 0};
  float own_logit[2];
  int target[2];
  #pragma unroll
  for (int h = 0; h < 2; h++) {
    target[h] = place(targets, i0 + row_of(h), p);
    own_logit[h] = target[h] >= 0 ? logit[i0 + row_of(h)] - 1e-3f : MINUS_INF; // less what another order of its sum may change
    if (positions && target[h] >= 0) target[h] = positions[target[h]];
  }
  for (int tile = tiles - 1 - split; tile >= 0; tile -= splits) {
    float d[128];
    bool kept = false;
    from.template multiply_all<T>(ring, d, p.D);
    int j0 = tile * 256;
    to_logits(d, bias, order, j0, p.V, p.cap);
    #pragma unroll
    for (int h = 0; h < 2; h++) {
      float own = MINUS_INF;
      #pragma unroll
      for (int x = 0; x < 64; x++) own = fmaxf(own, d[x / 2 * 4 + 2 * h + x % 2]);
      float now = fmaxf(top[h], own);
      float base = now == MINUS_INF ? 0 : now * LOG2E, part[4] = {};
      #pragma unroll
      for (int x = 0; x < 64; x++) part[x % 4] += power2(d[x / 2 * 4 + 2 * h + x % 2] * LOG2E - base);
      sum[h] = sum[h] * power2(top[h] * LOG2E - base) + ((part[0] + part[1]) + (part[2] + part[3]));
      top[h] = now;
      if (keep) {
        float most = quad_max(now), whole = quad_sum(sum[h] * power2((now - most) * LOG2E));
        kept |= target[h] >= j0 && target[h] < j0 + 256;
        kept |= target[h] != -2 && !(own < fmaxf(most + __logf(whole), own_logit[h]) + log_eps);
      }
    }
    if (keep) {
      kept = any_thread(kept);
      if (threadIdx.x == 0) keep[i0 / 128 * tiles + tile] = kept;
    }
  }
  #pragma unroll
  for (int h = 0; h < 2; h++) {
    float now = quad_max(top[h]), base = now == MINUS_INF ? 0 : now * LOG2E, total = quad_sum(sum[h] * power2(top[h] * LOG2E - base));
    int i = i0 + row_of(h);
    if (threadIdx.x % 4 == 0 && i < p.N) parts[(u64)split * p.N + i] = float2{now, total};
  }
  from.close();
}
// The parts of each row, in order: lse; 0 for rows that do not count, and a count of the targets that no vocabulary has.
template <class L> __device__ inline void linear_xent_merge(const float2 *parts, const L *targets, float *lse, u32 *bad, Problem p, int splits) {
  int i = blockIdx.x * 256 + threadIdx.x;
  if (i >= p.N) return;
  float top = MINUS_INF, sum = 0;
  for (int s = 0; s < splits; s++) top = fmaxf(top, parts[(u64)s * p.N + i].x);
  for (int s = 0; s < splits; s++) sum += parts[(u64)s * p.N + i].y * (top == MINUS_INF ? 1 : exp2f((parts[(u64)s * p.N + i].x - top) * LOG2E));
  long long t = load(targets[i]);
  int at = place(targets, i, p);
  if (at == -2 && t != p.ignore) atomicAdd(bad, 1);
  lse[i] = at == -2 ? 0 : top + logf(sum);
}
