// The gradient of linear_xent.cuh. It goes by blocks of rows x `columns` of the vocabulary, in `order`: the gradient g of their logits in half
// precision, with a flag for each 128 x 128 of it that has an element of at least eps; then dc and de from the flagged tiles, summed in f32.
// Rows of g's block, and its columns: j0.. of the vocabulary in order.
struct Block { int i0, rows, j0, columns; };

// Tile i of down x across: by bands of rows, so that what the tiles of a moment read is in the second-level cache.
struct TileAt { int row, column; };
__device__ inline TileAt tile_at(int i, int down, int across) {
  const int BAND = 16;
  int band = i / (BAND * across) * BAND, high = min(BAND, down - band), x = i - band * across;
  return {band + x % high, x / high};
}

// Word i of lane j of four neighbours becomes word j of lane i: pairs of columns of four fragments become 16 bytes of a row.
__device__ inline void transpose_quad(u32 (&w)[4]) {
  #pragma unroll
  for (int bit = 1; bit < 4; bit *= 2) {
    bool high = threadIdx.x & bit;
    #pragma unroll
    for (int i = 0; i < 2; i++) {
      int low = bit == 1 ? 2 * i : i;
      u32 other = __shfl_xor_sync(~0u, high ? w[low] : w[low + bit], bit);
      w[low] = high ? other : w[low], w[low + bit] = high ? w[low + bit] : other;
    }
  }
}

// g [rows, columns] of a block and flags [rows / 128, columns / 128] (null: none); persistent blocks. Tiles that the forward pass did not `keep`
// (null: all) are passed over.
template <class T, class L, class From> __device__ inline void linear_xent_g(From from, const L *targets, const float *lse, const float *dlogit, const float *dlse, const float *bias, const int *order, const int *positions, const unsigned char *keep, T *g, unsigned char *flags, Problem p, Block b, float eps) {
  Ring ring = from.open();
  const int PAIR = From::BLOCKS;
  const bool WIDE = From::UP > 208; // there are registers to store 16 bytes of a row at a time
  int cluster = blockIdx.x / PAIR, clusters = gridDim.x / PAIR, side = blockIdx.x % PAIR;
  int down = (b.rows + 128 * PAIR - 1) / (128 * PAIR), across = b.columns / 256, tiles = down * across;
  int end = min(p.V, b.j0 + b.columns), whole = (p.V + 255) / 256;
  auto kept = [&](TileAt t) {
    int column = b.j0 / 256 + t.column;
    return column < whole && (!keep || keep[(b.i0 / 128 + t.row * PAIR + side) * whole + column]);
  };
  if (threadIdx.x >= 256) {
    registers_down<From::DOWN>();
    for (int tile = cluster; tile < tiles; tile += clusters) {
      TileAt t = tile_at(tile, down, across);
      if (kept(t)) from.copy(ring, p, b.i0 + (t.row * PAIR + side) * 128, b.j0 + t.column * 256, end);
    }
    return from.close();
  }
  registers_up<From::UP>();
  for (int tile = cluster; tile < tiles; tile += clusters) {
    TileAt t = tile_at(tile, down, across);
    int r0 = (t.row * PAIR + side) * 128, j0 = t.column * 256;
    if (!kept(t)) {
      if (flags && threadIdx.x < 2) flags[r0 / 128 * (b.columns / 128) + j0 / 128 + threadIdx.x] = 0;
      continue;
    }
    float d[128];
    from.template multiply_all<T>(ring, d, p.D);
    to_logits(d, bias, order, b.j0 + j0, end, p.cap);
    bool counts[2] = {false, false};
    #pragma unroll
    for (int h = 0; h < 2; h++) {
      int r = r0 + row_of(h), i = b.i0 + r, target = r < b.rows ? place(targets, i, p) : -2;
      bool on = target != -2;
      if (positions && target >= 0) target = positions[target];
      int own = target < 0 ? -1 : target - b.j0 - j0; // the target's column of the tile
      float l = on ? lse[i] * LOG2E : -MINUS_INF, dl = on ? dlse[i] : 0, dt = on ? dlogit[i] : 0, least = eps * fmaxf(fabsf(dl), fabsf(dt));
      bool idle = dl == 0 && dt == 0;
      u32 words[4];
      #pragma unroll
      for (int y = 0; y < 32; y++) {
        float pair[2];
        #pragma unroll
        for (int z = 0; z < 2; z++) {
          float x = d[4 * y + 2 * h + z], v = power2(x * LOG2E - l) * dl;
          if (column_of(y) + z == own) v += dt;
          counts[y / 16] |= !idle && !(fabsf(v) < least);
          pair[z] = p.cap > 0 && v != 0 ? v * (1 - x * x * (1 / (p.cap * p.cap))) : v;
        }
        words[y % 4] = Half<T>::pack(pair[0], pair[1]);
        if (!WIDE && r < b.rows) *(u32 *)(g + (u64)r * b.columns + j0 + column_of(y)) = words[y % 4];
        if (!WIDE || y % 4 < 3) continue;
        transpose_quad(words);
        if (r < b.rows) *(uint4 *)(g + (u64)r * b.columns + j0 + 8 * (y - 3 + threadIdx.x % 4)) = uint4{words[0], words[1], words[2], words[3]};
      }
    }
    if (flags) for (int half = 0; half < 2; half++) {
      bool on = any_thread(counts[half]);
      if (threadIdx.x == 0) flags[r0 / 128 * (b.columns / 128) + j0 / 128 + half] = on;
    }
  }
  from.close();
}

template <class T> __device__ inline float half_of(u32 pair, int z) { return load(T{(unsigned short)(pair >> 16 * z)}); }
__device__ inline float high_low(u32 high, u32 low, int z) { return __uint_as_float(z ? (high & 0xffff0000u) | low >> 16 : high << 16 | (low & 0xffffu)); }

// de [rows of the block, D] += g c. Between the blocks of the vocabulary the f32 sums stand in two halves: the upper in de itself, the lower in
// `low`; the last block rounds them. Persistent blocks over tiles of 128 x N.
template <class T, int N> __device__ inline void linear_xent_de(const T *g, const unsigned char *flags, const T *c, const int *order, T *de, u32 *low, Problem p, Block b, bool filter) {
  Ring ring = open_ring();
  bool first = b.j0 == 0, last = b.j0 + b.columns >= p.V;
  int down = (b.rows + 127) / 128, tiles = down * ((p.D + N - 1) / N), across = b.columns / 128, end = min(p.V, b.j0 + b.columns);
  if (threadIdx.x >= 256) {
    registers_down<80>();
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
      int r0 = tile % down * 128, d0 = tile / down * N;
      for (int k = 0; k < b.columns; k += TILE_K) {
        if (filter && !flags[r0 / 128 * across + k / 128]) continue;
        room(ring);
        copy_k_major<128>(ring.a(), [&](int, int r) { bool in = r0 + r < b.rows; return Line<T>{g + (u64)(in ? r0 + r : 0) * b.columns, in}; }, k, b.columns);
        copy_mn_major<N>(ring.b(), [&](int x) { int j = b.j0 + k + x; bool in = j < end; return Line<T>{c + (u64)(in ? order ? order[j] : j : 0) * p.D, in}; }, d0, p.D);
        hand_over(ring);
      }
    }
    return;
  }
  registers_up<208>();
  for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    int r0 = tile % down * 128, d0 = tile / down * N;
    float d[N / 2];
    bool empty = true;
    for (int k = 0; k < b.columns; k += TILE_K) {
      if (filter && !flags[r0 / 128 * across + k / 128]) continue;
      multiply<T, N, 0, 1>(ring, d, empty);
      empty = false;
    }
    if (!empty) finish(ring, d);
    else if (!first && !last) continue;
    #pragma unroll
    for (int x0 = 0; x0 < N / 2; x0 += 32) { // sixteen pairs at a time: their loads are under way together
      u32 high[16], lower[16];
      auto at = [&](int i, u64 &to, u64 &sum) {
        int r = r0 + row_of(i % 2), column = d0 + column_of(x0 / 4 + i / 2);
        to = ((u64)(b.i0 + r) * p.D + column) / 2, sum = ((u64)r * p.D + column) / 2;
        return r < b.rows && column < p.D;
      };
      #pragma unroll
      for (int i = 0; i < 16; i++) {
        u64 to, sum;
        bool in = at(i, to, sum) && !first;
        high[i] = in ? ((const u32 *)de)[to] : 0, lower[i] = in ? low[sum] : 0;
      }
      #pragma unroll
      for (int i = 0; i < 16; i++) {
        u64 to, sum;
        if (!at(i, to, sum)) continue;
        float v0 = (empty ? 0 : d[x0 + 2 * i]) + high_low(high[i], lower[i], 0), v1 = (empty ? 0 : d[x0 + 2 * i + 1]) + high_low(high[i], lower[i], 1);
        u32 a = __float_as_uint(v0), z = __float_as_uint(v1);
        ((u32 *)de)[to] = last ? Half<T>::pack(v0, v1) : a >> 16 | (z & 0xffff0000u);
        if (!last) low[sum] = (a & 0xffffu) | z << 16;
      }
    }
  }
}

// de from its sums in f32, four elements a thread.
template <class T> __device__ inline void linear_xent_round(const float *sums, T *de, u64 count) {
  u64 i = (u64)blockIdx.x * 256 + threadIdx.x;
  if (4 * i >= count) return;
  float4 x = ((const float4 *)sums)[i];
  ((uint2 *)de)[i] = uint2{Half<T>::pack(x.x, x.y), Half<T>::pack(x.z, x.w)};
}

// dc [rows of the vocabulary in the block, D] = g^T e, added to what earlier blocks of rows left there.
template <class T, int N> __device__ inline void linear_xent_dc(const T *g, const unsigned char *flags, const T *e, const int *order, T *dc, Problem p, Block b, bool filter) {
  Ring ring = open_ring();
  int down = b.columns / 128, tiles = down * ((p.D + N - 1) / N), end = min(p.V, b.j0 + b.columns);
  if (threadIdx.x >= 256) {
    registers_down<80>();
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
      int v0 = tile % down * 128, d0 = tile / down * N;
      for (int k = 0; k < b.rows; k += TILE_K) {
        if (filter && !flags[k / 128 * down + v0 / 128]) continue;
        room(ring);
        copy_mn_major<128>(ring.a(), [&](int x) { bool in = k + x < b.rows; return Line<T>{g + (u64)(in ? k + x : 0) * b.columns, in}; }, v0, b.columns);
        copy_mn_major<N>(ring.b(), [&](int x) { bool in = k + x < b.rows; return Line<T>{e + (u64)(b.i0 + (in ? k + x : 0)) * p.D, in}; }, d0, p.D);
        hand_over(ring);
      }
    }
    return;
  }
  registers_up<208>();
  for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    int v0 = tile % down * 128, d0 = tile / down * N;
    float d[N / 2];
    bool empty = true;
    for (int k = 0; k < b.rows; k += TILE_K) {
      if (filter && !flags[k / 128 * down + v0 / 128]) continue;
      multiply<T, N, 1, 1>(ring, d, empty);
      empty = false;
    }
    if (!empty) finish(ring, d);
    else if (b.i0 > 0) continue;
    #pragma unroll
    for (int h = 0; h < 2; h++) {
      int j = b.j0 + v0 + row_of(h);
      if (j >= end) continue;
      u32 *row = (u32 *)(dc + (u64)(order ? order[j] : j) * p.D), before[N / 8];
      #pragma unroll
      for (int y = 0; y < N / 8; y++) before[y] = b.i0 > 0 && d0 + column_of(y) < p.D ? row[(d0 + column_of(y)) / 2] : 0;
      #pragma unroll
      for (int y = 0; y < N / 8; y++) {
        int column = d0 + column_of(y);
        float a = empty ? 0 : d[4 * y + 2 * h], z = empty ? 0 : d[4 * y + 2 * h + 1];
        if (column < p.D) row[column / 2] = Half<T>::pack(a + half_of<T>(before[y], 0), z + half_of<T>(before[y], 1));
      }
    }
  }
}

// The column sums of g, of its flagged tiles where `filter`: 32 columns by 8 rows of threads a block.
template <class T> __device__ inline void linear_xent_dbias(const T *g, const unsigned char *flags, const int *order, float *dbias, Problem p, Block b, bool filter) {
  __shared__ float parts[8][33];
  int j = blockIdx.x * 32 + threadIdx.x % 32, lane = threadIdx.x / 32;
  float x = 0;
  for (int r = lane; r < b.rows; r += 8) if (!filter || flags[r / 128 * (b.columns / 128) + j / 128]) x += load(g[(u64)r * b.columns + j]);
  parts[lane][threadIdx.x % 32] = x;
  __syncthreads();
  if (lane || b.j0 + j >= p.V) return;
  for (int w = 1; w < 8; w++) x += parts[w][threadIdx.x % 32];
  float &to = dbias[order ? order[b.j0 + j] : b.j0 + j];
  to = b.i0 ? to + x : x;
}
// The share of the tiles of each 128 columns that no flag was set for, for each 32 of them.
__device__ inline void linear_xent_skipped(const unsigned char *flags, float *skipped, Problem p, Block b, bool filter) {
  int tile = blockIdx.x * 256 + threadIdx.x, across = b.columns / 128, down = (b.rows + 127) / 128;
  if (tile >= across) return;
  int on = 0;
  if (filter) for (int r = 0; r < down; r++) on += flags[r * across + tile];
  float share = filter ? (float)(down - on) / ((p.N + 127) / 128) : 0;
  for (int x = 0; x < 4; x++) {
    int at = b.j0 / 32 + tile * 4 + x;
    if (at < (p.V + 31) / 32) skipped[at] = (b.i0 ? skipped[at] : 0) + share;
  }
}
