// Products of half-precision tiles with Hopper's warpgroup instructions (PTX ISA, "wgmma"): a block of three warpgroups computes 128 x N at a
// time, here N = 256 | 192; what attention makes of them is in attention-panels.cuh. The third copies slabs of 64 along the inner axis into a ring
// of shared-memory stages, 16 bytes an instruction, so that rows may come from anywhere; the other two multiply, 64 rows each. A slab lies as rows
// of 128 bytes whose 16-byte chunks are permuted by the row's number (the 128-byte swizzle), either along the inner axis ("K-major") or across it in
// panels of 64 ("MN-major").
const int TILE_M = 128, TILE_K = 64, BLOCK_THREADS = 384;

// COUNT stages of BYTES each, of which A is the first operand.
template <int COUNT, u32 BYTES, u32 A> struct Stages {
  static const int STAGES = COUNT;
  u32 stages, full, empty; // shared addresses; barriers of 8 bytes
  int at = 0;
  u32 phase = 0;
  __device__ void next() { if (++at == COUNT) at = 0, phase ^= 1; }
  __device__ u32 a() const { return stages + at * BYTES; }
  __device__ u32 b() const { return stages + at * BYTES + A; }
  __device__ u32 filled() const { return full + 8 * at; }
  __device__ u32 emptied() const { return empty + 8 * at; }
  __device__ u32 emptied_before() const { return empty + 8 * ((at + COUNT - 1) % COUNT); }
};
const u32 A_BYTES = TILE_M * TILE_K * 2;
typedef Stages<4, A_BYTES + 256 * TILE_K * 2, A_BYTES> Ring;
__device__ inline void wait(u32 barrier, u32 phase) {
  u32 done;
  do asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }" : "=r"(done) : "r"(barrier), "r"(phase) : "memory");
  while (!done);
}
__device__ inline void arrive(u32 barrier) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory"); }
// Makes the barriers of a ring, whose stages so many arrivals fill and empty. One thread.
template <int COUNT, u32 BYTES, u32 A> __device__ inline void open_stages(const Stages<COUNT, BYTES, A> &r, int writers, int readers) {
  for (int s = 0; s < COUNT; s++) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(r.full + 8 * s), "r"(writers));
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(r.empty + 8 * s), "r"(readers));
  }
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
// Dynamic shared memory, on 1024 bytes.
__device__ inline u32 aligned_memory() {
  extern __shared__ unsigned char dynamic_shared[];
  return (shared_address(dynamic_shared) + 1023) & ~1023u;
}
// The ring of the block; all threads call it once.
__device__ inline Ring open_ring() {
  __shared__ u64 barriers[2 * Ring::STAGES];
  Ring r{aligned_memory(), shared_address(barriers), shared_address(barriers + Ring::STAGES)};
  if (threadIdx.x == 0) open_stages(r, 128, 2);
  __syncthreads();
  return r;
}

// What the copying warpgroup gives up goes to the two others. A block of 384 threads begins with 168 registers each: 2 * 208 + 80 and 2 * 232 + 40
// are within three times that.
template <int REGISTERS> __device__ inline void registers_up() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(REGISTERS)); }
template <int REGISTERS> __device__ inline void registers_down() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(REGISTERS)); }

__device__ inline void copy16(u32 to, const void *from, bool in) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(in ? 16 : 0));
}
template <class T> struct Line { const T *at; bool in; }; // `at` is a valid address either way
// ROWS x 64 along the inner axis: row(i, r) is the tile's row r, the i-th of this thread; `k0` is the slab's first of K. 128 threads.
template <int ROWS, class F> __device__ inline void copy_k_major(u32 to, F row, int k0, int K) {
  int t = threadIdx.x % 128, c = t % 8, k = k0 + 8 * c;
  #pragma unroll
  for (int i = 0; i < ROWS / 16; i++) {
    int r = t / 8 + 16 * i;
    auto from = row(i, r);
    bool in = from.in && k < K;
    copy16(to + r * 128 + ((c ^ (r & 7)) << 4), from.at + (in ? k : 0), in);
  }
}
// 64 rows along the inner axis x COLUMNS: row(k) is inner row k of the slab; columns j0.. of J.
template <int COLUMNS, class F> __device__ inline void copy_mn_major(u32 to, F row, int j0, int J) {
  const int CHUNKS = COLUMNS / 8;
  int t = threadIdx.x % 128;
  #pragma unroll
  for (int i = 0; i < CHUNKS / 2; i++) {
    int x = t + 128 * i, k = x / CHUNKS, c = x % CHUNKS, j = j0 + 8 * c;
    auto from = row(k);
    bool in = from.in && j < J;
    copy16(to + c / 8 * (TILE_K * 128) + k * 128 + ((c % 8 ^ (k & 7)) << 4), from.at + (in ? j : 0), in);
  }
}
// The copying warpgroup: room for the next slab; what was copied to it is handed over when it has arrived.
template <class R> __device__ inline void room(const R &r) { wait(r.emptied(), r.phase ^ 1); }
template <class R> __device__ inline void arrives(const R &r) { asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(r.filled()) : "memory"); }
template <class R> __device__ inline void hand_over(R &r) {
  arrives(r);
  r.next();
}

__device__ inline u64 describe(u32 address, u32 leading, u32 stride) {
  return (u64)(((address & 0x3ffff) >> 4) + (leading >> 4 << 16)) | (u64)(stride >> 4) << 32 | 1ull << 62;
}
#define TEN(t) "%" #t "0,%" #t "1,%" #t "2,%" #t "3,%" #t "4,%" #t "5,%" #t "6,%" #t "7,%" #t "8,%" #t "9,"
#define OUT4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define OUT32(i) OUT4(i), OUT4(i + 4), OUT4(i + 8), OUT4(i + 12), OUT4(i + 16), OUT4(i + 20), OUT4(i + 24), OUT4(i + 28)
#define WGMMA(n, type, registers, a, b, keep, flags, ...) \
  asm volatile("{ .reg .pred p; setp.ne.b32 p, " keep ", 0; wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." type "." type " {" registers "}, " a ", " b ", p, 1, 1, " flags "; }" : __VA_ARGS__)
#define REGISTERS_256 TEN() TEN(1) TEN(2) TEN(3) TEN(4) TEN(5) TEN(6) TEN(7) TEN(8) TEN(9) TEN(10) TEN(11) "%120,%121,%122,%123,%124,%125,%126,%127"
#define REGISTERS_192 TEN() TEN(1) TEN(2) TEN(3) TEN(4) TEN(5) TEN(6) TEN(7) TEN(8) "%90,%91,%92,%93,%94,%95"
#define REGISTERS_128 TEN() TEN(1) TEN(2) TEN(3) TEN(4) TEN(5) "%60,%61,%62,%63"
#define REGISTERS_64 TEN() TEN(1) TEN(2) "%30,%31"
#define OUT_256 OUT32(0), OUT32(32), OUT32(64), OUT32(96)
#define OUT_192 OUT32(0), OUT32(32), OUT32(64)
#define OUT_128 OUT32(0), OUT32(32)
#define OUT_64 OUT32(0)
// d[64 x N] = a b, plus d where `keep`; A_MN and B_MN: the operand lies across the inner axis.
template <class T, int N, int A_MN, int B_MN> struct Multiply;
#define MULTIPLY(T, type, n, a, b, keep, flags) \
  template <int A_MN, int B_MN> struct Multiply<T, n, A_MN, B_MN> { \
    static __device__ inline void run(float (&d)[n / 2], u64 x, u64 y, int k) { \
      WGMMA(n, type, REGISTERS_##n, a, b, keep, flags, OUT_##n : "l"(x), "l"(y), "r"(k), "n"(A_MN), "n"(B_MN)); \
    } \
  };
#define MULTIPLY_BOTH(...) MULTIPLY(bf16, "bf16", __VA_ARGS__) MULTIPLY(f16, "f16", __VA_ARGS__)
MULTIPLY_BOTH(256, "%128", "%129", "%130", "%131, %132")
MULTIPLY_BOTH(192, "%96", "%97", "%98", "%99, %100")
MULTIPLY_BOTH(128, "%64", "%65", "%66", "%67, %68")
MULTIPLY_BOTH(64, "%32", "%33", "%34", "%35, %36")
// d[64 x N] += a b, a in registers as an operand of mma.sync has it, b across the inner axis.
template <class T, int N> struct Accumulate;
#define ACCUMULATE(T, type, n, a, b, keep, flags) \
  template <> struct Accumulate<T, n> { \
    static __device__ inline void run(float (&d)[n / 2], const u32 (&x)[4], u64 y) { \
      WGMMA(n, type, REGISTERS_##n, a, b, keep, flags, OUT_##n : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "l"(y), "r"(1), "n"(1)); \
    } \
  };
#define ACCUMULATE_BOTH(...) ACCUMULATE(bf16, "bf16", __VA_ARGS__) ACCUMULATE(f16, "f16", __VA_ARGS__)
ACCUMULATE_BOTH(128, "{%64,%65,%66,%67}", "%68", "%69", "%70")
ACCUMULATE_BOTH(64, "{%32,%33,%34,%35}", "%36", "%37", "%38")

// To the products that follow: the copies into shared memory were ordinary writes.
__device__ inline void copies_are_seen() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
// A multiplying warpgroup's share of one slab; that of the slab before is done afterwards. `first`: nothing was summed yet.
template <class T, int N, int A_MN, int B_MN> __device__ inline void start(const Ring &r, float (&d)[N / 2], bool first) {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
  u32 a = r.a() + threadIdx.x / 128 * (64 * 128), b = r.b();
  #pragma unroll
  for (int k = 0; k < TILE_K / 16; k++)
    Multiply<T, N, A_MN, B_MN>::run(d, A_MN ? describe(a + k * 2048, TILE_K * 128, 1024) : describe(a + k * 32, 16, 1024),
                                    B_MN ? describe(b + k * 2048, TILE_K * 128, 1024) : describe(b + k * 32, 16, 1024), !first || k);
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
  asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
}
// The sums of all slabs are there.
template <int N> __device__ inline void complete(float (&d)[N]) {
  asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
  #pragma unroll
  for (int i = 0; i < N; i++) asm volatile("" : "+f"(d[i]));
}
// A slab that 128 threads copied; the stage before it is free again afterwards.
template <class T, int N, int A_MN, int B_MN> __device__ inline void multiply(Ring &r, float (&d)[N / 2], bool first) {
  wait(r.filled(), r.phase);
  copies_are_seen();
  start<T, N, A_MN, B_MN>(r, d, first);
  if (!first && threadIdx.x % 128 == 0) arrive(r.emptied_before());
  r.next();
}
template <int N> __device__ inline void finish(const Ring &r, float (&d)[N]) {
  complete(d);
  if (threadIdx.x % 128 == 0) arrive(r.emptied_before());
}
