// The tile interpreter: evaluates the expression of a MAP for TILE elements at a time, so that all temporaries stay in L1.
#ifndef THIMBLE_MAP_H
#define THIMBLE_MAP_H
#include "kernels.h"

// An operand being walked in the row-major order of the iteration space. Its dimensions are merged as far as its own strides
// allow, innermost first: a contiguous operand has one, whatever the shape. Strides are in bytes.
typedef struct {
  char *start, *at;
  W dtype, ndim, dims[MAXD], stride[MAXD], index[MAXD];
  W in_place;    // a contiguous stretch serves as the register itself
  char *splatted; // the element that the register is already full of
} Walk;

enum { T_F32, T_I32, T_I64 };

typedef struct {
  W nin, nout, ninstr, next; // next: the flat index that the walks stand at
  const W *code, *out_reg;
  Walk in[MAXREG], out[MAXREG];
  char *home[MAXREG], *reg[MAXREG]; // the own memory of a register, and where it is during this tile
  uint8_t type[MAXREG];
} Tile;

// Prepares a program; its registers are carved from `memory`, whose first free byte is returned (64-byte aligned).
char *tile_open(Tile *t, const MapArgs *map, char *const *base, char *memory);
// Evaluates the elements [flat, flat + n), n <= TILE, and stores the outputs. Registers hold n elements after it.
void tile_eval(Tile *t, W flat, W n);
// n contiguous elements from a register to memory of any dtype.
void tile_store(void *to, W dtype, const void *from, W n);

// The instructions, from map_ops.c. Float and i32 registers are computed in whole vectors: up to VW - 1 elements beyond n.
void run_code(char *const *reg, const W *code, W ninstr, W flat, W n);
W result_type(W op);

// A MAP without instructions whose operands have one dtype: moves elements [lo, hi). From map_copy.c.
void copy_strided(const MapArgs *map, const Operand *in, const Operand *out, char *const *base, W lo, W hi);
#endif
