// Attention over a cache (decode.cuh) of halves on tensor cores: up to eight queries of a kv head cost what one does, and the keys come at the rate of
// memory. Each warp walks over tiles of 16 keys. What a lane has to give to a product is put into its own places of shared memory as it comes: of keys
// as the right operand of query x keys, of values, once those of two keys are put side by side, of probabilities x values. Which feature is in which
// place of an operand does not matter as long as both have the same.
constexpr int STREAM_WARPS = 8, STREAM_THREADS = 32 * STREAM_WARPS, STREAM_KEYS = 16, STREAM_CHUNK = STREAM_WARPS * STREAM_KEYS;

// The pieces of 16 bytes of a tile that are a lane's: of the keys g and 8 + g the packs t, t + 4, ...; of the values 2 t, 2 t + 1, 8 + 2 t, 9 + 2 t the
// packs g, g + 8, ... Lane 4 g + t.
template <int E> struct Pieces {
  static constexpr int PACKS = E / 8, K = (PACKS + 3) / 4, V = (PACKS + 7) / 8, ALL = 2 * K + 4 * V;
  static __device__ constexpr bool of_key(int i) { return i < 2 * K; }
  // of the 16 keys, without the lane's share
  static __device__ constexpr int row(int i) { return of_key(i) ? i / K * 8 : (i - 2 * K) / V / 2 * 8 + (i - 2 * K) / V % 2; }
  static __device__ constexpr int pack(int i) { return of_key(i) ? i % K * 4 : (i - 2 * K) % V * 8; }
  // where pack p of key j, or of its value, lies: piece x 32 + lane
  static __device__ int place(bool key, int j, int p) {
    return key ? (j / 8 * K + p / 4) * 32 + j % 8 * 4 + p % 4 : (2 * K + (j / 8 * 2 + j % 2) * V + p / 8) * 32 + p % 8 * 4 + j % 8 / 2;
  }
};

// Probabilities of two neighbouring keys as the sum of two halves.
template <class T> __device__ inline void halved(float x, float y, u32 &high, u32 &low) {
  high = pair((T *)nullptr, x, y);
  pack<T, 2, 4> halves;
  memcpy(&halves, &high, 4);
  low = pair((T *)nullptr, x - element(halves, 0), y - element(halves, 1));
}

// DEPTH tiles of each warp are on their way. Dynamic shared memory: STREAM_WARPS * DEPTH * Pieces<E>::ALL * 512 bytes.
template <class T, int E, int Q, int NEW, int DEPTH, int TOGETHER, class Ask, class Made, class I>
__device__ inline void decode_stream(Ask ask, Made made, T *k, Steps ks, T *v, Steps vs, const I *length, long long guess, T *o, float *lse,
                                     float *partial, u32 *tickets, u32 *bad, DecodeShape s) {
  using P = Pieces<E>;
  extern __shared__ uint4 memory[];
  __shared__ alignas(16) T query[Q][E], fresh[NEW ? NEW : 1][2][E];
  const float none = MINUS_INF;
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, warp = threadIdx.x / 32;
  constexpr int WARP = DEPTH * P::ALL * 32; // places of a warp
  uint4 *places = memory + warp * WARP, *ring = places + lane;
  DecodeBlock<Q, NEW, STREAM_CHUNK> block(s);
  auto row = [&](int i) { return P::row(i) + (P::of_key(i) ? g : 2 * t); };
  auto pack_of = [&](int i) { return P::pack(i) + (P::of_key(i) ? t : g); };
  auto tile = [&](int chunk) { return chunk * STREAM_CHUNK + warp * STREAM_KEYS; };
  const T *keys = block.rows(k, ks), *values = block.rows(v, vs);
  // asks for the keys or the values of a chunk: neighbouring lanes for neighbouring packs, each put into the place of the lane that multiplies it
  auto fetch = [&](bool of_keys, int chunk, int slot) {
    const int first = tile(chunk);
    if (chunk < block.chunks) {
      const T *from = of_keys ? keys + first * ks.t : values + first * vs.t;
      const bool whole = first + STREAM_KEYS <= block.old;
      #pragma unroll
      for (int c = 0; c < P::PACKS / 2; c++) {
        const int x = c * 32 + lane, j = x / P::PACKS, p = x % P::PACKS;
        copy_async<16>(places + slot * P::ALL * 32 + P::place(of_keys, j, p), from + j * (of_keys ? ks.t : vs.t) + p * 8, whole || first + j < block.old);
      }
      if (P::PACKS % 2) {
        const int x = P::PACKS / 2 * 32 + lane, j = x / P::PACKS, p = x % P::PACKS;
        if (x < STREAM_KEYS * P::PACKS)
          copy_async<16>(places + slot * P::ALL * 32 + P::place(of_keys, j, p), from + j * (of_keys ? ks.t : vs.t) + p * 8, whole || first + j < block.old);
      }
    }
    commit_copies();
  };
  if (P::PACKS % 8) { // lanes without a pack multiply zeros
    for (int i = 0; i < WARP / 32; i++) ring[i * 32] = uint4{0, 0, 0, 0};
    __syncwarp();
  }
  auto begin_reading = [&](long long wanted) {
    block.share_out(wanted);
    #pragma unroll 1
    for (int i = 0; i < DEPTH; i++) fetch(true, block.own() + i * block.parts, i), fetch(false, block.own() + i * block.parts, i);
  };
  // new ones are not in the cache yet
  auto take_new = [&](bool of_keys, int chunk, uint4 *mine) {
    const int first = tile(chunk);
    if (NEW && first + STREAM_KEYS > block.old)
      #pragma unroll
      for (int i = of_keys ? 0 : 2 * P::K; i < (of_keys ? 2 * P::K : P::ALL); i++) {
        const int at = first + row(i) - block.old;
        if (at >= 0 && at < block.n - block.old && pack_of(i) < P::PACKS) mine[i * 32] = *(const uint4 *)&fresh[at][of_keys ? 0 : 1][pack_of(i) * 8];
      }
  };
  // all that is read at first is asked for at once: the keys by a guess of the length, which is right but for first steps
  const long long wanted = load(*length);
  begin_reading(guess);
  const DecodeGiven<T, E, Q, NEW, STREAM_THREADS> given(block, ask, made);
  if (wanted != guess) {
    await_copies<0>();
    begin_reading(wanted);
  }
  if (NEW && !block.fits && blockIdx.x + blockIdx.y + blockIdx.z + threadIdx.x == 0) atomicAdd(bad, 1u);
  if (!TOGETHER && (int)blockIdx.x >= block.parts) return await_copies<0>();
  given.put(block, &query[0][0], 1, &fresh[0][0][0], k, ks, v, vs);
  __syncthreads();
  uint4 q[P::K];
  #pragma unroll
  for (int i = 0; i < P::K; i++) q[i] = g < Q && pack_of(i) < P::PACKS ? *(const uint4 *)&query[min(g, Q - 1)][pack_of(i) * 8] : uint4{0, 0, 0, 0};

  float sum[P::V][8][4] = {}, top = none, total = 0; // of query g; the second half of each sum is of what halves leave of the probabilities
  int slot = 0;
  for (int chunk = block.own(); chunk < block.chunks; chunk += block.parts) {
    const int first = tile(chunk);
    uint4 *mine = ring + slot * P::ALL * 32;
    await_copies<2 * DEPTH - 1>();
    __syncwarp();
    take_new(true, chunk, mine);
    float score[2][4] = {}, x[4];
    #pragma unroll
    for (int i = 0; i < P::K; i++)
      #pragma unroll
      for (int c = 0; c < 2; c++) {
        const uint4 w = mine[(c * P::K + i) * 32];
        multiply(score[c], q[i].x, 0, q[i].y, 0, w.x, w.y, T());
        multiply(score[c], q[i].z, 0, q[i].w, 0, w.z, w.w, T());
      }
    __syncwarp();
    fetch(true, chunk + DEPTH * block.parts, slot);
    #pragma unroll
    for (int i = 0; i < 4; i++) x[i] = score[i / 2][i % 2] * (s.scale * LOG2E);
    if (s.window || first + STREAM_KEYS > block.last_of(0) + 1)
      #pragma unroll
      for (int i = 0; i < 4; i++)
        if (!block.sees(g, first + i / 2 * 8 + 2 * t + i % 2)) x[i] = none;
    const float most = quad_max(fmaxf(fmaxf(x[0], x[1]), fmaxf(x[2], x[3])));
    if (__any_sync(~0u, most > top)) {
      const float higher = fmaxf(top, most), shrink = higher == none ? 0 : exp2_fast(top - higher);
      top = higher, total *= shrink;
      #pragma unroll
      for (int i = 0; i < P::V * 32; i++) sum[i / 32][i / 4 % 8][i % 4] *= shrink;
    }
    const float base = top == none ? 0 : top;
    #pragma unroll
    for (int i = 0; i < 4; i++) x[i] = exp2_fast(x[i] - base), total += x[i];
    u32 high[2], low[2];
    halved<T>(x[0], x[1], high[0], low[0]), halved<T>(x[2], x[3], high[1], low[1]);
    await_copies<2 * DEPTH - 1>();
    __syncwarp();
    take_new(false, chunk, mine);
    #pragma unroll
    for (int i = 0; i < P::V; i++) {
      uint4 w[4];
      #pragma unroll
      for (int r = 0; r < 4; r++) w[r] = mine[(2 * P::K + r * P::V + i) * 32];
      auto two = [&](int e, u32 a, u32 b, u32 c, u32 d) { // features e and e + 1 of the pack, of four keys
        multiply(sum[i][e], high[0], low[0], high[1], low[1], __byte_perm(a, b, 0x5410), __byte_perm(c, d, 0x5410), T());
        multiply(sum[i][e + 1], high[0], low[0], high[1], low[1], __byte_perm(a, b, 0x7632), __byte_perm(c, d, 0x7632), T());
      };
      two(0, w[0].x, w[1].x, w[2].x, w[3].x), two(2, w[0].y, w[1].y, w[2].y, w[3].y);
      two(4, w[0].z, w[1].z, w[2].z, w[3].z), two(6, w[0].w, w[1].w, w[2].w, w[3].w);
    }
    __syncwarp();
    fetch(false, chunk + DEPTH * block.parts, slot);
    if (++slot == DEPTH) slot = 0;
  }
  await_copies<0>();
  __syncwarp();
  // what the warp found, in its own places; column 2 t + c of a product is feature e of the pack 2 t + c
  total = quad_sum(total);
  auto found = [&](int w, int u) { return (float *)(memory + w * WARP) + u * (E + 2); };
  if (g < Q) {
    float *to = found(warp, g);
    #pragma unroll
    for (int i = 0; i < P::V * 16; i++) {
      const int e = i % 8, c = i / 8 % 2, f = i / 16 * 64 + (2 * t + c) * 8 + e;
      if (f < E) to[f] = sum[i / 16][e][c] + sum[i / 16][e][c + 2];
    }
    if (t == 0) to[E] = top, to[E + 1] = total;
  }
  __syncthreads();
  decode_merge<E, Q, STREAM_WARPS, TOGETHER>(block, [&](int w, int u, int e) { return found(w, u)[e]; }, o, lse, partial, tickets);
}
