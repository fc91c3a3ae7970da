"""Many budgets of one model."""

from __future__ import annotations

import ctypes as c
import os
from typing import Iterable, Mapping, Optional, Tuple, Union

import numpy as np

from .calibration import Calibration
from .library import check, lib
from .model import Model
from .native import Callbacks, Handle, Log, Progress, Tensors, made, path_bytes
from .plan import Plan, PlanCall
from .quantized import Quantized, quantize_options


class Session(Handle):
    """Takes statistics and losses of a model and its samples once: a plan for any budget then takes milliseconds, and quantizing
    it no statistics of the samples.

    calibration: None where batches are added with `add_batch` or `pull`. options: those of `cet.plan`, for all plans of the session. A target among
    them is that of the plan that is rounded and judged once; losses of all others are predicted from it. Without one: 3 bits a
    weight, or the fewest that are possible. Several threads may use a session at a time; the first that needs the table makes it.
    """

    _free = "cet_session_free"

    def __init__(self, model: Model, calibration: Optional[Calibration] = None, **options):
        call = PlanCall(needs_target=False, **options)
        data = None if calibration is None else calibration._handle
        super().__init__(made(lib.cet_session_create, model._handle, data, c.byref(call.options)))

    @classmethod
    def load(cls, model: Model, path: Union[str, os.PathLike]) -> "Session":
        """A session that `save` wrote for this model."""
        self = cls.__new__(cls)
        Handle.__init__(self, made(lib.cet_session_load, model._handle, path_bytes(path)))
        return self

    def add_batch(self, inputs: Mapping[str, np.ndarray], labels: Optional[np.ndarray] = None) -> None:
        """Adds one batch, as `Calibration.add_batch` does; not once the table is made."""
        arrays = Tensors(inputs)
        classes = None if labels is None else Tensors({None: labels})
        check(
            lib.cet_session_add_batch(
                self._handle, arrays.array, arrays.count, None if classes is None else c.byref(classes.array[0])))

    def pull(self, batches: Iterable[Union[Mapping[str, np.ndarray], Tuple[Mapping[str, np.ndarray], np.ndarray]]]) -> None:
        """Adds every batch of an iterable: a mapping of inputs, or a pair of it and labels."""
        for batch in batches:
            inputs, labels = batch if isinstance(batch, tuple) else (batch, None)
            self.add_batch(inputs, labels)

    def prepare(self, *, progress: Optional[Progress] = None, log: Optional[Log] = None) -> None:
        """Makes the table of losses now, so that no later call has to."""
        callbacks = Callbacks(progress, log)
        callbacks.call(lib.cet_session_prepare, self._handle, callbacks.progress, callbacks.log, None)

    def plan(self, **options) -> Plan:
        """A plan within another budget. Options as for `cet.plan`; what is left out is the session's."""
        call = PlanCall(**options)
        return call.callbacks.made(Plan, lib.cet_session_plan, self._handle, c.byref(call.options))

    def quantize(self, plan: Plan, *, progress: Optional[Progress] = None, log: Optional[Log] = None, **options) -> Quantized:
        """Carries a plan out with what the session knows: codes are fitted to the samples that are not held out, and
        `held_out_loss` is that of the very codes. `cet.quantize` takes all samples, searches longer and judges anew how to round.
        Options as for `cet.quantize`.
        """
        callbacks = Callbacks(progress, log)
        options = quantize_options(callbacks, **options)
        return callbacks.made(Quantized, lib.cet_session_quantize, self._handle, plan._handle, c.byref(options))

    def save(self, path: Union[str, os.PathLike]) -> None:
        """Writes table and samples; `Session.load` reads them."""
        check(lib.cet_session_save(self._handle, path_bytes(path)))

    def __len__(self) -> int:
        """Number of samples."""
        return lib.cet_session_sample_count(self._handle)

    def __repr__(self) -> str:
        return f"<cet.Session: {len(self)} samples>"
