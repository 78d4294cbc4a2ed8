// The boundary between the compiler (TypeScript) and the kernels (C): one program is one array of 64-bit words.
//
//   program = header, step, step, ...       step = Step, then the kernel's own argument struct
//
// The program is built once per compiled signature and never changes. What changes from call to call is `base`, the
// addresses of the slots (slot 0 is the arena, the rest are inputs and outputs); a Ref is a slot and a byte offset.
//
// A kernel computes a range [lo, hi) of its parallel extent. The executor cuts the extent into chunks of `grain`, which are
// handed to threads in any order, with a barrier after each group of steps. `grain` is a property of the program, never of
// the thread count, and every reduction across chunks is a step of its own: the same program gives the same bits on 1 or 64
// threads. `chain` = k > 0 says that this step and the next k run chunk by chunk without a barrier (their chunk counts
// are equal and chunk c of a later step reads only what chunk c of an earlier one wrote).
#ifndef THIMBLE_H
#define THIMBLE_H
#include <stddef.h>
#include <stdint.h>

#define THIMBLE_MAGIC 0x4c424d494854LL /* "THIMBL" */
#define THIMBLE_ABI 2

typedef int64_t W;
typedef struct { W slot, offset; } Ref;
typedef struct { W magic, abi, nsteps, nslots; } Header;
typedef struct { W kernel, words /* of the arguments */, extent, grain, chain; } Step;

enum { F32, BF16, F16, I32, I64, U8, I8, BOOL, NDTYPES };

// Scratch that each thread owns for the length of one kernel call; its content does not survive the call.
#define SCRATCH_BYTES (4 << 20)
typedef struct { int tid; char *bytes /* 64-byte aligned, SCRATCH_BYTES */; } Scratch;
typedef void (*Kernel)(const void *args, char *const *base, W lo, W hi, Scratch *scratch);
#define PTR(base, ref) ((void *)((base)[(ref).slot] + (ref).offset))

enum {
  K_MAP, K_REDUCE, K_ARGREDUCE, K_GEMM, K_NORM, K_NORM_GRAD, K_SOFTMAX, K_SOFTMAX_GRAD, K_XENT, K_XENT_GRAD,
  K_ATTENTION, K_ATTENTION_GRAD, K_TAKE, K_SCATTER_ADD, K_TAKE_ALONG, K_SCATTER_ALONG, K_ARGSORT, K_CUMSUM,
  K_UNFOLD, K_FOLD, K_UPDATE_AT, K_LINEAR_XENT, K_LINEAR_XENT_GRAD, NKERNELS
};

// ---- MAP: a pointwise expression over an iteration space. Extent: the number of elements (flat, row-major over dims).
// Registers hold one tile of TILE elements: inputs are registers 0..nin-1 (converted on load: f32, bf16, f16 -> f32;
// u8, i8, bool, i32 -> i32; i64 -> i64), constants follow, then temporaries. An instruction is op | dst<<8 | a<<16 | b<<24 | c<<32.
// Strides are in elements, 0 broadcasts, negative flips. Layout of the argument words:
//   MapArgs, Operand in[nin], Operand out[nout], W outReg[nout], double constants[nconst] (f32 value, or an int64 bit
//   pattern where constType says so), W constType[nconst] (0 f32, 1 i32, 2 i64), W code[ninstr]
#define MAXD 6
#define TILE 256
#define MAXREG 40
typedef struct { Ref ref; W dtype; W stride[MAXD]; } Operand; // stride of each of MapArgs.dims, unused ones 0
typedef struct { W ndim, dims[MAXD], nin, nout, nconst, ninstr; } MapArgs;
enum { // comparisons give i32 0/1. Integer division and remainder floor, as in Python; x/0 gives 0.
  // f32
  F_ADD, F_SUB, F_MUL, F_DIV, F_MAX, F_MIN, F_POW, F_NEG, F_ABS, F_EXP, F_LOG, F_SQRT, F_RSQRT, F_SIN, F_COS, F_TANH,
  F_ERF, F_FLOOR, F_LT, F_LE, F_EQ, F_WHERE /* a: i32 condition, b, c */, F_FMA /* a*b+c */,
  F_ROUND_BF16, F_ROUND_F16 /* to the nearest number of that type */,
  // i32
  I_ADD, I_SUB, I_MUL, I_DIV, I_MOD, I_MAX, I_MIN, I_NEG, I_ABS, I_LT, I_LE, I_EQ, I_WHERE, I_AND, I_OR, I_XOR, I_SHL,
  I_SHR /* logical */, I_NOT /* of 0/1 */,
  // i64
  L_ADD, L_SUB, L_MUL, L_DIV, L_MOD, L_MAX, L_MIN, L_NEG, L_ABS, L_LT, L_LE, L_EQ, L_WHERE,
  // conversions between register types: f32 -> int truncates toward zero and saturates, NaN gives 0
  C_F2I, C_F2L, C_I2F, C_I2L, C_L2I, C_L2F,
  // the flat index of the element in the iteration space, as i64
  X_INDEX,
  // Philox-4x32-10: counter = (index/4 low, index/4 high, 0, 0), key = (a, b) both i32 registers; word index%4, as i32
  X_PHILOX, NINSTR
};
// Stores convert: f32 -> bf16/f16 round to nearest even; i32 -> u8/i8 wrap; i32 -> bool is (x != 0). The register that is
// stored has the register type that the output dtype loads as.

// ---- REDUCE: out[o, i] = op over c of expression[o, c, i]. The iteration space of the map is exactly (O, C, N) flattened, i.e.
// its dims multiply to O*C*N; the map has no outputs, `reg` is the register to reduce. Extent: O*ceil(N/NB) blocks, block = o*nblocks + nb.
// out is contiguous [O, N] of dtype. f32 sums of long rows are kept in several lanes (error ~ log C, not C).
enum { R_SUM, R_MAX, R_MIN, R_PROD };
typedef struct { Ref out; W dtype, op, reg, O, C, N, NB; MapArgs map; } ReduceArgs; // map's trailing words follow, with nout = 0
// ARGREDUCE: index (i32) of the first maximum (op R_MAX) or minimum along C; same space. NaN counts as the extreme.
// Same arguments as REDUCE; `dtype` is that of out: I32.

// ---- GEMM: C[b, m, n] = (accumulate ? C : 0) + sum_k A[b, m, k] * B[b, k, n], f32 accumulation, any strides (in elements) for A and B.
// C has unit column stride. Extent: nb0*nb1*ceil(M/MB)*ceil(N/NB) blocks: ((b0*nb1 + b1)*mblocks + mb)*nblocks + nb.
typedef struct {
  W M, N, K, nb0, nb1, MB, NB, accumulate;
  Ref a; W aType, aRow, aCol, aB0, aB1;
  Ref b; W bType, bRow, bCol, bB0, bB1;
  Ref c; W cType, cRow, cB0, cB1;
} GemmArgs;

// ---- NORM over the last axis of contiguous [R, D] f32/bf16/f16 (dtype). rms = 0: y = (x-mean)*rstd*g+b; rms = 1: y = x*rstd*g.
// gamma and beta f32 or absent (slot -1). Saves mean (absent for rms) and rstd, f32 [R]. Extent: R.
typedef struct { W R, D, rms, dtype; double eps; Ref x, gamma, beta, y, mean, rstd; } NormArgs;
// NORM_GRAD: dx [R, D]; dgamma and dbeta (absent: slot -1) are PARTIAL sums [P, D] f32, one row per chunk: P = ceil(R/grain),
// row = lo/rowsPerPart. Extent: R, grain = rowsPerPart.
typedef struct { W R, D, rms, dtype, rowsPerPart; Ref dy, x, gamma, mean, rstd, dx, dgamma, dbeta; } NormGradArgs;

// ---- SOFTMAX over the last axis, contiguous [R, D]. Extent: R. Numerically safe; a row of all -inf gives zeros.
typedef struct { W R, D, dtype; Ref x, y; } SoftmaxArgs;
typedef struct { W R, D, dtype; Ref dy, y, dx; } SoftmaxGradArgs;
// XENT: loss[r] = lse(logits[r]) - logits[r, label[r]] and lse[r], f32; a label < 0 or >= D is ignored (loss 0, gradient 0).
// labelType I32 or I64. XENT_GRAD: dlogits = (softmax - onehot) * g[r].
typedef struct { W R, D, dtype, labelType; Ref logits, labels, loss, lse; } XentArgs;
typedef struct { W R, D, dtype, labelType; Ref logits, labels, lse, g, dlogits; } XentGradArgs;

// ---- ATTENTION: q [B, Tq, Hq, E], k [B, Tk, Hkv, E], v [B, Tk, Hkv, Ev] with strides (elements) for B, T, H and unit stride in E;
// o contiguous [B, Tq, Hq, Ev]; lse f32 [B, Hq, Tq]. causal: query i sees keys j <= i + (Tk - Tq); window > 0: also
// j > i + (Tk - Tq) - window. Hq is a multiple of Hkv. Extent: B*Hq*ceil(Tq/QB), block = (b*Hq + h)*qblocks + qb. Never stores the T x T matrix.
typedef struct { Ref ref; W sB, sT, sH; } View;
typedef struct { W B, Hq, Hkv, Tq, Tk, E, Ev, causal, window, QB, dtype; double scale; View q, k, v; Ref o, lse, length; W lengthType; Ref offsets; W sequences; } AttentionArgs;
// `length` (absent: slot -1) is one I32 | I64 that takes the place of Tk, which is then the room that k and v have. sequences > 0: a query
// sees only keys of its own sequence, tokens offsets[s] .. offsets[s + 1] - 1 of the one batch; offsets I32 [sequences + 1], else absent.
// ATTENTION_GRAD recomputes the probabilities from lse. Extent: B*Hkv (one chunk owns a kv head and all its query heads: no races).
// dO contiguous as o; dq/dk/dv are views too (any B/T/H strides, unit stride in E).
// Both: E and Ev are at most 2048 (the tiles must fit the scratch), dtype f32 | bf16 | f16.
typedef struct { W B, Hq, Hkv, Tq, Tk, E, Ev, causal, window, dtype; double scale; View q, k, v; Ref o, lse, dO; View dq, dk, dv; Ref offsets; W sequences; } AttentionGradArgs;

// ---- LINEAR_XENT: logits are e [N, D] times the rows of c [V, D], which are rows first..first+V-1 of a vocabulary of `total`, plus bias
// f32 [V] (absent: slot -1), in tiles of RB x CB; softCap > 0: softCap * tanh(logits / softCap). logit[i] is that of targets[i], 0 where the
// target is elsewhere, lse[i] the log-sum-exp of all; both 0 where targets[i] is `ignore`. Other targets outside the vocabulary are counted
// as bad indices. Extent: ceil(N/RB). RB <= 96, CB <= 512 a multiple of 32, and D*(2*RB + 3*CB) must leave room in the scratch.
typedef struct { W N, V, D, dtype, targetType, ignore, first, total, RB, CB; double softCap; Ref e, c, targets, bias, logit, lse; } LinearXentArgs;
// LINEAR_XENT_GRAD: dE, dC and dBias (absent: slot -1) from the cotangents of logit and lse. Tiles whose elements are all below eps, before
// scaling, are left out of dE (filterE) and dC (filterC); skipped f32 [ceil(V/32)] is their share by column. Columns are taken in `order`
// (i32 [V], absent: slot -1). Extent: ceil(N/RB) + ceil(V/CB). of.logit is not read.
typedef struct { LinearXentArgs of; W filterE, filterC; double eps; Ref dLogit, dLse, order, dE, dC, dBias, skipped; } LinearXentGradArgs;

// ---- Indexing; x is seen as [O, A, N] contiguous. indexType I32 or I64. An index outside [0, A) reads as 0 and is dropped by a
// scatter, and is counted: the executor returns the number of bad indices (thimble_bad_indices, atomic) so that the caller can say so.
// TAKE: out[o, j, n] = x[o, idx[j], n], j < J. Extent O*J rows.
typedef struct { W O, A, N, J, dtype, indexType; Ref x, index, out; } TakeArgs;
// UPDATE_AT: out[o, index[0] + j, n] = x[o, j, n], j < J; the rest of out stays. Extent O.
// SCATTER_ADD (adjoint): out[o, idx[j], n] += dy[o, j, n]; out is zeroed first; f32/bf16/f16. Extent: O*ceil(N/NB), (o, column block): no
// races, fixed order of additions.
typedef struct { W O, A, N, J, NB, dtype, indexType; Ref dy, index, out; } ScatterAddArgs;
// TAKE_ALONG: out[o, j, n] = x[o, idx[o, j, n], n]. Extent O. SCATTER_ALONG: out zeroed, out[o, idx[o,j,n], n] += dy[o,j,n]. Extent O.
typedef struct { W O, A, N, J, dtype, indexType; Ref x, index, out; } TakeAlongArgs;
// ARGSORT: the first entries of the stable ascending (descending = 1: stable descending) order along the last axis of x [R, D], any dtype; out
// i32 [R, first]. NaN last. `work`, i32 [R, 2, D], may be absent (slot -1) except for i64, where D <= SORT_BLOCK or first <= SORT_BLOCK / 2.
// Extent R.
#define SORT_BLOCK (1 << 17)
typedef struct { W R, D, first, dtype, descending; Ref x, out, work; } ArgsortArgs;
// CUMSUM along A of [O, A, N], f32/i32. Extent O.
typedef struct { W O, A, N, dtype; Ref x, out; } CumsumArgs;

// ---- UNFOLD (im2col): x [B, C, H, Wd] f32/bf16/f16 -> out [B, C*kh*kw, oh*ow]; zero padding; dilation. Extent B*C.
// FOLD is its adjoint (sums overlaps): x [B, C*kh*kw, oh*ow] -> out [B, C, H, Wd]. Extent B*C.
typedef struct { W B, C, H, Wd, kh, kw, sh, sw, ph, pw, dh, dw, oh, ow, dtype; Ref x, out; } UnfoldArgs;

#endif
