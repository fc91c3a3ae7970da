"""What terminals show of plans."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .plan import Plan


def plan(plan: "Plan") -> str:
    """A line for every tensor, and totals."""
    total = plan.summary
    rows = [("tensor", "node", "shape", "bits", "bytes", "loss change", "reason")]
    for tensor in plan.tensors:
        rows.append((
            tensor.name, tensor.node, "x".join(map(str, tensor.shape)), str(tensor.bits) if tensor.bits < 32 else "float",
            f"{tensor.stored_bytes:,}", f"{tensor.predicted_loss_change:.2e}", tensor.reason))
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    lines = [
        "  ".join([
            *(row[column].ljust(widths[column]) for column in (0, 1)),
            *(row[column].rjust(widths[column]) for column in range(2, 6)), row[6]]).rstrip()
        for row in rows
    ]
    lines.append(
        f"{total.method}: {total.mean_bits:.3f} bits, ratio {total.ratio:.2f}, {total.file_bytes:,} bytes, "
        f"predicted loss change {total.predicted_loss_change:.2e} "
        f"({total.predicted_interval[0]:.2e} to {total.predicted_interval[1]:.2e}) on new samples")
    return "\n".join(lines)
