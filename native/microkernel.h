// Products of small tiles, on which GEMM and ATTENTION stand: micro-kernels that keep MR x NR of C in registers, and the
// packing of their operands.
#ifndef THIMBLE_MICROKERNEL_H
#define THIMBLE_MICROKERNEL_H
#include "kernels.h"

// As many rows of two vectors as the ISA has registers for.
#if VW == 16
#define MR 12
#elif VW == 8 || defined(__wasm__)
#define MR 6
#elif defined(__aarch64__)
#define MR 8
#else
#define MR 4
#endif
#define NR (2 * VW)

// Where packed panels are written, so many floats past their end may be touched.
#define PANEL_SLACK VW

// Packs kc elements of each of `lines` lines as f32 in panels of `width` lines, one after another, interleaved: element k of line w
// of a panel at panel[k * width + w]. It stands in src (f32 | bf16 | f16) at element w * line_step + k * k_step, w counted over all
// lines. Lines that the last panel lacks are 0. width is MR or NR.
void pack_panels(float *panels, int width, const void *src, W dtype, W line_step, W k_step, W lines, W kc);

// C[i, j] = (accumulate ? C[i, j] : 0) + sum over k < kc of A(i, k) * B(k, j) for i < m <= MR and j < n. C[i, j] is at c[i * c_step + j].
// B stands in strips of NR columns: B(k, j) at b[j / NR * b_next + k * b_step + j % NR]; whole vectors of it are read.
typedef void Strips(W m, W n, W kc, const float *a, W a_step, const float *b, W b_step, W b_next, float *c, W c_step, int accumulate);
Strips strips_columns; // A(i, k) = a[k * a_step + i]: a packed panel, or a transposed matrix
Strips strips_rows;    // A(i, k) = a[i * a_step + k]
#endif
