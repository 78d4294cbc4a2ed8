// The instructions of the tile interpreter.
#include "map.h"
#include "vmath.h"

W result_type(W op) {
  switch (op) {
    case F_LT: case F_LE: case F_EQ: case L_LT: case L_LE: case L_EQ: case C_F2I: case C_L2I: case X_PHILOX: return T_I32;
    case C_F2L: case C_I2L: case X_INDEX: return T_I64;
    case C_I2F: case C_L2F: return T_F32;
  }
  return op < I_ADD ? T_F32 : op < L_ADD ? T_I32 : T_I64;
}

// Quotients round down, and x / 0 = x % 0 = 0. The quotient of two int32 in f64 is close enough to floor exactly.
INLINE int32_t floor_div32(int32_t a, int32_t b) {
  double q = __builtin_floor((double)a / (b ? b : 1));
  return b ? (int32_t)(int64_t)q : 0;
}
INLINE W floor_div64(W a, W b) {
  if (b == 0) return 0;
  if (b == -1) return (W)(0 - (uint64_t)a);
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

INLINE int32_t f32_to_i32(float x) {
  if (x != x) return 0;
  return x >= 0x1p31f ? INT32_MAX : x <= -0x1p31f ? INT32_MIN : (int32_t)x;
}
INLINE W f32_to_i64(float x) {
  if (x != x) return 0;
  return x >= 0x1p63f ? INT64_MAX : x <= -0x1p63f ? INT64_MIN : (W)x;
}

// ---- Philox-4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
#define PHILOX_M0 0xd2511f53u
#define PHILOX_M1 0xcd9e8d57u
#define PHILOX_W0 0x9e3779b9u
#define PHILOX_W1 0xbb67ae85u

// The product of the low halves of 64-bit lanes.
INLINE vq wide_product(vq a, vq b) {
#if VW == 16
  return (vq)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif VW == 8
  return (vq)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__x86_64__)
  return (vq)_mm_mul_epu32((__m128i)a, (__m128i)b);
#elif defined(__aarch64__)
  return (vq)vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)b));
#else
  return (a & UINT32_MAX) * (b & UINT32_MAX);
#endif
}

// The words of the counters first, first + 1, ... One counter to each 64-bit lane, so that a product keeps its high half;
// what is above the low half of a lane is ignored until the end. `word` has room for whole vectors.
static void philox(uint64_t (*word)[2], uint64_t first, W count, uint32_t key0, uint32_t key1) {
  enum { COUNTERS = VW / 2 };
  vq lane;
  for (int l = 0; l < COUNTERS; l++) lane[l] = (uint64_t)l;
  for (W i = 0; i < count; i += COUNTERS) {
    vq c0 = lane + (first + (uint64_t)i), c1 = c0 >> 32, c2 = {0}, c3 = {0};
    uint32_t k0 = key0, k1 = key1;
    for (int round = 0; round < 10; round++, k0 += PHILOX_W0, k1 += PHILOX_W1) {
      vq p0 = wide_product(c0, (vq){0} + PHILOX_M0), p1 = wide_product(c2, (vq){0} + PHILOX_M1);
      c0 = (p1 >> 32) ^ c1 ^ k0, c1 = p1;
      c2 = (p0 >> 32) ^ c3 ^ k1, c3 = p0;
    }
    vq low = (c0 & UINT32_MAX) | c1 << 32, high = (c2 & UINT32_MAX) | c3 << 32;
    for (int l = 0; l < COUNTERS; l++) word[i + l][0] = low[l], word[i + l][1] = high[l];
  }
}

static void philox_tile(uint32_t *to, const uint32_t *key0, const uint32_t *key1, W flat, W n) {
  uint64_t word[TILE / 4 + 1 + VW / 2][2];
  W uniform = 1;
  for (W i = 1; i < n; i++) uniform &= key0[i] == key0[0] && key1[i] == key1[0];
  if (uniform) {
    philox(word, (uint64_t)flat / 4, (flat + n - 1) / 4 - flat / 4 + 1, key0[0], key1[0]);
    memcpy(to, (char *)word + flat % 4 * 4, (size_t)n * 4);
  } else {
    for (W i = 0; i < n; i++) {
      philox(word, (uint64_t)(flat + i) / 4, 1, key0[i], key1[i]);
      memcpy(to + i, (char *)word + (flat + i) % 4 * 4, 4);
    }
  }
}

// ---- Functions of a whole tile. Apart from the interpreter, because V8 makes all constants of a function at its entry.
#ifdef __wasm__
#define SIDE_BY_SIDE 2 // vectors: two chains of instructions hide each other's latency, and share the loads of the constants
#else
#define SIDE_BY_SIDE 1
#endif
#define OF_TILE(name, value) \
  INLINE void name##_of(int count, float *d, const float *a, const float *b) { \
    vf result[SIDE_BY_SIDE]; \
    UNROLL for (int i = 0; i < count; i++) { \
      vf x = v_load(a + i * VW), y = v_load(b + i * VW); \
      (void)y; \
      result[i] = value; \
    } \
    UNROLL for (int i = 0; i < count; i++) v_store(d + i * VW, result[i]); \
  } \
  static __attribute__((noinline)) void name##_tile(float *d, const float *a, const float *b, W n) { \
    W i = 0; \
    for (; i + SIDE_BY_SIDE * VW <= n; i += SIDE_BY_SIDE * VW) name##_of(SIDE_BY_SIDE, d + i, a + i, b + i); \
    for (; i < n; i += VW) name##_of(1, d + i, a + i, b + i); \
  }
OF_TILE(pow, v_pow(x, y))
OF_TILE(exp, v_exp(x))
OF_TILE(log, v_log(x))
OF_TILE(sin, v_sin(x))
OF_TILE(cos, v_cos(x))
OF_TILE(tanh, v_tanh(x))
OF_TILE(erf, v_erf(x))

// ---- The interpreter. X, Y, Z are the operands at the position of the loop: vectors of f32 (F), i32 (I), u32 (U), or single
// elements of i64 (L) and i32 (E).
#define GROUP 4 // vectors of one turn: their offsets are folded into the loads
#define EACH_VECTOR(statement) { \
    for (; left >= GROUP * VW; left -= GROUP * VW, d += GROUP * VW * 4, a += GROUP * VW * 4, b += GROUP * VW * 4, c += GROUP * VW * 4) \
      UNROLL for (int i = 0; i < GROUP * VW; i += VW) statement; \
    for (W i = 0; i < left; i += VW) statement; \
  } break
#define EACH(statement) for (W i = 0; i < n; i++) statement; break
#define FLOAT(value) EACH_VECTOR(v_store((float *)d + i, value))
#define INT(value) EACH_VECTOR(vi_store((int32_t *)d + i, value))
#define LONG(value) EACH(((W *)d)[i] = (W)(value))
#define TILE_OF(name) name##_tile((float *)d, (const float *)a, (const float *)b, n); break
#define FX v_load((const float *)a + i)
#define FY v_load((const float *)b + i)
#define FZ v_load((const float *)c + i)
#define IX vi_load((const int32_t *)a + i)
#define IY vi_load((const int32_t *)b + i)
#define IZ vi_load((const int32_t *)c + i)
#define UX ((vu)IX)
#define UY ((vu)IY)
#define LX (((const W *)a)[i])
#define LY (((const W *)b)[i])
#define LZ (((const W *)c)[i])
#define EX (((const int32_t *)a)[i])
#define EY (((const int32_t *)b)[i])
#define ED ((int32_t *)d)[i]

INLINE vi vi_select(vi mask, vi yes, vi no) { return (yes & mask) | (no & ~mask); }

void run_code(char *const *reg, const W *code, W ninstr, W flat, W n) {
  for (W k = 0; k < ninstr; k++) {
    W word = code[k], left = n;
    char *d = reg[word >> 8 & 255];
    const char *a = reg[word >> 16 & 255], *b = reg[word >> 24 & 255], *c = reg[word >> 32 & 255];
    switch (word & 255) {
      case F_ADD: FLOAT(FX + FY);
      case F_SUB: FLOAT(FX - FY);
      case F_MUL: FLOAT(FX * FY);
      case F_DIV: FLOAT(FX / FY);
      case F_MAX: FLOAT(v_max_nan(FX, FY));
      case F_MIN: FLOAT(v_min_nan(FX, FY));
      case F_POW: TILE_OF(pow);
      case F_NEG: FLOAT(-FX);
      case F_ABS: FLOAT(v_abs(FX));
      case F_EXP: TILE_OF(exp);
      case F_LOG: TILE_OF(log);
      case F_SQRT: FLOAT(v_sqrt(FX));
      case F_RSQRT: FLOAT(v_rsqrt(FX));
      case F_SIN: TILE_OF(sin);
      case F_COS: TILE_OF(cos);
      case F_TANH: TILE_OF(tanh);
      case F_ERF: TILE_OF(erf);
      case F_FLOOR: FLOAT(v_floor(FX));
      case F_LT: INT((FX < FY) & 1);
      case F_LE: INT((FX <= FY) & 1);
      case F_EQ: INT((FX == FY) & 1);
      case F_WHERE: FLOAT(v_select(IX != 0, FY, FZ));
      case F_FMA: FLOAT(v_fma(FX, FY, FZ));
      case F_ROUND_BF16: FLOAT(v_round_bf16(FX));
      case F_ROUND_F16: FLOAT(v_round_f16(FX));

      case I_ADD: INT((vi)(UX + UY));
      case I_SUB: INT((vi)(UX - UY));
      case I_MUL: INT((vi)(UX * UY));
      case I_DIV: EACH(ED = floor_div32(EX, EY));
      case I_MOD: EACH(ED = EY ? (int32_t)((uint32_t)EX - (uint32_t)floor_div32(EX, EY) * (uint32_t)EY) : 0);
      case I_MAX: INT(vi_select(IX > IY, IX, IY));
      case I_MIN: INT(vi_select(IX < IY, IX, IY));
      case I_NEG: INT((vi)-UX);
      case I_ABS: INT((vi)((UX ^ (vu)(IX >> 31)) - (vu)(IX >> 31)));
      case I_LT: INT((IX < IY) & 1);
      case I_LE: INT((IX <= IY) & 1);
      case I_EQ: INT((IX == IY) & 1);
      case I_WHERE: INT(vi_select(IX != 0, IY, IZ));
      case I_AND: INT(IX & IY);
      case I_OR: INT(IX | IY);
      case I_XOR: INT(IX ^ IY);
      case I_SHL: INT((vi)(UX << (UY & 31)) & (vi)(UY < 32)); // a count of 32 or more leaves nothing
      case I_SHR: INT((vi)(UX >> (UY & 31)) & (vi)(UY < 32));
      case I_NOT: INT((IX == 0) & 1);

      case L_ADD: LONG((uint64_t)LX + (uint64_t)LY);
      case L_SUB: LONG((uint64_t)LX - (uint64_t)LY);
      case L_MUL: LONG((uint64_t)LX * (uint64_t)LY);
      case L_DIV: LONG(floor_div64(LX, LY));
      case L_MOD: LONG(LY ? (uint64_t)LX - (uint64_t)floor_div64(LX, LY) * (uint64_t)LY : 0);
      case L_MAX: LONG(MAX(LX, LY));
      case L_MIN: LONG(MIN(LX, LY));
      case L_NEG: LONG(0 - (uint64_t)LX);
      case L_ABS: LONG(LX < 0 ? 0 - (uint64_t)LX : (uint64_t)LX);
      case L_LT: EACH(ED = LX < LY);
      case L_LE: EACH(ED = LX <= LY);
      case L_EQ: EACH(ED = LX == LY);
      case L_WHERE: LONG(EX ? LY : LZ);

      case C_F2I: EACH(ED = f32_to_i32(((const float *)a)[i]));
      case C_F2L: LONG(f32_to_i64(((const float *)a)[i]));
      case C_I2F: FLOAT(__builtin_convertvector(IX, vf));
      case C_I2L: LONG(EX);
      case C_L2I: EACH(ED = (int32_t)LX);
      case C_L2F: EACH(((float *)d)[i] = (float)LX);

      case X_INDEX: LONG(flat + i);
      case X_PHILOX: philox_tile((uint32_t *)d, (const uint32_t *)a, (const uint32_t *)b, flat, n); break;
    }
  }
}
