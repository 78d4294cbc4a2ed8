// Attention (attention.cuh) with attention-panels.cuh.

// A block for each multiprocessor, 384 threads.
template <class T, int E, int N, int OWN, int COUNT> __device__ inline void attention_hopper(const T *q, Heads sq, const T *k, Heads sk, const T *v, Heads sv, const int *offsets, T *o, float *lse, u32 *tickets, Shape s) {
  auto feed = open_feed<OWN, COUNT, N, E>(tickets, query_blocks(s) * s.Hq * s.B);
  auto &own = feed.own;
  auto &ring = feed.ring;
  auto fetch = [&](int work) {
    QueryWork w = query_work(work, s);
    int2 tiles = tiles_of(Ranges<128>(nullptr, s, w.i0, true), offsets, N);
    if (tiles.x < tiles.y) own.first().fetch(q + w.b * sq.sB + w.h * sq.sH, sq.sT, w.i0, s.Tq);
    arrives(own);
    fetch_keys<N>(ring, tiles, w, k, sk, v, sv, s.Tk);
  };
  const float c2 = s.scale * LOG2E, unit = s.scale > 0 ? c2 : 1; // a score times `unit` is a power of two
  auto make = [&](int work, int warp) {
    auto [i0, h, b, hk] = query_work(work, s);
    int mine = warp / 4 * 64, row = warp * 16, lane = threadIdx.x % 32;
    Panels<128, E> qt = own.first();
    Ranges<128> ranges(generic_address(own.rest()), s, i0, true);
    find_ranges(ranges, offsets, mine);
    int2 tiles = tiles_of(ranges, offsets, N), earliest = ranges[row], latest = ranges[row + 15];
    float acc[E / 2] = {}, top[2] = {MINUS_INF, MINUS_INF}, sum[2] = {};
    walk<N>(ring, tiles, ranges[mine], ranges[mine + 63], [&](int tile, bool busy) {
      int j0 = tile * N;
      Panels<N, E> kt = ring.first(), vt = ring.second();
      float p[N / 2];
      u32 x[N / 16][4];
      begin_products();
      scores<T, N>(p, qt, mine, kt);
      ended<0>();
      settle(p);
      settle(acc);
      if (busy && threadIdx.x % 128 == 0) arrive(ring.emptied_before());
      if (!(s.scale > 0))
        for (int i = 0; i < N / 2; i++) p[i] *= c2;
      if (j0 < latest.x || j0 + N > earliest.y) mask<1, N>(as_tiles(p), ranges, row, lane, j0, MINUS_INF);
      absorb<1, N, E>(as_tiles(p), as_tiles(acc), top, sum, unit);
      to_operand<T, N>(x, p);
      begin_products();
      plus_product<T, N, E>(acc, x, vt);
    });
    settle(acc);
    settle_rows<1, E>(as_tiles(acc), top, sum, unit, lse + ((u64)b * s.Hq + h) * s.Tq, i0 + row + lane / 4, s.Tq);
    warpgroup_meets(); // its rows of the tile are read no more
    qt.store(o + (u64)b * s.Tq * s.Hq * E + h * E, (u64)s.Hq * E, i0, s.Tq, acc, 1, row);
  };
  take_works(feed, fetch, make);
}
