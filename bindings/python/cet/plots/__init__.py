"""Pictures of plans and spectra, by matplotlib or Altair. They are returned, never shown.

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
    from ..model import Model
    from ..plan import Plan
    from ..spectrum import Spectrum

Backend = Literal["matplotlib", "altair"]

__all__ = ["Backend", "bits", "curve", "spectrum", "theory"]


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
