"""Plans: bits of every weight tensor, why, and what each choice costs."""

from __future__ import annotations

import ctypes as c
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, List, Mapping, Optional, Tuple, Union

from . import structs as s
from . import words as w
from .calibration import Calibration
from .errors import InvalidArgument
from .library import check, initialized, lib, taken_text
from .model import Model
from .native import Callbacks, Handle, Log, Progress, made, name_bytes, notes, shape_of, strings


@dataclass(frozen=True)
class PlanTensor:
    """One tensor of a plan."""

    name: str
    shape: Tuple[int, ...]
    parameter_count: int
    bits: int
    """Of one code; 32 when the tensor stays float32."""
    decision: str
    """"chosen", "fixed" or "kept"."""
    axis: Optional[int]
    """Quantization axis; None: one scale for the whole tensor, or kept."""
    block_size: int
    """0: not blocked."""
    reason: str
    predicted_loss_change: float
    loss_per_byte: float
    """Loss that one more byte for this tensor would save."""
    code_bytes: int
    stored_bytes: int
    """Codes, scales and zero points."""
    measured_loss: Dict[int, float]
    """Loss change by bits, measured with only this tensor quantized, at temperature 1."""
    curvature_loss: Dict[int, float]
    """The same from curvature: half the quadratic form of the error."""
    sensitivity: Dict[int, float]
    """The table that the choice of bits rests on, by bits: measured with only this tensor quantized, mean over held-out samples
    and moved copies, "kl" at temperature 4; never rising with bits."""
    coding: Optional[str] = None
    """What codes of the chosen bits stand for, "affine" or "trellis"; None when kept."""
    trellis_bits: Tuple[int, ...] = ()
    """Bits whose losses above are of trellis codes; those of other bits are of affine ones."""
    node: str = ""
    """The node that reads the tensor first: its name, or its first output when it has none; "": not known."""
    operator: str = ""
    """That node's operator, with its domain in front unless it is ONNX's own."""


@dataclass(frozen=True)
class PlanSummary:
    """A plan as a whole. Losses are means over the samples, sizes bytes; NaN is not known."""

    method: str
    loss: str
    curvature: str
    rounding: str
    granularity: str
    encoding: str
    coding: str
    """That was asked for."""
    ratio: float
    """32 / mean_bits."""
    mean_bits: float
    parameter_count: int
    code_bytes: int
    stored_bytes: int
    file_bytes: int
    model_bytes: int
    predicted_loss_change: float
    """Of the plan as it is rounded, on new samples: measured on held-out ones, or scaled from such a measurement."""
    measured_loss_change: float
    """Of the quantized model on the samples that it was fitted to."""
    seed: int
    samples: int
    library_version: str
    model_sha256: str
    predicted_interval: Tuple[float, float]
    """95 % interval of `predicted_loss_change`."""
    held_out_loss: float
    """Of the quantized model, rounded from three quarters of the samples, mean over the others."""
    held_out_interval: Tuple[float, float]
    """95 % interval of `held_out_loss` for new samples."""
    held_out_samples: int


def _table(values) -> Dict[int, float]:
    return {bits: value for bits, value in enumerate(values) if bits >= 1 and not math.isnan(value)}


class Plan(Handle):
    """Bits of every weight tensor; immutable. Made by `cet.plan`, `Plan.from_json` or `Plan.replan`."""

    _free = "cet_plan_free"

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """Reads what `to_json` wrote."""
        return cls(made(lib.cet_plan_from_json, name_bytes(text)))

    @classmethod
    def load(cls, path: Union[str, os.PathLike]) -> "Plan":
        """Reads a plan file."""
        return cls.from_json(Path(path).read_text(encoding="utf-8"))

    def to_json(self) -> str:
        """Everything in the plan, the sensitivity table included."""
        text = c.c_void_p()
        check(lib.cet_plan_to_json(self._handle, c.byref(text)))
        return taken_text(text)

    def save(self, path: Union[str, os.PathLike]) -> None:
        """Writes a plan file."""
        Path(path).write_text(self.to_json() + "\n", encoding="utf-8")

    @property
    def tensors(self) -> List[PlanTensor]:
        """In graph order, kept tensors included."""
        result = []
        for index in range(lib.cet_plan_tensor_count(self._handle)):
            info = initialized(s.PlanTensorInfo)
            check(lib.cet_plan_get_tensor(self._handle, index, c.byref(info)))
            result.append(
                PlanTensor(
                    name=info.name.decode(), shape=shape_of(info), parameter_count=info.parameter_count,
                    bits=info.bits, decision=w.word(info.decision, w.DECISIONS),
                    axis=info.axis if info.axis >= 0 else None, block_size=info.block_size, reason=(info.reason or b"").decode(),
                    predicted_loss_change=info.predicted_loss_change, loss_per_byte=info.loss_per_byte,
                    code_bytes=info.code_bytes, stored_bytes=info.stored_bytes,
                    measured_loss=_table(info.measured_loss), curvature_loss=_table(info.curvature_loss),
                    sensitivity=_table(info.sensitivity),
                    coding=w.word(info.coding, w.CODINGS) if info.coding else None,
                    trellis_bits=tuple(bits for bits in range(1, 9) if info.trellis_bits >> bits & 1),
                    node=(info.node or b"").decode(), operator=(info.operator_type or b"").decode()))
        return result

    @property
    def summary(self) -> PlanSummary:
        info = initialized(s.PlanSummaryInfo)
        check(lib.cet_plan_get_summary(self._handle, c.byref(info)))
        return PlanSummary(
            method=w.word(info.method, w.METHODS), loss=w.word(info.loss, w.LOSSES),
            curvature=w.word(info.curvature, w.CURVATURES), rounding=w.word(info.rounding, w.ROUNDINGS),
            granularity=w.granularity_word(info.granularity, info.block_size),
            encoding=w.word(info.encoding, w.ENCODINGS), coding=w.word(info.coding, w.CODINGS), ratio=info.ratio, mean_bits=info.mean_bits,
            parameter_count=info.parameter_count, code_bytes=info.code_bytes, stored_bytes=info.stored_bytes,
            file_bytes=info.file_bytes, model_bytes=info.model_bytes,
            predicted_loss_change=info.predicted_loss_change, measured_loss_change=info.measured_loss_change,
            seed=info.seed, samples=info.samples, library_version=info.library_version.decode(),
            model_sha256=info.model_sha256.decode(),
            predicted_interval=(info.predicted_low, info.predicted_high), held_out_loss=info.held_out_loss,
            held_out_interval=(info.held_out_low, info.held_out_high), held_out_samples=info.held_out_samples)

    @property
    def notes(self) -> List[str]:
        """What was unusual about samples or model, one line each; of a plan that was carried out those of both calls."""
        return notes(self._handle, lib.cet_plan_note_count, lib.cet_plan_get_note)

    @property
    def bits(self) -> Dict[str, int]:
        """Bits by tensor name, in graph order; 32 for tensors that stay float32."""
        return {tensor.name: tensor.bits for tensor in self.tensors}

    @property
    def predicted_loss_change(self) -> float:
        """Of the whole plan as it is rounded, on new samples."""
        return self.summary.predicted_loss_change

    @property
    def predicted_interval(self) -> Tuple[float, float]:
        """95 % interval of `predicted_loss_change`."""
        return self.summary.predicted_interval

    @property
    def held_out_loss(self) -> float:
        """Of the quantized model on samples that its rounding did not see; NaN before `cet.quantize`."""
        return self.summary.held_out_loss

    @property
    def measured_loss_change(self) -> float:
        """Of the quantized model on the samples that it was fitted to; NaN before `cet.quantize`."""
        return self.summary.measured_loss_change

    def replan(self, model: Model, **options) -> "Plan":
        """A plan for another budget from this plan's sensitivity table: no data, no forward passes. Options as for
        `cet.plan`."""
        call = PlanCall(**options)
        return call.callbacks.made(
            Plan, lib.cet_plan_with_sensitivity, model._handle, self._handle, c.byref(call.options))

    def __repr__(self) -> str:
        total = self.summary
        rows = [("tensor", "shape", "bits", "bytes", "loss change", "reason")]
        for tensor in self.tensors:
            rows.append((
                tensor.name, "x".join(map(str, tensor.shape)), str(tensor.bits) if tensor.bits < 32 else "float",
                f"{tensor.stored_bytes:,}", f"{tensor.predicted_loss_change:.2e}", tensor.reason))
        widths = [max(len(row[column]) for row in rows) for column in range(6)]
        lines = [
            "  ".join((
                row[0].ljust(widths[0]), row[1].rjust(widths[1]), row[2].rjust(widths[2]), row[3].rjust(widths[3]),
                row[4].rjust(widths[4]), row[5])).rstrip()
            for row in rows
        ]
        lines.append(
            f"{total.method}: {total.mean_bits:.3f} bits, ratio {total.ratio:.2f}, {total.file_bytes:,} bytes, "
            f"predicted loss change {total.predicted_loss_change:.2e} "
            f"({total.predicted_interval[0]:.2e} to {total.predicted_interval[1]:.2e}) on new samples")
        return "\n".join(lines)


class PlanCall:
    """Options of one planning call with all that they point to."""

    def __init__(
        self, *, needs_target: bool = True, target_ratio: Optional[float] = None, target_bits: Optional[float] = None,
        target_size: Optional[int] = None, max_loss: Optional[float] = None, method: Optional[str] = None,
        loss: Optional[str] = None, curvature: Optional[str] = None, rounding: Optional[str] = None,
        granularity: Optional[str] = None, encoding: Optional[str] = None,
        coding: Optional[str] = None, effort: Optional[str] = None,
        bits: Optional[Union[int, Iterable[int]]] = None, keep: Iterable[str] = (),
        fix: Optional[Mapping[str, int]] = None, seed: int = 0, samples: Optional[int] = None,
        batch_size: Optional[int] = None, max_memory: Optional[int] = None, threads: int = 0,
        shifts: Optional[int] = None, eigenpairs: Optional[int] = None, max_iterations: Optional[int] = None,
        output: Optional[str] = None, min_runtime: Optional[str] = None, progress: Optional[Progress] = None, log: Optional[Log] = None,
    ):
        targets = dict(target_ratio=target_ratio, target_bits=target_bits, target_size=target_size, max_loss=max_loss)
        given = [name for name, value in targets.items() if value is not None]
        if len(given) > 1 or needs_target and not given:
            raise InvalidArgument(f"give exactly one of {', '.join(targets)}" + (f", not {' and '.join(given)}" if given else ""))
        for name in given:
            if not targets[name] > 0:
                raise InvalidArgument(f"{name} is {targets[name]}, expected a positive number")
        self.callbacks = Callbacks(progress, log)
        options = self.options = initialized(s.PlanOptions)
        options.threads = threads
        options.target_ratio = target_ratio or 0
        options.target_bits = target_bits or 0
        options.target_size = target_size or 0
        options.max_loss = max_loss or 0
        options.method = w.code("method", method, w.METHODS)
        options.loss = w.code("loss", loss, w.LOSSES)
        options.curvature = w.code("curvature", curvature, w.CURVATURES)
        options.rounding = w.code("rounding", rounding, w.ROUNDINGS)
        options.granularity, options.block_size = w.granularity_code(granularity)
        options.encoding = w.code("encoding", encoding, w.ENCODINGS)
        options.coding = w.code("coding", coding, w.CODINGS)
        options.effort = w.code("effort", effort, w.EFFORTS)
        options.bits = w.bits_mask(bits)
        fix = fix or {}
        self._keep, options.keep_count = strings([keep] if isinstance(keep, str) else keep)
        self._fix, options.fix_count = strings(fix)
        self._fix_bits = (c.c_int32 * len(fix))(*fix.values())
        options.keep_patterns, options.fix_patterns, options.fix_bits = self._keep, self._fix, self._fix_bits
        options.seed = seed
        options.samples = samples or 0
        options.max_memory = max_memory or 0
        options.batch_size = batch_size or 0
        options.shifts = 0 if shifts is None else shifts or w.NO_SHIFTS
        options.eigenpairs = eigenpairs or 0
        options.max_iterations = max_iterations or 0
        options.output = None if output is None else name_bytes(output)
        options.min_runtime = None if min_runtime is None else name_bytes(min_runtime)
        options.progress, options.log = self.callbacks.progress, self.callbacks.log


def plan(model: Model, calibration: Calibration, **options) -> Plan:
    """Chooses bits for every quantizable weight so that the loss changes least within the budget.

    Exactly one target:
      target_ratio: 32 / mean code bits over the planned weights; scales are not counted.
      target_bits: mean code bits over the planned weights.
      target_size: bytes of the written file, everything counted, never exceeded.
      max_loss: the smallest plan found whose loss change, measured on held-out samples, is at most this with 95 % confidence.
    How:
      method: "cet" (default), "paper", "hawq-v2", "mckp", "uniform", "clado".
      loss: "kl" (default with logits), "cross-entropy", "mse", "output".
      curvature: "hessian" (default), "gauss-newton".
      rounding: "compensated" (default), "gptq", "nearest".
      granularity: "per-axis" (default), "per-tensor", "block:N".
      encoding: "planes" (default), "qdq", "float", "ort" (onnxruntime's own operators, in blocks of 128 weights), "auto" (what
        keeps most weights small in memory in files that open in min_runtime).
      min_runtime: the oldest runtime that the file must open in, "ort-1.20" or later, "openvino-2026" or later.
      coding: "auto" (default): of each tensor and width the coding of less error, with rounding "nearest" affine; "affine":
        uniform grids; "trellis".
      bits: allowed widths, default (1, 2, 3, 4, 5, 6, 8) where tensors may have trellis codes, else (2, 3, 4, 8).
      keep: patterns (* and ?) of initializers that stay float32. fix: {pattern: bits}; the last match counts.
      output: graph output that the loss reads, default the first.
      shifts: copies of every image, each moved by up to a sixteenth of it, that statistics, the choice of bits and the check of
        compensated rounding take beside the samples; default as many as make up to 256 images of them, at most 3 (none of more
        than 128 samples); 0 for none. Images are inputs of rank 4, 16 × 16 or larger, that a convolution reads. Copies are held
        in memory.
      eigenpairs, max_iterations: for method "paper" (and "hawq-v2").
    Effort:
      effort: "low", "medium" (default), "high": paths of the search for trellis codes in large tensors, 8, 32, 128.
      seed, threads (0: all processors), samples (the first so many), batch_size, max_memory (bytes).
    Callbacks:
      progress(phase, done, total); an exception raised in it cancels the call. log(level, message).
    """
    call = PlanCall(**options)
    return call.callbacks.made(Plan, lib.cet_plan, model._handle, calibration._handle, c.byref(call.options))
