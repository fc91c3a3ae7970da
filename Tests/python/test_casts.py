"""Cast from every plain type to every other, with NumPy's conversions as the judge."""

import itertools

import numpy as np
import pytest
from onnx import TensorProto, helper

import cet

TYPES = {
    "float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "float16": TensorProto.FLOAT16, "bool": TensorProto.BOOL,
    "int8": TensorProto.INT8, "uint8": TensorProto.UINT8, "int16": TensorProto.INT16, "uint16": TensorProto.UINT16,
    "int32": TensorProto.INT32, "uint32": TensorProto.UINT32, "int64": TensorProto.INT64, "uint64": TensorProto.UINT64,
}


def cast(values, target):
    source = TYPES[values.dtype.name]
    graph = helper.make_graph(
        [helper.make_node("Cast", ["x"], ["y"], to=TYPES[target])], "casts",
        [helper.make_tensor_value_info("x", source, ["n"])], [helper.make_tensor_value_info("y", TYPES[target], ["n"])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return cet.run(cet.Model(model.SerializeToString()), {"x": values})["y"]


def limits(name):
    if name == "bool":
        return 0, 1
    if name.startswith("float"):
        return (-60000, 60000) if name == "float16" else (-2**63, 2**63)
    info = np.iinfo(name)
    return info.min, info.max


@pytest.mark.parametrize("source, target", list(itertools.permutations(TYPES, 2)))
def test_cast_ofWhatBothTypesHold_isNumPys(source, target):
    (low, high), (other_low, other_high) = limits(source), limits(target)
    low, high = max(low, other_low), min(high, other_high)
    edge = 0 if np.dtype(source).kind == "f" or np.dtype(target).kind == "f" else 1
    # More than are converted at once, and a remainder.
    inside = np.random.default_rng(1).integers(max(low, -2**15), min(high, 2**15), 3 * 256 + 17, endpoint=True)
    values = [int(v) for v in inside] + ([low, high] if edge else [])
    x = np.array(values, dtype=source)
    if np.dtype(source).kind == "f" and target not in ("bool", "float32", "float64", "float16"):
        x = x + np.array(0.25, source) * (np.abs(x) < 100)  # truncated
    got = cast(x, target)
    assert got.dtype == np.dtype(target)
    np.testing.assert_array_equal(got, x.astype(target))


@pytest.mark.parametrize("target", ["float32", "float64"])
def test_cast_ofTheLargestUnsignedNumbers_isPositive(target):
    """Of 64 bits, where a signed number of as many bits would be negative; rounded once."""
    x = np.array([2**64 - 1, 2**63, 2**63 + 2**39 + 1, 2**53 + 1, 7], dtype=np.uint64)
    np.testing.assert_array_equal(cast(x, target), x.astype(target))
