// Gathers, scatters, orders, scans and windows. x is [O, A, N]; bad indices are counted in *bad.
template <class I> __device__ inline long long checked(const I *index, u64 at, u64 A, u32 *bad) {
  long long i = load(index[at]);
  if (i < 0 || i >= (long long)A) { atomicAdd(bad, 1u); return -1; }
  return i;
}
// A thread a pack of W neighbours; N is their number in a row.
template <int W, class U, class T, class I> __device__ inline void take(const T *x, const I *index, T *out, u32 *bad, U O, U A, U N, U J) {
  using Pack = pack<T, W, W * sizeof(T)>;
  U t = blockIdx.x * (U)256 + threadIdx.x, row = N / W;
  if (t >= O * J * row) return;
  U n = t % row, j = t / row % J, o = t / row / J;
  long long i = load(index[j]);
  bool in = i >= 0 && i < (long long)A;
  if (!in && n == 0 && o == 0) atomicAdd(bad, 1u);
  Pack p = {};
  if (in) p = *(const Pack *)(x + ((u64)(o * A + i) * N + n * W));
  *(Pack *)(out + (u64)t * W) = p;
}
template <class T, class I> __device__ inline void take_along(const T *x, const I *index, T *out, u32 *bad, u64 O, u64 A, u64 N, u64 J) {
  u64 t = blockIdx.x * 256ull + threadIdx.x;
  if (t >= O * J * N) return;
  long long i = checked(index, t, A, bad);
  T zero = {};
  out[t] = i >= 0 ? x[(t / N / J * A + i) * N + t % N] : zero;
}
// Entries [at, at + J) of the axis of `out` become those of y.
template <class T, class I> __device__ inline void update_at(const T *y, const I *at, T *out, u32 *bad, u64 O, u64 A, u64 N, u64 J) {
  u64 t = blockIdx.x * 256ull + threadIdx.x;
  if (t >= O * J * N) return;
  long long start = load(*at);
  if (start >= 0 && start + J <= A) out[(t / N / J * A + start + t / N % J) * N + t % N] = y[t];
  else if (t == 0) atomicAdd(bad, 1u);
}
template <class T, class I> __device__ inline void scatter_along(const T *dy, const I *index, T *out, u32 *bad, u64 O, u64 A, u64 N, u64 J) {
  u64 t = blockIdx.x * 256ull + threadIdx.x; // one thread a line of the axis: additions in order
  if (t >= O * N) return;
  u64 n = t % N, o = t / N;
  for (u64 a = 0; a < A; a++) store(out[(o * A + a) * N + n], 0.f);
  for (u64 j = 0; j < J; j++) {
    long long i = checked(index, (o * J + j) * N + n, A, bad);
    if (i >= 0) { T &to = out[(o * A + i) * N + n]; store(to, load(to) + load(dy[(o * J + j) * N + n])); }
  }
}
// Sums of rows of dy by index, without atomics and in an order that the indices alone decide. Block b of G owns the rows b, b + G, ... of the result. Its warps list what they find of them, each in its share of the indices; then every warp adds up whole rows, and all
// warps together those with many terms. A list that is full is added up before more is found.
template <int W, class T, class I> struct ScatterAdd {
  using Number = decltype(load(T()));
  using Pack = pack<T, W, W * sizeof(T)>;
  static constexpr u32 ROOM = 512, MANY = 48, ROWS = 256, M = 3, AHEAD = 2; // M packs a lane at a time, of AHEAD terms
  struct Shared {
    u32 from[8][ROOM], count[ROWS], length[8];
    unsigned char row[8][ROOM];
    Number part[8][32 * M * W];
  };
  Shared &s;
  const T *dy;
  T *out;
  u32 N, G, b, warp, lane;

  // Adds the listed terms of row k from the lists of warps [w, w + n) to sum, columns from `column` on.
  __device__ void gather(u32 k, u32 w, u32 n, u32 column, Number (&sum)[M * W]) const {
    for (u32 list = w; list < w + n; list++)
      for (u32 base = 0; base < s.length[list]; base += 32) {
        u32 votes = __ballot_sync(~0u, base + lane < s.length[list] && s.row[list][base + lane] == k);
        while (votes) {
          Pack p[AHEAD][M];
          u32 found = 0;
          #pragma unroll
          for (u32 f = 0; f < AHEAD; f++) if (votes) {
            const T *from = dy + (u64)s.from[list][base + __ffs(votes) - 1] * N;
            votes &= votes - 1, found++;
            #pragma unroll
            for (u32 m = 0; m < M; m++) if (column + (m * 32 + lane) * W < N) p[f][m] = *(const Pack *)(from + column + (m * 32 + lane) * W);
          }
          #pragma unroll
          for (u32 f = 0; f < AHEAD; f++) if (f < found)
            #pragma unroll
            for (u32 m = 0; m < M; m++) if (column + (m * 32 + lane) * W < N)
              #pragma unroll
              for (u32 e = 0; e < W; e++) sum[m * W + e] += load(p[f][m].x[e]);
        }
      }
  }
  __device__ void begin(const T *row, bool first, u32 column, Number (&sum)[M * W]) const {
    #pragma unroll
    for (u32 m = 0; m < M; m++) {
      u32 at = column + (m * 32 + lane) * W;
      Pack p = {};
      if (!first && at < N) p = *(const Pack *)(row + at);
      #pragma unroll
      for (u32 e = 0; e < W; e++) sum[m * W + e] = load(p.x[e]);
    }
  }
  __device__ void end(T *row, u32 column, const Number (&sum)[M * W]) const {
    #pragma unroll
    for (u32 m = 0; m < M; m++) {
      u32 at = column + (m * 32 + lane) * W;
      Number r[W];
      #pragma unroll
      for (u32 e = 0; e < W; e++) r[e] = sum[m * W + e];
      if (at < N) put<W * sizeof(T)>(row + at, r);
    }
  }
  // Adds up what is listed; the first time the rows start from zero.
  __device__ void flush(u32 rows, u32 A, bool first) const {
    Number sum[M * W];
    for (u32 k = warp; k < rows; k += 8) {
      if (s.count[k] > MANY || (s.count[k] == 0 && !first)) continue;
      T *row = out + (u64)(b + k * G) * N;
      for (u32 column = 0; column < N; column += 32 * M * W) {
        begin(row, first, column, sum);
        if (s.count[k]) gather(k, 0, 8, column, sum);
        end(row, column, sum);
      }
    }
    for (u32 k = 0; k < rows; k++) {
      if (s.count[k] <= MANY) continue;
      T *row = out + (u64)(b + k * G) * N;
      for (u32 column = 0; column < N; column += 32 * M * W) {
        begin(row, first || warp > 0, column, sum);
        gather(k, warp, 1, column, sum);
        #pragma unroll
        for (u32 e = 0; e < M * W; e++) s.part[warp][e * 32 + lane] = sum[e];
        __syncthreads();
        if (warp == 0) {
          for (u32 w = 1; w < 8; w++)
            #pragma unroll
            for (u32 e = 0; e < M * W; e++) sum[e] += s.part[w][e * 32 + lane];
          end(row, column, sum);
        }
        __syncthreads();
      }
    }
  }
};
template <int W, class T, class I> __device__ inline void scatter_add(const T *dy, const I *index, T *out, u32 *bad, u32 A, u32 N, u32 J, u32 G) {
  using Scatter = ScatterAdd<W, T, I>;
  __shared__ typename Scatter::Shared s;
  u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32, b = blockIdx.x % G, o = blockIdx.x / G, rows = (A - b + G - 1) / G;
  Scatter self{s, dy + (u64)o * J * N, out + (u64)o * A * N, N, G, b, warp, lane};
  u32 share = (J + 2047) / 2048 * 256, next = warp * share, last = min(J, next + share);
  for (bool first = true;; first = false) {
    for (u32 k = threadIdx.x; k < rows; k += 256) s.count[k] = 0;
    __syncthreads();
    u32 length = 0;
    for (; next < last && length + 256 <= Scatter::ROOM; next += 256) {
      long long ids[8];
      #pragma unroll
      for (u32 c = 0; c < 8; c++) ids[c] = next + c * 32 + lane < last ? load(index[next + c * 32 + lane]) : 0;
      #pragma unroll
      for (u32 c = 0; c < 8; c++) {
        u32 at = next + c * 32 + lane;
        bool in = ids[c] >= 0 && ids[c] < (long long)A, own = at < last && in && (u32)ids[c] % G == b;
        if (!in && blockIdx.x == 0) atomicAdd(bad, 1u);
        u32 votes = __ballot_sync(~0u, own), to = length + __popc(votes & ((1u << lane) - 1));
        if (own) {
          u32 k = (u32)ids[c] / G;
          s.from[warp][to] = at, s.row[warp][to] = k;
          atomicAdd(&s.count[k], 1u);
        }
        length += __popc(votes);
      }
    }
    if (lane == 0) s.length[warp] = length;
    bool more = __syncthreads_or(next < last);
    self.flush(rows, A, first);
    if (!more) return;
    __syncthreads();
  }
}

struct Window { int B, C, H, W, kh, kw, sh, sw, ph, pw, dh, dw, oh, ow; };
template <class T> __device__ inline void unfold(const T *x, T *out, Window w) {
  u64 t = blockIdx.x * 256ull + threadIdx.x;
  if (t >= (u64)w.B * w.C * w.kh * w.kw * w.oh * w.ow) return;
  u64 rest = t;
  int ox = rest % w.ow; rest /= w.ow;
  int oy = rest % w.oh; rest /= w.oh;
  int kx = rest % w.kw; rest /= w.kw;
  int ky = rest % w.kh; rest /= w.kh;
  int y = oy * w.sh - w.ph + ky * w.dh, col = ox * w.sw - w.pw + kx * w.dw;
  T zero = {};
  out[t] = y >= 0 && y < w.H && col >= 0 && col < w.W ? x[(rest * w.H + y) * w.W + col] : zero;
}
// Each pixel gathers from the windows that cover it: no races.
template <class T> __device__ inline void fold(const T *x, T *out, Window w) {
  u64 t = blockIdx.x * 256ull + threadIdx.x;
  if (t >= (u64)w.B * w.C * w.H * w.W) return;
  int col = t % w.W, y = t / w.W % w.H;
  u64 bc = t / w.W / w.H;
  float sum = 0;
  for (int ky = 0; ky < w.kh; ky++)
    for (int kx = 0; kx < w.kw; kx++) {
      int py = y + w.ph - ky * w.dh, px = col + w.pw - kx * w.dw;
      if (py < 0 || px < 0 || py % w.sh || px % w.sw || py / w.sh >= w.oh || px / w.sw >= w.ow) continue;
      sum += load(x[((bc * w.kh + ky) * w.kw + kx) * w.oh * w.ow + (u64)(py / w.sh) * w.ow + px / w.sw]);
    }
  store(out[t], sum);
}
