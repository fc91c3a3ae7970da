/* Samples for serve.c's next plan: those of an archive first, of which the last requests take the places in turns. Failures are told on standard
   error. */
#ifndef POOL_H
#define POOL_H

#include <cet/cet.h>
#include <stdbool.h>

enum { POOL_SIZE = 256, POOL_RANK = 8 };

typedef struct pool {
  const char *input; /* the model's name for it */
  int64_t shape[POOL_RANK]; /* of one sample: axis 0 is 1 */
  uint32_t rank;
  size_t count; /* numbers of a sample */
  float *numbers; /* POOL_SIZE samples, and the one that is read */
  size_t filled, gathered;
} pool;

/* Samples of an .npz for the model, which the pool's name belongs to. */
bool pool_open(pool *samples, const cet_model *model, const char *archive);

/* The sample that a text says, now one of the pool, valid until the next is read; NULL: the text has not `count` finite numbers. */
const float *pool_read(pool *samples, const char *text);

/* All of them, copied. */
bool pool_copy(const pool *samples, cet_calibration **data);

void pool_close(pool *samples);

#endif
