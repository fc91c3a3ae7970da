#pragma once
#include <stddef.h>
#include <stdint.h>

/* K-best decoding of trellis codes, one row of weights at a time and in blocks of columns.
 *
 * A path is a sequence of codes with its state, the cost of its past and targets of its own, at first the weights. Column j
 * extends it by every code c:
 *   state' = ((state << bits) | c) mod 2^state_bits,  cost' = cost + (root[j] * (t_j - scale_j * table[state']))^2,
 *   t_k += (w_j - scale_j * table[state']) * m[j][k] for k > j.
 * Of paths that meet in a state the cheapest goes on, and of all paths the `most` cheapest; of equal costs the one that
 * stands first, so that the result depends on nothing else. Of more than CK_TRELLIS_WINDOW codes those are tried whose
 * values are nearest to the weight: others cost too much to be among the cheapest. */
enum {
  CK_TRELLIS_BLOCK = 64,
  CK_TRELLIS_PATHS = 128,
  CK_TRELLIS_STATE_BITS = 12,
  CK_TRELLIS_BITS = 6,
  CK_TRELLIS_WINDOW_BITS = 3,
  CK_TRELLIS_WINDOW = 1 << CK_TRELLIS_WINDOW_BITS,
  CK_TRELLIS_BINS = 256
};

/* A table for codes of one width, with the values that follow a state in their order. */
typedef struct {
  int state_bits, bits, window_bits;
  /* The r-th smallest value after a state, and the code that leads to it, at ((state << bits) mod 2^state_bits) + r. */
  float value[1 << CK_TRELLIS_STATE_BITS];
  uint8_t code[1 << CK_TRELLIS_STATE_BITS];
  /* The smallest of the values that are tried, for weights over their scale in CK_TRELLIS_BINS steps from -8 to 8. */
  uint8_t first[CK_TRELLIS_BINS];
} ck_trellis_values;

/* The paths of one row, and of its last two blocks what led to path p after a column. */
typedef struct {
  size_t count;
  uint16_t state[CK_TRELLIS_PATHS];
  float cost[CK_TRELLIS_PATHS];
  /* The path before the block that a path comes from. */
  uint8_t origin[CK_TRELLIS_PATHS];
  uint8_t parent[2][CK_TRELLIS_BLOCK][CK_TRELLIS_PATHS];
  uint8_t code[2][CK_TRELLIS_BLOCK][CK_TRELLIS_PATHS];
  float error[2][CK_TRELLIS_BLOCK][CK_TRELLIS_PATHS];
} ck_trellis_paths;

/* What a thread needs beside the paths; nothing in it outlives a call. It starts as zeros. */
typedef struct {
  float target[2][CK_TRELLIS_PATHS][CK_TRELLIS_BLOCK];
  uint8_t before[CK_TRELLIS_BLOCK][CK_TRELLIS_PATHS];
  /* Paths that lead to the same states are a group: which one a path is in, and which one leads to a state. */
  uint8_t group[CK_TRELLIS_PATHS];
  uint8_t group_of[1 << CK_TRELLIS_STATE_BITS];
  /* Of a group: the state after its paths' code 0, its cheapest path, and where the values that are tried begin. */
  uint16_t next[CK_TRELLIS_PATHS];
  uint8_t cheapest[CK_TRELLIS_PATHS];
  uint16_t first[CK_TRELLIS_PATHS];
  /* Of every value that is tried: the cost, and the path that it extends. */
  float cost[CK_TRELLIS_PATHS * CK_TRELLIS_WINDOW];
  uint8_t parent[CK_TRELLIS_PATHS * CK_TRELLIS_WINDOW];
} ck_trellis_work;

/* `table` has 2^state_bits values. */
void ck_trellis_prepare(ck_trellis_values *values, int state_bits, int bits, const float *table);

/* One path in state 0. */
void ck_trellis_start(ck_trellis_paths *paths);

/* Goes through the `width` columns of block number `block`. `targets` is what the weights are to be after errors that are
 * decided; `root` the root of each column's curvature, `within` the block's part of m and `before` what the columns of this
 * block take of the errors of the block before, both [CK_TRELLIS_BLOCK][CK_TRELLIS_BLOCK]; both NULL: errors change no other
 * column. */
void ck_trellis_columns(ck_trellis_paths *paths, size_t block, const ck_trellis_values *values, size_t most,
                        const float *weights, const float *targets, const float *scale, const float *root,
                        const float *within, const float *before, size_t width, ck_trellis_work *work);

/* After a block: gives up paths that were apart from the best one already before it, and writes the codes and errors of
 * the block before, which all that are left share. */
void ck_trellis_settle(ck_trellis_paths *paths, size_t block, uint8_t *codes, float *errors, size_t width);

/* The codes of the last block along the best path. */
void ck_trellis_finish(const ck_trellis_paths *paths, size_t block, uint8_t *codes, size_t width);

/* level[j] = table[state after codes 0 ... j]. */
void ck_trellis_levels(int state_bits, int bits, const float *table, const uint8_t *codes, float *level, size_t n);
