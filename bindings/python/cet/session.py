"""Many budgets of one model."""

from __future__ import annotations

import ctypes as c
from typing import Any, Iterable, Mapping, NoReturn, Optional, Sequence

from . import html
from .batches import BatchReader
from .calibration import Calibration
from .grammar import ActivationBits, BitLimits, ByteSize, FixRules, Patterns, Widths
from .library import check, lib
from .model import Model
from .native import Callbacks, Handle, Log, Pathlike, Tensors, Watch, made, path_bytes, refuse_pickling
from .options import PlanCall, QuantizeCall
from .plan import Plan
from .progress import Progress
from .quantized import Quantized
from .words import ActivationRange, Coding, CurvatureKind, Effort, Encoding, Loss, Method, Rounding


class Session(Handle):
    """Takes statistics and losses of a model and its samples once: a plan for any budget then takes milliseconds, and quantizing
    it no statistics of the samples.

    Several threads may use a session at a time; the first that needs the table makes it.

    Args:
        model: The session holds what it needs of it.
        calibration: None where batches are added with `add_batch` or `pull`.

    The options are those of `cet.plan`, for all plans of the session; progress and log are not heard. A target among them
    is that of the plan that is rounded and judged once; losses of all others are predicted from it. Without one: 3 bits a
    weight, or the fewest that are possible.

    Raises:
        InvalidArgument: Options, also the methods "paper" and "clado", which keep no table.
    """

    _free = "cet_session_free"

    def __init__(
        self, model: Model, calibration: Optional[Calibration] = None,
        *, target_ratio: Optional[float] = None, target_bits: Optional[float] = None,
        target_size: Optional[ByteSize] = None, max_loss: Optional[float] = None, method: Optional[Method] = None,
        loss: Optional[Loss] = None, curvature: Optional[CurvatureKind] = None, rounding: Optional[Rounding] = None,
        granularity: Optional[str] = None, encoding: Optional[Encoding] = None, min_runtime: Optional[str] = None,
        coding: Optional[Coding] = None, effort: Optional[Effort] = None, bits: Optional[Widths] = None,
        keep: Optional[Patterns] = None, fix: Optional[FixRules] = None, output: Optional[str] = None,
        min_bits: Optional[BitLimits] = None, max_bits: Optional[BitLimits] = None, group: Optional[Patterns] = None,
        activations: Optional[ActivationBits] = None, activation_range: Optional[ActivationRange] = None,
        activation_loss: Optional[float] = None, activation_mean_bits: Optional[float] = None, external_data: bool = False,
        shifts: Optional[int] = None, eigenpairs: Optional[int] = None, max_iterations: Optional[int] = None,
        seed: int = 0, threads: int = 0, samples: Optional[int] = None, batch_size: Optional[int] = None,
        max_memory: Optional[ByteSize] = None, progress: Optional[Progress] = None, log: Optional[Log] = None,
    ):
        call = PlanCall(locals(), needs_target=False)
        data = None if calibration is None else calibration.fitting(model)
        super().__init__(made(
            lib.cet_session_create, model._handle, None if data is None else data._handle, c.byref(call.options)))
        self._model = model

    @classmethod
    def load(cls, model: Model, path: Pathlike) -> "Session":
        """A session that `save` wrote for this model.

        Raises:
            IOFailure: No such file, or a damaged one.
            InvalidArgument: Another model's.
        """
        self = cls.__new__(cls)
        Handle.__init__(self, Watch().handle(lib.cet_session_load, model._handle, path_bytes(path)))
        self._model = model
        return self

    def add_batch(self, inputs: Mapping[str, Any], labels: Any = None) -> None:
        """Adds one batch, as `Calibration.add_batch` does; not once the table is made. float64 is rounded at once where the
        model reads float32."""
        arrays = Tensors(inputs, self._model.types)
        classes = None if labels is None else Tensors({None: labels})
        check(
            lib.cet_session_add_batch(
                self._handle, arrays.array, arrays.count, None if classes is None else c.byref(classes.array[0])))

    def pull(
        self, batches: Iterable[Any], *, names: Optional[Sequence[str]] = None, labels: Optional[str] = "labels"
    ) -> None:
        """Adds every batch of an iterable, as `Calibration.from_batches` does.

        Args:
            batches: As for `Calibration.from_batches`.
            names: As for `Calibration.from_batches`.
            labels: As for `Calibration.from_batches`.
        """
        read = BatchReader(names, labels)
        for batch in batches:
            self.add_batch(*read(batch))
            del batch  # gone before the next one is made

    def prepare(self, *, progress: Optional[Progress] = None, log: Optional[Log] = None) -> None:
        """Makes the table of losses now, so that no later call has to."""
        callbacks = Callbacks(progress, log)
        callbacks.call(lib.cet_session_prepare, self._handle, callbacks.progress, callbacks.log, None)

    def plan(
        self,
        *, target_ratio: Optional[float] = None, target_bits: Optional[float] = None,
        target_size: Optional[ByteSize] = None, max_loss: Optional[float] = None, method: Optional[Method] = None,
        loss: Optional[Loss] = None, curvature: Optional[CurvatureKind] = None, rounding: Optional[Rounding] = None,
        granularity: Optional[str] = None, encoding: Optional[Encoding] = None, min_runtime: Optional[str] = None,
        coding: Optional[Coding] = None, effort: Optional[Effort] = None, bits: Optional[Widths] = None,
        keep: Optional[Patterns] = None, fix: Optional[FixRules] = None, output: Optional[str] = None,
        min_bits: Optional[BitLimits] = None, max_bits: Optional[BitLimits] = None, group: Optional[Patterns] = None,
        activations: Optional[ActivationBits] = None, activation_range: Optional[ActivationRange] = None,
        activation_loss: Optional[float] = None, activation_mean_bits: Optional[float] = None, external_data: bool = False,
        shifts: Optional[int] = None, eigenpairs: Optional[int] = None, max_iterations: Optional[int] = None,
        seed: int = 0, threads: int = 0, samples: Optional[int] = None, batch_size: Optional[int] = None,
        max_memory: Optional[ByteSize] = None, progress: Optional[Progress] = None, log: Optional[Log] = None,
    ) -> Plan:
        """A plan within another budget. The options are those of `cet.plan`; what is left out is the session's.

        Raises:
            InfeasibleBudget: No plan is that small; `expected` has the range.
            InvalidArgument: Options, or a session without samples; and as for `cet.plan` where the table is made now.
        """
        call = PlanCall(locals())
        return call.callbacks.made(Plan, lib.cet_session_plan, self._handle, c.byref(call.options))

    def quantize(
        self, plan: Plan,
        *, rounding: Optional[Rounding] = None, encoding: Optional[Encoding] = None, effort: Optional[Effort] = None,
        samples: Optional[int] = None, batch_size: Optional[int] = None, max_memory: Optional[ByteSize] = None,
        threads: int = 0, progress: Optional[Progress] = None, log: Optional[Log] = None,
    ) -> Quantized:
        """Carries a plan out with what the session knows: codes are fitted to the samples that are not held out, and
        `held_out_loss` is that of the very codes. `cet.quantize` takes all samples, searches longer and judges anew how to round.

        Args:
            plan: Of this session or any other for the same model and loss.

        The options are those of `cet.quantize`; samples and batch_size must be left out or the session's.
        """
        call = QuantizeCall(locals())
        return call.callbacks.made(
            lambda handle: Quantized(handle, self._model), lib.cet_session_quantize, self._handle, plan._handle,
            c.byref(call.options))

    def save(self, path: Pathlike) -> None:
        """Writes table and samples, which whoever may read the file may read; `Session.load` reads them. The file appears
        complete or not at all."""
        Watch().call(lib.cet_session_save, self._handle, path_bytes(path))

    def keep(self, path: Optional[Pathlike]) -> None:
        """From now on the call that makes the table writes the session's file under this path, as `save` does: as soon as the
        losses of single tensors are measured, some two thirds of the way, and when a plan is judged. After a process that ended in
        between `Session.load` goes on from there. None: no longer. A file that cannot be written raises IOFailure in the call that
        found out what it should hold, which a later call need not do again."""
        check(lib.cet_session_keep(self._handle, None if path is None else path_bytes(path)))

    def __reduce__(self) -> NoReturn:
        refuse_pickling(self, "Session.save writes it to a file, which Session.load reads")

    def _repr_html_(self) -> str:
        return html.facts("cet.Session", {"samples": f"{len(self):,}", "model": repr(self._model)[1:-1]})

    def __len__(self) -> int:
        """Number of samples."""
        return int(lib.cet_session_sample_count(self._handle))

    def __repr__(self) -> str:
        return f"<cet.Session: {len(self)} samples>"
