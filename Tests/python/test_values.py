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


# MARK: Near the ends of the type


def half(values, kind):
    """float32 as the 16-bit type, and the tensor for a model."""
    if kind == TensorProto.FLOAT16:
        stored = values.astype(np.float16)
        return stored.astype(np.float32), numpy_helper.from_array(stored, "W")
    bits = values.astype(np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return (rounded.astype(np.uint32) << 16).view(np.float32), helper.make_tensor("W", kind, values.shape, rounded.tobytes(), raw=True)


EXTREMES = [
    (TensorProto.FLOAT16, 1e-6), (TensorProto.FLOAT16, 2e-7), (TensorProto.FLOAT16, 5e-5), (TensorProto.FLOAT16, 15000.0),
    (TensorProto.FLOAT16, 65504.0), (TensorProto.BFLOAT16, 1e-37), (TensorProto.BFLOAT16, 1e37), (TensorProto.BFLOAT16, 1e-30),
    (TensorProto.BFLOAT16, 3e38), (TensorProto.FLOAT, 1e-37), (TensorProto.FLOAT, 1e-30), (TensorProto.FLOAT, 1e-25), (TensorProto.FLOAT, 1e-20),
    (TensorProto.FLOAT, 1e20), (TensorProto.FLOAT, 1e30), (TensorProto.FLOAT, 3.4e38)]


def extreme(kind, scale):
    """tanh(x · W / scale) · V with weights of the size `scale`, the largest exactly that; and W / scale."""
    random = np.random.default_rng(7)
    unit = random.standard_normal((16, 12)).astype(np.float64) * 0.3
    unit /= np.abs(unit).max() if scale > 1e4 and kind == TensorProto.FLOAT16 or scale > 2e38 else 1
    unit[:, 5] = 0
    values = (unit * scale).astype(np.float32)
    tensor = numpy_helper.from_array(values, "W")
    if kind != TensorProto.FLOAT:
        values, tensor = half(values, kind)
    # x / √scale and then / √scale again, so that nothing on the way leaves float32. Vectors: onnxruntime would make one
    # number of two scalars.
    root = np.float32(np.sqrt(scale))
    nodes = [node("Div", ["x", "before"], "xs"), node("Cast", ["W"], "w32", to=TensorProto.FLOAT), node("MatMul", ["xs", "w32"], "p"),
             node("Div", ["p", "behind"], "a")]
    source = onnx.load_from_string(model(nodes + TAIL, before=np.full(16, root), behind=np.full(12, root), V=weights(12, 8)))
    source.graph.initializer.append(tensor)
    return source.SerializeToString(), values.astype(np.float64) / scale


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("kind, scale", EXTREMES)
def test_extremeWeights_everyWidth_fileHoldsWhatWasMeasured(kind, scale, bits):
    source, unit = extreme(kind, scale)
    for encoding in ("planes", "qdq", "float") if bits in (3, 8) else ("planes",):
        small = compressed(source, bits=bits, encoding=encoding, keep=["V"])
        written = small.to_bytes()
        onnx.checker.check_model(onnx.load_from_string(written))
        predicted = cet.run(cet.Model(written), {"x": X})["y"]
        assert np.isfinite(predicted).all()
        for optimized in (True, False):
            assert close(run(written, optimized, x=X)[0], predicted)
        expected = cet.run(cet.Model(source), {"x": X})["y"]
        loss = 0.5 * np.sum((predicted.astype(np.float64) - expected) ** 2) / len(X)
        assert abs(loss - small.plan.measured_loss_change) <= 1e-3 * loss + 1e-9
        if bits == 8:
            error = np.linalg.norm(predicted - expected) / np.linalg.norm(expected)
            assert error < (0.2 if kind == TensorProto.FLOAT16 and scale < 1e-6 else 0.02)


@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_halfPrecisionModel_addedBias_isThatOfTheFile(scale):
    w = (np.random.default_rng(7).standard_normal((16, 12)) * 0.9 * scale).astype(np.float16)
    nodes = [node("Cast", ["x"], "xh", to=TensorProto.FLOAT16), node("MatMul", ["xh", "W"], "ah"), node("Cast", ["ah"], "af", to=TensorProto.FLOAT),
             node("Mul", ["af", "big"], "a"), node("Tanh", ["a"], "y")]
    source = model(nodes, ("y", ["N", 12]), W=w, big=np.float32(1 / scale))
    for bits in (2, 4, 8):
        small = compressed(source, bits=bits, rounding="gptq")
        written = small.to_bytes()
        expected = np.tanh(X @ w.astype(np.float32) / np.float32(scale))
        found = run(written, x=X)[0]
        error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        assert error < {2: 0.6, 4: 0.2, 8: 0.06}[bits]


@pytest.mark.parametrize("granularity", ["per-axis", "per-tensor", "block:3"])
@pytest.mark.parametrize("rounding", ["nearest", "gptq", "compensated"])
def test_zeroWeights_rowsAndWhole_stayZero(granularity, rounding):
    w, v = weights(16, 12), np.zeros((12, 8), np.float32)
    w[:, ::3] = 0
    small = compressed(model([node("MatMul", ["x", "W"], "a")] + TAIL, W=w, V=v), bits=2, granularity=granularity, rounding=rounding)
    expect_equal_everywhere(small)
    if granularity != "per-tensor":
        assert not small["W"].dequantize()[:, ::3].any()
    assert not small["V"].dequantize().any()
