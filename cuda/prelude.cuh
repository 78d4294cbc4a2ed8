// What every generated kernel may use: storage types, their conversions, integer division that floors, random bits, and folds over a block.
// No headers: NVRTC compiles this in milliseconds.
typedef unsigned int u32;
typedef unsigned long long u64;
struct bf16 { unsigned short bits; };
struct f16 { unsigned short bits; };
struct bool8 { unsigned char bits; };
// N neighbours that lie at a multiple of A bytes: one access of A bytes, or several.
template <class T, int N, int A> struct alignas(A) pack { T x[N]; };
// Neighbours of a row of D elements that one access moves: 16 bytes, or as much as divides the row.
__device__ constexpr int pack_width(int D, int size) { int w = 16 / size; while (D % w) w /= 2; return w; }

__device__ inline float load(float x) { return x; }
__device__ inline float load(bf16 x) { return __uint_as_float((u32)x.bits << 16); }
__device__ inline float load(f16 x) { float y; asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits)); return y; }
__device__ inline int load(int x) { return x; }
__device__ inline long long load(long long x) { return x; }
__device__ inline int load(unsigned char x) { return x; }
__device__ inline int load(signed char x) { return x; }
__device__ inline int load(bool8 x) { return x.bits; }
// Number k of a pack. Of two bf16 in a word the compiler would move the upper one down and up again.
template <class T, int N, int A> __device__ inline auto element(const pack<T, N, A> &p, int k) { return load(p.x[k]); }
template <int N, int A> __device__ inline float element(const pack<bf16, N, A> &p, int k) {
  if constexpr (A % 4 == 0 && N % 2 == 0) {
    u32 w;
    memcpy(&w, &p.x[k & ~1], 4);
    return __uint_as_float(k & 1 ? w & 0xffff0000u : w << 16);
  } else return load(p.x[k]);
}
__device__ inline void store(float &to, float x) { to = x; }
#if __CUDA_ARCH__ >= 800
__device__ inline void store(bf16 &to, float x) { asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(to.bits) : "f"(x)); }
__device__ inline u32 pair(bf16 *, float a, float b) { u32 w; asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(w) : "f"(b), "f"(a)); return w; }
#else
__device__ inline void store(bf16 &to, float x) {
  const u32 bits = __float_as_uint(x);
  to.bits = x != x ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16; // to the nearest, ties to even
}
__device__ inline u32 pair(bf16 *, float a, float b) { bf16 low, high; store(low, a), store(high, b); return low.bits | (u32)high.bits << 16; }
#endif
__device__ inline void store(f16 &to, float x) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(to.bits) : "f"(x)); }
__device__ inline void store(int &to, int x) { to = x; }
__device__ inline void store(long long &to, long long x) { to = x; }
__device__ inline void store(unsigned char &to, int x) { to = (unsigned char)x; }
__device__ inline void store(signed char &to, int x) { to = (signed char)x; }
__device__ inline void store(bool8 &to, int x) { to.bits = x != 0; }
// What a store and a load would do to a number.
template <class H> __device__ inline float rounded(float x) { H half; store(half, x); return load(half); }
// N results to N places of alignment A; halves are converted in pairs.
template <int A, class T, class L, int N> __device__ inline void put(T *to, const L (&r)[N]) {
  pack<T, N, A> p;
  #pragma unroll
  for (int k = 0; k < N; k++) store(p.x[k], r[k]);
  *(pack<T, N, A> *)to = p;
}
__device__ inline u32 pair(f16 *, float a, float b) { u32 w; asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(w) : "f"(b), "f"(a)); return w; }
template <int A, class T, int N> __device__ inline void put_pairs(T *to, const float (&r)[N]) {
  pack<u32, N / 2, A> p;
  #pragma unroll
  for (int k = 0; k < N / 2; k++) p.x[k] = pair(to, r[2 * k], r[2 * k + 1]);
  *(pack<u32, N / 2, A> *)to = p;
}
template <int A, int N> __device__ inline void put(bf16 *to, const float (&r)[N]) {
  if constexpr (A % 4 == 0) put_pairs<A>(to, r);
  else put<A, bf16, float, N>(to, r);
}
template <int A, int N> __device__ inline void put(f16 *to, const float (&r)[N]) {
  if constexpr (A % 4 == 0) put_pairs<A>(to, r);
  else put<A, f16, float, N>(to, r);
}

// truncation toward zero, saturating; NaN gives 0 (PTX does all three)
__device__ inline int to_i32(float x) { return __float2int_rz(x); }
__device__ inline long long to_i64(float x) { return x != x ? 0 : __float2ll_rz(x); }

template <class T> __device__ inline T floor_div(T a, T b) { if (b == 0) return 0; T q = a / b; return q - ((a % b != 0) & ((a < 0) != (b < 0))); }
template <class T> __device__ inline T floor_mod(T a, T b) { if (b == 0) return 0; T r = a % b; return r + ((r != 0 && (r < 0) != (b < 0)) ? b : 0); }
#if __CUDA_ARCH__ >= 800
__device__ inline float max_nan(float a, float b) { float y; asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b)); return y; }
__device__ inline float min_nan(float a, float b) { float y; asm("min.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b)); return y; }
#else
__device__ inline float max_nan(float a, float b) { return a != a ? a : b != b ? b : fmaxf(a, b); }
__device__ inline float min_nan(float a, float b) { return a != a ? a : b != b ? b : fminf(a, b); }
#endif
__device__ inline int max_nan(int a, int b) { return a > b ? a : b; }
__device__ inline long long max_nan(long long a, long long b) { return a > b ? a : b; }

// Programmatic dependent launch (PTX ISA, griddepcontrol): a kernel that is launched early (early.ts) becomes resident once every block of the one before
// it has begun, and waits here until that one has ended and its writes can be seen. Every thread waits before it touches anything that the program
// writes: reads would be of the past, and writes could hit what the other still reads. Since every kernel waits, the end of one is the end of
// all before it. A kernel lets its successor in at once; the successor's blocks take only room that no block of its own wants any more.
__device__ inline void let_next_in() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
__device__ inline void await_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
__device__ inline void begin() { let_next_in(); await_previous(); }
// Asks for memory that is read soon, so that it is on its way into L2. This may be done before a kernel's turn, whoever writes there: nothing is read.
// Address and bytes are multiples of 16.
__device__ inline void ask_for(const void *at, u32 bytes) {
#if __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(at), "r"(bytes) : "memory");
#endif
}
// The same by all threads of a block, of an operand that blocks read one behind the other, `pitch` bytes each: the first bytes of its own, where it may
// be resident before its turn, as one of the first `blocks`; the others would ask for what they read at once.
__device__ inline void ask_for_first(const void *x, u32 bytes, u64 pitch, u64 all, u32 blocks) {
  u64 from = blockIdx.x * pitch;
  if (blockIdx.x < blocks && from + bytes <= all)
    for (u32 i = threadIdx.x * 128; i < bytes; i += blockDim.x * 128) asm volatile("prefetch.global.L2 [%0];" ::"l"((const char *)x + from + i) : "memory");
}

// Counts a block in, of `blocks` that a counter is for: whether it is the last, which then sees what all have written (PTX ISA, memory consistency
// model: the block's writes come before its barrier, and that before the release). The counter wraps to 0, ready for the next launch.
__device__ inline bool arrives_last(u32 *counter, u32 blocks) {
  __shared__ u32 before;
  __syncthreads();
  if (threadIdx.x == 0) {
#if __CUDA_ARCH__ >= 700
    asm volatile("atom.acq_rel.gpu.global.inc.u32 %0, [%1], %2;" : "=r"(before) : "l"(counter), "r"(blocks - 1) : "memory");
#endif
  }
  __syncthreads();
  return before == blocks - 1;
}

// An address as instructions on shared memory take it.
__device__ inline u32 shared_address(const void *p) { return (u32)__cvta_generic_to_shared(p); }

// Copies to shared memory that go on beside what follows; before 8.0 there are none. N bytes, and zeros where there is nothing to copy.
#if __CUDA_ARCH__ >= 800
constexpr bool ASYNC_COPIES = true;
template <int N> __device__ inline void copy_async(void *to, const void *from, bool there) {
  u32 at = shared_address(to);
  if constexpr (N == 16) asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(there ? 16 : 0) : "memory");
  else asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;" ::"r"(at), "l"(from), "r"(there ? N : 0), "n"(N) : "memory");
}
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int LATER> __device__ inline void await_copies() { asm volatile("cp.async.wait_group %0;" ::"n"(LATER) : "memory"); }
#else
constexpr bool ASYNC_COPIES = false;
template <int N> __device__ inline void copy_async(void *, const void *, bool) {}
__device__ inline void commit_copies() {}
template <int LATER> __device__ inline void await_copies() {}
#endif

// Philox-4x32-10 (Salmon et al. 2011): word index % 4 of counter index / 4.
__device__ inline int philox(int key0, int key1, u64 index) {
  u64 counter = index >> 2;
  u32 x0 = (u32)counter, x1 = (u32)(counter >> 32), x2 = 0, x3 = 0, k0 = key0, k1 = key1;
  #pragma unroll
  for (int round = 0; round < 10; round++) {
    u32 h0 = __umulhi(0xD2511F53u, x0), l0 = 0xD2511F53u * x0, h1 = __umulhi(0xCD9E8D57u, x2), l1 = 0xCD9E8D57u * x2;
    x0 = h1 ^ x1 ^ k0, x1 = l1, x2 = h0 ^ x3 ^ k1, x3 = l0;
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  switch (index & 3) { case 0: return x0; case 1: return x1; case 2: return x2; default: return x3; }
}

// ---- Folds. A policy has a state, how a value enters it, and how two states join; `first` is the earlier of the two.
template <class T> struct Sum {
  using type = T;
  T x = 0;
  __device__ void add(T v, u64) { x += v; }
  __device__ void join(const Sum &later) { x += later.x; }
  template <class O> __device__ void finish(O &to) const { store(to, x); }
};
template <class T> struct Lowest;
template <> struct Lowest<float> { static __device__ float value() { return __int_as_float(0xff800000); } };
template <> struct Lowest<int> { static __device__ int value() { return (int)0x80000000; } };
template <> struct Lowest<long long> { static __device__ long long value() { return (long long)0x8000000000000000ull; } };
template <class T> struct Max {
  using type = T;
  T x = Lowest<T>::value();
  __device__ void add(T v, u64) { x = max_nan(x, v); }
  __device__ void join(const Max &later) { x = max_nan(x, later.x); }
  template <class O> __device__ void finish(O &to) const { store(to, x); }
};
// The first maximum; NaN counts as the largest.
template <class T> struct Arg {
  using type = T;
  T x = Lowest<T>::value();
  u64 at = ~0ull;
  static __device__ bool better(T a, u64 i, T b, u64 j) { return j == ~0ull || (i != ~0ull && ((a != a) != (b != b) ? a != a : a > b || ((a == b || a != a) && i < j))); }
  __device__ void add(T v, u64 i) { // later than what it holds
    const bool takes = (at == ~0ull) | (v > x) | ((v != v) & (x == x));
    x = takes ? v : x, at = takes ? i : at;
  }
  __device__ void join(const Arg &o) { if (better(o.x, o.at, x, at)) x = o.x, at = o.at; }
  __device__ void finish(int &to) const { to = (int)at; }
};

template <class P> __device__ inline P shuffle(const P &p, int delta) {
  P q;
  u32 words[(sizeof(P) + 3) / 4], other[(sizeof(P) + 3) / 4];
  memcpy(words, &p, sizeof(P));
  #pragma unroll
  for (int i = 0; i < (int)(sizeof(P) + 3) / 4; i++) other[i] = __shfl_down_sync(~0u, words[i], delta);
  memcpy(&q, other, sizeof(P));
  return q;
}
template <class P> __device__ inline P broadcast(const P &p) {
  P q;
  u32 words[(sizeof(P) + 3) / 4], other[(sizeof(P) + 3) / 4];
  memcpy(words, &p, sizeof(P));
  #pragma unroll
  for (int i = 0; i < (int)(sizeof(P) + 3) / 4; i++) other[i] = __shfl_sync(~0u, words[i], 0);
  memcpy(&q, other, sizeof(P));
  return q;
}
// The state of all threads of a block, in thread 0.
template <class P, int BLOCK> __device__ inline P fold_block(P p) {
  for (int delta = 16; delta; delta >>= 1) p.join(shuffle(p, delta));
  if (BLOCK == 32) return p;
  __shared__ P parts[32];
  __syncthreads();
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = p;
  __syncthreads();
  if (BLOCK == 1024) {
    p = parts[threadIdx.x % 32];
    for (int delta = 16; delta; delta >>= 1) p.join(shuffle(p, delta));
  } else if (threadIdx.x == 0) for (int w = 1; w < BLOCK / 32; w++) p.join(parts[w]);
  return p;
}
// ... and handed to every thread.
template <class P, int BLOCK> __device__ inline P share_block(P p) {
  __shared__ P whole;
  P q = fold_block<P, BLOCK>(p);
  __syncthreads();
  if (threadIdx.x == 0) whole = q;
  __syncthreads();
  return whole;
}
// value(flat, r) gives the W neighbours from `flat` on. G threads (32 of a block of 256, or a whole block of 256 or 1024) fold M rows at once.
template <class P, int G, int W, int M, class F, class O> __device__ inline void reduce_row(F value, O *out, u64 outer, u64 count) {
  u64 first = (blockIdx.x * (G > 256 ? 1ull : 256ull / G) + threadIdx.x / G) * M;
  if (first >= outer) return;
  P p[M];
  auto add = [&](u64 c) {
    #pragma unroll
    for (int m = 0; m < M; m++) {
      typename P::type r[W];
      value(min(first + m, outer - 1) * count + c, r);
      #pragma unroll
      for (int k = 0; k < W; k++) p[m].add(r[k], c + k);
    }
  };
  // how often all threads have a pack is known to the compiler, which then has several on their way
  u64 lane = threadIdx.x % G * W, whole = count / (G * W);
  #pragma unroll 4
  for (u64 n = 0; n < whole; n++) add(n * (G * W) + lane);
  if (whole * (G * W) + lane < count) add(whole * (G * W) + lane);
  #pragma unroll
  for (int m = 0; m < M; m++) {
    p[m] = fold_block<P, G>(p[m]);
    if (threadIdx.x % G == 0 && first + m < outer) p[m].finish(out[first + m]);
  }
}
// Columns: X threads side by side, W columns each, by 256 / X rows of threads; blocks go over the columns first, then over `outer`.
template <class P, int X, int W, class F, class O> __device__ inline void reduce_columns(F value, O *out, u64 count, u64 inner) {
  constexpr int Y = 256 / X;
  __shared__ P parts[Y][X * W];
  u32 x = threadIdx.x % X, y = threadIdx.x / X;
  u32 across = (inner + X * W - 1) / (X * W), first = blockIdx.x % across * (X * W);
  u64 i = first + x * W, o = blockIdx.x / across;
  P p[W];
  if (i < inner) {
    auto add = [&](u64 c) {
      typename P::type r[W];
      value((o * count + c) * inner + i, r);
      #pragma unroll
      for (int k = 0; k < W; k++) p[k].add(r[k], c);
    };
    #pragma unroll 8
    for (u64 n = 0; n < count / Y; n++) add(n * Y + y);
    if (count / Y * Y + y < count) add(count / Y * Y + y);
  }
  #pragma unroll
  for (int k = 0; k < W; k++) parts[y][k * X + x] = p[k];
  __syncthreads();
  if (threadIdx.x >= X * W) return;
  P q = parts[0][threadIdx.x];
  #pragma unroll
  for (int w = 1; w < Y; w++) q.join(parts[w][threadIdx.x]);
  i = first + x * W + y;
  if (i < inner) q.finish(out[o * inner + i]);
}
