"""Symmetric codes: signed integers around 0, without zero points, in every encoding."""

import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from dequantized_model import dequantized
from onnx import helper, numpy_helper
from test_kernels import IDS, compressed, operators, session_output, text_model

import cet

SIGNED = {onnx.TensorProto.INT2: 2, onnx.TensorProto.INT4: 4, onnx.TensorProto.INT8: 8}
RANDOM = np.random.default_rng(3)


def image_model():
    """Convolutions, one of them depthwise and one transposed, a product behind; every weight leans to one side."""
    def weight(name, *shape):
        return numpy_helper.from_array((RANDOM.standard_normal(shape) * 0.2 + 0.05).astype(np.float32), name)

    node = helper.make_node
    nodes = [
        node("Conv", ["x", "C", "c"], ["a"], pads=[1] * 4), node("Relu", ["a"], ["ra"]), node("Conv", ["ra", "D"], ["d"], group=6),
        node("ConvTranspose", ["d", "T"], ["t"]), node("GlobalAveragePool", ["t"], ["p"]), node("Flatten", ["p"], ["f"]),
        node("Gemm", ["f", "G", "g"], ["y"], transB=1),
    ]
    initializers = [
        weight("C", 6, 3, 3, 3), weight("c", 6), weight("D", 6, 1, 3, 3), weight("T", 6, 8, 2, 2), weight("G", 5, 8), weight("g", 5)]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, ["N", 3, 8, 8])], [helper.make_tensor_value_info("y", 1, ["N", 5])], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


MODELS = {
    "text": (text_model(), {"ids": IDS}),
    "image": (image_model(), {"x": RANDOM.standard_normal((40, 3, 8, 8)).astype(np.float32)}),
}


def exact_session(content):
    """Of DequantizeLinear in front of a product onnxruntime makes a kernel of integers, which is another model."""
    options = ort.SessionOptions()
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("granularity", ["per-axis", "per-tensor", "block:16"])
@pytest.mark.parametrize("encoding", ["planes", "qdq", "ort", "float"])
@pytest.mark.parametrize("bits", [2, 3, 4, 5, 8])
def test_files_without_zero_points_give_the_dequantized_model(name, granularity, encoding, bits):
    content, feeds = MODELS[name]
    small = compressed(
        content, feeds, bits=[bits], target_bits=bits, granularity=granularity, encoding=encoding, coding="symmetric")
    written = small.to_bytes()
    assert small.plan.summary.coding == "symmetric"
    for tensor in small:
        assert tensor.coding == "symmetric"
        assert set(tensor.zero_point.tolist()) == {1 << (bits - 1)}
    expected = session_output(dequantized(content, small), feeds)
    (found,) = exact_session(written).run(None, feeds)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(cet.run(cet.Model(written), feeds)["y"], expected, atol=1e-5 * np.abs(expected).max())
    assert small.plan.summary.file_bytes == len(written)
    model = onnx.load_model_from_string(written)
    # OpenVINO does not run kernels of 2 bits without.
    has_zero_points = encoding == "ort" and bits == 2 and bool(operators(written))
    assert any(".cet.zero" in tensor.name for tensor in model.graph.initializer) == has_zero_points
    if encoding == "qdq":
        types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
        products = [node for node in model.graph.node if node.op_type == "DequantizeLinear"]
        assert len(products) == len(list(small))
        assert all(len(node.input) == 2 for node in products)
        assert all(SIGNED[types[node.input[0]]] >= bits for node in products)


@pytest.mark.parametrize("bits", [4, 8])
def test_kernels_take_symmetric_codes(bits):
    content, feeds = MODELS["text"]
    written = compressed(content, feeds, bits=[bits], target_bits=bits, coding="symmetric").to_bytes()
    assert operators(written) == ["GatherBlockQuantized"] + ["MatMulNBits"] * 4
    for node in onnx.load_model_from_string(written).graph.node:
        if node.domain:
            assert len(node.input) == 3


def test_grids_without_zero_points_are_smaller_and_lose_more():
    content, feeds = MODELS["image"]
    sizes, errors = [], []
    for coding in ("affine", "symmetric"):
        small = compressed(content, feeds, bits=[3], target_bits=3, coding=coding, encoding="qdq", granularity="block:16")
        sizes.append(len(small.to_bytes()))
        errors.append(sum(np.square(tensor.dequantize() - original).sum() for tensor, original in pairs(content, small)))
    assert sizes[1] < sizes[0]
    assert errors[0] < errors[1] < 4 * errors[0]


def pairs(content, small):
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load_model_from_string(content).graph.initializer}
    return [(tensor, weights[tensor.name]) for tensor in small]


def test_plans_states_and_other_encodings_keep_the_coding(tmp_path):
    content, feeds = MODELS["text"]
    model, data = cet.Model(content), cet.Calibration(feeds)
    plan = cet.plan(model, data, target_bits=4, coding="symmetric")
    again = cet.Plan.from_json(plan.to_json())
    assert again.to_json() == plan.to_json()
    assert {tensor.coding for tensor in again.tensors if tensor.bits < 32} == {"symmetric"}
    small = cet.quantize(model, data, again)
    small.save_state(tmp_path / "state")
    loaded = cet.Quantized.load_state(model, tmp_path / "state")
    assert loaded.to_bytes() == small.to_bytes()
    # What compensated rounding made is in every file alike.
    expected = session_output(small.to_bytes(encoding="float"), feeds)
    for encoding in ("planes", "qdq", "ort"):
        (found,) = exact_session(small.to_bytes(encoding=encoding)).run(None, feeds)
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    as_qdq = cet.quantize(model, data, plan, encoding="qdq")
    assert {tensor.coding for tensor in as_qdq} == {"symmetric"}
    assert b".cet.zero" not in as_qdq.to_bytes()


def test_one_bit_is_refused():
    content, feeds = MODELS["text"]
    with pytest.raises(cet.InvalidArgument, match="1 bit needs trellis codes"):
        compressed(content, feeds, bits=[1], target_bits=1, coding="symmetric")


def test_tool_writes_signed_weights_of_the_size_it_said(tool, digits, tmp_path):
    command = [
        "compress", str(digits / "model.onnx"), "small.onnx", "--data", str(digits / "calibration.npz"), "--samples", "32", "--target-bits", "6",
        "--bits", "4,8", "--encoding", "qdq", "--coding", "symmetric", "--json"]
    said = json.loads(tool(*command, "--dry-run", cwd=tmp_path).stdout)
    tool(*command, cwd=tmp_path)
    assert said["bytes"]["file"] == (tmp_path / "small.onnx").stat().st_size
    types = {tensor.data_type for tensor in onnx.load(tmp_path / "small.onnx").graph.initializer}
    assert types & {onnx.TensorProto.INT4, onnx.TensorProto.INT8} and not types & {onnx.TensorProto.UINT4, onnx.TensorProto.UINT8}


@pytest.mark.parametrize("coding", ["affine", "symmetric"])
@pytest.mark.parametrize("granularity", ["per-axis", "block:16"])
def test_weights_behind_identity_beside_codes_of_activations(coding, granularity):
    """onnxruntime takes Identity out, and then makes a kernel of integers, which has no blocks."""
    node = helper.make_node
    values = [numpy_helper.from_array((RANDOM.standard_normal(shape) * 0.3).astype(np.float32), name) for name, shape in (("A", (64, 48)), ("B", (48, 5)))]
    graph = helper.make_graph(
        [node("Identity", ["A"], ["a"]), node("MatMul", ["x", "a"], ["h"]), node("Tanh", ["h"], ["t"]), node("MatMul", ["t", "B"], ["y"])], "g",
        [helper.make_tensor_value_info("x", 1, ["N", 64])], [helper.make_tensor_value_info("y", 1, ["N", 5])], values)
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10).SerializeToString()
    feeds = {"x": RANDOM.standard_normal((64, 64)).astype(np.float32)}
    written = compressed(
        content, feeds, bits=[8], target_bits=8, granularity=granularity, encoding="qdq", coding=coding, activations=8).to_bytes()
    plain = ort.SessionOptions()
    plain.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    expected = ort.InferenceSession(written, plain, providers=["CPUExecutionProvider"]).run(None, feeds)[0]
    for rows in (1, 64):
        found = session_output(written, {"x": feeds["x"][:rows]})
        np.testing.assert_allclose(found, expected[:rows], atol=0.01 * np.abs(expected).max())
