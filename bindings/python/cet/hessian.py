"""The loss's curvature as a linear operator."""

from __future__ import annotations

import ctypes as c
import threading
import warnings
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, List, NoReturn, Optional, Tuple

import numpy as np

from . import structs as s
from . import words as w
from .calibration import Calibration
from .communicator import Communicator, raising
from .errors import ShapeMismatch
from .grammar import ByteSize, Patterns, byte_size, pattern_list
from .library import check, initialized, lib
from .model import Model, Parameter, read_parameters
from .native import Callbacks, Handle, Log, float_pointer, name_bytes, notes, refuse_pickling, strings
from .progress import Progress
from .words import CurvatureKind, Loss

if TYPE_CHECKING:
    from .quantized import Quantized


class _Operator:
    """What is used of SciPy's LinearOperator when SciPy is not installed."""

    shape: Tuple[int, int]

    def __init__(self, dtype: Any, shape: Tuple[int, int]):
        self.dtype, self.shape = np.dtype(dtype), shape

    def _matvec(self, vector: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _matmat(self, matrix: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def matvec(self, vector: Any) -> np.ndarray:
        return self._matvec(np.asarray(vector)).reshape(np.shape(vector))

    rmatvec = matvec

    def matmat(self, matrix: Any) -> np.ndarray:
        return self._matmat(np.asarray(matrix))

    def dot(self, other: Any) -> np.ndarray:
        return self.matvec(other) if np.ndim(other) == 1 else self.matmat(other)

    __matmul__ = dot


_Base = _Operator
if not TYPE_CHECKING:
    try:
        from scipy.sparse.linalg import LinearOperator as _Base
    except ImportError:
        pass


class _Curvature(Handle):
    _free = "cet_curvature_free"


@dataclass(frozen=True)
class CurvatureInfo:
    """How a Hessian is computed, and the memory that it takes."""

    threads: int
    """Fewer than asked for when max_memory is short."""
    dimension: int
    samples: int
    """Of all processes."""
    batches: int
    """Of this process."""
    kept_batches: int
    """Batches of which activations stay in memory between products."""
    directions: int
    """Columns whose products are computed in one pass."""
    max_memory: int
    """Bytes."""
    predicted_bytes: int
    """The most that will be held, as computed before anything ran."""
    peak_bytes: int
    """The most that was held so far."""
    least_bytes: int
    """The smallest max_memory that suffices: one thread, nothing kept between products."""


class Hessian(_Base):
    """Hessian (or Gauss-Newton matrix) of the loss with respect to the parameter vector, at the model's weights.

    Mean over the calibration samples. Symmetric, shape (n, n), dtype float32; `H @ v` is exact up to rounding, and `H @ M` of a
    matrix reads weights and activations once for several columns. With SciPy it is a `scipy.sparse.linalg.LinearOperator`.
    The parameter vector holds the quantizable weights in graph order, each in C order: see `parameters`.

    Args:
        model: Its quantizable weights are the parameters.
        calibration: The samples of the loss.
        loss: "cross-entropy" (default with labels), "kl", "mse", "output".
        curvature: "hessian" (default), "gauss-newton".
        samples: The first so many; None for all.
        batch_size: Samples computed together; chosen by the library unless given.
        keep: Patterns of initializers to leave out of the parameter vector.
        only: Patterns; all other initializers are left out (one name: the diagonal block of that tensor).
        output: Graph output that the loss reads, default the first.
        max_memory: Bytes, as a number or "2GB"; 60 % of what is available unless given.
        threads: 0 for all processors.
        communicator: The samples are those of all its processes (see `cet.mpi`).
        progress: True for a bar (tqdm), or a function of phase, steps done and steps in all, heard while the object is made
            and by `loss` and `gradient`; an exception raised in it cancels the call.
        log: A function of level ("info", "warning") and message.

    Raises:
        InvalidArgument: Options, or data that do not fit the model.
        UnsupportedOperator: A node without exact second derivatives; `node` names it.
        OutOfMemory: `bytes_needed` would suffice.
    """

    def __init__(
        self, model: Model, calibration: Calibration, *, loss: Optional[Loss] = None,
        curvature: Optional[CurvatureKind] = None, samples: Optional[int] = None, batch_size: Optional[int] = None,
        keep: Optional[Patterns] = None, only: Optional[Patterns] = None, output: Optional[str] = None,
        max_memory: Optional[ByteSize] = None, threads: int = 0, communicator: Optional[Communicator] = None,
        progress: Optional[Progress] = None, log: Optional[Log] = None,
    ):
        options = initialized(s.CurvatureOptions)
        options.threads = threads
        options.loss = w.code("loss", loss, w.LOSSES)
        options.curvature = w.code("curvature", curvature, w.CURVATURES)
        options.samples = samples or 0
        options.max_memory = byte_size("max_memory", max_memory)
        options.batch_size = batch_size or 0
        options.output = None if output is None else name_bytes(output)
        patterns, options.keep_count = strings(pattern_list("keep", keep))
        options.keep_patterns = patterns
        only_patterns, options.only_count = strings(pattern_list("only", only))
        options.only_patterns = only_patterns
        if communicator is not None:
            options.communicator = c.pointer(communicator._struct)
        # The handle calls back into both.
        self._callbacks = Callbacks(progress, log)
        options.progress, options.log = self._callbacks.progress, self._callbacks.log
        self._communicator = communicator
        data = calibration.fitting(model)
        with raising(communicator):
            self._curvature = self._callbacks.made(
                _Curvature, lib.cet_curvature_create, model._handle, data._handle, c.byref(options))
        for note in self.notes:
            warnings.warn(note, stacklevel=2)
        self._lock = threading.Lock()
        size = lib.cet_curvature_dimension(self._curvature._handle)
        super().__init__(np.float32, (size, size))

    def _matvec(self, vector: np.ndarray) -> np.ndarray:
        # A double vector is rounded to float32: the products are no more precise than that.
        product: np.ndarray = self._products(np.ascontiguousarray(vector, dtype=np.float32).reshape(1, -1))[0]
        return product

    def _matmat(self, matrix: np.ndarray) -> np.ndarray:
        return self._products(np.ascontiguousarray(matrix.T, dtype=np.float32)).T

    def _products(self, rows: np.ndarray) -> np.ndarray:
        count, size = rows.shape
        if size != self.shape[0]:
            raise ShapeMismatch(f"vector has {size} elements, the parameter vector {self.shape[0]}")
        products = np.empty_like(rows)
        with self._lock, raising(self._communicator):
            check(lib.cet_curvature_apply_block(
                self._curvature._handle, float_pointer(rows), float_pointer(products), size, count))
        return products

    _rmatvec = _matvec

    def _adjoint(self) -> "Hessian":
        return self

    def __reduce__(self) -> NoReturn:
        refuse_pickling(self, "make it again from model and samples")

    def gradient(self) -> np.ndarray:
        """float32 [n], mean over the samples."""
        gradient = np.empty(self.shape[0], np.float32)
        with self._lock, raising(self._communicator):
            self._callbacks.call(
                lib.cet_curvature_gradient, self._curvature._handle, float_pointer(gradient), gradient.size)
        return gradient

    def loss(self) -> float:
        """Mean over the samples."""
        loss = c.c_double()
        with self._lock, raising(self._communicator):
            self._callbacks.call(lib.cet_curvature_loss, self._curvature._handle, c.byref(loss))
        return loss.value

    def error(self, quantized: "Quantized") -> np.ndarray:
        """float32 [n]: what quantization changes, dequantized weights less the original ones, where the parameter vector has them; 0
        for weights that stay as they are. Half of `error @ (H @ error)` is the loss that the second order gives it.

        Args:
            quantized: Of the same model.
        """
        weights = quantized._model.parameter_vector()
        places = {parameter.name: parameter.slice for parameter in quantized._model.parameters}
        result = np.zeros(self.shape[0], np.float32)
        for parameter in self.parameters:
            if parameter.name in quantized and parameter.name in places:
                found = quantized[parameter.name].dequantize().reshape(-1)
                result[parameter.slice] = found - weights[places[parameter.name]]
        return result

    @property
    def info(self) -> CurvatureInfo:
        """What it holds and how it computes, now."""
        info = initialized(s.CurvatureInfo)
        check(lib.cet_curvature_get_info(self._curvature._handle, c.byref(info)))
        return CurvatureInfo(*(getattr(info, field.name) for field in fields(CurvatureInfo)))

    @property
    def notes(self) -> List[str]:
        """What was unusual about samples or model, one line each; given as warnings, too, when the object is made."""
        return notes(self._curvature._handle, lib.cet_curvature_note_count, lib.cet_curvature_get_note)

    @property
    def parameters(self) -> List[Parameter]:
        """What is where in the parameter vector."""
        return read_parameters(
            self._curvature._handle, lib.cet_curvature_parameter_count, lib.cet_curvature_get_parameter)
