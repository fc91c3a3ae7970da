"""Plans: bits of every weight tensor, why, and what each choice costs."""

from __future__ import annotations

import ctypes as c
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Optional, Tuple

from . import html, tables
from . import structs as s
from . import words as w
from .calibration import Calibration
from .grammar import ActivationBits, BitLimits, ByteSize, FixRules, Patterns, Widths
from .library import check, initialized, lib, taken_text
from .model import Model
from .native import Handle, Log, Pathlike, Watch, made, name_bytes, notes, shape_of
from .optional import required
from .options import PlanCall
from .progress import Progress
from .words import ActivationRange, Coding, CurvatureKind, Effort, Encoding, Loss, Method, Rounding

if TYPE_CHECKING:
    import pandas  # type: ignore[import-not-found,import-untyped,unused-ignore]


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
    """What codes of the chosen bits stand for, "affine", "trellis" or "symmetric"; None when kept."""
    trellis_bits: Tuple[int, ...] = ()
    """Bits whose losses above are of trellis codes; those of other bits are of codes of grids."""
    node: str = ""
    """The node that reads the tensor first: its name, or its first output when it has none; "": not known."""
    operator: str = ""
    """That node's operator, with its domain in front unless it is ONNX's own."""


@dataclass(frozen=True)
class PlanActivation:
    """One activation of a plan: a value that is rounded while the model runs."""

    name: str
    elements: int
    """Of a sample, mean."""
    bits: int
    """Of one code; 32 where it stays float32."""
    scale: Optional[float]
    zero_point: Optional[int]
    range: Optional[str]
    """How the range was found: "min-max", "percentile" or "least-squares"."""
    reason: str
    predicted_loss_change: float
    """With this activation rounded alone, as the sensitivities of tensors."""
    measured_loss: float
    """The same at temperature 1."""
    curvature_loss: float
    """What curvature says of `measured_loss`; NaN where it is not known."""
    sensitivity: Dict[int, float]
    """`predicted_loss_change` by bits."""


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


def _table(values: Iterable[float]) -> Dict[int, float]:
    return {bits: value for bits, value in enumerate(values) if bits >= 1 and not math.isnan(value)}


class Plan(Handle):
    """Bits of every weight tensor; immutable. Made by `cet.plan`, `Session.plan`, `Plan.from_json` or `Plan.replan`."""

    _free = "cet_plan_free"

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """Reads what `to_json` wrote. A tensor whose "bits" were changed (1 to 8, or 32: kept) is planned with those.

        Raises:
            InvalidArgument: With line and column, or the member's path.
        """
        return cls(Watch().handle(lib.cet_plan_from_json, name_bytes(text)))

    @classmethod
    def load(cls, path: Pathlike) -> "Plan":
        """Reads a plan file."""
        return cls.from_json(Path(path).read_text(encoding="utf-8"))

    def to_json(self) -> str:
        """Everything in the plan, the sensitivity table included."""
        text = c.c_void_p()
        check(lib.cet_plan_to_json(self._handle, c.byref(text)))
        return taken_text(text)

    def save(self, path: Pathlike) -> None:
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
    def activations(self) -> List[PlanActivation]:
        """In graph order, those that stay float32 included; empty where none was asked for."""
        result = []
        for index in range(lib.cet_plan_activation_count(self._handle)):
            info = initialized(s.PlanActivationInfo)
            check(lib.cet_plan_get_activation(self._handle, index, c.byref(info)))
            is_rounded = info.bits < 32
            result.append(
                PlanActivation(
                    name=info.name.decode(), elements=info.elements, bits=info.bits,
                    scale=info.scale if is_rounded else None, zero_point=info.zero_point if is_rounded else None,
                    range=w.word(info.range, w.ACTIVATION_RANGES) if is_rounded else None, reason=info.reason.decode(),
                    predicted_loss_change=info.predicted_loss_change, measured_loss=info.measured_loss,
                    curvature_loss=info.curvature_loss, sensitivity=_table(info.sensitivity)))
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

    def replan(
        self, model: Model,
        *, target_ratio: Optional[float] = None, target_bits: Optional[float] = None,
        target_size: Optional[ByteSize] = None, max_loss: Optional[float] = None, method: Optional[Method] = None,
        loss: Optional[Loss] = None, curvature: Optional[CurvatureKind] = None, rounding: Optional[Rounding] = None,
        granularity: Optional[str] = None, encoding: Optional[Encoding] = None, min_runtime: Optional[str] = None,
        coding: Optional[Coding] = None, effort: Optional[Effort] = None, bits: Optional[Widths] = None,
        keep: Optional[Patterns] = None, fix: Optional[FixRules] = None, output: Optional[str] = None,
        min_bits: Optional[BitLimits] = None, max_bits: Optional[BitLimits] = None, group: Optional[Patterns] = None,
        activations: Optional[ActivationBits] = None, activation_range: Optional[ActivationRange] = None,
        activation_loss: Optional[float] = None, activation_mean_bits: Optional[float] = None, external_data: bool = False,
        shifts: Optional[int] = None, eigenpairs: Optional[int] = None, max_iterations: Optional[int] = None,
        seed: int = 0, threads: int = 0, samples: Optional[int] = None, batch_size: Optional[int] = None,
        max_memory: Optional[ByteSize] = None, progress: Optional[Progress] = None, log: Optional[Log] = None,
    ) -> "Plan":
        """A plan for another budget from this plan's table of losses: no data, no forward passes, milliseconds.

        Args:
            model: The one that was planned, told by its SHA-256.

        The options are those of `cet.plan`; what concerns samples (samples, batch_size, shifts, seed) has no effect here.

        Raises:
            InvalidArgument: Options; another model.
            InfeasibleBudget: No plan is that small; `expected` has the range.
        """
        call = PlanCall(locals())
        return call.callbacks.made(
            Plan, lib.cet_plan_with_sensitivity, model._handle, self._handle, c.byref(call.options))

    def to_dataframe(self) -> "pandas.DataFrame":
        """One row a tensor in graph order, with the fields of `PlanTensor` as columns; tables by bits are columns like
        "sensitivity_4". Sizes are bytes, `bits` 32 where a tensor is kept, unknown values NaN. Needs pandas."""
        pd = required("pandas", "Plan.to_dataframe")
        tables = ("measured_loss", "curvature_loss", "sensitivity")
        tensors = self.tensors
        widths = sorted({bits for tensor in tensors for table in tables for bits in getattr(tensor, table)})
        rows = []
        for tensor in tensors:
            row = {field.name: getattr(tensor, field.name) for field in fields(tensor) if field.name not in tables}
            for table in tables:
                row.update({f"{table}_{bits}": getattr(tensor, table).get(bits, math.nan) for bits in widths})
            rows.append(row)
        frame: pandas.DataFrame = pd.DataFrame(rows)
        frame["axis"] = frame["axis"].astype("Int64")
        return frame

    def plot(self, kind: str = "bits", **options: Any) -> Any:
        """A picture of the plan: kind "bits" (along depth), "theory" (against practice), "shares" (of weights and bytes by bits) or
        "losses" (predicted and measured). Options as for the functions of these names in `cet.plots`; the size-loss curve needs the
        model, too: `cet.plots.curve`."""
        from . import plots

        return plots.named({"bits": plots.bits, "theory": plots.theory, "shares": plots.shares, "losses": plots.losses}, kind)(self, **options)

    def _repr_html_(self) -> str:
        return html.plan(self)

    def __reduce__(self) -> Any:
        return Plan.from_json, (self.to_json(),)

    def __repr__(self) -> str:
        return tables.plan(self)


def plan(
    model: Model, calibration: Calibration,
    *, target_ratio: Optional[float] = None, target_bits: Optional[float] = None,
    target_size: Optional[ByteSize] = None, max_loss: Optional[float] = None, method: Optional[Method] = None,
    loss: Optional[Loss] = None, curvature: Optional[CurvatureKind] = None, rounding: Optional[Rounding] = None,
    granularity: Optional[str] = None, encoding: Optional[Encoding] = None, min_runtime: Optional[str] = None,
    coding: Optional[Coding] = None, effort: Optional[Effort] = None, bits: Optional[Widths] = None,
    keep: Optional[Patterns] = None, fix: Optional[FixRules] = None, output: Optional[str] = None,
    min_bits: Optional[BitLimits] = None, max_bits: Optional[BitLimits] = None, group: Optional[Patterns] = None,
    activations: Optional[ActivationBits] = None, activation_range: Optional[ActivationRange] = None,
    activation_loss: Optional[float] = None, activation_mean_bits: Optional[float] = None, external_data: bool = False,
    shifts: Optional[int] = None, eigenpairs: Optional[int] = None, max_iterations: Optional[int] = None,
    seed: int = 0, threads: int = 0, samples: Optional[int] = None, batch_size: Optional[int] = None,
    max_memory: Optional[ByteSize] = None, progress: Optional[Progress] = None, log: Optional[Log] = None,
) -> Plan:
    """Chooses bits for every quantizable weight so that the loss changes least within the budget.

    Exactly one of target_ratio, target_bits, target_size and max_loss is given.

    Args:
        model: Its Conv, ConvTranspose, Gemm and MatMul weights and Gather tables are planned.
        calibration: Samples like those that the model will see; a few hundred.
        target_ratio: 32 / mean code bits over the planned weights; scales are not counted.
        target_bits: Mean code bits over the planned weights.
        target_size: Bytes of the written file, everything counted, never exceeded: 12_000_000 or "12MB".
        max_loss: The smallest plan found whose loss change, measured on held-out samples, is at most this with 95 %
            confidence. Mean over samples, in the loss's own unit (nats for "kl" and "cross-entropy").
        method: "cet" (default), "paper", "hawq-v2", "mckp", "uniform", "clado".
        loss: "kl" (default with logits), "cross-entropy", "mse", "output".
        curvature: "hessian" (default), "gauss-newton".
        rounding: "compensated" (default), "gptq", "nearest".
        granularity: "per-axis" (default), "per-tensor", "block:N".
        encoding: "planes" (default), "qdq", "float", "ort" (onnxruntime's own operators, in blocks of 128 weights), "auto"
            ("ort" where kernels of min_runtime take most of the weights and the target leaves them 4 bits, else "planes").
        min_runtime: The oldest runtime that the file must open in, "ort-1.20" or later, "openvino-2026" or later.
        coding: "auto" (default): of each tensor and width the coding of less error, with rounding "nearest" affine;
            "affine": uniform grids; "trellis"; "symmetric": grids of signed integers without zero points, 2 to 8 bits.
        effort: "low", "medium" (default), "high": paths of the search for trellis codes in large tensors, 8, 32, 128.
        bits: Allowed widths, [2, 3, 4] or "2,3,4"; default 1, 2, 3, 4, 5, 6, 8 where tensors may have trellis codes,
            else 2, 3, 4, 8.
        keep: Patterns (`*` and `?`) of initializers that stay float32, `"fc*"` or a list; `"node:..."` and `"op:..."` are over the nodes
            that read them and over these nodes' operators, here and in what follows.
        fix: Bits of tensors by pattern, `{"fc*": 4}` or `["fc*=4"]`; the last match counts, and keep wins over fix.
        min_bits: Fewest bits of tensors whose bits are chosen: 3, or by pattern as for fix.
        max_bits: Most bits. Of several rules for a tensor the strictest holds.
        group: Patterns whose tensors get the same bits; "auto" for siblings that runtimes fuse, as query, key and value.
        output: Graph output that the loss reads, default the first.
        activations: Bits that activations are rounded to while the model runs: 8 (runtimes then compute with integers), 4
            (simulated in float), "mixed" (4 and 8), or several of 4, 8, 16 and "float"; default none. With encodings "planes" and
            "float", and from 8 bits on "qdq", whose files hold int8 codes of the weights beside codes. All losses told are of the model with weights and activations rounded.
        activation_range: "least-loss" (default): of the others the range that loses least; "min-max", "percentile".
        activation_loss: Of several bits the fewest for which the table's losses of activations sum to at most this; default as
            much as those of the weights.
        activation_mean_bits: Of several bits those of least loss with at most this mean over the elements of a sample.
        external_data: Tensors of 16 kB and more go to one file beside the written one, its name with ".data" behind, whatever the
            source has; file_bytes are those of both, and at most. Else they do so where a file would pass 2 GiB alone. `to_bytes` gives
            all in one.
        shifts: Copies of every image, each moved by up to a sixteenth of it, that statistics, the choice of bits and the check
            of compensated rounding take beside the samples; default as many as make up to 256 images of them, at most 3 (none
            of more than 128 samples); 0 for none. Images are inputs of rank 4, 16 × 16 or larger, that a convolution reads.
            Copies are held in memory.
        eigenpairs: Stiff axes of method "paper".
        max_iterations: Hessian-vector products of methods "paper" and "hawq-v2".
        seed: Of everything random; the same seed gives the same bytes for any number of threads.
        threads: 0 for all processors.
        samples: The first so many; None for all.
        batch_size: Samples computed together; chosen by the library unless given.
        max_memory: Bytes that the call may hold beyond model and data, 2_000_000_000 or "2GB"; what is available unless given.
        progress: True for a bar (tqdm), or a function of phase, steps done and steps in all; an exception raised in it
            cancels the call.
        log: A function of level ("info", "warning") and message.

    Raises:
        InvalidArgument: Options, or data that do not fit the model.
        ShapeMismatch: Shapes of samples that do not fit the model.
        UnsupportedOperator: A node that the library does not execute; `node` names it.
        InfeasibleBudget: No plan is that small; `expected` has the range.
        NumericError: Losses that are not finite.
        OutOfMemory: `bytes_needed` would suffice.
    """
    call, data = PlanCall(locals()), calibration.fitting(model)
    return call.callbacks.made(Plan, lib.cet_plan, model._handle, data._handle, c.byref(call.options))
