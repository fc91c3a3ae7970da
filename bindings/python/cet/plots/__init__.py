"""Pictures of plans, spectra and outputs, by matplotlib or Altair. They are returned, never shown.

    figure = plan.plot()                              # a matplotlib figure: figure.savefig("bits.png")
    chart = cet.plots.curve(plan, model, backend="altair")

With `ax` a picture of matplotlib is drawn into axes of yours, and their figure is returned. Neither package is needed before a
picture is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Iterable, Literal, Mapping, Optional

from ..errors import InvalidArgument
from . import data

if TYPE_CHECKING:
    from ..estimates import SpectralDensity
    from ..hessian import Hessian
    from ..model import Model
    from ..plan import Plan
    from ..quantized import Quantized
    from ..spectrum import Spectrum

Backend = Literal["matplotlib", "altair"]

__all__ = ["Backend", "agreement", "bits", "curve", "eigenpairs", "interactions", "losses", "shares", "spectrum", "theory"]


def bits(plan: "Plan", *, backend: Backend = "matplotlib", ax: Any = None) -> Any:
    """Bits along depth: one bar a tensor in graph order, as wide as the others; kept tensors are outlined.

    Args:
        plan: Any plan.
        backend: "matplotlib" or "altair".
        ax: matplotlib's axes to draw into; a figure of its own unless given.

    Returns:
        A matplotlib figure, or an Altair chart.
    """
    return _drawer(backend, ax).bits(data.bits(plan), **_axes(ax))


def curve(
    plan: "Plan", model: "Model", *, target_bits: Optional[Iterable[float]] = None, backend: Backend = "matplotlib",
    ax: Any = None,
) -> Any:
    """Size against loss: the plan's table planned again for other budgets, with 95 % intervals where they are known. The plan
    itself is marked.

    Args:
        plan: With a table of losses (any but those of methods "paper" and "clado").
        model: The one that was planned.
        target_bits: Mean code bits of the points; 24 from the fewest to the most possible unless given. Budgets out of reach
            are left out.
        backend: As for `bits`.
        ax: As for `bits`.
    """
    return _drawer(backend, ax).curve(data.curve(plan, model, target_bits), **_axes(ax))


def theory(plan: "Plan", *, backend: Backend = "matplotlib", ax: Any = None) -> Any:
    """Theory against practice: of every tensor and width the loss change that half the quadratic form of the error predicts,
    over the one that was measured with only this tensor quantized. Chosen widths are filled.

    Args:
        plan: With tables of both (`PlanTensor.curvature_loss` and `.measured_loss`).
        backend: As for `bits`.
        ax: As for `bits`.

    Raises:
        InvalidArgument: A plan without them.
    """
    return _drawer(backend, ax).theory(data.theory(plan), **_axes(ax))


def spectrum(
    spectrum: "Optional[Spectrum]" = None, density: "Optional[SpectralDensity]" = None, *, backend: Backend = "matplotlib",
    ax: Any = None,
) -> Any:
    """Eigenvalues with their signs, and the density of all of them with two standard errors on each side.

    Args:
        spectrum: Of `cet.eigsh`; drawn by rank, magnitudes on a logarithmic scale, colours by sign, open where the pair did not
            converge.
        density: Of `cet.spectral_density`; drawn over the eigenvalue on a logarithmic scale.
        backend: As for `bits`.
        ax: As for `bits`; for both pictures a pair of axes.
    """
    if spectrum is None and density is None:
        raise InvalidArgument("nothing to draw: give a spectrum, a density or both")
    return _drawer(backend, ax).spectrum(
        None if spectrum is None else data.eigenvalues(spectrum), None if density is None else data.density(density),
        **_axes(ax))


def shares(plan: "Plan", *, backend: Backend = "matplotlib", ax: Any = None) -> Any:
    """What share of the weights has how many bits, what share stays float32, and the bytes that they take.

    Args:
        plan: Any plan.
        backend: As for `bits`.
        ax: As for `bits`.
    """
    return _drawer(backend, ax).shares(data.shares(plan), **_axes(ax))


def losses(plan: "Plan", *, backend: Backend = "matplotlib", ax: Any = None) -> Any:
    """Predicted and measured loss changes of the whole plan, with 95 % intervals, beside the sums over tensors quantized alone.

    Args:
        plan: Best the one of `Quantized.plan`, which knows the loss on the samples that it was fitted to.
        backend: As for `bits`.
        ax: As for `bits`.

    Raises:
        InvalidArgument: A plan of which no loss above 0 is known.
    """
    return _drawer(backend, ax).losses(data.losses(plan), plan.summary.loss, **_axes(ax))


def agreement(
    original: Mapping[str, Any], compressed: Mapping[str, Any], *, backend: Backend = "matplotlib", ax: Any = None,
) -> Any:
    """How far outputs are from the original's: samples by the largest difference of any of their output values; for each output
    the cosine and, of rows of two and more values, how often the largest is the same.

    Args:
        original: Arrays [samples, ...] by the names of outputs, as from `cet.run` or onnxruntime.
        compressed: The same of the compressed model.
        backend: As for `bits`.
        ax: As for `bits`.

    Raises:
        ShapeMismatch: Other names, or arrays of other shapes.
    """
    return _drawer(backend, ax).agreement(data.agreement(original, compressed), **_axes(ax))


def eigenpairs(
    spectrum: "Spectrum", hessian: "Hessian", quantized: "Quantized", *, backend: Backend = "matplotlib", ax: Any = None,
) -> Any:
    """The effect of the number of eigenpairs (Figure 3 of the paper): what the first k of them hold of the second-order loss of the
    quantization error d, the sum of l_i (v_i d)^2 / 2, as a share of d H d / 2. One product.

    Args:
        spectrum: Of this Hessian.
        hessian: Of the model that was quantized.
        quantized: Whose error it is.
        backend: As for `bits`.
        ax: As for `bits`.

    Raises:
        InvalidArgument: A spectrum of another operator; an error without second-order loss.
    """
    return _drawer(backend, ax).eigenpairs(data.eigenpairs(spectrum, hessian, quantized), **_axes(ax))


def interactions(
    hessian: "Hessian", quantized: "Quantized", *, most: int = 24, backend: Backend = "matplotlib", ax: Any = None,
) -> Any:
    """How errors of two tensors add to or cancel each other: d_i H d_j over the root of d_i H d_i d_j H d_j. One product a tensor.

    Args:
        hessian: Of the model that was quantized.
        quantized: Whose errors they are.
        most: Tensors that are shown, those of the largest second-order loss among the twice as many of the largest error.
        backend: As for `bits`.
        ax: As for `bits`.

    Raises:
        InvalidArgument: Fewer than two tensors have an error.
    """
    return _drawer(backend, ax).interactions(data.interactions(hessian, quantized, most), **_axes(ax))


def named(kinds: Mapping[str, Callable[..., Any]], kind: str) -> Callable[..., Any]:
    """The picture of that name."""
    if kind not in kinds:
        raise InvalidArgument(f"plot {kind!r} is none of {', '.join(kinds)}")
    return kinds[kind]


def _drawer(backend: str, ax: Any) -> Any:
    if backend == "matplotlib":
        from . import figures

        return figures
    if backend != "altair":
        raise InvalidArgument(f"backend {backend!r} is none of matplotlib, altair")
    if ax is not None:
        raise InvalidArgument("ax belongs to backend 'matplotlib'")
    from . import charts

    return charts


def _axes(ax: Any) -> "dict[str, Any]":
    return {} if ax is None else {"ax": ax}
