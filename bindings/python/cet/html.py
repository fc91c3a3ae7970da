"""What notebooks show of plans, spectra and the like: small tables in the page's own colours, light or dark."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Dict, Iterable, List, Sequence

if TYPE_CHECKING:
    from .plan import Plan, PlanSummary
    from .quantized import Quantized
    from .spectrum import Spectrum

MOST_ROWS = 200
_BOX = "max-height:24em;overflow:auto;display:inline-block;max-width:100%"
_CELL = "padding:.15em .7em;border:none;text-align:"


def facts(title: str, values: Dict[str, str]) -> str:
    """A title with names and values below."""
    rows = (f"<tr>{_cell(name, 'left', 'th')}{_cell(value, 'left')}</tr>" for name, value in values.items())
    return f"<div><strong>{escape(title)}</strong><table><tbody>{''.join(rows)}</tbody></table></div>"


def plan(plan: "Plan") -> str:
    """Totals, and every tensor's bits with a bar."""
    rows = [
        [
            tensor.name, tensor.node, "×".join(map(str, tensor.shape)), str(tensor.bits) if tensor.bits <= 8 else "float",
            _bar(tensor.bits / 8 if tensor.bits <= 8 else 0), f"{tensor.stored_bytes:,}",
            _number(tensor.predicted_loss_change), tensor.reason,
        ]
        for tensor in plan.tensors
    ]
    names = ("tensor", "node", "shape", "bits", "", "bytes", "loss change", "reason")
    table = _table(names, rows, ("left", "left", "right", "right", "left", "right", "right", "left"), raw=4)
    return facts("cet.Plan", _totals(plan.summary)) + table


def quantized(quantized: "Quantized") -> str:
    """Totals with what was measured."""
    total = quantized.plan.summary
    values = _totals(total)
    values["initializers"] = f"{len(quantized):,}"
    values["held out"] = f"{_number(total.held_out_loss)} loss change on {total.held_out_samples:,} samples"
    values["fitted"] = f"{_number(total.measured_loss_change)} loss change on the samples that codes were fitted to"
    return facts("cet.Quantized", values)


def spectrum(spectrum: "Spectrum") -> str:
    """Eigenvalues with residual norms."""
    largest = max((abs(value) for value in spectrum.eigenvalues), default=0.0) or 1.0
    rows = [
        [str(index + 1), f"{value:.6g}", _bar(abs(value) / largest), _number(residual), "yes" if converged else "no"]
        for index, (value, residual, converged) in enumerate(
            zip(spectrum.eigenvalues, spectrum.residual_norms, spectrum.converged))
    ]
    table = _table(
        ("", "eigenvalue", "magnitude", "residual norm", "converged"), rows, ("right", "right", "left", "right", "left"), raw=2)
    about = {
        "pairs": f"{len(spectrum)}, {spectrum.which}, of {spectrum.shape[0]:,}",
        "products": f"{spectrum.applies:,} with {spectrum.restarts:,} restarts",
    }
    return facts("cet.Spectrum", about) + table


def _totals(total: "PlanSummary") -> Dict[str, str]:
    low, high = total.predicted_interval
    interval = "" if math.isnan(low) else f" ({_number(low)} to {_number(high)})"
    return {
        "method": f"{total.method}, {total.rounding}, {total.granularity}, {total.encoding}",
        "weights": f"{total.parameter_count:,} at {total.mean_bits:.3f} bits, ratio {total.ratio:.2f}",
        "file": f"{total.file_bytes:,} of {total.model_bytes:,} bytes" if total.file_bytes else "not known",
        "predicted": f"{_number(total.predicted_loss_change)}{interval} loss change on new samples ({total.loss})",
    }


def _table(names: Sequence[str], rows: List[List[str]], sides: Sequence[str], raw: int) -> str:
    """raw: the column whose cells are HTML already."""
    head = "".join(_cell(name, side, "th") for name, side in zip(names, sides))
    shown = (
        "".join(
            f'<td style="{_CELL}left">{text}</td>' if column == raw else _cell(text, side)
            for column, (text, side) in enumerate(zip(row, sides)))
        for row in rows[:MOST_ROWS]
    )
    rest = f"<p>and {len(rows) - MOST_ROWS:,} more</p>" if len(rows) > MOST_ROWS else ""
    return f'<div style="{_BOX}"><table><thead><tr>{head}</tr></thead><tbody>{_rows(shown)}</tbody></table>{rest}</div>'


def _rows(rows: Iterable[str]) -> str:
    return "".join(f"<tr>{row}</tr>" for row in rows)


def _cell(text: str, side: str, tag: str = "td") -> str:
    return f'<{tag} style="{_CELL}{side}">{escape(text)}</{tag}>'


def _bar(share: float) -> str:
    width = 0.0 if math.isnan(share) else min(max(share, 0.0), 1.0) * 6
    return f'<div style="width:{width:.2f}em;height:.6em;background:currentColor;opacity:.55"></div>'


def _number(value: float) -> str:
    return "not known" if math.isnan(value) else f"{value:.2e}"
