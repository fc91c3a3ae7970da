"""Calibration samples shared among MPI processes, through mpi4py."""

from __future__ import annotations

from typing import Any

import numpy as np

from .communicator import Communicator

# MPI counts elements with 32-bit integers.
_CHUNK = 1 << 27


def communicator(comm: Any = None) -> Communicator:
    """A communicator over mpi4py's `comm`; MPI.COMM_WORLD unless given.

        from mpi4py import MPI
        comm = cet.mpi.communicator(MPI.COMM_WORLD)
        mine = comm.range(len(images), batch_size=16)
        data = cet.Calibration({"input": images[mine.start:mine.stop]})
        hessian = cet.Hessian(model, data, batch_size=16, communicator=comm)
        spectrum = cet.eigsh(hessian, k=20)  # the same on every rank, and for any number of ranks
    """
    from mpi4py import MPI

    if comm is None:
        comm = MPI.COMM_WORLD

    def allreduce(values: np.ndarray) -> None:
        for start in range(0, len(values), _CHUNK):
            comm.Allreduce(MPI.IN_PLACE, values[start:start + _CHUNK], op=MPI.SUM)

    return Communicator(comm.Get_rank(), comm.Get_size(), allreduce)
