"""The loss's curvature as a linear operator, and its eigenpairs."""

from __future__ import annotations

import ctypes as c
import functools
import threading
import warnings
from dataclasses import dataclass, fields
from typing import Callable, Iterable, List, Optional, Union

import numpy as np

from . import structs as s
from . import words as w
from .calibration import Calibration
from .communicator import Communicator, raising
from .errors import ShapeMismatch
from .library import check, initialized, lib
from .model import Model, Parameter, read_parameters
from .native import Callbacks, Handle, Log, Progress, double_pointer, float_pointer, made, name_bytes, notes, path_bytes, strings

try:
    from scipy.sparse.linalg import LinearOperator as _Base
except ImportError:

    class _Base:
        """What is used of SciPy's LinearOperator when SciPy is not installed."""

        def __init__(self, dtype, shape):
            self.dtype, self.shape = np.dtype(dtype), shape

        def matvec(self, vector):
            return self._matvec(np.asarray(vector)).reshape(np.shape(vector))

        rmatvec = matvec

        def matmat(self, matrix):
            return self._matmat(np.asarray(matrix))

        def dot(self, other):
            return self.matvec(other) if np.ndim(other) == 1 else self.matmat(other)

        __matmul__ = dot


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

    Mean over the calibration samples. Symmetric, shape (n, n), dtype float32; `H @ v` is exact up to rounding.
    The parameter vector holds the quantizable weights in graph order, each in C order: see `parameters`.

    loss: "cross-entropy" (default with labels), "kl", "mse", "output". curvature: "hessian", "gauss-newton".
    samples: the first so many. batch_size: samples computed together. keep: patterns of initializers to leave out.
    only: patterns; all other initializers are left out (one name: the diagonal block of that tensor).
    output: graph output that the loss reads. threads: 0 for all processors. max_memory: bytes; 60 % of what is
    available unless given. communicator: the samples are those of all its processes (see `cet.mpi`).

    progress(phase, done, total), log(level, message): heard while the object is made and by `loss` and `gradient`; an exception
    raised in progress cancels the call.

    `H @ M` of a matrix reads weights and activations once for several columns.
    """

    def __init__(
        self, model: Model, calibration: Calibration, *, loss: Optional[str] = None,
        curvature: Optional[str] = None, samples: Optional[int] = None, batch_size: Optional[int] = None,
        keep: Iterable[str] = (), only: Iterable[str] = (), output: Optional[str] = None,
        max_memory: Optional[int] = None, threads: int = 0, communicator: Optional[Communicator] = None,
        progress: Optional[Progress] = None, log: Optional[Log] = None,
    ):
        options = initialized(s.CurvatureOptions)
        options.threads = threads
        options.loss = w.code("loss", loss, w.LOSSES)
        options.curvature = w.code("curvature", curvature, w.CURVATURES)
        options.samples = samples or 0
        options.max_memory = max_memory or 0
        options.batch_size = batch_size or 0
        options.output = None if output is None else name_bytes(output)
        patterns, options.keep_count = strings([keep] if isinstance(keep, str) else keep)
        options.keep_patterns = patterns
        only_patterns, options.only_count = strings([only] if isinstance(only, str) else only)
        options.only_patterns = only_patterns
        if communicator is not None:
            options.communicator = c.pointer(communicator._struct)
        # The handle calls back into both.
        self._callbacks = Callbacks(progress, log)
        options.progress, options.log = self._callbacks.progress, self._callbacks.log
        self._communicator = communicator
        with raising(communicator):
            self._curvature = self._callbacks.made(
                _Curvature, lib.cet_curvature_create, model._handle, calibration._handle, c.byref(options))
        for note in self.notes:
            warnings.warn(note, stacklevel=2)
        self._lock = threading.Lock()
        size = lib.cet_curvature_dimension(self._curvature._handle)
        super().__init__(np.float32, (size, size))

    def _matvec(self, vector: np.ndarray) -> np.ndarray:
        # A double vector is rounded to float32: the products are no more precise than that.
        return self._products(np.ascontiguousarray(vector, dtype=np.float32).reshape(1, -1))[0]

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


class _SpectrumHandle(Handle):
    _free = "cet_spectrum_free"


class Spectrum:
    """Eigenpairs in the order asked for: by falling magnitude, falling, or rising. Immutable.

    eigenvalues, residual_norms (||A x - lambda x||): float64 [k]. converged: bool [k], met the tolerance. eigenvectors:
    float32 [n, k], unit columns, copied out of the library when first asked for. applies: products with the map.
    """

    def __init__(self, handle: _SpectrumHandle):
        self._spectrum = handle
        info = initialized(s.SpectrumInfo)
        check(lib.cet_spectrum_get_info(handle._handle, c.byref(info)))
        count = info.count
        self.which = w.word(info.which, w.ENDS)
        self.shape = (info.dimension, count)
        self.applies, self.restarts = info.applies, info.restarts
        self.krylov_dimension, self.tolerance = info.krylov_dimension, info.tolerance
        self.eigenvalues, self.residual_norms = np.empty(count), np.empty(count)
        flags = np.empty(count, np.uint8)
        check(lib.cet_spectrum_get_values(handle._handle, double_pointer(self.eigenvalues), count))
        check(lib.cet_spectrum_get_residual_norms(handle._handle, double_pointer(self.residual_norms), count))
        check(lib.cet_spectrum_get_converged(handle._handle, flags.ctypes.data_as(c.POINTER(c.c_uint8)), count))
        self.converged = flags.astype(bool)

    def __len__(self) -> int:
        return self.shape[1]

    @functools.cached_property
    def eigenvectors(self) -> np.ndarray:
        # Vectors are written one after the other: columns of an array in Fortran order.
        vectors = np.empty((self.shape[1], self.shape[0]), np.float32)
        for index in range(self.shape[1]):
            self._copy(index, vectors[index])
        return vectors.T

    def eigenvector(self, index: int) -> np.ndarray:
        """float32 [n], one vector without a copy of the others."""
        vector = np.empty(self.shape[0], np.float32)
        self._copy(range(self.shape[1])[index], vector)
        return vector

    def _copy(self, index: int, vector: np.ndarray) -> None:
        check(lib.cet_spectrum_get_vector(self._spectrum._handle, index, float_pointer(vector), vector.size))

    def save(self, path) -> None:
        """Writes values, vectors and what they belong to; the file appears complete or not at all."""
        check(lib.cet_spectrum_save_file(self._spectrum._handle, path_bytes(path)))

    @classmethod
    def load(cls, path) -> "Spectrum":
        return cls(_SpectrumHandle(made(lib.cet_spectrum_load_file, path_bytes(path))))

    def check(self, hessian: Hessian) -> None:
        """Raises InvalidArgument, with the first difference, unless the spectrum is that of this Hessian."""
        check(lib.cet_spectrum_check_curvature(self._spectrum._handle, hessian._curvature._handle))


def eigsh(
    operator: Union[Hessian, Callable[[np.ndarray], np.ndarray]], k: int = 10, which: str = "LM", *,
    n: Optional[int] = None, tolerance: float = 0.0, krylov_dimension: Optional[int] = None,
    max_applies: Optional[int] = None, start: Optional[np.ndarray] = None, seed: int = 0, threads: int = 0,
    require_convergence: bool = False, block_size: int = 1, basis_type: Optional[str] = None, basis_path=None,
    max_memory: Optional[int] = None, total_max_memory: Optional[int] = None, initial: Optional[Spectrum] = None,
    state_path=None,
    fingerprint: Optional[str] = None, progress: Optional[Progress] = None, log: Optional[Log] = None,
) -> Spectrum:
    """Eigenpairs of a Hessian, or of any symmetric map.

    operator: a Hessian; or anything with `shape` and `@`; or a function of a float32 [n] vector, with n given.
    which: "LM" or "largest-magnitude", "LA" or "largest", "SA" or "smallest". tolerance: of the residual norm,
    relative to the pair's |eigenvalue|; 0 for 1e-3 (bfloat16: 1e-2). max_applies: products at most. start: float32 [n].
    block_size: vectors multiplied at once; anything with `@` then gets float32 [n, count].
    basis_type: "float32", or "bfloat16" for half the memory and fewer digits; None for float32, or bfloat16 where memory is
    too short for that. basis_path: folder for the basis as a memory-mapped file, for more vectors than memory holds.
    max_memory: bytes for basis and blocks; None for 60 % of what is available; OutOfMemory says how many are needed.
    total_max_memory: instead, bytes for these and for what a Hessian holds, which takes less from then on where the basis
    needs room: the same products, but slower.
    initial: a spectrum of the same parameters to start from. state_path: file that an interrupted solve goes on from, to
    the same bits. fingerprint: a name for a map of your own, kept in spectra and states.
    require_convergence: NotConverged instead of pairs that missed the tolerance.
    progress(phase, done, total); an exception raised in it, or in the operator, stops the iteration.
    """
    callbacks = Callbacks(progress, log)
    options = initialized(s.EigensolveOptions)
    options.threads = threads
    options.count = k
    options.which = w.code("which", which, w.ENDS)
    options.krylov_dimension = krylov_dimension or 0
    options.max_applies = max_applies or 0
    options.tolerance = tolerance
    options.seed = seed
    options.require_convergence = 1 if require_convergence else 0
    options.progress, options.log = callbacks.progress, callbacks.log
    options.block_size = block_size
    options.basis_type = w.code("basis_type", basis_type, w.BASIS_TYPES)
    options.basis_path = None if basis_path is None else path_bytes(basis_path)
    options.max_memory = max_memory or 0
    options.total_max_memory = total_max_memory or 0
    options.initial = None if initial is None else initial._spectrum._handle
    options.state_path = None if state_path is None else path_bytes(state_path)
    options.fingerprint = None if fingerprint is None else name_bytes(fingerprint)
    size = n if n is not None else operator.shape[0]
    if start is not None:
        start = np.ascontiguousarray(start, dtype=np.float32).reshape(-1)
        if start.size != size:
            raise ShapeMismatch(f"start has {start.size} elements, the map {size}")
        options.start = float_pointer(start)
    if isinstance(operator, Hessian):
        with operator._lock, raising(operator._communicator):
            spectrum = callbacks.made(
                _SpectrumHandle, lib.cet_eigensolve_curvature, operator._curvature._handle, c.byref(options))
    else:
        apply = callbacks.apply(operator if callable(operator) else operator.__matmul__)
        if block_size > 1 and not callable(operator):
            options.apply_block = callbacks.apply_block(operator.__matmul__)
        spectrum = callbacks.made(_SpectrumHandle, lib.cet_eigensolve, apply, None, size, c.byref(options))
    return Spectrum(spectrum)
