"""Trace, diagonal and spectral density of a Hessian or any symmetric map, by random vectors."""

from __future__ import annotations

import ctypes as c
from typing import Any, NamedTuple, Optional, Tuple

import numpy as np

from . import structs as s
from . import words as w
from .errors import InvalidArgument
from .grammar import ByteSize, byte_size
from .hessian import Hessian
from .library import initialized, lib
from .native import Callbacks, Log, Pathlike, double_pointer, float_pointer, path_bytes
from .progress import Progress
from .spectrum import Operator, product_of, size_of
from .words import BasisType, TraceMethod


def _options(
    callbacks: Callbacks, samples: int, seed: int, threads: int, basis_type: Optional[BasisType] = None,
    basis_path: Optional[Pathlike] = None, max_memory: Optional[ByteSize] = None,
) -> s.EstimateOptions:
    options = initialized(s.EstimateOptions)
    options.samples, options.seed, options.threads = samples, seed, threads
    options.basis_type = w.code("basis_type", basis_type, w.BASIS_TYPES)
    options.basis_path = None if basis_path is None else path_bytes(basis_path)
    options.max_memory = byte_size("max_memory", max_memory)
    options.progress, options.log = callbacks.progress, callbacks.log
    return options


def _call(
    callbacks: Callbacks, name: str, operator: Operator, n: Optional[int], options: s.EstimateOptions, *results: Any,
    sized: bool,
) -> None:
    """Calls the library's function for a curvature or, with the operator's products, for a host's map."""
    if isinstance(operator, Hessian):
        sizes = [operator.shape[0]] if sized else []
        with operator._lock:
            callbacks.call(
                getattr(lib, name + "_curvature"), operator._curvature._handle, c.byref(options), *results, *sizes)
        return
    apply = callbacks.apply(product_of(operator))
    callbacks.call(getattr(lib, name), apply, None, size_of(operator, n), c.byref(options), *results)


def trace(
    operator: Operator, samples: int = 32, *, method: Optional[TraceMethod] = None, n: Optional[int] = None, seed: int = 0,
    threads: int = 0, basis_type: Optional[BasisType] = None, basis_path: Optional[Pathlike] = None,
    max_memory: Optional[ByteSize] = None, progress: Optional[Progress] = None, log: Optional[Log] = None,
) -> Tuple[float, float]:
    """The trace and its standard error, from `samples` products.

    Args:
        operator: As for `eigsh`; also n, basis_type, basis_path, max_memory, progress and log.
        samples: Random vectors, 2 or more for a standard error.
        method: "hutchinson" (default), or "hutch++", which deflates the largest eigenvalues and keeps samples / 2 vectors for
            that.
        seed: Of the vectors.
        threads: 0 for all processors.
    """
    callbacks = Callbacks(progress, log)
    options = _options(callbacks, samples, seed, threads, basis_type, basis_path, max_memory)
    options.method = w.code("method", method, w.TRACE_METHODS)
    value, error = c.c_double(), c.c_double()
    _call(callbacks, "cet_trace_estimate", operator, n, options, c.byref(value), c.byref(error), sized=False)
    return value.value, error.value


def diagonal(
    operator: Operator, samples: int = 32, *, n: Optional[int] = None, seed: int = 0, threads: int = 0,
    progress: Optional[Progress] = None, log: Optional[Log] = None,
) -> Tuple[np.ndarray, np.ndarray]:
    """The diagonal and the standard error of each of its elements, float32 [n] both, from `samples` products.

    Args:
        operator: As for `eigsh`; also n, progress and log.
        samples: Random vectors, 2 or more for standard errors.
        seed: Of the vectors.
        threads: 0 for all processors.
    """
    callbacks = Callbacks(progress, log)
    options = _options(callbacks, samples, seed, threads)
    size = size_of(operator, n)
    values, errors = np.empty(size, np.float32), np.empty(size, np.float32)
    _call(
        callbacks, "cet_diagonal_estimate", operator, size, options, float_pointer(values), float_pointer(errors),
        sized=True)
    return values, errors


class _Density(NamedTuple):
    density: np.ndarray
    standard_error: np.ndarray


class SpectralDensity:
    """The density of the eigenvalues; its integral is 1. Calling the object gives density and standard error at other points.

    Attributes:
        nodes: float64 [samples, steps].
        weights: float64 [samples, steps]; n times the mean over samples of sum(weights * f(nodes)) estimates the trace of f(A).
        grid: float64 [points], from below the least node to above the largest.
        density: float64 [points], each node widened to a Gaussian.
        standard_error: float64 [points], of the density.
        width: Standard deviation of the Gaussians.
    """

    def __init__(self, nodes: np.ndarray, weights: np.ndarray, points: int, width: Optional[float]):
        self.nodes, self.weights = nodes, weights
        low, high = nodes.min(), nodes.max()
        if width is None:
            width = (high - low) / 100 or max(abs(high), 1.0) / 100
        if not width > 0:
            raise InvalidArgument(f"width {width} is not positive")
        self.width = float(width)
        self.grid = np.linspace(low - 4 * width, high + 4 * width, points)
        self.density, self.standard_error = self(self.grid)

    def __call__(self, points: Any) -> _Density:
        points = np.ascontiguousarray(points, np.float64)
        result = _Density(np.empty(points.shape), np.empty(points.shape))
        Callbacks(None, None).call(
            lib.cet_spectral_density_evaluate, double_pointer(self.nodes), double_pointer(self.weights),
            *self.nodes.shape, self.width, double_pointer(points), *map(double_pointer, result), points.size)
        return result

    def plot(self, **options: Any) -> Any:
        """A picture of the density. Options as for `cet.plots.spectrum`."""
        from . import plots

        return plots.spectrum(None, self, **options)


def spectral_density(
    operator: Operator, samples: int = 8, steps: int = 40, *, points: int = 500, width: Optional[float] = None,
    n: Optional[int] = None, seed: int = 0, threads: int = 0, basis_type: Optional[BasisType] = None,
    basis_path: Optional[Pathlike] = None, max_memory: Optional[ByteSize] = None, progress: Optional[Progress] = None,
    log: Optional[Log] = None,
) -> SpectralDensity:
    """The density of the eigenvalues by stochastic Lanczos quadrature: samples * steps products at most.

    A basis of `steps` vectors is kept.

    Args:
        operator: As for `eigsh`; also n, basis_type, basis_path, max_memory, progress and log.
        samples: Random vectors.
        steps: Of the Lanczos iteration of each.
        points: Of the grid.
        width: Standard deviation of the Gaussians; None for a hundredth of the spectrum's width.
        seed: Of the vectors.
        threads: 0 for all processors.
    """
    callbacks = Callbacks(progress, log)
    if samples < 1 or steps < 1:
        raise InvalidArgument(f"{samples} samples of {steps} steps: expected at least 1")
    options = _options(callbacks, samples, seed, threads, basis_type, basis_path, max_memory)
    options.steps = steps
    nodes, weights = np.empty((samples, steps)), np.empty((samples, steps))
    _call(
        callbacks, "cet_spectral_density", operator, n, options, double_pointer(nodes), double_pointer(weights),
        nodes.size, sized=False)
    return SpectralDensity(nodes, weights, points, width)
