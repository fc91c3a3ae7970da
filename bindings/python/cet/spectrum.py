"""Eigenpairs of a Hessian, or of any symmetric map."""

from __future__ import annotations

import ctypes as c
import functools
import os
import tempfile
from typing import Any, Callable, Optional, Protocol, Tuple, Union

import numpy as np

from . import html
from . import structs as s
from . import words as w
from .communicator import raising
from .errors import ShapeMismatch
from .grammar import ByteSize, byte_size
from .hessian import Hessian
from .library import check, initialized, lib
from .native import Callbacks, Handle, Log, Pathlike, Watch, double_pointer, float_pointer, made, name_bytes, path_bytes
from .progress import Progress
from .words import BasisType, Which


class _SpectrumHandle(Handle):
    _free = "cet_spectrum_free"


class Spectrum:
    """Eigenpairs in the order asked for: by falling magnitude, falling, or rising. Immutable. It is pickled as its file.

    Attributes:
        eigenvalues: float64 [k].
        residual_norms: ||A x - lambda x||, float64 [k].
        converged: bool [k], met the tolerance.
        eigenvectors: float32 [n, k], unit columns, copied out of the library when first asked for.
        shape: (n, k).
        which: "largest-magnitude", "largest" or "smallest".
        applies: Products with the map.
        restarts: Of the iteration.
        krylov_dimension: Vectors of the basis.
        tolerance: Of a residual norm, relative to the eigenvalue's magnitude.
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
        return int(self.shape[1])

    @functools.cached_property
    def eigenvectors(self) -> np.ndarray:
        """float32 [n, k], unit columns."""
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

    def save(self, path: Pathlike) -> None:
        """Writes values, vectors and what they belong to; the file appears complete or not at all."""
        Watch().call(lib.cet_spectrum_save_file, self._spectrum._handle, path_bytes(path))

    @classmethod
    def load(cls, path: Pathlike) -> "Spectrum":
        """Reads what `save` wrote."""
        return cls(_SpectrumHandle(Watch().handle(lib.cet_spectrum_load_file, path_bytes(path))))

    def check(self, hessian: Hessian) -> None:
        """Raises InvalidArgument, with the first difference, unless the spectrum is that of this Hessian."""
        check(lib.cet_spectrum_check_curvature(self._spectrum._handle, hessian._curvature._handle))

    def plot(self, density: Any = None, **options: Any) -> Any:
        """A picture of the eigenvalues with their signs, over the density of all of them where a `SpectralDensity` is given.
        Options as for `cet.plots.spectrum`."""
        from . import plots

        return plots.spectrum(self, density, **options)

    def __reduce__(self) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "spectrum")
            self.save(path)
            with open(path, "rb") as file:
                return _spectrum_again, (file.read(),)

    def _repr_html_(self) -> str:
        return html.spectrum(self)

    def __repr__(self) -> str:
        values = ", ".join(f"{value:.4g}" for value in self.eigenvalues[:3]) + (", ..." if len(self) > 3 else "")
        return f"<cet.Spectrum: {len(self)} {self.which} of {self.shape[0]:,}, {int(self.converged.sum())} converged: {values}>"


def _spectrum_again(data: bytes) -> Spectrum:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "spectrum")
        with open(path, "wb") as file:
            file.write(data)
        return Spectrum.load(path)


class SymmetricMap(Protocol):
    """Anything with `shape` (n, n) and `@` for vectors; for blocks of vectors where block_size is above 1."""

    @property
    def shape(self) -> Tuple[int, ...]: ...

    def __matmul__(self, vector: Any) -> Any: ...


Operator = Union[Hessian, SymmetricMap, Callable[[np.ndarray], Any]]
"""A Hessian, a symmetric map, or a function of a float32 [n] vector, with n given beside it."""


def size_of(operator: Operator, n: Optional[int]) -> int:
    """Rows of the map."""
    if n is not None:
        return n
    shape = getattr(operator, "shape", None)
    if shape is None:
        raise TypeError("n is needed: a function does not say how long its vectors are")
    return int(shape[0])


def product_of(operator: Operator) -> Callable[[np.ndarray], Any]:
    """What multiplies one vector."""
    return operator if callable(operator) else operator.__matmul__


def eigsh(
    operator: Operator, k: int = 10, which: Which = "LM", *,
    n: Optional[int] = None, tolerance: float = 0.0, krylov_dimension: Optional[int] = None,
    max_applies: Optional[int] = None, start: Optional[np.ndarray] = None, seed: int = 0, threads: int = 0,
    require_convergence: bool = False, block_size: int = 1, basis_type: Optional[BasisType] = None,
    basis_path: Optional[Pathlike] = None, max_memory: Optional[ByteSize] = None, total_max_memory: Optional[ByteSize] = None,
    initial: Optional[Spectrum] = None, state_path: Optional[Pathlike] = None,
    fingerprint: Optional[str] = None, progress: Optional[Progress] = None, log: Optional[Log] = None,
) -> Spectrum:
    """Eigenpairs of a Hessian, or of any symmetric map.

    Args:
        operator: A Hessian; or anything with `shape` and `@`; or a function of a float32 [n] vector, with n given.
        k: Pairs, 1 to n.
        which: "LM" or "largest-magnitude", "LA" or "largest", "SA" or "smallest".
        n: Length of the vectors, where the operator does not say it.
        tolerance: Of the residual norm, relative to the pair's |eigenvalue|; 0 for 1e-3 (bfloat16: 1e-2).
        krylov_dimension: Vectors of the basis; chosen by the library unless given.
        max_applies: Products at most; chosen by the library unless given.
        start: float32 [n], instead of a random vector.
        seed: Of that vector.
        threads: 0 for all processors.
        require_convergence: NotConverged instead of pairs that missed the tolerance.
        block_size: Vectors multiplied at once; anything with `@` then gets float32 [n, count].
        basis_type: "float32", or "bfloat16" for half the memory and fewer digits; None for float32, or bfloat16 where memory
            is too short for that.
        basis_path: Folder for the basis as a memory-mapped file, for more vectors than memory holds.
        max_memory: Bytes for basis and blocks, as a number or "2GB"; None for 60 % of what is available.
        total_max_memory: Instead, bytes for these and for what a Hessian holds, which takes less from then on where the basis
            needs room: the same products, but slower.
        initial: A spectrum of the same parameters to start from.
        state_path: File that an interrupted solve goes on from, to the same bits.
        fingerprint: A name for a map of your own, kept in spectra and states.
        progress: True for a bar (tqdm), or a function of phase, steps done and steps in all; an exception raised in it, or
            in the operator, stops the iteration.
        log: A function of level ("info", "warning") and message.

    Raises:
        NotConverged: With require_convergence.
        OutOfMemory: `bytes_needed` would suffice.
        NumericError: Products that are not finite.
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
    options.max_memory = byte_size("max_memory", max_memory)
    options.total_max_memory = byte_size("total_max_memory", total_max_memory)
    options.initial = None if initial is None else initial._spectrum._handle
    options.state_path = None if state_path is None else path_bytes(state_path)
    options.fingerprint = None if fingerprint is None else name_bytes(fingerprint)
    size = size_of(operator, n)
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
        apply = callbacks.apply(product_of(operator))
        if block_size > 1 and not callable(operator):
            options.apply_block = callbacks.apply_block(operator.__matmul__)
        spectrum = callbacks.made(_SpectrumHandle, lib.cet_eigensolve, apply, None, size, c.byref(options))
    return Spectrum(spectrum)
