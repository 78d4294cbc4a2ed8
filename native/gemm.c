// Matrix products by blocks (Goto and van de Geijn 2008): a slice of B stays in the outer caches, packed in panels of NR
// columns, a slice of A in L2, packed in panels of MR rows; the micro-kernels of microkernel.c run over them. An operand is read
// where it lies when that is cheaper than packing it. Every sum runs over k in the same order however the work is cut.
#include "microkernel.h"

#define KC 256                     // depth of a slice: a panel of B of this depth stays in L1,
#define WHOLE (VW == 4 ? 512 : KC) // and one of this depth nearly: a product that is no deeper is one slice
#define MC (16 * MR)               // rows of a slice of A
#define NC 1024                    // columns of a slice of B
// A is not packed for DIRECT_N columns or fewer (NR where its lines are columns: every k is another page), and B not for DIRECT_M rows.
#ifdef __wasm__
#define DIRECT_N INT64_MAX         // rows of A are read as fast as panels
#else
#define DIRECT_N 128
#endif
#define DIRECT_M (2 * MR)

// One matrix of the batch. Its lines are rows of A, columns of B.
typedef struct { const char *at; W type, line_step, k_step; } Factor;

static Factor from(Factor f, W line, W k) {
  f.at += (line * f.line_step + k * f.k_step) * dtype_size(f.type);
  return f;
}
static void pack(float *panels, int width, Factor f, W lines, W kc) {
  pack_panels(panels, width, f.at, f.type, f.line_step, f.k_step, lines, kc);
}

// C[0..m, 0..n] f32 (+)= A B; packs into `a_panels` (MC x WHOLE and slack) and `b_panels` (WHOLE x NC and slack).
static void product(W m, W n, W K, Factor a, Factor b, float *c, W c_step, int accumulate, float *a_panels, float *b_panels) {
  int a_direct = a.type == F32 && (a.line_step == 1 ? n <= NR : a.k_step == 1 && n <= DIRECT_N);
  int b_direct = b.type == F32 && b.line_step == 1 && m <= DIRECT_M;
  Strips *strips = a_direct && a.line_step != 1 ? strips_rows : strips_columns;
  W a_step = !a_direct ? MR : a.line_step == 1 ? a.k_step : a.line_step;
  W depth = K <= WHOLE ? WHOLE : KC;
  for (W jc = 0; jc < n; jc += NC) {
    W nc = MIN(NC, n - jc);
    for (W k = 0; k == 0 || k < K; k += depth) {
      W kc = MIN(depth, K - k), in_place = b_direct ? nc / NR * NR : 0; // columns of B
      const float *b_at = (const float *)from(b, jc, k).at;
      pack(b_panels, NR, from(b, jc + in_place, k), nc - in_place, kc);
      for (W ic = 0; ic < m; ic += MC) {
        W mc = MIN(MC, m - ic);
        if (!a_direct) pack(a_panels, MR, from(a, ic, k), mc, kc);
        for (W i = 0; i < mc; i += MR) {
          const float *ap = a_direct ? (const float *)from(a, ic + i, k).at : a_panels + i * kc;
          float *to = c + (ic + i) * c_step + jc;
          W rows = MIN(MR, mc - i);
          strips(rows, in_place, kc, ap, a_step, b_at, b.k_step, NR, to, c_step, accumulate || k);
          strips(rows, nc - in_place, kc, ap, a_step, b_panels, NR, NR * kc, to + in_place, c_step, accumulate || k);
        }
      }
    }
  }
}

// A rectangle of C of any type, m0.. and n0..: halves are summed in f32 first and rounded once.
static void rectangle(const GemmArgs *g, Factor a, Factor b, char *c, W m, W n, Scratch *scratch) {
  float *a_panels = (float *)scratch->bytes, *b_panels = a_panels + MC * WHOLE + 64, *sums = b_panels + WHOLE * (NC + NR) + 64;
  if (g->cType == F32) {
    product(m, n, g->K, a, b, (float *)c, g->cRow, (int)g->accumulate, a_panels, b_panels);
    return;
  }
  for (W j = 0; j < n; j += NC)
    for (W i = 0; i < m; i += MC) {
      W mc = MIN(MC, m - i), nc = MIN(NC, n - j);
      product(mc, nc, g->K, from(a, i, 0), from(b, j, 0), sums, nc, 0, a_panels, b_panels);
      for (W row = 0; row < mc; row++) {
        char *to = c + ((i + row) * g->cRow + j) * dtype_size(g->cType);
        float *sum = sums + row * nc;
        for (W x = 0; x < nc && g->accumulate; x++) sum[x] += load_real(to, g->cType, x);
        store_row(to, g->cType, sum, nc);
      }
    }
}

void k_gemm(const void *args, char *const *base, W lo, W hi, Scratch *scratch) {
  const GemmArgs *g = args;
  W mblocks = (g->M + g->MB - 1) / g->MB, nblocks = (g->N + g->NB - 1) / g->NB;
  for (W block = lo; block < hi;) { // neighbouring blocks are done as one rectangle: fewer packings
    W nb = block % nblocks, mb = block / nblocks % mblocks, batch = block / (nblocks * mblocks);
    W wide = MIN(hi - block, nblocks - nb), high = wide == nblocks ? MIN((hi - block) / nblocks, mblocks - mb) : 1;
    W b0 = batch / g->nb1, b1 = batch % g->nb1, m = mb * g->MB, n = nb * g->NB;
    Factor a = {PTR(base, g->a), g->aType, g->aRow, g->aCol}, b = {PTR(base, g->b), g->bType, g->bCol, g->bRow};
    a.at += (b0 * g->aB0 + b1 * g->aB1) * dtype_size(a.type);
    b.at += (b0 * g->bB0 + b1 * g->bB1) * dtype_size(b.type);
    char *c = (char *)PTR(base, g->c) + (b0 * g->cB0 + b1 * g->cB1 + m * g->cRow + n) * dtype_size(g->cType);
    rectangle(g, from(a, m, 0), from(b, n, 0), c, MIN(high * g->MB, g->M - m), MIN(wide * g->NB, g->N - n), scratch);
    block += wide * high;
  }
}
