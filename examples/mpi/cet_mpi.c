#include "cet_mpi.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cet_mpi {
  void *library;
  void *comm, *type, *sum; /* MPI_Comm, MPI_DOUBLE, MPI_SUM: addresses in Open MPI */
  int initialized_here;
  int (*allreduce)(const void *, void *, int, void *, void *, void *);
  int (*finalize)(void);
};

static char message[256];

/* A function's address as a data pointer is turned into one by copying its bytes: ISO C has no cast for it. */
static int find(void *library, const char *name, void *function, size_t size) {
  void *address = dlsym(library, name);
  if (address == NULL) snprintf(message, sizeof message, "libmpi has no %s: it is not Open MPI", name);
  memcpy(function, &address, size);
  return address != NULL;
}

#define FIND(library, name, target) find(library, name, &(target), sizeof(target))

static int32_t allreduce_sum(double *values, size_t count, void *user_data) {
  cet_mpi *mpi = user_data;
  while (count > 0) {
    int chunk = count < INT_MAX / 16 ? (int)count : INT_MAX / 16; /* MPI counts with int */
    int status = mpi->allreduce((void *)1 /* MPI_IN_PLACE */, values, chunk, mpi->type, mpi->sum, mpi->comm);
    if (status != 0) return status;
    values += chunk;
    count -= (size_t)chunk;
  }
  return 0;
}

static const char *fail(cet_mpi *mpi) {
  if (mpi != NULL && mpi->library != NULL) dlclose(mpi->library);
  free(mpi);
  return message;
}

const char *cet_mpi_open(void *comm, cet_mpi **out, cet_communicator *communicator) {
  static const char *const names[] = {"libmpi.so.40", "libmpi.so"};
  int (*initialized)(int *), (*init)(int *, char ***), (*rank_of)(void *, int *), (*size_of)(void *, int *);
  int ready = 0, rank = 0, size = 0;
  size_t i;
  cet_mpi *mpi = calloc(1, sizeof *mpi);
  *out = NULL;
  snprintf(message, sizeof message, "out of memory");
  if (mpi == NULL) return message;
  /* Open MPI's components look for its symbols among the global ones. */
  for (i = 0; i < sizeof names / sizeof *names && mpi->library == NULL; i++)
    mpi->library = dlopen(names[i], RTLD_NOW | RTLD_GLOBAL);
  if (mpi->library == NULL) {
    snprintf(message, sizeof message, "Open MPI is not installed: %s", dlerror());
    return fail(mpi);
  }
  if (!FIND(mpi->library, "ompi_mpi_comm_world", mpi->comm) || !FIND(mpi->library, "ompi_mpi_double", mpi->type) ||
      !FIND(mpi->library, "ompi_mpi_op_sum", mpi->sum) || !FIND(mpi->library, "MPI_Allreduce", mpi->allreduce) ||
      !FIND(mpi->library, "MPI_Finalize", mpi->finalize) || !FIND(mpi->library, "MPI_Initialized", initialized) ||
      !FIND(mpi->library, "MPI_Init", init) || !FIND(mpi->library, "MPI_Comm_rank", rank_of) ||
      !FIND(mpi->library, "MPI_Comm_size", size_of))
    return fail(mpi);
  if (comm != NULL) mpi->comm = comm;
  snprintf(message, sizeof message, "MPI could not be initialized");
  if (initialized(&ready) != 0) return fail(mpi);
  if (!ready) {
    if (init(NULL, NULL) != 0) return fail(mpi);
    mpi->initialized_here = 1;
  }
  snprintf(message, sizeof message, "MPI does not say which rank this is");
  if (rank_of(mpi->comm, &rank) != 0 || size_of(mpi->comm, &size) != 0) return fail(mpi);
  if (cet_communicator_init(communicator, sizeof *communicator) != CET_OK) {
    snprintf(message, sizeof message, "%s", cet_last_error_message());
    return fail(mpi);
  }
  communicator->rank = (uint32_t)rank;
  communicator->size = (uint32_t)size;
  communicator->allreduce_sum = allreduce_sum;
  communicator->user_data = mpi;
  *out = mpi;
  return NULL;
}

void cet_mpi_close(cet_mpi *mpi) {
  if (mpi == NULL) return;
  if (mpi->initialized_here) mpi->finalize();
  /* The library stays loaded: Open MPI leaves threads and handlers behind that run its code. */
  free(mpi);
}
