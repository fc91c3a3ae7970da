"""What `progress=True` shows: a bar of tqdm's for every phase of a call."""

from __future__ import annotations

import importlib
import warnings
from typing import Any, Callable, Optional, Union

ProgressFunction = Callable[[str, int, int], object]
Progress = Union[bool, ProgressFunction]
"""True for a bar, or a function of phase, steps done and steps in all; an exception raised in it cancels the call."""


class Bar:
    """A progress function; `close` takes the bar of the last phase down."""

    def __init__(self, tqdm: Any):
        self._tqdm = tqdm
        self._bar: Any = None
        self._phase = ""

    def __call__(self, phase: str, done: int, total: int) -> None:
        if self._bar is None or phase != self._phase:
            self.close()
            self._bar, self._phase = self._tqdm(desc=phase, total=total, leave=False), phase
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def progress_function(progress: Optional[Progress]) -> Optional[ProgressFunction]:
    """The function that a `progress` option stands for."""
    if progress is None or progress is False:
        return None
    if progress is not True:
        if not callable(progress):
            raise TypeError(f"progress: expected True or a function of phase, done and total, got {progress!r}")
        return progress
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a notebook without widgets gets a bar of text, which will do
            tqdm = importlib.import_module("tqdm.auto").tqdm
    except ImportError:
        warnings.warn("progress=True shows nothing without tqdm: pip install tqdm", stacklevel=2)
        return None
    return Bar(tqdm)
