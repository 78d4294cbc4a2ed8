// Attention of a few queries over the first keys of a cache: what a decode step does. The keys are read once, all of a chunk in flight; a kv
// head is shared out over blocks, and chunks over warps that each keep a running maximum, sum and output per query (Milakov and Gimelshein 2018);
// the last block of a head merges them in order, so that the bits do not depend on which one that is (split keys: Dao et al. 2023, "Flash-Decoding").

// Features are kept as the words that they are read in: taken apart at once, they would be waited for at once.
template <class T> union Features {
  uint4 words;
  Pack<T> pack;
  __device__ Features() {}
};
template <bool ALIGNED, class T> __device__ inline uint4 load_words(const T *p) {
  Features<T> v;
  if (ALIGNED) v.words = *(const uint4 *)p;
  else for (int i = 0; i < (int)(16 / sizeof(T)); i++) v.pack.x[i] = p[i];
  return v.words;
}
template <class T> __device__ inline float feature(const uint4 &words, int e) {
  Features<T> v;
  v.words = words;
  return load(v.pack.x[e]);
}

struct Steps { u64 b, t, h; }; // of batch, token and head, in elements; features are neighbours
struct DecodeShape { int Hq, Hkv, Tq, C, window; float scale; };
constexpr int DECODE_THREADS = 128, DECODE_KEYS = 4, MERGED = 8; // keys of a chunk that one thread has in registers; partial results that it reads at once

// Lanes that hold the features of one key.
__device__ constexpr int decode_lanes(int packs) { int n = 1; while (n < packs) n *= 2; return n; }

// Asks for the first keys and values of a block before its turn, by the length that is found then, which may be the last step's: it is the result.
template <class T, int E, int Q, bool ALIGNED, class I> __device__ inline long long decode_ask(const T *k, Steps ks, const T *v, Steps vs, const I *length, DecodeShape s) {
  constexpr int V = 16 / sizeof(T), CHUNK = DECODE_THREADS / decode_lanes(E / V) * DECODE_KEYS;
  const long long found = load(*(const volatile I *)length);
  if (s.window || !ALIGNED) return found;
  const int all = s.Hq / s.Hkv * s.Tq, kv = blockIdx.y / ((all + Q - 1) / Q), n = (int)min((long long)s.C, found);
  for (int i = threadIdx.x; i < 2 * CHUNK; i += DECODE_THREADS) {
    const int j = blockIdx.x * CHUNK + i / 2;
    if (j < n) ask_for(i % 2 ? v + blockIdx.z * vs.b + j * vs.t + kv * vs.h : k + blockIdx.z * ks.b + j * ks.t + kv * ks.h, E * sizeof(T));
  }
  return found;
}

// Grid (splits, kv heads x blocks of Q queries, batch); TOGETHER: so many splits, which are a cluster, or 0. Query u of a kv head is token u / G of
// its query head u % G, with the features ask(b, t, h, e). The keys and values of the last NEW tokens are not in the cache yet but made(b, t, kv
// head, e, of the value): every block makes those of its head for itself, one puts them into the cache.
template <class T, int E, int Q, int NEW, bool ALIGNED, int TOGETHER, class Ask, class Made, class I>
__device__ inline void decode_attention(Ask ask, Made made, T *k, Steps ks, T *v, Steps vs, const I *length, long long guess, T *o, float *lse,
                                        float *partial, u32 *tickets, u32 *bad, DecodeShape s) {
  constexpr int V = 16 / sizeof(T), LANES = decode_lanes(E / V), GROUPS = DECODE_THREADS / LANES, CHUNK = GROUPS * DECODE_KEYS;
  constexpr int WARPS = DECODE_THREADS / 32, ROW = E + 2; // of the partial results: output, maximum, sum
  __shared__ float query[Q][E], sums[WARPS][Q][ROW];
  __shared__ alignas(16) T fresh[NEW ? NEW : 1][2][E];
  const float none = __int_as_float(0xff800000);
  int lane = threadIdx.x % LANES, group = threadIdx.x / LANES, warp = threadIdx.x / 32;
  int G = s.Hq / s.Hkv, all = G * s.Tq, blocks = (all + Q - 1) / Q, kv = blockIdx.y / blocks, first = blockIdx.y % blocks * Q, b = blockIdx.z;
  bool fits;
  int n, old, from, chunks, parts; // of the keys that some query of the block sees: [from, chunks), for so many blocks
  auto share_out = [&](long long wanted) {
    fits = wanted >= NEW && wanted <= s.C;
    n = min((long long)s.C, wanted), old = NEW && fits ? n - NEW : n;
    const int earliest = n - s.Tq + first / G, latest = n - s.Tq + (min(first + Q, all) - 1) / G;
    from = s.window ? max(0, earliest - s.window + 1) / CHUNK : 0, chunks = (max(0, latest + 1) + CHUNK - 1) / CHUNK;
    parts = max(1, min((int)gridDim.x, chunks - from));
  };
  bool holds = lane < E / V;
  uint4 key[DECODE_KEYS], value[DECODE_KEYS];
  auto fetch = [&](int chunk) {
    #pragma unroll
    for (int i = 0; i < DECODE_KEYS; i++) {
      const int j = chunk * CHUNK + i * GROUPS + group;
      key[i] = value[i] = uint4{0, 0, 0, 0};
      if (j < old && holds) {
        key[i] = load_words<ALIGNED>(k + b * ks.b + j * ks.t + kv * ks.h + lane * V);
        value[i] = load_words<ALIGNED>(v + b * vs.b + j * vs.t + kv * vs.h + lane * V);
      }
    }
  };
  // all that is read at first is asked for at once, with no branch in between: the keys by a guess of the length, which is right but for first steps
  const long long wanted = load(*length);
  share_out(guess);
  fetch(from + blockIdx.x);
  float asked[(Q * E + DECODE_THREADS - 1) / DECODE_THREADS], entry[(NEW * 2 * E + DECODE_THREADS - 1) / DECODE_THREADS + 1];
  #pragma unroll
  for (int i = 0; i * DECODE_THREADS < Q * E; i++) {
    const int t = min(i * DECODE_THREADS + (int)threadIdx.x, Q * E - 1), u = min(first + t / E, all - 1);
    asked[i] = ask(b, u / G, kv * G + u % G, t % E) * s.scale;
  }
  #pragma unroll
  for (int i = 0; i * DECODE_THREADS < NEW * 2 * E; i++) {
    const int t = min(i * DECODE_THREADS + (int)threadIdx.x, NEW * 2 * E - 1);
    entry[i] = made(b, t / (2 * E), kv, t % E, t / E % 2);
  }
  if (wanted != guess) {
    share_out(wanted);
    fetch(from + blockIdx.x);
  }
  if (NEW && !fits && blockIdx.x + blockIdx.y + blockIdx.z + threadIdx.x == 0) atomicAdd(bad, 1u);
  if (!TOGETHER && (int)blockIdx.x >= parts) return;

  auto prepare = [&] {
    #pragma unroll
    for (int i = 0; i * DECODE_THREADS < Q * E; i++) {
      int t = i * DECODE_THREADS + threadIdx.x;
      if (t < Q * E) query[t / E][t % E] = asked[i];
    }
    #pragma unroll
    for (int i = 0; i * DECODE_THREADS < NEW * 2 * E; i++) {
      int t = i * DECODE_THREADS + threadIdx.x, e = t % E, value = t / E % 2, token = t / (2 * E);
      if (t >= NEW * 2 * E) continue;
      T x;
      store(x, entry[i]);
      fresh[token][value][e] = x;
      if (fits && blockIdx.x == 0 && first == 0) {
        if (value) v[b * vs.b + (old + token) * vs.t + kv * vs.h + e] = x;
        else k[b * ks.b + (old + token) * ks.t + kv * ks.h + e] = x;
      }
    }
  };
  float sum[Q][V] = {}, top[Q], total[Q] = {}; // of the keys of a warp: `top` of all, the rest of the lane's group
  #pragma unroll
  for (int u = 0; u < Q; u++) top[u] = none;
  for (int chunk = from + blockIdx.x; chunk < chunks; chunk += parts) {
    if (chunk != from + (int)blockIdx.x) fetch(chunk);
    else {
      prepare();
      __syncthreads();
    }
    if (NEW)
      #pragma unroll
      for (int i = 0; i < DECODE_KEYS; i++) {
        int t = chunk * CHUNK + i * GROUPS + group - old;
        if (t >= 0 && t < n - old && holds) key[i] = *(const uint4 *)&fresh[t][0][lane * V], value[i] = *(const uint4 *)&fresh[t][1][lane * V];
      }
    #pragma unroll
    for (int u = 0; u < Q; u++) {
      float dot[DECODE_KEYS] = {};
      if (holds)
        #pragma unroll
        for (int e = 0; e < V; e++) {
          float x = query[u][lane * V + e];
          #pragma unroll
          for (int i = 0; i < DECODE_KEYS; i++) dot[i] = fmaf(x, feature<T>(key[i], e), dot[i]);
        }
      #pragma unroll
      for (int i = 0; i < DECODE_KEYS; i++) {
        for (int d = LANES / 2; d; d /= 2) dot[i] += __shfl_xor_sync(~0u, dot[i], d);
        int j = chunk * CHUNK + i * GROUPS + group, last = n - s.Tq + (first + u) / G;
        bool sees = j <= last && (s.window == 0 || j > last - s.window);
        if (!sees) dot[i] = none;
      }
      float most = top[u];
      #pragma unroll
      for (int i = 0; i < DECODE_KEYS; i++) most = fmaxf(most, dot[i]);
      for (int d = LANES; d < 32; d *= 2) most = fmaxf(most, __shfl_xor_sync(~0u, most, d));
      const float base = most == none ? 0 : most, shrink = expf(top[u] - base);
      top[u] = most, total[u] *= shrink;
      #pragma unroll
      for (int i = 0; i < DECODE_KEYS; i++) dot[i] = expf(dot[i] - base), total[u] += dot[i];
      #pragma unroll
      for (int e = 0; e < V; e++) {
        float x = sum[u][e] * shrink;
        #pragma unroll
        for (int i = 0; i < DECODE_KEYS; i++) x = fmaf(dot[i], feature<T>(value[i], e), x);
        sum[u][e] = x;
      }
    }
  }
  #pragma unroll
  for (int u = 0; u < Q; u++) {
    for (int d = LANES; d < 32; d *= 2) {
      total[u] += __shfl_xor_sync(~0u, total[u], d);
      #pragma unroll
      for (int e = 0; e < V; e++) sum[u][e] += __shfl_xor_sync(~0u, sum[u][e], d);
    }
    if (threadIdx.x % 32 < LANES && holds)
      #pragma unroll
      for (int e = 0; e < V; e++) sums[warp][u][lane * V + e] = sum[u][e];
    if (threadIdx.x % 32 == 0) sums[warp][u][E] = top[u], sums[warp][u][E + 1] = total[u];
  }
  __syncthreads();

  auto finish = [&](int u, int e, float x, float most, float weight) {
    int at = first + u;
    if (at >= all) return;
    u64 row = (u64)b * s.Tq + at / G, head = kv * G + at % G;
    store(o[(row * s.Hq + head) * E + e], weight > 0 || weight != weight ? x / weight : 0.f);
    if (e == 0) lse[((u64)b * s.Hq + head) * s.Tq + at / G] = most + logf(weight);
  };
  u64 head = (u64)blockIdx.z * gridDim.y + blockIdx.y;
  float *mine = partial + (head * gridDim.x + blockIdx.x) * Q * ROW;
  using Merge = Inbox<TOGETHER ? TOGETHER : 1, Q * ROW>;
  auto leave = [&](int i, float x) {
    if (TOGETHER) Merge::send(blockIdx.x, i, x);
    else mine[i] = x;
  };
  const bool alone = !TOGETHER && parts == 1;
  if (TOGETHER) Merge::await_opening();
  for (int t = threadIdx.x; t < Q * E; t += DECODE_THREADS) {
    int u = t / E, e = t % E;
    float most = none, x = 0, weight = 0;
    #pragma unroll
    for (int w = 0; w < WARPS; w++) most = fmaxf(most, sums[w][u][E]);
    const float base = most == none ? 0 : most;
    #pragma unroll
    for (int w = 0; w < WARPS; w++) {
      const float r = expf(sums[w][u][E] - base);
      x = fmaf(sums[w][u][e], r, x), weight = fmaf(sums[w][u][E + 1], r, weight);
    }
    if (alone) finish(u, e, x, most, weight);
    else {
      leave(u * ROW + e, x);
      if (e == 0) leave(u * ROW + E, most), leave(u * ROW + E + 1, weight);
    }
  }
  if (alone || (TOGETHER && blockIdx.x)) return;
  if (TOGETHER) Merge::await_all();
  else if (!arrives_last(tickets + head, parts)) return;
  const float *theirs = TOGETHER ? Merge::numbers() : partial + head * gridDim.x * Q * ROW;
  auto left = [&](int i) { return TOGETHER ? theirs[i] : __ldcg(theirs + i); };
  for (int t = threadIdx.x; t < Q * E; t += DECODE_THREADS) {
    int u = t / E, e = t % E;
    float most = none, x = 0, weight = 0;
    for (int begin = 0; begin < parts; begin += MERGED) { // so many at once, as each takes the time of a read
      float tops[MERGED], weights[MERGED], xs[MERGED], before = most;
      #pragma unroll
      for (int i = 0; i < MERGED; i++) {
        const int row = ((begin + i) * Q + u) * ROW;
        const bool there = begin + i < parts;
        tops[i] = there ? left(row + E) : none, weights[i] = there ? left(row + E + 1) : 0, xs[i] = there ? left(row + e) : 0;
      }
      #pragma unroll
      for (int i = 0; i < MERGED; i++) most = fmaxf(most, tops[i]);
      const float base = most == none ? 0 : most, shrink = expf(before - base);
      x *= shrink, weight *= shrink;
      #pragma unroll
      for (int i = 0; i < MERGED; i++) { float r = expf(tops[i] - base); x = fmaf(xs[i], r, x), weight = fmaf(weights[i], r, weight); }
    }
    finish(u, e, x, most, weight);
  }
}

// Attention of many new tokens over a cache that holds them, in the tiles of attention.cuh.
template <class T, int E, int N, class I>
__device__ inline void decode_tiles(const T *q, Heads sq, const T *k, Heads sk, const T *v, Heads sv, const I *length, T *o, float *lse, Shape s, bool aligned) {
  s.Tk = (int)max(0ll, min((long long)s.Tk, (long long)load(*length)));
  attention<T, E, N>(q, sq, k, sk, v, sv, nullptr, o, lse, s, aligned);
}
