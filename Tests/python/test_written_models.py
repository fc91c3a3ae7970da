"""Files that the writer made, judged by the onnx package and by ONNX Runtime.

    CET_WRITTEN_MODELS=DIR swift test --filter writtenModels
    CET_WRITTEN_MODELS=DIR pytest Tests/python/test_written_models.py
"""
import os
import pathlib

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

WRITTEN = os.environ.get("CET_WRITTEN_MODELS")
FIXTURES = pathlib.Path(__file__).parent.parent / "Fixtures"
pytestmark = pytest.mark.skipif(not WRITTEN, reason="CET_WRITTEN_MODELS names no folder")
FILES = sorted(pathlib.Path(WRITTEN or "/nonexistent").glob("*.onnx"))
SAME = {
    "nothing": "onnx/linear", "external": "onnx/external/model", "branches": "onnx/branches", "digits": "digits_cnn/model",
    "digits21": "digits_cnn/model_opset21", "whole": "digits_cnn/model",
}


def run(model, seed=0, as_written=False):
    """Outputs for random inputs that follow from the model's input descriptions. `as_written` runs the graph's
    own nodes: ONNX Runtime otherwise fuses int4 DequantizeLinear and MatMul into a kernel that rounds activations."""
    options = ort.SessionOptions()
    if as_written:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(seed)
    feeds = {}
    for item in session.get_inputs():
        shape = [size if isinstance(size, int) else 3 for size in item.shape]
        if item.type == "tensor(int64)":
            feeds[item.name] = rng.integers(0, 2, shape)
        else:
            feeds[item.name] = rng.standard_normal(shape).astype(np.float32)
    return session.run(None, feeds)


def same(first, second):
    assert len(first) == len(second)
    for x, y in zip(first, second):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


def with_weights(fixture, **weights):
    """The fixture with other initializers, edited by the onnx package."""
    model = onnx.load(FIXTURES / f"{fixture}.onnx")
    for name, value in weights.items():
        for tensor in model.graph.initializer:
            if tensor.name == name:
                tensor.CopyFrom(onnx.numpy_helper.from_array(np.asarray(value, np.float32), name))
    return model.SerializeToString()


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_every_file_passes_the_checker_and_loads(path):
    onnx.load(path)
    onnx.checker.check_model(str(path), full_check=True)
    ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name,fixture", SAME.items())
def test_unedited_models_compute_the_same(name, fixture):
    same(run(pathlib.Path(WRITTEN) / f"{name}.onnx"), run(FIXTURES / f"{fixture}.onnx"))


def int4(i):
    return i % 8 if i < 10 else -(i % 8)


WEIGHTS = {
    "changed": ("onnx/linear", np.float32(0.01) * np.arange(20, dtype=np.float32).reshape(4, 5)),
    "changed_old": ("onnx/old_ir", np.float32(0.01) * np.arange(20, dtype=np.float32).reshape(4, 5)),
    "int4": ("onnx/linear", np.array([int4(i) for i in range(20)]).reshape(4, 5) * np.array([0.5, 0.25, 0.125, 1, 2])),
    "int4_tied": ("onnx/tied", np.array([int4(i) for i in range(20)]).reshape(4, 5) * np.array([0.5, 0.25, 0.125, 1, 2])),
    "bytes": ("onnx/linear", (np.arange(20).reshape(4, 5) * 12 - 128) * np.float32(0.01)),
    "bytes_old": ("onnx/old_ir", (np.arange(20).reshape(4, 5) * 12 - 128) * np.float32(0.01)),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_edited_weights_compute_what_they_should(name):
    fixture, weight = WEIGHTS[name]
    same(run(pathlib.Path(WRITTEN) / f"{name}.onnx", as_written=True), run(with_weights(fixture, w=weight)))


def test_replaced_node_computes_what_it_should():
    expected = run(FIXTURES / "onnx/linear.onnx")
    same(run(pathlib.Path(WRITTEN) / "nodes.onnx"), [np.maximum(expected[0], -0.5)])


def test_constant_turned_initializer_computes_what_it_should():
    model = onnx.load(FIXTURES / "onnx/constants.onnx")
    weight = np.float32(0.1) * np.arange(16, dtype=np.float32).reshape(4, 4)
    model.graph.node[0].attribute[0].t.CopyFrom(onnx.numpy_helper.from_array(weight))
    same(run(pathlib.Path(WRITTEN) / "constant.onnx"), run(model.SerializeToString()))


def test_split_model_computes_what_it_should():
    expected = onnx.load(FIXTURES / "onnx/external/model.onnx")
    for tensor in expected.graph.initializer:
        if tensor.name == "w":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.float32(0.5) * np.arange(16, dtype=np.float32).reshape(4, 4), "w"))
    same(run(pathlib.Path(WRITTEN) / "split.onnx"), run(expected.SerializeToString()))
    loaded = onnx.load(pathlib.Path(WRITTEN) / "split.onnx")
    unused = next(t for t in loaded.graph.initializer if t.name == "unused")
    assert (onnx.numpy_helper.to_array(unused) == np.arange(8192)).all()


REAL = [p for p in FILES if p.name.startswith("real")]


@pytest.mark.parametrize("path", REAL, ids=lambda p: p.name)
def test_real_models_compute_what_they_should(path):
    source = path.with_name(path.name.split(".")[0] + ".source").read_text()
    original = onnx.load(source)
    if ".same." in path.name:
        assert path.read_bytes() == pathlib.Path(source).read_bytes()
        return
    for tensor in original.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) >= 2:
            w = onnx.numpy_helper.to_array(tensor)
            scale = np.maximum(np.abs(w).max() / np.float32(127), np.float32(1e-9))
            code = np.trunc(w / scale + np.copysign(np.float32(0.5), w))  # away from zero, as Swift rounds
            tensor.CopyFrom(onnx.numpy_helper.from_array((code * scale).astype(np.float32), tensor.name))
    same(run(path), run(original.SerializeToString()))
