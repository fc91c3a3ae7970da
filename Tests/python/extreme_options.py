"""Every numeric field of every options struct with numbers from the ends of its range; run in a process of its own.

Prints what comes next before each call, so that whoever started it knows which one ended it.
"""

import ctypes as c
import math
import pathlib
import struct
import sys
import time

import numpy as np
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bindings" / "python"))
import cet  # noqa: E402
from cet import structs as s  # noqa: E402
from cet.library import lib  # noqa: E402

WHOLE = {
    c.c_uint32: ("<I", [0, 1, 2, 3, 7, 1000, 2**16, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1]),
    c.c_int32: ("<i", [0, 1, -1, 2, 65, 1000, 2**31 - 1, -(2**31)]),
    c.c_uint64: ("<Q", [0, 1, 2, 7, 1000, 2**20, 2**31, 2**32, 2**53 + 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1]),
}
REAL = [0.0, -0.0, 1.0, -1.0, 2.0, 8.0, 1e-13, 1e13, 1e15, -1e15, 1e-300, 1e300, 5e-324, sys.float_info.max, math.inf, -math.inf, math.nan]
# A whole struct of the longest size that the library reads, all zero beyond the known fields.
ROOM = 8192


def model_bytes():
    """Two layers of 4 and 3 channels."""
    generator = np.random.default_rng(0)
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "a"], ["h"]), helper.make_node("Relu", ["h"], ["r"]), helper.make_node("MatMul", ["r", "b"], ["y"])],
        "g", [info("x", TensorProto.FLOAT, ["n", 4])], [info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(generator.normal(size=shape).astype(np.float32), name) for name, shape in (("a", (4, 4)), ("b", (4, 3)))])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


class Calls:
    """The calls that take options, each given the address of a struct; returns a status."""

    def __init__(self):
        self.model = cet.Model(model_bytes())
        self.x = np.random.default_rng(1).normal(size=(8, 4)).astype(np.float32)
        self.data = cet.Calibration({"x": self.x}, labels=np.arange(8) % 3)
        self.plan = cet.plan(self.model, self.data, target_bits=4)
        self.hessian = cet.Hessian(self.model, self.data)
        self.quantized = cet.quantize(self.model, self.data, self.plan)
        self.out = c.c_void_p()
        self.end = 0.0
        # A call of billions of steps is in order; it has to look at its callbacks.
        self.progress = s.ProgressFn(lambda *_: self._spent())
        self.map = s.ApplyFn(self._apply)
        self.room = (c.c_double * 4096)()
        self.floats = (c.c_float * 4096)()

    def _spent(self):
        return 1 if time.monotonic() > self.end else 0

    def _apply(self, v, result, n, _):
        for index in range(n):
            result[index] = (index + 1) * v[index]
        return self._spent()

    def status(self, name, options, more=()):
        self.end = time.monotonic() + 0.2
        status = getattr(self, "call_" + name)(options, *more)
        for free in ("cet_plan_free", "cet_quantized_free", "cet_curvature_free", "cet_spectrum_free", "cet_outputs_free", "cet_free"):
            if self.out.value and free == self.owner:
                getattr(lib, free)(self.out)
        self.out.value = None
        return status

    owner = None

    def call_plan(self, options):
        self.owner = "cet_plan_free"
        return lib.cet_plan(self.model._handle, self.data._handle, options, c.byref(self.out))

    def call_replan(self, options):
        self.owner = "cet_plan_free"
        return lib.cet_plan_with_sensitivity(self.model._handle, self.plan._handle, options, c.byref(self.out))

    def call_quantize(self, options):
        self.owner = "cet_quantized_free"
        return lib.cet_quantize(self.model._handle, self.data._handle, self.plan._handle, options, c.byref(self.out))

    def call_save(self, options):
        self.owner = "cet_free"
        size = c.c_size_t()
        return lib.cet_quantized_save_memory(self.quantized._handle, options, c.byref(self.out), c.byref(size))

    def call_run(self, options):
        self.owner = "cet_outputs_free"
        tensors = cet.native.Tensors({"x": self.x})
        return lib.cet_run(self.model._handle, tensors.array, 1, options, c.byref(self.out))

    def call_run_samples(self, options):
        self.owner = "cet_outputs_free"
        return lib.cet_run_samples(self.model._handle, self.data._handle, 0, 0, options, c.byref(c.c_uint64()), c.byref(self.out))

    def call_curvature(self, options):
        self.owner = "cet_curvature_free"
        return lib.cet_curvature_create(self.model._handle, self.data._handle, options, c.byref(self.out))

    def call_eigensolve(self, options):
        self.owner = "cet_spectrum_free"
        return lib.cet_eigensolve(self.map, None, 30, options, c.byref(self.out))

    def call_eigensolve_curvature(self, options):
        self.owner = "cet_spectrum_free"
        return lib.cet_eigensolve_curvature(self.hessian._curvature._handle, options, c.byref(self.out))

    def call_trace(self, options):
        return lib.cet_trace_estimate(self.map, None, 30, options, self.room, None)

    def call_trace_curvature(self, options):
        return lib.cet_trace_estimate_curvature(self.hessian._curvature._handle, options, self.room, None)

    def call_diagonal(self, options):
        return lib.cet_diagonal_estimate(self.map, None, 30, options, self.floats, None)

    def call_density(self, options):
        return lib.cet_spectral_density(self.map, None, 30, options, self.room, self.room, 4096)


NUMBERS = {"target_bits", "samples", "max_memory", "batch_size", "eigenpairs", "max_iterations"}
TARGETS = {"target_ratio", "target_bits", "target_size", "max_loss"}
# Call, struct, values of other fields, and, where not all of them are tried again, which.
CASES = [
    ("plan", s.PlanOptions, {"target_bits": 8.0}),
    *[("plan", s.PlanOptions, {"target_bits": 8.0, "method": method}, NUMBERS) for method in range(1, 7)],
    *[("plan", s.PlanOptions, {"method": method}, TARGETS) for method in range(0, 7)],
    ("plan", s.PlanOptions, {"target_bits": 8.0, "granularity": 3, "block_size": 2}, {"granularity", "block_size"}),
    ("replan", s.PlanOptions, {"target_bits": 8.0}), ("replan", s.PlanOptions, {}, TARGETS),
    ("quantize", s.QuantizeOptions, {}), ("save", s.SaveOptions, {}), ("run", s.RunOptions, {}), ("run_samples", s.RunOptions, {}), ("curvature", s.CurvatureOptions, {}),
    ("eigensolve", s.EigensolveOptions, {"count": 3}), ("eigensolve_curvature", s.EigensolveOptions, {}),
    *[(name, s.EstimateOptions, {"method": method}) for name in ("trace", "trace_curvature") for method in (1, 2)],
    ("diagonal", s.EstimateOptions, {}), ("density", s.EstimateOptions, {}),
    ("density", s.EstimateOptions, {"samples": 2**32 - 1}), ("density", s.EstimateOptions, {"steps": 2**32 - 1}),
    ("trace", s.EstimateOptions, {"method": 2, "samples": 2**32 - 1}),
]


def sweep():
    """(call, struct, field, format, value, other fields) of everything that is tried."""
    for name, kind, others, *fields in CASES:
        for field, type_ in ((entry[0], entry[1]) for entry in kind._fields_):
            if fields and field not in fields[0]:
                continue
            if type_ in WHOLE:
                form, values = WHOLE[type_]
            elif type_ is c.c_double:
                form, values = "<d", REAL
            else:
                continue
            for value in values:
                yield name, kind, field, form, value, others


def main():
    calls = Calls()
    seen = set()
    for name, kind, field, form, value, others in sweep():
        print(f"{kind._c_name_}.{field} = {value!r} in {name} {others}", flush=True)
        memory = (c.c_uint8 * ROOM)()
        options = c.cast(memory, c.POINTER(kind))
        options.contents.struct_size = c.sizeof(kind)
        for other, set_to in others.items():
            setattr(options.contents, other, set_to)
        if hasattr(kind, "progress"):
            options.contents.progress = calls.progress
        place = getattr(kind, field).offset
        memory[place:place + struct.calcsize(form)] = list(struct.pack(form, value))
        status = calls.status(name, options)
        assert -11 < status <= 0, f"status {status}: {lib.cet_last_error_message()}"
        if status:
            message = lib.cet_last_error_message().decode()
            assert message and "\n" not in message, message
        seen.add(status)
    assert 0 in seen and -1 in seen
    print("done", flush=True)


if __name__ == "__main__":
    main()
