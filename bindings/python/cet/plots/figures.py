"""The pictures by matplotlib. pyplot is not used: nothing is shown, and no figure stays behind."""

from __future__ import annotations

import io
import math
from typing import Any, Dict, List, Optional, Tuple

from ..optional import required
from . import data
from .data import Curve, Rows

_figure = required("matplotlib.figure", "cet.plots")
_ticker = required("matplotlib.ticker", "cet.plots")


class Figure(_figure.Figure):  # type: ignore[misc,name-defined]
    """A figure that notebooks show when it is a cell's value."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()


def _axes(ax: Any, width: float, height: float) -> Tuple[Any, Any]:
    """A figure with axes, or those that were given."""
    if ax is not None:
        return ax.figure, ax
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _tidy(ax: Any, axis: str = "both") -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, axis=axis, color="0.5", alpha=0.2, linewidth=0.8)
    ax.set_axisbelow(True)


def _log_ticks(ax: Any) -> None:
    """A logarithmic axis whose numbers do not touch, of less than a decade, too."""
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(_ticker.LogLocator(subs=(1, 2, 5), numticks=8))
    ax.xaxis.set_major_formatter(_ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(_ticker.NullFormatter())


def bits(rows: Rows, ax: Any = None) -> Any:
    count = len(rows)
    figure, ax = _axes(ax, min(max(6.0, 0.28 * count), 16.0), 4.2)
    for row in rows:
        kept = row["bits"] is None
        ax.bar(
            row["index"], 8 if kept else row["bits"], width=0.82, color="none" if kept else data.COLOURS[row["bits"]],
            edgecolor=data.KEPT if kept else "white", linewidth=1 if kept else 0, linestyle=":",
            hatch="//" if row["coding"] == "trellis" else None)
    ax.set_xlim(-0.7, count - 0.3)
    ax.set_ylim(0, 8.4)
    ax.set_yticks(range(0, 9))
    ax.set_ylabel("bits of a code")
    _tidy(ax, "y")
    if count <= 40:
        ax.set_xticks(
            range(count), [_shortened(row["title"]) for row in rows], rotation=60, rotation_mode="anchor", ha="right",
            fontsize=8)
    else:
        ax.set_xlabel("tensor, in graph order")
        ax.xaxis.set_major_locator(_ticker.MaxNLocator(integer=True))
    _bits_legend(ax, rows)
    return figure


def _bits_legend(ax: Any, rows: Rows) -> None:
    patches = required("matplotlib.patches", "cet.plots")
    entries: List[Any] = []
    if any(row["coding"] == "trellis" for row in rows) and any(row["coding"] == "affine" for row in rows):
        entries.append(patches.Patch(facecolor="0.75", hatch="//", edgecolor="white", label="trellis codes"))
        entries.append(patches.Patch(facecolor="0.75", label="uniform grid"))
    if any(row["bits"] is None for row in rows):
        entries.append(patches.Patch(facecolor="none", edgecolor=data.KEPT, linestyle=":", label="stays float32"))
    if entries:
        ax.legend(
            handles=entries, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize=8, borderaxespad=0.2)


def curve(found: Curve, ax: Any = None) -> Any:
    figure, ax = _axes(ax, 6.4, 4.2)
    points, own = found.points, found.own
    sizes, losses = [point["bytes"] for point in points], [point["loss"] for point in points]
    ax.plot(sizes, losses, "-o", color=data.LINE, markersize=3.5, linewidth=1.4, label="predicted")
    known = [point for point in points if point["low"] is not None and point["low"] > 0]
    if known:
        ax.fill_between(
            [point["bytes"] for point in known], [point["low"] for point in known], [point["high"] for point in known],
            color=data.LINE, alpha=0.15, linewidth=0, label="95 % interval")
    if own["bytes"] and own["loss"] > 0:
        ax.plot(
            [own["bytes"]], [own["loss"]], "D", color=data.NEGATIVE, markersize=7, label=f"this plan, ratio {own['ratio']:.1f}")
    ax.set_yscale("log")
    ax.xaxis.set_major_formatter(_ticker.FuncFormatter(lambda size, _: _bytes(size)))
    ax.set_xlabel("whole file")
    ax.set_ylabel(f"loss change on new samples ({found.loss})")
    _tidy(ax)
    ax.legend(frameon=False, fontsize=8)
    return figure


def theory(rows: Rows, ax: Any = None) -> Any:
    figure, ax = _axes(ax, 5.2, 4.8)
    for width in sorted({row["bits"] for row in rows}):
        colour = data.COLOURS[width]
        for chosen in (False, True):
            some = [row for row in rows if row["bits"] == width and row["chosen"] == chosen]
            ax.plot(
                [row["measured"] for row in some], [row["predicted"] for row in some], "o", markersize=6 if chosen else 4.5,
                color=colour, markerfacecolor=colour if chosen else "none", alpha=1 if chosen else 0.75)
        ax.plot([], [], "o", color=colour, label=f"{width} bit" + ("s" if width > 1 else ""))
    values = [row[name] for row in rows for name in ("measured", "predicted")]
    ends = [min(values) / 1.6, max(values) * 1.6]
    ax.plot(ends, ends, "--", color=data.KEPT, linewidth=1, zorder=0)
    ax.set(xscale="log", yscale="log", xlim=ends, ylim=ends, xlabel="measured loss change", ylabel="predicted from curvature")
    ax.set_aspect("equal")
    _tidy(ax)
    ax.legend(frameon=False, fontsize=8, title="filled: chosen", title_fontsize=8)
    return figure


def spectrum(pairs: Optional[Rows], points: Optional[Rows], ax: Any = None) -> Any:
    both = pairs is not None and points is not None
    if ax is None:
        figure = Figure(figsize=(9.6 if both else 5.6, 4), layout="constrained")
        parts = list(figure.subplots(1, 2)) if both else [figure.add_subplot()]
    else:
        parts = list(ax) if both else [ax]
        figure = parts[0].figure
    if pairs is not None:
        _eigenvalues(pairs, parts[0])
    if points is not None:
        _density(points, parts[-1])
    return figure


def _eigenvalues(pairs: Rows, ax: Any) -> None:
    for sign, colour, marker in (("positive", data.POSITIVE, "o"), ("negative", data.NEGATIVE, "s")):
        some = [pair for pair in pairs if pair["sign"] == sign]
        if not some:
            continue
        ax.plot([], [], marker, color=colour, label=sign)
        for pair in some:
            ax.errorbar(
                pair["rank"], pair["magnitude"], yerr=min(pair["residual"], 0.99 * pair["magnitude"]), fmt=marker, color=colour,
                markerfacecolor=colour if pair["converged"] else "none", markersize=5, linewidth=1)
    ax.set_yscale("log")
    ax.xaxis.set_major_locator(_ticker.MaxNLocator(integer=True))
    ax.set_xlabel("rank")
    ax.set_ylabel("|eigenvalue|")
    if not all(pair["converged"] for pair in pairs):
        ax.plot([], [], "o", color="0.4", markerfacecolor="none", label="not converged")
    _tidy(ax)
    ax.legend(frameon=False, fontsize=8)


def _density(points: Rows, ax: Any) -> None:
    x: Dict[str, List[float]] = {
        name: [math.nan if point[name] is None else point[name] for point in points] for name in points[0]}
    ax.fill_between(
        x["eigenvalue"], x["low"], x["high"], color=data.POSITIVE, alpha=0.2, linewidth=0, label="± 2 standard errors")
    ax.plot(x["eigenvalue"], x["density"], color=data.POSITIVE, linewidth=1.3)
    ax.axvline(0, color=data.KEPT, linewidth=0.8, linestyle="--")
    ax.set_yscale("log")
    ax.set_xlabel("eigenvalue")
    ax.set_ylabel("density")
    _tidy(ax)
    ax.legend(frameon=False, fontsize=8)


def _shortened(name: str) -> str:
    return name if len(name) <= 24 else "…" + name[-23:]


def _bytes(size: float) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:g} {unit}"
    return f"{size:g} B"


def shares(rows: Rows, ax: Any = None) -> Any:
    figure, ax = _axes(ax, 7.2, 2.2)
    for y, what in ((1, "weights"), (0, "bytes")):
        total, left = sum(row[what] for row in rows) or 1, 0.0
        for row in rows:
            part = row[what] / total
            ax.barh(y, part, left=left, height=0.62, color=data.KEPT if row["bits"] is None else data.COLOURS[row["bits"]], edgecolor="white")
            if part >= 0.06:
                ax.text(left + part / 2, y, f"{100 * part:.0f} %", ha="center", va="center", color="white", fontsize=8)
            left += part
    ax.set(xlim=(0, 1), yticks=[0, 1], yticklabels=["bytes", "weights"])
    ax.xaxis.set_major_formatter(_ticker.PercentFormatter(1, decimals=0))
    ax.spines[["top", "right", "left"]].set_visible(False)
    patches = required("matplotlib.patches", "cet.plots")
    ax.legend(
        handles=[
            patches.Patch(
                color=data.KEPT if row["bits"] is None else data.COLOURS[row["bits"]],
                label="float32" if row["bits"] is None else f"{row['bits']} bit" + ("s" if row["bits"] > 1 else ""))
            for row in rows],
        frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(rows), fontsize=8, borderaxespad=0.2)
    return figure


def losses(rows: Rows, loss: str, ax: Any = None) -> Any:
    figure, ax = _axes(ax, 6.4, 0.5 * len(rows) + 1.4)
    for y, row in zip(range(len(rows), 0, -1), rows):
        if row["low"] is not None and row["high"] is not None:
            ax.plot([max(row["low"], row["loss"] * 1e-2), row["high"]], [y, y], color=data.LINE, linewidth=2, alpha=0.45)
        ax.plot([row["loss"]], [y], "o", color=data.LINE, markersize=7, markerfacecolor=data.LINE if row["predicted"] else "white")
    _log_ticks(ax)
    ax.set(ylim=(0.4, len(rows) + 0.6), yticks=range(len(rows), 0, -1), yticklabels=[row["name"] for row in rows])
    ax.set_xlabel(f"loss change ({loss}); filled: predicted, open: measured")
    _tidy(ax, "x")
    return figure


def agreement(found: data.Agreement, ax: Any = None) -> Any:
    figure, ax = _axes(ax, 6.4, 3.8)
    known = [value for value in found.differences if 0 < value < math.inf]
    if known:
        low, high = math.log10(min(known)), math.log10(max(known))
        edges = [10 ** (low - 0.02 + (high - low + 0.04) * step / 24) for step in range(25)]
        ax.hist(known, bins=edges, color=data.LINE, edgecolor="white", linewidth=0.5)
        _log_ticks(ax)
    ax.yaxis.set_major_locator(_ticker.MaxNLocator(integer=True))
    ax.set_xlabel("largest |difference| of a sample")
    ax.set_ylabel("samples")
    ax.set_title("\n".join(found.words), fontsize=8, loc="left")
    _tidy(ax)
    return figure


def eigenpairs(rows: Rows, ax: Any = None) -> Any:
    figure, ax = _axes(ax, 6.0, 3.8)
    ax.plot([row["pairs"] for row in rows], [row["share"] for row in rows], "-o", color=data.LINE, markersize=4, linewidth=1.4)
    ax.axhline(1, color=data.KEPT, linewidth=1, linestyle="--", label="all directions")
    ax.xaxis.set_major_locator(_ticker.MaxNLocator(integer=True))
    ax.yaxis.set_major_formatter(_ticker.PercentFormatter(1))
    ax.set_xlabel("eigenpairs k")
    ax.set_ylabel("share of the second-order loss")
    _tidy(ax)
    ax.legend(frameon=False, fontsize=8)
    return figure


def interactions(found: data.Interactions, ax: Any = None) -> Any:
    count = len(found.names)
    figure, ax = _axes(ax, 2.6 + 0.28 * count, 1.8 + 0.28 * count)
    image = ax.imshow(found.scaled, cmap="PuOr_r", vmin=-1, vmax=1)
    names = [_shortened(name) for name in found.names]
    ax.set_xticks(range(count), names, rotation=60, rotation_mode="anchor", ha="right", fontsize=8)
    ax.set_yticks(range(count), names, fontsize=8)
    ax.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=ax, shrink=0.8)
    bar.set_label("below 0: cancels, above: adds", fontsize=8)
    return figure
