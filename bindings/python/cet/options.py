"""Options of planning and quantizing calls as the structs that the library reads."""

from __future__ import annotations

import ctypes as c
from typing import Any, Mapping

from . import grammar as g
from . import structs as s
from . import words as w
from .errors import InvalidArgument
from .library import initialized
from .native import Callbacks, name_bytes, strings

TARGETS = ("target_ratio", "target_bits", "target_size", "max_loss")


class PlanCall:
    """Options of one planning call with all that they point to.

    given: the arguments of the call by name, which may be all of its local variables.
    """

    def __init__(self, given: Mapping[str, Any], *, needs_target: bool = True):
        self.callbacks = Callbacks(given["progress"], given["log"])
        options = self.options = initialized(s.PlanOptions)
        self._set_target(given, needs_target)
        options.threads = given["threads"]
        options.method = w.code("method", given["method"], w.METHODS)
        options.loss = w.code("loss", given["loss"], w.LOSSES)
        options.curvature = w.code("curvature", given["curvature"], w.CURVATURES)
        options.rounding = w.code("rounding", given["rounding"], w.ROUNDINGS)
        options.granularity, options.block_size = w.granularity_code(given["granularity"])
        options.encoding = w.code("encoding", given["encoding"], w.ENCODINGS)
        options.coding = w.code("coding", given["coding"], w.CODINGS)
        options.effort = w.code("effort", given["effort"], w.EFFORTS)
        options.bits = g.bits_mask(given["bits"])
        # A struct keeps what is assigned to its pointers.
        for name in ("keep", "group"):
            patterns, count = strings(g.pattern_list(name, given[name]))
            setattr(options, f"{name}_patterns", patterns)
            setattr(options, f"{name}_count", count)
        for name, argument in (("fix", "fix"), ("min", "min_bits"), ("max", "max_bits")):
            rules = g.fix_rules(given[argument]) if argument == "fix" else g.bit_limits(given[argument], argument)
            patterns, count = strings([pattern for pattern, _ in rules])
            setattr(options, f"{name}_patterns", patterns)
            setattr(options, f"{name}_bits", (c.c_int32 * count)(*[bits for _, bits in rules]))
            setattr(options, f"{name}_count", count)
        options.seed = given["seed"]
        for name in ("samples", "batch_size", "eigenpairs", "max_iterations"):
            setattr(options, name, g.count(name, given[name]))
        options.max_memory = g.byte_size("max_memory", given["max_memory"])
        options.shifts = 0 if given["shifts"] is None else g.whole("shifts", given["shifts"]) or w.NO_SHIFTS
        for name in ("output", "min_runtime"):
            setattr(options, name, None if given[name] is None else name_bytes(given[name]))
        options.activation_bits = g.activation_mask(given["activations"])
        options.activation_range = w.code("activation_range", given["activation_range"], w.ACTIVATION_RANGES)
        options.external_data = bool(given["external_data"])
        for name in ("activation_loss", "activation_mean_bits"):
            if given[name] is not None:
                setattr(options, name, g.number(name, given[name]))
                if not given[name] > 0:
                    raise InvalidArgument(f"{name} is {given[name]}, expected a positive number")
        options.progress, options.log = self.callbacks.progress, self.callbacks.log

    def _set_target(self, given: Mapping[str, Any], needs_target: bool) -> None:
        found = [name for name in TARGETS if given[name] is not None]
        if len(found) > 1 or needs_target and not found:
            raise InvalidArgument(
                f"give exactly one of {', '.join(TARGETS)}" + (f", not {' and '.join(found)}" if found else ""))
        for name in found:
            value: float = (g.byte_size if name == "target_size" else g.number)(name, given[name])
            if not value > 0:
                raise InvalidArgument(f"{name} is {given[name]}, expected a positive number")
            setattr(self.options, name, value)


class QuantizeCall:
    """Options of one quantizing call. given: as for `PlanCall`."""

    def __init__(self, given: Mapping[str, Any]):
        self.callbacks = Callbacks(given["progress"], given["log"])
        options = self.options = initialized(s.QuantizeOptions)
        options.threads = given["threads"]
        options.rounding = w.code("rounding", given["rounding"], w.ROUNDINGS)
        options.encoding = w.code("encoding", given["encoding"], w.ENCODINGS)
        options.effort = w.code("effort", given["effort"], w.EFFORTS)
        for name in ("samples", "batch_size"):
            setattr(options, name, g.count(name, given[name]))
        options.max_memory = g.byte_size("max_memory", given["max_memory"])
        options.progress, options.log = self.callbacks.progress, self.callbacks.log
