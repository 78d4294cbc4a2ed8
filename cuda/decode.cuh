// Attention of a few queries over the first keys of a cache: what a decode step does. The keys are read once; a kv head is shared out over blocks, and
// chunks of its keys over warps that each keep a running maximum, sum and output per query (Milakov and Gimelshein 2018); what the blocks of a head
// found is merged in order, so that the bits do not depend on which one is the last (split keys: Dao et al. 2023, "Flash-Decoding"). Scores are powers of two.

struct Steps { u64 b, t, h; }; // of batch, token and head, in elements; features are neighbours
struct DecodeShape { int Hq, Hkv, Tq, C, window; float scale; };
constexpr int MERGED = 8; // partial results that a thread reads at once

// What a block of a grid (splits, kv heads x blocks of Q queries, batch) does. Query u of a kv head is token u / G of its query head u % G. The keys
// and values of the last NEW tokens are not in the cache yet. A block takes every `parts`th chunk of CHUNK keys from its own first one on.
template <int Q, int NEW, int CHUNK> struct DecodeBlock {
  const DecodeShape s;
  const int G, all, kv, first, b;
  bool fits;
  int n, old, begin, chunks, parts; // keys, those in the cache, and chunks [begin, chunks) of those that some query of the block sees
  __device__ DecodeBlock(DecodeShape s)
      : s(s), G(s.Hq / s.Hkv), all(G * s.Tq), kv(blockIdx.y / ((all + Q - 1) / Q)), first(blockIdx.y % ((all + Q - 1) / Q) * Q), b(blockIdx.z) {}
  __device__ void share_out(long long wanted) {
    fits = wanted >= NEW && wanted <= s.C;
    n = min((long long)s.C, wanted), old = NEW && fits ? n - NEW : n;
    const int earliest = last_of(0), latest = last_of(min(Q, all - first) - 1);
    begin = s.window ? max(0, earliest - s.window + 1) / CHUNK : 0, chunks = (max(0, latest + 1) + CHUNK - 1) / CHUNK;
    parts = max(1, min((int)gridDim.x, chunks - begin));
  }
  __device__ int own() const { return begin + blockIdx.x; }
  __device__ int last_of(int u) const { return n - s.Tq + (first + u) / G; } // the key of a query itself
  __device__ bool sees(int u, int j) const { return j <= last_of(u) && (s.window == 0 || j > last_of(u) - s.window); }
  template <class T> __device__ T *rows(T *x, Steps steps) const { return x + b * steps.b + kv * steps.h; }
};

// Asks for the first keys and values of a block before its turn, by the length that is found then, which may be the last step's: it is the result.
template <int E, int Q, int CHUNK, int THREADS, bool ALIGNED, class T, class I> __device__ inline long long decode_ask(const T *k, Steps ks, const T *v, Steps vs, const I *length, DecodeShape s) {
  const long long found = load(*(const volatile I *)length);
  if (s.window || !ALIGNED) return found;
  const DecodeBlock<Q, 0, CHUNK> block(s);
  const int n = (int)min((long long)s.C, found);
  for (int i = threadIdx.x; i < 2 * CHUNK; i += THREADS) {
    const int j = blockIdx.x * CHUNK + i / 2;
    if (j < n) ask_for(i % 2 ? block.rows(v, vs) + j * vs.t : block.rows(k, ks) + j * ks.t, E * sizeof(T));
  }
  return found;
}

// The queries ask(b, t, h, e) of a block, and the new keys and values made(b, t, kv head, e, of the value) of its head: every block makes them for
// itself, one puts them into the cache. All is asked for at once, and put into shared memory later.
template <class T, int E, int Q, int NEW, int THREADS> struct DecodeGiven {
  static constexpr int QUERIES = Q * E, ENTRIES = NEW * 2 * E;
  float asked[(QUERIES + THREADS - 1) / THREADS], entry[(ENTRIES + THREADS - 1) / THREADS + 1];
  template <class Block, class Ask, class Made> __device__ DecodeGiven(const Block &block, Ask ask, Made made) {
    #pragma unroll
    for (int i = 0; i * THREADS < QUERIES; i++) {
      const int x = min(i * THREADS + (int)threadIdx.x, QUERIES - 1), u = min(block.first + x / E, block.all - 1);
      asked[i] = ask(block.b, u / block.G, block.kv * block.G + u % block.G, x % E);
    }
    #pragma unroll
    for (int i = 0; i * THREADS < ENTRIES; i++) {
      const int x = min(i * THREADS + (int)threadIdx.x, ENTRIES - 1);
      entry[i] = made(block.b, x / (2 * E), block.kv, x % E, x / E % 2);
    }
  }
  template <class Block, class P> __device__ void put(const Block &block, P *query, float scale, T *fresh, T *k, Steps ks, T *v, Steps vs) const {
    #pragma unroll
    for (int i = 0; i * THREADS < QUERIES; i++) {
      const int x = i * THREADS + threadIdx.x;
      if (x < QUERIES) store(query[x], asked[i] * scale);
    }
    #pragma unroll
    for (int i = 0; i * THREADS < ENTRIES; i++) {
      const int x = i * THREADS + threadIdx.x, j = block.old + x / (2 * E);
      if (x >= ENTRIES) continue;
      T y;
      store(y, entry[i]);
      fresh[x] = y;
      if (block.fits && blockIdx.x == 0 && block.first == 0) (x / E % 2 ? block.rows(v, vs) + j * vs.t : block.rows(k, ks) + j * ks.t)[x % E] = y;
    }
  }
};

// Joins what the warps of a block found, and what the blocks of a head did: sums(warp, u, e) is the output of query u, beside it the maximum (e = E) and
// the sum (E + 1). TOGETHER: so many splits, which are a cluster, or 0. By all threads, once the sums can be seen.
template <int E, int Q, int WARPS, int TOGETHER, class Block, class Sums, class T>
__device__ inline void decode_merge(const Block &block, Sums sums, T *o, float *lse, float *partial, u32 *tickets) {
  constexpr int ROW = E + 2, THREADS = WARPS * 32;
  const float none = MINUS_INF;
  auto finish = [&](int u, int e, float x, float most, float weight) {
    const int at = block.first + u, G = block.G;
    if (at >= block.all) return;
    const u64 row = (u64)block.b * block.s.Tq + at / G, head = block.kv * G + at % G;
    store(o[(row * block.s.Hq + head) * E + e], weight > 0 || weight != weight ? x / weight : 0.f);
    if (e == 0) lse[((u64)block.b * block.s.Hq + head) * block.s.Tq + at / G] = (most + log2f(weight)) * LN2;
  };
  const u64 head = (u64)blockIdx.z * gridDim.y + blockIdx.y;
  float *mine = partial + (head * gridDim.x + blockIdx.x) * Q * ROW;
  using Merge = Inbox<TOGETHER ? TOGETHER : 1, Q * ROW>;
  auto leave = [&](int i, float x) {
    if (TOGETHER) Merge::send(blockIdx.x, i, x);
    else mine[i] = x;
  };
  const int parts = block.parts;
  const bool alone = !TOGETHER && parts == 1;
  if (TOGETHER) Merge::await_opening();
  for (int i = threadIdx.x; i < Q * E; i += THREADS) {
    const int u = i / E, e = i % E;
    float most = none, x = 0, weight = 0;
    #pragma unroll
    for (int w = 0; w < WARPS; w++) most = fmaxf(most, sums(w, u, E));
    const float base = most == none ? 0 : most;
    #pragma unroll
    for (int w = 0; w < WARPS; w++) {
      const float r = exp2_fast(sums(w, u, E) - base);
      x = fmaf(sums(w, u, e), r, x), weight = fmaf(sums(w, u, E + 1), r, weight);
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
  for (int i = threadIdx.x; i < Q * E; i += THREADS) {
    const int u = i / E, e = i % E;
    float most = none, x = 0, weight = 0;
    for (int begin = 0; begin < parts; begin += MERGED) { // so many at once, as each takes the time of a read
      float tops[MERGED], weights[MERGED], xs[MERGED], before = most;
      #pragma unroll
      for (int p = 0; p < MERGED; p++) {
        const int row = ((begin + p) * Q + u) * ROW;
        const bool there = begin + p < parts;
        tops[p] = there ? left(row + E) : none, weights[p] = there ? left(row + E + 1) : 0, xs[p] = there ? left(row + e) : 0;
      }
      #pragma unroll
      for (int p = 0; p < MERGED; p++) most = fmaxf(most, tops[p]);
      const float base = most == none ? 0 : most, shrink = exp2_fast(before - base);
      x *= shrink, weight *= shrink;
      #pragma unroll
      for (int p = 0; p < MERGED; p++) { const float r = exp2_fast(tops[p] - base); x = fmaf(xs[p], r, x), weight = fmaf(weights[p], r, weight); }
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
