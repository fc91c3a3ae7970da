"""The words that stand for the header's numbers, the same as on the tool's command line."""

from __future__ import annotations

from typing import Literal, Mapping, Optional, Tuple

from .errors import InvalidArgument

Method = Literal["cet", "paper", "hawq-v2", "mckp", "uniform", "clado"]
Loss = Literal["kl", "cross-entropy", "mse", "output"]
CurvatureKind = Literal["hessian", "gauss-newton"]
Rounding = Literal["nearest", "gptq", "compensated"]
Encoding = Literal["planes", "qdq", "float", "ort", "auto"]
Coding = Literal["auto", "affine", "trellis", "symmetric"]
Effort = Literal["low", "medium", "high"]
ActivationRange = Literal["least-loss", "min-max", "percentile"]
Which = Literal["largest-magnitude", "LM", "largest", "LA", "smallest", "SA"]
BasisType = Literal["float32", "bfloat16"]
TraceMethod = Literal["hutchinson", "hutch++"]

METHODS = {"cet": 1, "paper": 2, "hawq-v2": 3, "mckp": 4, "uniform": 5, "clado": 6}
LOSSES = {"kl": 1, "cross-entropy": 2, "mse": 3, "output": 4}
CURVATURES = {"hessian": 1, "gauss-newton": 2}
ROUNDINGS = {"nearest": 1, "gptq": 2, "compensated": 3}
ENCODINGS = {"planes": 1, "qdq": 2, "float": 3, "ort": 4, "auto": 5}
CODINGS = {"auto": 1, "affine": 2, "trellis": 3, "symmetric": 4}
EFFORTS = {"low": 1, "medium": 2, "high": 3}
# The last one is found, not asked for.
ACTIVATION_RANGES = {"least-loss": 1, "min-max": 2, "percentile": 3, "least-squares": 4}
# SciPy's names beside the library's.
ENDS = {"largest-magnitude": 1, "LM": 1, "largest": 2, "LA": 2, "smallest": 3, "SA": 3}
BASIS_TYPES = {"float32": 1, "bfloat16": 2}
TRACE_METHODS = {"hutchinson": 1, "hutch++": 2}
# CET_NO_SHIFTS; 0 stands for the default.
NO_SHIFTS = -1
DECISIONS = {"chosen": 1, "fixed": 2, "kept": 3}
_GRANULARITIES = {"per-tensor": 1, "per-axis": 2, "block": 3}


def code(option: str, word: Optional[str], words: Mapping[str, int]) -> int:
    """The number of a word; 0, the default, for None."""
    if word is None:
        return 0
    if word not in words:
        raise InvalidArgument(f"{option} {word!r} is none of {', '.join(words)}")
    return words[word]


def word(number: int, words: Mapping[str, int]) -> str:
    """The word of a number that the library gave."""
    return next((name for name, value in words.items() if value == number), f"unknown ({number})")


def granularity_code(text: Optional[str]) -> Tuple[int, int]:
    """Number and block size of "per-tensor", "per-axis" or "block:N"."""
    if text is None:
        return 0, 0
    if text in ("per-tensor", "per-axis"):
        return _GRANULARITIES[text], 0
    name, _, size = text.partition(":")
    if name != "block" or not size.isdigit() or int(size) == 0:
        raise InvalidArgument(f"granularity {text!r} is none of per-tensor, per-axis, block:N")
    return _GRANULARITIES["block"], int(size)


def granularity_word(number: int, block_size: int) -> str:
    name = word(number, _GRANULARITIES)
    return f"{name}:{block_size}" if name == "block" else name
