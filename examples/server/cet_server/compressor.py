"""From samples to sessions: libcet plans and quantizes, onnxruntime opens the result. No file is written."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Mapping, Sequence

import cet
import numpy as np
import onnxruntime

from .priority import LowPriority
from .reservoir import Sample
from .settings import Settings

_log = logging.getLogger(__name__)


class Stopped(Exception):
    """The server ends; raised out of the library's calls."""


@dataclass(frozen=True)
class Version:
    """What answers requests: replaced as a whole, never changed."""

    number: int
    session: onnxruntime.InferenceSession
    ratio: float
    file_bytes: int
    held_out_loss: float
    """Mean over samples that the rounding did not see, NaN with too few."""


class Compressor:
    """Makes one version of every budget from one session of libcet. For one thread at a time."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._model = cet.Model(settings.model)
        self._stopping = threading.Event()
        self._number = 0
        with np.load(settings.calibration) as arrays:
            self._supplied = {input.name: arrays[input.name] for input in self._model.inputs}
        self._options = onnxruntime.SessionOptions()
        # Requests come side by side: one thread for each is better than several that wait for each other.
        self._options.intra_op_num_threads = 1
        self._options.inter_op_num_threads = 1

    def stop(self) -> None:
        """Ends a call that is under way, in any thread, and all later ones."""
        self._stopping.set()

    def versions(self, gathered: Sequence[Sample] = (), niceness: int = 0) -> dict[str, Version]:
        """A version for every model name, from the gathered samples and, up to the limit, supplied ones. niceness: how much
        lower than the process's the priority of libcet's threads is."""
        started = time.monotonic()
        settings = self._settings
        data = self._calibration(gathered)
        priority = LowPriority(niceness)

        def attend(phase: str, done: int, total: int) -> None:
            """Heard several times a second; what it raises ends the library's call."""
            if self._stopping.is_set():
                raise Stopped(phase)
            priority.lower()

        common = {"threads": settings.threads, "progress": attend}
        session = cet.Session(self._model, data, target_ratio=next(iter(settings.ratios.values())), threads=settings.threads)
        # One table of losses for all budgets: the first plan takes seconds, the others milliseconds.
        plans = {name: session.plan(target_ratio=ratio, **common) for name, ratio in settings.ratios.items()}
        self._number += 1
        made = {name: self._version(session.quantize(plan, **common)) for name, plan in plans.items()}
        for name, version in made.items():
            _log.info(
                "%s version %d: ratio %.2f, %d bytes, held-out loss %.2e", name, version.number, version.ratio,
                version.file_bytes, version.held_out_loss)
        _log.info(
            "planned from %d samples, %d of them from requests, in %.1f s", len(data), len(gathered), time.monotonic() - started)
        return made

    def _calibration(self, gathered: Sequence[Sample]) -> cet.Calibration:
        data = cet.Calibration()
        if gathered:
            data.add_batch({name: np.stack([sample[name] for sample in gathered]) for name in gathered[0]})
        room = max(self._settings.gather - len(gathered), 0)
        if room:
            data.add_batch({name: array[:room] for name, array in self._supplied.items()})
        return data

    def _version(self, quantized: cet.Quantized) -> Version:
        content = quantized.to_bytes()
        summary = quantized.plan.summary
        session = onnxruntime.InferenceSession(content, self._options, providers=["CPUExecutionProvider"])
        return Version(self._number, session, summary.ratio, len(content), summary.held_out_loss)


def checked_inputs(session: onnxruntime.InferenceSession, batch: Mapping[str, np.ndarray]) -> str | None:
    """What is wrong with a request's arrays, one line; None when nothing is."""
    wanted = {value.name: value for value in session.get_inputs()}
    if set(batch) != set(wanted):
        return f"inputs are {sorted(batch)}, expected {sorted(wanted)}"
    counts = {array.shape[0] if array.ndim else 0 for array in batch.values()}
    if len(counts) != 1 or 0 in counts:
        return f"axis 0 of the inputs has lengths {sorted(counts)}, expected one that is positive"
    for name, array in batch.items():
        shape = wanted[name].shape
        fits = array.ndim == len(shape) and all(
            size == length for size, length in list(zip(shape, array.shape))[1:] if isinstance(size, int))
        if not fits:
            return f"input {name!r} has shape {list(array.shape)}, expected {shape}"
    return None
