"""How options may be written: the grammar of the tool's command line beside Python's own numbers, lists and mappings."""

from __future__ import annotations

import math
import operator
import re
from typing import Any, Iterable, List, Mapping, Optional, Tuple, Union

from .errors import InvalidArgument

ByteSize = Union[int, float, str]
"""Bytes as a number, or as text with a unit: "12MB", "1.5 GiB". kB, MB and GB are powers of 1000, KiB, MiB and GiB of 1024."""
Widths = Union[int, str, Iterable[int]]
ActivationBits = Union[int, str, Iterable[Union[int, str]]]
"""Bits of a code, 1 to 8: 4, [2, 3, 4] or "2,3,4"."""
Patterns = Union[str, Iterable[str]]
"""One pattern or several; `*` and `?` match. Over initializer names; `node:PATTERN` is over nodes, `op:PATTERN` over operators."""
FixRules = Union[Mapping[str, int], str, Iterable[str]]
"""Bits of tensors by pattern: `{"fc*": 4}`, `"fc*=4"` or `["fc*=4", "conv1.weight=8"]`."""

BitLimits = Union[FixRules, int]
"""The same, or bits alone, which hold for all tensors: 3, `"3"`, `["3", "fc*=4"]`."""

_UNITS = {"": 1.0, "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30}
_SIZE = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?([kmg]?i?b)?", re.ASCII)


def number(option: str, value: Any) -> float:
    """A finite number, 0 for None."""
    if value is None:
        return 0.0
    if isinstance(value, (str, bytes)):
        raise TypeError(f"{option}: expected a number, got {value!r}")
    try:
        result = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{option}: expected a number, got {value!r}") from None
    if not math.isfinite(result):
        raise InvalidArgument(f"{option} is {value}, expected a finite number")
    return result


def whole(option: str, value: Any) -> int:
    """A whole number."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{option}: expected a whole number, got {value!r}") from None


def count(option: str, value: Any) -> int:
    """A whole number, 0 for None."""
    return 0 if value is None else whole(option, value)


def byte_size(option: str, value: Optional[ByteSize]) -> int:
    """A number of bytes, 0 for None."""
    if isinstance(value, str):
        # The tool's rule: spaces and the case of letters do not count.
        match = _SIZE.fullmatch(value.lower().replace(" ", ""))
        unit = _UNITS.get(match.group(3) or "") if match else None
        size = float(match.group(1) + (match.group(2) or "")) * unit if match and unit else 0.0
        if not 1 <= size < 9e15:
            raise InvalidArgument(f"{option} {value!r}: expected bytes with a unit of B, kB, MB, GB, KiB, MiB, GiB, or none")
        return int(size)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return count(option, value)


def bits_mask(bits: Optional[Widths]) -> int:
    """The set of allowed bits as the sum of 1 << b; 0, the default, for None."""
    if bits is None:
        return 0
    widths: Iterable[Any] = [bits]
    if isinstance(bits, str):
        widths = [int(part) if re.fullmatch("[0-9]+", part, re.ASCII) else part for part in bits.split(",")]
    elif hasattr(bits, "__iter__"):  # a NumPy array has __index__, too
        widths = bits
    mask = 0
    for width in widths:
        if isinstance(width, str) or not 1 <= whole("bits", width) <= 8:
            raise InvalidArgument(f"bits {width!r} is not in 1 to 8")
        mask |= 1 << whole("bits", width)
    return mask


def activation_mask(bits: Optional[ActivationBits]) -> int:
    """The set of bits of activations as the sum of 1 << b, float as 1; 0, none is rounded, for None."""
    if bits is None:
        return 0
    widths: Iterable[Any] = [bits]
    if isinstance(bits, str):
        widths = ("4,8" if bits == "mixed" else bits).split(",")
    elif hasattr(bits, "__iter__"):
        widths = bits
    mask = 0
    for width in widths:
        text = str(width)
        if text not in ("4", "8", "16", "float"):
            raise InvalidArgument(f"activations {width!r} is none of 4, 8, 16, float, mixed")
        mask |= 1 if text == "float" else 1 << int(text)
    if not mask:
        raise InvalidArgument("activations are given without any of 4, 8, 16, float")
    return mask


def pattern_list(option: str, patterns: Optional[Patterns]) -> List[str]:
    """Patterns one by one."""
    if patterns is None:
        return []
    found = [patterns] if isinstance(patterns, str) else list(patterns)
    for pattern in found:
        if not isinstance(pattern, str):
            raise TypeError(f"{option}: expected patterns over names, got {pattern!r}")
    return found


def bit_limits(limits: Optional[BitLimits], option: str) -> List[Tuple[str, int]]:
    """Pairs of pattern and bits; bits alone are of the pattern that matches all."""
    if isinstance(limits, int):
        return [("*", whole(option, limits))]
    if limits is None or isinstance(limits, Mapping):
        return fix_rules(limits, option)
    return fix_rules([f"*={rule}" if re.fullmatch("[1-8]", rule) else rule for rule in pattern_list(option, limits)], option)


def fix_rules(rules: Optional[FixRules], option: str = "fix") -> List[Tuple[str, int]]:
    """Pairs of pattern and bits, in the order given. option: whose rules they are."""
    if rules is None:
        return []
    if isinstance(rules, Mapping):
        return [(pattern, whole(f"{option} {pattern!r}", bits)) for pattern, bits in rules.items()]
    found = []
    for rule in pattern_list(option, rules):
        pattern, _, bits = rule.rpartition("=")
        if not pattern or not re.fullmatch("[1-8]", bits):
            raise InvalidArgument(f"{option} {rule!r}: expected PATTERN=BITS with 1 to 8 bits")
        found.append((pattern, int(bits)))
    return found
