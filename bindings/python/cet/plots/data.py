"""What pictures show, as rows of plain numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Optional

import numpy as np

from ..errors import InfeasibleBudget, InvalidArgument

if TYPE_CHECKING:
    from ..estimates import SpectralDensity
    from ..model import Model
    from ..plan import Plan
    from ..spectrum import Spectrum

Rows = List[Dict[str, Any]]

COLOURS = {
    1: "#7a1f5c", 2: "#b5306b", 3: "#d9573f", 4: "#d98e1f", 5: "#8a9a2a", 6: "#3a9a6b", 7: "#2a8a9a", 8: "#2f6fb7",
}
"""Of bits: warm for few, cold for many."""
KEPT, LINE, POSITIVE, NEGATIVE = "#8a93a3", "#2f6fb7", "#2f6fb7", "#d9573f"
POINTS = 24


def bits(plan: "Plan") -> Rows:
    """Tensors in graph order; bits None where kept."""
    return [
        {
            "index": index, "tensor": tensor.name, "bits": tensor.bits if tensor.bits <= 8 else None,
            "coding": tensor.coding or "float32", "bytes": tensor.stored_bytes, "reason": tensor.reason,
        }
        for index, tensor in enumerate(plan.tensors)
    ]


@dataclass
class Curve:
    points: Rows
    own: Dict[str, Any]
    loss: str


def curve(plan: "Plan", model: "Model", target_bits: Optional[Iterable[float]]) -> Curve:
    """Plans by their sizes; the given plan by what is known of it."""
    points: Dict[int, Dict[str, Any]] = {}
    for target in _budgets(plan) if target_bits is None else target_bits:
        try:
            point = _point(plan.replan(model, target_bits=target))
        except InfeasibleBudget:
            continue
        if point["loss"] > 0:
            points[point["bytes"]] = point
    if not points:
        raise InvalidArgument("no budget gives a plan with a predicted loss above 0")
    return Curve([points[size] for size in sorted(points)], _point(plan), plan.summary.loss)


def _budgets(plan: "Plan") -> Iterable[float]:
    """Between the fewest and the most bits that the tables have."""
    free = [tensor for tensor in plan.tensors if tensor.decision == "chosen" and tensor.sensitivity]
    fixed = [tensor for tensor in plan.tensors if tensor.bits <= 8 and tensor not in free]
    count = sum(tensor.parameter_count for tensor in free + fixed) or 1
    rest = sum(tensor.parameter_count * tensor.bits for tensor in fixed)
    low, high = (
        (rest + sum(tensor.parameter_count * end(tensor.sensitivity) for tensor in free)) / count for end in (min, max))
    # Nine decimals: the mean of the fewest bits is reached, not missed by its rounding.
    return [round(float(value) + 5e-10, 9) for value in np.linspace(low, high, POINTS)]


def _point(plan: "Plan") -> Dict[str, Any]:
    total = plan.summary
    low, high = total.predicted_interval
    return {
        "bytes": total.file_bytes, "mean_bits": total.mean_bits, "ratio": total.ratio, "loss": total.predicted_loss_change,
        "low": None if math.isnan(low) else low, "high": None if math.isnan(high) else high,
    }


def theory(plan: "Plan") -> Rows:
    """Pairs of predicted and measured loss changes above 0, by tensor and bits."""
    rows = [
        {
            "tensor": tensor.name, "bits": bits, "predicted": predicted, "measured": tensor.measured_loss[bits],
            "chosen": bits == tensor.bits,
        }
        for tensor in plan.tensors
        for bits, predicted in tensor.curvature_loss.items()
        if predicted > 0 and tensor.measured_loss.get(bits, 0.0) > 0
    ]
    if not rows:
        raise InvalidArgument(f"a plan of method {plan.summary.method!r} has no losses from curvature beside measured ones")
    return rows


def eigenvalues(spectrum: "Spectrum") -> Rows:
    """Pairs in their order, with the magnitude that a logarithmic scale shows."""
    return [
        {
            "rank": index + 1, "eigenvalue": float(value), "magnitude": abs(float(value)), "residual": float(residual),
            "sign": "negative" if value < 0 else "positive", "converged": bool(converged),
        }
        for index, (value, residual, converged) in enumerate(
            zip(spectrum.eigenvalues, spectrum.residual_norms, spectrum.converged))
        if value != 0
    ]


def density(density: "SpectralDensity") -> Rows:
    """Points of the grid; density None where it cannot be told from nothing, bounds no lower than that."""
    floor = float(density.density.max()) * 1e-6
    return [
        {
            "eigenvalue": float(x), "density": float(y) if y > floor else None, "low": max(float(y - 2 * error), floor),
            "high": max(float(y + 2 * error), floor),
        }
        for x, y, error in zip(density.grid, density.density, density.standard_error)
    ]
