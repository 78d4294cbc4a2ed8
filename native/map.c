// MAP, and the loads and stores of the tile interpreter.
#include "map.h"

static W dtype_type(W dtype) { return dtype <= F16 ? T_F32 : dtype == I64 ? T_I64 : T_I32; }
static W type_bytes(W type) { return type == T_I64 ? 8 : 4; }

// ---- Walks
static void walk_open(Walk *w, const MapArgs *map, const Operand *op, char *const *base) {
  W size = dtype_size(op->dtype), n = 0;
  for (W d = map->ndim - 1; d >= 0; d--) {
    W dim = map->dims[d], stride = op->stride[d] * size;
    if (dim == 1) continue;
    if (n && stride == w->stride[n - 1] * w->dims[n - 1]) w->dims[n - 1] *= dim;
    else w->dims[n] = dim, w->stride[n++] = stride;
  }
  if (!n) w->dims[n] = 1, w->stride[n++] = 0;
  w->ndim = n, w->dtype = op->dtype, w->splatted = 0;
  w->start = PTR(base, op->ref);
  w->in_place = w->stride[0] == size && size == type_bytes(dtype_type(op->dtype));
}

static void walk_seek(Walk *w, W flat) {
  w->at = w->start;
  for (W k = 0; k < w->ndim; k++) {
    w->index[k] = k + 1 < w->ndim ? flat % w->dims[k] : flat;
    w->at += w->index[k] * w->stride[k];
    flat /= w->dims[k];
  }
}

// What is left of the innermost row.
INLINE W walk_row(const Walk *w) { return w->dims[0] - w->index[0]; }

// Goes n <= walk_row elements on.
INLINE void walk_step(Walk *w, W n) {
  w->index[0] += n, w->at += n * w->stride[0];
  for (W k = 0; w->index[k] == w->dims[k] && k + 1 < w->ndim; k++) {
    w->at += w->stride[k + 1] - w->dims[k] * w->stride[k];
    w->index[k] = 0, w->index[k + 1]++;
  }
}

// ---- Loads and stores, row by row, from and to whole registers
#define LOAD_ROWS(From, To, value, contiguous) \
  for (To *r = to; n;) { \
    W row = MIN(n, walk_row(w)), stride = w->stride[0]; \
    const char *p = w->at; \
    if (stride == (W)sizeof(From)) { contiguous; } \
    else if (stride == 0) { From x = *(const From *)p; To y = value; for (W j = 0; j < row; j++) r[j] = y; } \
    else for (W j = 0; j < row; j++, p += stride) { From x = *(const From *)p; r[j] = value; } \
    walk_step(w, row), r += row, n -= row; \
  } \
  break
#define EACH_OF_ROW(From, value) for (W j = 0; j < row; j++) { From x = ((const From *)p)[j]; r[j] = value; }

static void load_rows(Walk *w, void *to, W n) {
  switch (w->dtype) {
    case F32: case I32: LOAD_ROWS(int32_t, int32_t, x, EACH_OF_ROW(int32_t, x));
    case BF16: LOAD_ROWS(uint16_t, float, bf16_to_f32(x), load_row(r, p, BF16, row));
    case F16: LOAD_ROWS(uint16_t, float, f16_to_f32(x), load_row(r, p, F16, row));
    case I64: LOAD_ROWS(W, W, x, EACH_OF_ROW(W, x));
    case I8: LOAD_ROWS(int8_t, int32_t, x, EACH_OF_ROW(int8_t, x));
    default: LOAD_ROWS(uint8_t, int32_t, x, EACH_OF_ROW(uint8_t, x));
  }
}

void tile_store(void *to, W dtype, const void *from, W n) {
  const int32_t *x = from;
  switch (dtype) {
    case BF16: case F16: store_row(to, dtype, from, n); break;
    case U8: case I8: for (W j = 0; j < n; j++) ((uint8_t *)to)[j] = (uint8_t)x[j]; break;
    case BOOL: for (W j = 0; j < n; j++) ((uint8_t *)to)[j] = x[j] != 0; break;
    default: memmove(to, from, (size_t)(n * dtype_size(dtype)));
  }
}

#define STORE_ROW(From, To, value) \
  for (W j = 0; j < row; j++, p += stride) { From x = ((const From *)from)[j]; *(To *)p = (To)(value); } \
  break

static void store_rows(Walk *w, const char *from, W n) {
  W stride = w->stride[0], bytes = type_bytes(dtype_type(w->dtype));
  while (n) {
    W row = MIN(n, walk_row(w));
    char *p = w->at;
    if (stride == dtype_size(w->dtype)) tile_store(p, w->dtype, from, row);
    else switch (w->dtype) {
      case F32: case I32: STORE_ROW(int32_t, int32_t, x);
      case BF16: STORE_ROW(float, uint16_t, f32_to_bf16(x));
      case F16: STORE_ROW(float, uint16_t, f32_to_f16(x));
      case I64: STORE_ROW(W, W, x);
      case BOOL: STORE_ROW(int32_t, uint8_t, x != 0);
      default: STORE_ROW(int32_t, uint8_t, x);
    }
    walk_step(w, row), from += row * bytes, n -= row;
  }
}

// ---- Tiles
static void splat(void *to, W type, const void *value) {
  if (type == T_I64) { W x; memcpy(&x, value, 8); for (W i = 0; i < TILE; i++) ((W *)to)[i] = x; }
  else { int32_t x; memcpy(&x, value, 4); for (W i = 0; i < TILE; i++) ((int32_t *)to)[i] = x; }
}

// An output may overwrite an input of the program in place. A register that is computed straight into that memory must not be
// written before the last use of the input; where it would be, the input is copied to a register of its own.
static int is_overwritten_early(const Tile *t, W input) {
  W last_read = -1;
  for (W k = 0; k < t->ninstr; k++) {
    W c = t->code[k];
    if ((c >> 16 & 255) == input || (c >> 24 & 255) == input || (c >> 32 & 255) == input) last_read = k;
  }
  for (W o = 0; o < t->nout; o++) if (t->out_reg[o] == input) last_read = t->ninstr + 1;
  for (W o = 0; o < t->nout; o++) {
    if (t->out[o].start != t->in[input].start) continue;
    W first_write = t->ninstr;
    for (W k = t->ninstr - 1; k >= 0; k--) if ((t->code[k] >> 8 & 255) == t->out_reg[o]) first_write = k;
    if (first_write < last_read) return 1;
  }
  return 0;
}

char *tile_open(Tile *t, const MapArgs *map, char *const *base, char *memory) {
  const Operand *in = (const Operand *)(map + 1), *out = in + map->nin;
  const W *out_reg = (const W *)(out + map->nout), *constant = out_reg + map->nout, *const_type = constant + map->nconst;
  t->nin = map->nin, t->nout = map->nout, t->ninstr = map->ninstr, t->next = -1;
  t->code = const_type + map->nconst, t->out_reg = out_reg;

  W nreg = t->nin + map->nconst;
  for (W i = 0; i < t->nin; i++) t->type[i] = (uint8_t)dtype_type(in[i].dtype);
  for (W i = 0; i < map->nconst; i++) t->type[t->nin + i] = (uint8_t)const_type[i];
  for (W k = 0; k < t->ninstr; k++) {
    W dst = t->code[k] >> 8 & 255;
    uint8_t type = (uint8_t)result_type(t->code[k] & 255);
    while (nreg <= dst) t->type[nreg++] = T_F32;
    if (type > t->type[dst]) t->type[dst] = type; // a register may serve twice: room for the widest
  }
  for (W i = 0; i < nreg; i++) t->reg[i] = t->home[i] = memory, memory += TILE * type_bytes(t->type[i]);

  for (W i = 0; i < map->nconst; i++) {
    float x;
    double f64;
    memcpy(&f64, constant + i, 8);
    x = (float)f64;
    splat(t->home[t->nin + i], const_type[i], const_type[i] == T_F32 ? (const void *)&x : (const void *)(constant + i));
  }
  for (W i = 0; i < t->nin; i++) walk_open(t->in + i, map, in + i, base);
  for (W o = 0; o < t->nout; o++) {
    Walk *w = t->out + o;
    walk_open(w, map, out + o, base);
    if (out_reg[o] < t->nin + map->nconst) w->in_place = 0;
    for (W p = 0; p < o; p++) if (out_reg[p] == out_reg[o]) w->in_place = 0;
  }
  for (W i = 0; i < t->nin; i++)
    if (t->in[i].in_place && is_overwritten_early(t, i)) t->in[i].in_place = 0;
  return memory;
}

void tile_eval(Tile *t, W flat, W n) {
  if (t->next != flat) {
    for (W i = 0; i < t->nin; i++) walk_seek(t->in + i, flat);
    for (W o = 0; o < t->nout; o++) walk_seek(t->out + o, flat);
  }
  t->next = flat + n;
  W whole = n % VW == 0; // else vectors would reach beyond the memory of an operand
  for (W i = 0; i < t->nin; i++) {
    Walk *w = t->in + i;
    t->reg[i] = t->home[i];
    if (w->in_place && whole && n <= walk_row(w)) t->reg[i] = w->at, walk_step(w, n);
    else if (w->stride[0] == 0 && n <= walk_row(w)) {
      if (w->splatted != w->at) {
        Walk one = *w;
        load_rows(&one, t->home[i], 1);
        splat(t->home[i], t->type[i], t->home[i]);
        w->splatted = w->at;
      }
      walk_step(w, n);
    } else w->splatted = 0, load_rows(w, t->home[i], n);
  }
  for (W o = 0; o < t->nout; o++) {
    Walk *w = t->out + o;
    if (w->in_place) t->reg[t->out_reg[o]] = whole && n <= walk_row(w) ? w->at : t->home[t->out_reg[o]];
  }
  run_code(t->reg, t->code, t->ninstr, flat, n);
  for (W o = 0; o < t->nout; o++) {
    Walk *w = t->out + o;
    char *from = t->reg[t->out_reg[o]];
    if (from == w->at && n <= walk_row(w)) walk_step(w, n);
    else store_rows(w, from, n);
  }
}

void k_map(const void *args, char *const *base, W lo, W hi, Scratch *scratch) {
  const MapArgs *map = args;
  const Operand *in = (const Operand *)(map + 1), *out = in + map->nin;
  if (map->ninstr == 0 && map->nin == 1 && map->nout == 1 && in->dtype == out->dtype) {
    copy_strided(map, in, out, base, lo, hi);
    return;
  }
  Tile t;
  tile_open(&t, map, base, scratch->bytes);
  for (W i = lo; i < hi; i += TILE) tile_eval(&t, i, MIN(TILE, hi - i));
}
