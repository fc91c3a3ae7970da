"""What pictures show, as rows of plain numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Mapping, Optional

import numpy as np

from ..errors import InfeasibleBudget, InvalidArgument, ShapeMismatch

if TYPE_CHECKING:
    from ..estimates import SpectralDensity
    from ..hessian import Hessian
    from ..model import Model
    from ..plan import Plan
    from ..quantized import Quantized
    from ..spectrum import Spectrum

Rows = List[Dict[str, Any]]

COLOURS = {
    1: "#7a1f5c", 2: "#b5306b", 3: "#d9573f", 4: "#d98e1f", 5: "#8a9a2a", 6: "#3a9a6b", 7: "#2a8a9a", 8: "#2f6fb7",
}
"""Of bits: warm for few, cold for many."""
KEPT, LINE, POSITIVE, NEGATIVE = "#8a93a3", "#2f6fb7", "#2f6fb7", "#d9573f"
POINTS = 24


def titles(plan: "Plan") -> Dict[str, str]:
    """What pictures call tensors: by the node that reads one, where it reads no other; exporters make up names of initializers."""
    nodes = [tensor.node for tensor in plan.tensors]
    return {tensor.name: tensor.node if tensor.node and nodes.count(tensor.node) == 1 else tensor.name for tensor in plan.tensors}


def bits(plan: "Plan") -> Rows:
    """Tensors in graph order; bits None where kept."""
    names = titles(plan)
    return [
        {
            "index": index, "tensor": tensor.name, "title": names[tensor.name], "bits": tensor.bits if tensor.bits <= 8 else None,
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
    names = titles(plan)
    rows = [
        {
            "tensor": tensor.name, "title": names[tensor.name], "bits": bits, "predicted": predicted, "measured": tensor.measured_loss[bits],
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


def shares(plan: "Plan") -> Rows:
    """Weights and bytes by bits, ascending; bits None where kept."""
    rows: Dict[int, Dict[str, Any]] = {}
    for tensor in sorted(plan.tensors, key=lambda tensor: tensor.bits):
        row = rows.setdefault(
            tensor.bits, {"bits": tensor.bits if tensor.bits <= 8 else None, "tensors": 0, "weights": 0, "bytes": 0})
        row["tensors"] += 1
        row["weights"] += tensor.parameter_count
        row["bytes"] += tensor.stored_bytes
    return list(rows.values())


def losses(plan: "Plan") -> Rows:
    """Loss changes above 0 of the whole plan; bounds None where no interval is known."""
    total = plan.summary

    def row(name: str, loss: float, predicted: bool, interval: Any = (math.nan, math.nan)) -> Dict[str, Any]:
        low, high = (None if math.isnan(bound) else bound for bound in interval)
        return {"name": name, "loss": loss, "low": low, "high": high, "predicted": predicted}

    def summed(table: str) -> float:
        chosen = [getattr(tensor, table).get(tensor.bits, math.nan) for tensor in plan.tensors if tensor.bits <= 8]
        return sum(chosen) if chosen else math.nan

    rows = [
        row("predicted, new samples", total.predicted_loss_change, True, total.predicted_interval),
        row(f"held out, {total.held_out_samples} samples", total.held_out_loss, False, total.held_out_interval),
        row("fitted samples", total.measured_loss_change, False),
        row("sum, measured one by one", summed("measured_loss"), False),
        row("sum, curvature one by one", summed("curvature_loss"), True),
    ]
    rows = [row for row in rows if row["loss"] > 0]
    if not rows:
        raise InvalidArgument("no loss of this plan is known to be above 0")
    return rows


@dataclass
class Agreement:
    outputs: Rows
    differences: List[float]
    """The largest of each sample."""

    @property
    def words(self) -> List[str]:
        """A line an output, of the first four."""
        lines = []
        for row in self.outputs[:4]:
            parts = [f"largest |difference| {row['largest']:.2e}"]
            if row["top1"] is not None:
                parts.insert(0, f"same largest value {100 * row['top1']:.1f} %")
            if row["cosine"] is not None:
                parts.append(f"cosine {row['cosine']:.5f}")
            lines.append(f"{row['output']}: " + ", ".join(parts))
        return lines


def agreement(original: Mapping[str, Any], compressed: Mapping[str, Any]) -> Agreement:
    """By output: top-1 agreement (None where there is no class), the largest difference, the cosine."""
    if list(original) != list(compressed) or not original:
        raise ShapeMismatch(f"outputs {', '.join(original) or 'none'} got {', '.join(compressed) or 'none'} to compare")
    rows, largest = [], []
    for name in original:
        a, b = (np.asarray(outputs[name], np.float64) for outputs in (original, compressed))
        if a.shape != b.shape or a.ndim == 0 or a.size == 0:
            raise ShapeMismatch(f"output {name!r}: arrays of shapes {a.shape} and {b.shape} cannot be compared")
        flat_a, flat_b = a.reshape(len(a), -1), b.reshape(len(b), -1)
        largest.append(np.abs(flat_a - flat_b).max(axis=1))
        norm = float(np.linalg.norm(flat_a) * np.linalg.norm(flat_b))
        has_classes = a.ndim > 1 and a.shape[-1] > 1
        rows.append({
            "output": name, "largest": float(largest[-1].max()), "cosine": float((flat_a * flat_b).sum() / norm) if norm > 0 else None,
            "top1": float((a.argmax(-1) == b.argmax(-1)).mean()) if has_classes else None})
    if len({len(values) for values in largest}) > 1:
        raise ShapeMismatch("outputs of different numbers of samples cannot be compared together")
    return Agreement(rows, [float(value) for value in np.max(largest, axis=0)])


def eigenpairs(spectrum: "Spectrum", hessian: "Hessian", quantized: "Quantized") -> Rows:
    """What the first k pairs hold, k from 0."""
    spectrum.check(hessian)
    error = hessian.error(quantized).astype(np.float64)
    total = 0.5 * float(error @ np.asarray(hessian @ error.astype(np.float32), np.float64))
    if not total > 0:
        raise InvalidArgument(f"the error has no second-order loss above 0 to share: {total:g}")
    held, rows = 0.0, [{"pairs": 0, "loss": 0.0, "share": 0.0}]
    for index, value in enumerate(spectrum.eigenvalues):
        held += 0.5 * float(value) * float(np.asarray(spectrum.eigenvector(index), np.float64) @ error) ** 2
        rows.append({"pairs": index + 1, "loss": held, "share": held / total})
    return rows


@dataclass
class Interactions:
    names: List[str]
    """As `titles`."""
    scaled: np.ndarray
    """[tensors, tensors], 1 on the diagonal where the tensor's own loss is above 0."""
    alone: List[float]
    """Second-order losses of single tensors."""


def interactions(hessian: "Hessian", quantized: "Quantized", most: int) -> Interactions:
    """Of tensors in graph order."""
    if most < 2:
        raise InvalidArgument(f"most: expected 2 tensors or more, got {most}")
    error = hessian.error(quantized)
    slots = [(parameter.name, parameter.slice) for parameter in hessian.parameters if np.any(error[parameter.slice])]
    slots = sorted(slots, key=lambda slot: -float(np.linalg.norm(error[slot[1]])))[:2 * most]
    if len(slots) < 2:
        raise InvalidArgument(f"interactions need errors of two tensors, got {len(slots)}")
    products = np.zeros((len(slots), len(slots)))
    for row, (_, place) in enumerate(slots):
        alone = np.zeros_like(error)
        alone[place] = error[place]
        image = np.asarray(hessian @ alone, np.float64)
        products[row] = [float(image[other] @ error[other].astype(np.float64)) for _, other in slots]
    shown = sorted(sorted(range(len(slots)), key=lambda row: -products[row, row])[:most], key=lambda row: slots[row][1].start)
    own = np.array([products[row, row] for row in shown])
    scale = np.sqrt(np.where(own > 0, own, np.inf))
    names = titles(quantized.plan)
    return Interactions(
        [names[slots[row][0]] for row in shown], products[np.ix_(shown, shown)] / np.outer(scale, scale), [0.5 * float(loss) for loss in own])
