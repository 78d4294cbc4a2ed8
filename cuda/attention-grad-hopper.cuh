// The gradient of attention-grad.cuh with attention-panels.cuh: one kernel owns keys (dK, dV), one queries (dQ).

// A block for each multiprocessor, 384 threads: dK and dV, walking the queries of all heads of the group. p is the transpose of the scores.
template <class T, int E, int N, int OWN, int COUNT> __device__ inline void attention_grad_kv_hopper(const T *q, Heads sq, const T *k, Heads sk, const T *v, Heads sv, const int *offsets, const T *dO, const float *lse, const float *delta, T *dk, Heads sdk, T *dv, Heads sdv, u32 *tickets, Shape s) {
  int blocks = (s.Tk + 127) / 128, group = s.Hq / s.Hkv; // the longest columns of a causal matrix first
  auto feed = open_feed<OWN, COUNT, N, E>(tickets, blocks * s.Hkv * s.B);
  auto &own = feed.own;
  auto &ring = feed.ring;
  auto fetch = [&](int work) {
    int j0 = work % blocks * 128, hk = work / blocks % s.Hkv, b = work / blocks / s.Hkv;
    int2 tiles = tiles_of(Ranges<128>(nullptr, s, j0, false), offsets, N);
    if (tiles.x < tiles.y) {
      own.first().fetch(k + b * sk.sB + hk * sk.sH, sk.sT, j0, s.Tk);
      own.second().fetch(v + b * sv.sB + hk * sv.sH, sv.sT, j0, s.Tk);
    }
    arrives(own);
    for (int h = hk * group; h < (hk + 1) * group; h++)
      for (int tile = tiles.x; tile < tiles.y; tile++) {
        int i0 = tile * N;
        room(ring);
        ring.first().fetch(q + b * sq.sB + h * sq.sH, sq.sT, i0, s.Tq);
        ring.second().fetch(dO + (u64)b * s.Tq * s.Hq * E + h * E, (u64)s.Hq * E, i0, s.Tq);
        #pragma unroll
        for (int x = threadIdx.x % 128; x < 2 * N; x += 128) {
          int i = i0 + x % N;
          bool in = s.Tq % N == 0 || i < s.Tq;
          const float *from = (x < N ? lse : delta) + ((u64)b * s.Hq + h) * s.Tq + (in ? i : 0);
          asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(ring.rest() + 4 * x), "l"(from), "r"(in ? 4 : 0));
        }
        hand_over(ring);
      }
  };
  const float away = s.scale < 0 ? -MINUS_INF : MINUS_INF; // a score whose exponential is 0
  auto make = [&](int work, int warp) {
    int j0 = work % blocks * 128, hk = work / blocks % s.Hkv, b = work / blocks / s.Hkv;
    int mine = warp / 4 * 64, row = warp * 16, lane = threadIdx.x % 32;
    Panels<128, E> kt = own.first(), vt = own.second();
    Ranges<128> ranges(generic_address(own.rest()), s, j0, false);
    find_ranges(ranges, offsets, mine);
    int2 tiles = tiles_of(ranges, offsets, N), earliest = ranges[row], latest = ranges[row + 15];
    float accK[E / 2] = {}, accV[E / 2] = {};
    for (int h = 0; h < group; h++)
      walk<N>(ring, tiles, ranges[mine], ranges[mine + 63], [&](int tile, bool busy) {
        int i0 = tile * N;
        Panels<N, E> qt = ring.first(), gt = ring.second();
        float p[N / 2], dp[N / 2];
        u32 x[N / 16][4], y[N / 16][4];
        begin_products();
        scores<T, N>(p, kt, mine, qt);
        scores<T, N>(dp, vt, mine, gt);
        ended<1>();
        settle(p);
        if (busy && threadIdx.x % 128 == 0) arrive(ring.emptied_before());
        if (i0 < latest.x || i0 + N > earliest.y) mask<1, N>(as_tiles(p), ranges, row, lane, i0, away);
        u32 sums = ring.rest() + lane % 4 * 8;
        #pragma unroll
        for (int n = 0; n < N / 8; n++) {
          float2 l = shared_pair(sums + 32 * n);
          l.x = exponent(l.x), l.y = exponent(l.y);
          #pragma unroll
          for (int z = 0; z < 4; z++) p[4 * n + z] = exp2_fast(fmaf(p[4 * n + z], s.scale * LOG2E, z % 2 ? l.y : l.x));
        }
        to_operand<T, N>(x, p);
        begin_products();
        plus_product<T, N, E>(accV, x, gt);
        ended<1>();
        settle(dp);
        #pragma unroll
        for (int n = 0; n < N / 8; n++) {
          float2 d = shared_pair(sums + 4 * N + 32 * n);
          #pragma unroll
          for (int z = 0; z < 4; z++) p[4 * n + z] *= dp[4 * n + z] - (z % 2 ? d.y : d.x);
        }
        to_operand<T, N>(y, p);
        begin_products();
        plus_product<T, N, E>(accK, y, qt);
        if (E + N > 128) ended<0>(); // there are no registers for the next scores beside its operand
      });
    settle(accK), settle(accV);
    warpgroup_meets(); // its rows of the tiles are read no more
    kt.store(dk + b * sdk.sB + hk * sdk.sH, sdk.sT, j0, s.Tk, accK, s.scale, row);
    vt.store(dv + b * sdv.sB + hk * sdv.sH, sdv.sT, j0, s.Tk, accV, 1, row);
  };
  take_works(feed, fetch, make);
}

// A block for each multiprocessor, 384 threads: dQ, walking the keys.
template <class T, int E, int N, int OWN, int COUNT> __device__ inline void attention_grad_q_hopper(const T *q, Heads sq, const T *k, Heads sk, const T *v, Heads sv, const int *offsets, const T *dO, const float *lse, const float *delta, T *dq, Heads sdq, u32 *tickets, Shape s) {
  auto feed = open_feed<OWN, COUNT, N, E>(tickets, query_blocks(s) * s.Hq * s.B);
  auto &own = feed.own;
  auto &ring = feed.ring;
  auto fetch = [&](int work) {
    QueryWork w = query_work(work, s);
    int2 tiles = tiles_of(Ranges<128>(nullptr, s, w.i0, true), offsets, N);
    if (tiles.x < tiles.y) {
      own.first().fetch(q + w.b * sq.sB + w.h * sq.sH, sq.sT, w.i0, s.Tq);
      own.second().fetch(dO + (u64)w.b * s.Tq * s.Hq * E + w.h * E, (u64)s.Hq * E, w.i0, s.Tq);
    }
    arrives(own);
    fetch_keys<N>(ring, tiles, w, k, sk, v, sv, s.Tk);
  };
  const float away = s.scale < 0 ? -MINUS_INF : MINUS_INF; // a score whose exponential is 0
  auto make = [&](int work, int warp) {
    auto [i0, h, b, hk] = query_work(work, s);
    int mine = warp / 4 * 64, row = warp * 16, lane = threadIdx.x % 32;
    Panels<128, E> qt = own.first(), gt = own.second();
    Ranges<128> ranges(generic_address(own.rest()), s, i0, true);
    find_ranges(ranges, offsets, mine);
    int2 tiles = tiles_of(ranges, offsets, N), earliest = ranges[row], latest = ranges[row + 15];
    float acc[E / 2] = {}, l[2], d[2];
    #pragma unroll
    for (int r = 0; r < 2; r++) {
      int i = i0 + row + lane / 4 + 8 * r;
      u64 at = ((u64)b * s.Hq + h) * s.Tq + (s.Tq % 128 == 0 || i < s.Tq ? i : 0);
      l[r] = exponent(lse[at]), d[r] = delta[at];
    }
    walk<N>(ring, tiles, ranges[mine], ranges[mine + 63], [&](int tile, bool busy) {
      int j0 = tile * N;
      Panels<N, E> kt = ring.first(), vt = ring.second();
      float p[N / 2], dp[N / 2];
      u32 x[N / 16][4];
      begin_products();
      scores<T, N>(p, qt, mine, kt);
      scores<T, N>(dp, gt, mine, vt);
      ended<1>();
      settle(p);
      if (busy && threadIdx.x % 128 == 0) arrive(ring.emptied_before());
      if (j0 < latest.x || j0 + N > earliest.y) mask<1, N>(as_tiles(p), ranges, row, lane, j0, away);
      #pragma unroll
      for (int i = 0; i < N / 2; i++) p[i] = exp2_fast(fmaf(p[i], s.scale * LOG2E, l[i / 2 % 2]));
      ended<0>();
      settle(dp);
      #pragma unroll
      for (int i = 0; i < N / 2; i++) p[i] *= dp[i] - d[i / 2 % 2];
      to_operand<T, N>(x, p);
      begin_products();
      plus_product<T, N, E>(acc, x, kt);
      if (E + N > 192) ended<0>(); // there are no registers for the next scores beside its operand
    });
    settle(acc);
    warpgroup_meets(); // its rows of the tiles are read no more
    qt.store(dq + b * sdq.sB + h * sdq.sH, sdq.sT, i0, s.Tq, acc, s.scale, row);
  };
  take_works(feed, fetch, make);
}
