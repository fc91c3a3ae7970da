"""Weights whose values are extreme: not finite, near the ends of their type, zero."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_constants import TAIL, X, compressed, describe, expect_equal_everywhere, model, node, weights
from test_names import close, run

import cet


def reasons(plan):
    return {tensor.name: tensor.reason for tensor in plan.tensors if tensor.decision == "kept"}


# MARK: Not finite


def attention(mask):
    nodes = [
        node("MatMul", ["x", "Q"], "q"), node("Transpose", ["x"], "k", perm=[0, 2, 1]), node("MatMul", ["q", "k"], "s0"),
        node("Gather", ["mask", "pos"], "m"), node("Add", ["s0", "m"], "s"), node("Softmax", ["s"], "p"), node("MatMul", ["p", "x"], "y")]
    source = onnx.load_from_string(model(nodes, ("y", ["N", 6, 8]), inputs=(("x", ["N", 6, 8]),), Q=weights(8, 8), mask=mask))
    source.graph.input.append(helper.make_tensor_value_info("pos", TensorProto.INT64, ["N", 6]))
    inputs = {"x": np.random.default_rng(1).standard_normal((16, 6, 8)).astype(np.float32), "pos": np.tile(np.arange(6), (16, 1))}
    return source.SerializeToString(), inputs


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("encoding", ["planes", "qdq"])
def test_mask_withInfinities_staysFloatAndSaysWhy(dtype, encoding):
    source, inputs = attention(np.where(np.triu(np.ones((6, 6)), 1), -np.inf, 0).astype(np.float32))
    small = compressed(source, inputs, bits=4, encoding=encoding)
    assert reasons(small.plan) == {"mask": "holds a value that is not finite at [0, 1]"}
    assert {p["name"]: p["kept"] for p in describe(source)["parameters"]} == {
        "Q": None, "mask": "holds a value that is not finite at [0, 1]"}
    expect_equal_everywhere(small, inputs)


@pytest.mark.parametrize("rounding", ["nearest", "gptq", "compensated"])
@pytest.mark.parametrize("granularity", ["per-axis", "per-tensor", "block:4"])
def test_embedding_oneUnusedRowIsNotANumber_staysFloatAndTheRestIsPlanned(rounding, granularity):
    table = weights(20, 12)
    table[7] = np.nan
    ids = np.random.default_rng(1).choice([i for i in range(20) if i != 7], (32, 3))
    source = onnx.load_from_string(model(
        [node("Gather", ["E", "ids"], "e"), node("ReduceMean", ["e"], "t", axes=[1], keepdims=0), TAIL[1]], inputs=(), E=table, V=weights(12, 8)))
    source.graph.input.append(helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", 3]))
    source = source.SerializeToString()
    small = compressed(source, {"ids": ids}, bits=4, rounding=rounding, granularity=granularity)
    assert reasons(small.plan) == {"E": "holds a value that is not finite at [7, 0]"}
    expect_equal_everywhere(small, {"ids": ids})
    v = np.ones(20 * 12 + 12 * 8, np.float32)
    product = cet.Hessian(cet.Model(source), cet.Calibration({"ids": ids}), loss="mse") @ v
    assert np.isfinite(product).all() and np.linalg.norm(product) > 0


@pytest.mark.parametrize("place", ["Conv", "Gemm", "function", "computed", "float16", "bfloat16"])
def test_weight_notFinite_ofAnyKind_staysFloat(place):
    bad = weights(16, 12)
    bad[3, 4] = np.inf
    used = np.zeros((16, 12), np.float32)
    # The bad weight adds nothing: its product is not read by the loss's output … but it is reached by the graph.
    guard = [node("Where", ["never", "bad_out", "a0"], "a")]
    constants = dict(W=weights(16, 12), V=weights(12, 8), never=np.zeros((1, 1), bool))
    nodes, functions, name = [node("MatMul", ["x", "W"], "a0")], [], "B"
    if place == "Conv":
        nodes += [node("Reshape", ["x", "four"], "x4"), node("Conv", ["x4", "B"], "c"), node("Flatten", ["c"], "bad_out")]
        constants |= dict(B=bad.T[:, :, None, None].copy(), four=np.array([-1, 16, 1, 1]))
    elif place == "Gemm":
        nodes += [node("Gemm", ["x", "B"], "bad_out")]
        constants |= dict(B=bad)
    elif place == "function":
        nodes += [helper.make_node("product", ["x", "B"], ["bad_out"], domain="here")]
        functions = [helper.make_function("here", "product", ["x", "w"], ["y"], [node("MatMul", ["x", "w"], "y")], [helper.make_opsetid("", 17)])]
        constants |= dict(B=bad)
    elif place == "computed":
        nodes += [node("Add", ["C", "D"], "B"), node("MatMul", ["x", "B"], "bad_out")]
        constants |= dict(C=bad, D=used)
    else:
        kind = TensorProto.FLOAT16 if place == "float16" else TensorProto.BFLOAT16
        nodes += [node("Cast", ["B"], "b32", to=TensorProto.FLOAT), node("MatMul", ["x", "b32"], "bad_out")]
        constants |= dict(B=bad.astype(np.float16))
    source = onnx.load_from_string(model(nodes + guard + TAIL, domains=["here"] if functions else [], **constants))
    source.functions.extend(functions)
    if place == "bfloat16":
        tensor = next(t for t in source.graph.initializer if t.name == "B")
        tensor.CopyFrom(helper.make_tensor("B", kind, bad.shape, (bad.view(np.uint32) >> 16).astype(np.uint16).tobytes(), raw=True))
    source = source.SerializeToString()
    described = {p["name"]: p["kept"] for p in describe(source)["parameters"]}
    assert [key for key, kept in described.items() if kept] == [name]
    small = compressed(source, bits=4)
    assert "not finite" in reasons(small.plan)[name]
    if place != "bfloat16":
        expect_equal_everywhere(small)


def test_bias_notFinite_isLeftAsItIs():
    bias = np.where(np.arange(8) == 3, -np.inf, 0.1).astype(np.float32)
    nodes = [node("MatMul", ["x", "W"], "a"), node("Tanh", ["a"], "t"), node("Gemm", ["t", "V", "b"], "l"), node("Softmax", ["l"], "y")]
    source = model(nodes, W=weights(16, 12), V=weights(12, 8), b=bias)
    small = compressed(source, bits=4)
    expect_equal_everywhere(small)
    held = {t.name: numpy_helper.to_array(t) for t in onnx.load_from_string(small.to_bytes()).graph.initializer}
    np.testing.assert_array_equal(held["b"], bias)


def test_everyWeight_notFinite_isRefusedWithItsName():
    bad = np.full((16, 8), np.nan, np.float32)
    with pytest.raises(cet.CetError, match="initializer 'W' holds a value that is not finite at .0, 0."):
        compressed(model([node("MatMul", ["x", "W"], "p"), node("Where", ["never", "p", "o"], "y")], W=bad, never=np.zeros((1, 1), bool),
                         o=np.ones((1, 8), np.float32)))
