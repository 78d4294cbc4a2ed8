// Tiles of logits by clusters of two blocks: 128 rows of e for each, the same 256 rows of c for both, of which each block has half copied to both
// ("cp.async.bulk.tensor", PTX ISA). What lies outside of a matrix is copied as 0.
// Half-precision elements [rows, columns], copied as boxes of 128 rows by 64 columns.
struct alignas(64) TensorMap { u64 words[16]; };

__device__ inline void meet_cluster() { asm volatile("barrier.cluster.arrive.release; barrier.cluster.wait.acquire;" ::: "memory"); }
// A box from column x and row y on, to this block, or to the same place in both.
__device__ inline void copy_box(u32 to, const TensorMap *from, int x, int y, u32 arrival) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];"
               ::"r"(to), "l"(from), "r"(x), "r"(y), "r"(arrival) : "memory");
}
__device__ inline void copy_box_to_both(u32 to, const TensorMap *from, int x, int y, u32 arrival) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%2, %3}], [%4], %5;"
               ::"r"(to), "l"(from), "r"(x), "r"(y), "r"(arrival), "h"((unsigned short)3) : "memory");
}

// What the kernels of linear_xent*.cuh ask of where their operands come from; Gathered is the other answer.
struct Boxes {
  static const int BLOCKS = 2, DOWN = 40, UP = 232;
  const TensorMap *e, *c;
  // A stage is filled by the one that has it copied, and emptied by the multiplying warpgroups of both blocks.
  __device__ Ring open() const {
    __shared__ u64 barriers[2 * Ring::STAGES];
    Ring r{aligned_memory(), shared_address(barriers), shared_address(barriers + Ring::STAGES)};
    if (threadIdx.x == 0) open_stages(r, 1, 4);
    meet_cluster();
    return r;
  }
  __device__ void close() const { meet_cluster(); } // a block that is gone could be written to
  __device__ void copy(Ring &ring, const Problem &p, int i0, int j0, int) const {
    if (threadIdx.x > 256) return;
    u32 half = blockIdx.x % 2;
    for (int k = 0; k < p.D; k += TILE_K) {
      room(ring);
      asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(ring.filled()), "r"(3 * A_BYTES) : "memory");
      copy_box(ring.a(), e, k, i0, ring.filled());
      copy_box_to_both(ring.b() + half * A_BYTES, c, k, j0 + 128 * half, ring.filled());
      ring.next();
    }
  }
  template <class T> __device__ void multiply_all(Ring &ring, float (&d)[128], int D) const {
    for (int k = 0; k < D; k += TILE_K) {
      wait(ring.filled(), ring.phase);
      start<T, 256, 0, 0>(ring, d, k == 0);
      if (k) release(ring);
      ring.next();
    }
    complete(d);
    release(ring);
  }
  // The stage before this one is free again, for both blocks.
  __device__ void release(const Ring &r) const {
    if (threadIdx.x % 128 < 2)
      asm volatile("{ .reg .b32 there; mapa.shared::cluster.u32 there, %0, %1; mbarrier.arrive.shared::cluster.b64 _, [there]; }"
                   ::"r"(r.emptied_before()), "r"(threadIdx.x % 128) : "memory");
  }
};
