#include <cblas.h>
#include <lapacke.h>
#include <stddef.h>

/* Buffers that OpenBLAS's functions work in. One is taken by each call that runs, made when there is none left, and never given
   back to the system. Where it cannot be made, OpenBLAS tries for ever. Not in its headers. */
void *blas_memory_alloc(int kind);
void blas_memory_free(void *buffer);

/* Whether OpenBLAS's threads run; a process that was forked starts them anew, each with a buffer. A build without threads
   lacks the variable. */
extern int blas_server_avail __attribute__((weak));
static inline int openblas_starts_threads(void) { return &blas_server_avail != NULL && !blas_server_avail; }
