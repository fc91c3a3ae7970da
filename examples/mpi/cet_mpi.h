/*
 * A cet_communicator over Open MPI.
 *
 * libmpi is loaded when the communicator is opened: neither libcet nor a program that uses this file is linked with
 * it. Open MPI only: other implementations number their types and operations differently.
 */
#ifndef CET_MPI_H
#define CET_MPI_H

#include <cet/cet.h>

typedef struct cet_mpi cet_mpi;

/*
 * Fills `communicator` for the processes of `comm`, an MPI_Comm; NULL stands for MPI_COMM_WORLD. Initializes MPI when
 * the program has not. Returns NULL when it works, otherwise one line that says why not; valid until the thread's next
 * call. The communicator is valid until cet_mpi_close, which comes after the handles that were made with it are freed.
 */
const char *cet_mpi_open(void *comm, cet_mpi **mpi, cet_communicator *communicator);

/* Finalizes MPI when cet_mpi_open has initialized it. NULL is a no-op. */
void cet_mpi_close(cet_mpi *mpi);

#endif
