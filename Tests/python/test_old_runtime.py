"""The oldest onnxruntime that files are promised for, 1.20.1, opens exactly the files of which the library says so, and computes what
the dequantized model computes."""

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from conftest import ROOT
from onnx import helper, numpy_helper

import cet

RANDOM = np.random.default_rng(0)
OLD = ROOT / ".venv" / "old-runtime"
INPUTS = {
    "ids": RANDOM.integers(0, 50, (32, 6)).astype(np.int64),
    "x": RANDOM.standard_normal((32, 8, 9)).astype(np.float32),
    "image": RANDOM.standard_normal((32, 6, 12, 12)).astype(np.float32),
}
ENCODINGS = {"planes": [1, 2, 3, 4, 5, 6, 7, 8], "qdq": [2, 3, 4, 5, 8], "ort": [2, 3, 4, 8]}
GRANULARITIES = [None, "per-tensor", "block:32"]

pytestmark = pytest.mark.skipif(not (OLD / "installed").exists(), reason="onnxruntime 1.20.1 is not installed (tools/setup.sh tests)")


def weight(name, *shape):
    return numpy_helper.from_array((RANDOM.standard_normal(shape) * 0.2).astype(np.float32), name)


def made(nodes, initializers, name, *shape):
    kind = 7 if name == "ids" else 1
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(name, kind, ["N", *shape])], [helper.make_tensor_value_info("y", 1, ["N", 5])],
        initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def text():
    node = helper.make_node
    return made(
        [node("Gather", ["E", "ids"], ["e"]), node("MatMul", ["e", "W"], ["a"]), node("Tanh", ["a"], ["t"]),
         node("ReduceMean", ["t"], ["r"], axes=[1], keepdims=0), node("Gemm", ["r", "G", "g"], ["z"], transB=1),
         node("Relu", ["z"], ["zz"]), node("Gemm", ["zz", "H"], ["y"])],
        [weight("E", 50, 96), weight("W", 96, 200), weight("G", 130, 200), weight("g", 130), weight("H", 130, 5)], "ids", 6)


def images():
    node = helper.make_node
    return made(
        [node("Conv", ["image", "A", "a"], ["c"], pads=[1, 1, 1, 1]), node("Relu", ["c"], ["d"]),
         node("Conv", ["d", "D"], ["e"], group=32, strides=[2, 2]), node("ConvTranspose", ["e", "T", "t"], ["f"]),
         node("GlobalAveragePool", ["f"], ["p"]), node("Flatten", ["p"], ["q"]), node("Gemm", ["q", "H"], ["y"])],
        [weight("A", 32, 6, 3, 3), weight("a", 32), weight("D", 32, 1, 3, 3), weight("T", 32, 20, 3, 3), weight("t", 20),
         weight("H", 20, 5)], "image", 6, 12, 12)


def sequences():
    """LSTM has the steps first: its input is transposed."""
    node = helper.make_node
    return made(
        [node("Transpose", ["x"], ["xt"], perm=[1, 0, 2]), node("LSTM", ["xt", "W", "R", "B"], ["", "h"], hidden_size=16),
         node("Squeeze", ["h", "zero"], ["s"]), node("MatMul", ["s", "H"], ["y"])],
        [weight("W", 1, 64, 9), weight("R", 1, 64, 16), weight("B", 1, 128), numpy_helper.from_array(np.array([0]), "zero"),
         weight("H", 16, 5)], "x", 8, 9)


def dequantized(content, quantized):
    """The original with decoded weights and corrected biases, by the onnx package."""
    model = onnx.load_model_from_string(content)
    values = {name: quantized[name].dequantize() for name, bits in quantized.plan.bits.items() if bits < 32}
    values.update({correction.name: correction.values for correction in quantized.corrections if not correction.added})
    for initializer in model.graph.initializer:
        if initializer.name in values:
            shaped = np.asarray(values[initializer.name], np.float32).reshape(tuple(initializer.dims))
            initializer.CopyFrom(numpy_helper.from_array(shaped, initializer.name))
    return model.SerializeToString()


def test_files_open_where_inspect_says_and_compute_what_the_dequantized_weights_compute(tmp_path):
    expected, oldest = {}, {}
    for kind, (name, content) in {"text": ("ids", text()), "images": ("image", images()), "sequences": ("x", sequences())}.items():
        model, feeds = cet.Model(content), {name: INPUTS[name]}
        data = cet.Calibration(feeds)
        for encoding, widths in ENCODINGS.items():
            for bits in widths:
                for granularity in GRANULARITIES:
                    for coding in ["affine", "trellis"] if encoding == "planes" and granularity is None else ["affine"]:
                        if bits == 1 and coding == "affine":
                            continue
                        case = f"{kind} {encoding} {bits} {granularity} {coding}".replace(":", "-")
                        plan = cet.plan(
                            model, data, bits=[bits], target_bits=bits, encoding=encoding, granularity=granularity, coding=coding,
                            rounding="nearest")
                        small = cet.quantize(model, data, plan)
                        written = small.to_bytes()
                        (tmp_path / f"{case}.onnx").write_bytes(written)
                        oldest[case] = cet.inspect(cet.Model(written))["oldest_runtime"]
                        session = ort.InferenceSession(dequantized(content, small), providers=["CPUExecutionProvider"])
                        expected[case] = session.run(None, feeds)[0]
    np.savez(tmp_path / "inputs.npz", **INPUTS)
    environment = {**os.environ, "PYTHONPATH": str(OLD), "ORT_DISABLE_TELEMETRY": "1"}
    subprocess.run([sys.executable, ROOT / "Tests/python/run_old_runtime.py", tmp_path], env=environment, check=True)
    messages = json.loads((tmp_path / "messages.json").read_text())
    assert messages.pop("version") == "1.20.1"
    assert {case for case, runtime in oldest.items() if runtime != "ort-1.20"} == set(messages), messages
    # Codes of 2 bits, in a type or in a kernel, came later, and so did kernels of 8 bits; nothing else is held back.
    assert all(" qdq 2 " in case or " ort 2 " in case or " ort 8 " in case for case in messages), messages
    far = {}
    for case in oldest.keys() - messages.keys():
        found = np.load(tmp_path / f"{case}.npy")
        error = np.abs(found - expected[case]).max() / np.abs(expected[case]).max()
        if not error < 1e-5:
            far[case] = error
    assert not far
    assert len(oldest) - len(messages) > 100
