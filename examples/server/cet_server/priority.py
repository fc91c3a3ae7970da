"""Low priority for the threads that a library starts, and for no other."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

_TASKS = Path("/proc/self/task")


class LowPriority:
    """Lowers threads that appeared in the process since it was made and are none of Python's.

    The calling thread keeps its priority: it takes the interpreter's lock in every callback, and a thread that is kept waiting for a
    processor while it has the lock keeps the server waiting. libcet computes on threads of its own that never have the lock.
    On systems other than Linux, where threads have no priorities of their own, nothing happens.
    """

    def __init__(self, niceness: int):
        self._niceness = os.getpriority(os.PRIO_PROCESS, 0) + niceness
        self._seen = _threads()

    def lower(self) -> None:
        """Call it now and then: libraries start threads when they need them."""
        fresh = _threads() - self._seen
        self._seen |= fresh
        for thread in fresh - {each.native_id for each in threading.enumerate()}:
            with contextlib.suppress(ProcessLookupError):  # ended meanwhile
                os.setpriority(os.PRIO_PROCESS, thread, self._niceness)


def _threads() -> set[int]:
    return {int(name) for name in os.listdir(_TASKS)} if _TASKS.exists() else set()
