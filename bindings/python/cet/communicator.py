"""Several processes that share the calibration samples of one Hessian."""

from __future__ import annotations

import ctypes as c
from typing import Any, Callable, Optional

import numpy as np

from . import structs as s
from .errors import Cancelled
from .library import check, initialized, lib


class Communicator:
    """How the processes of a computation add numbers: `cet.mpi.communicator` makes one of mpi4py's.

    rank, size: of this process, and how many there are (1 to 16). allreduce(array): replaces a float64 array by the sum
    of all ranks' arrays, in place, on every rank. What it raises is raised by the call that needed it, on this rank.
    """

    def __init__(self, rank: int, size: int, allreduce: Callable[[np.ndarray], object]):
        self.rank, self.size = rank, size
        self._allreduce = allreduce
        self._error: Optional[BaseException] = None
        self._struct = initialized(s.Communicator)
        self._struct.rank, self._struct.size = rank, size
        self._struct.allreduce_sum = s.AllreduceFn(self._on_allreduce)

    def _on_allreduce(self, values: Any, count: int, _: object) -> int:
        try:
            self._allreduce(np.ctypeslib.as_array(values, (count,)))
        except BaseException as error:  # raised again in `raising`
            self._error = error
            return 1
        return 0

    def range(self, total_samples: int, batch_size: int) -> range:
        """Which of `total_samples` samples are this rank's, when batches have `batch_size` samples."""
        first, count = c.c_uint64(), c.c_uint64()
        check(lib.cet_communicator_range(
            total_samples, batch_size, self.size, self.rank, c.byref(first), c.byref(count)))
        return range(first.value, first.value + count.value)


class raising:
    """Around calls that may use a communicator: what its allreduce raised comes before the library's own error."""

    def __init__(self, communicator: Optional[Communicator]):
        self._communicator = communicator

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: Optional[BaseException], trace: object) -> None:
        if isinstance(error, Cancelled) and self._communicator is not None and self._communicator._error is not None:
            cause, self._communicator._error = self._communicator._error, None
            raise cause from None
