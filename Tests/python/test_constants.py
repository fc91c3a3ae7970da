"""What a model computes from constants alone is one weight for its activations, or none; models that are quantized
already say so."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_names import close, run

import cet

RANDOM = np.random.default_rng(11)
X = RANDOM.standard_normal((32, 16)).astype(np.float32)


def weights(*shape, scale=0.3):
    return (RANDOM.standard_normal(shape) * scale).astype(np.float32)


def model(nodes, output=("y", ["N", 8]), *, inputs=(("x", ["N", 16]),), opset=17, domains=(), **constants):
    info = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    graph = helper.make_graph(
        nodes, "g", [info(*entry) for entry in inputs], [info(*output)],
        [numpy_helper.from_array(np.asarray(value), name.replace("__", ".")) for name, value in constants.items()])
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)] + [helper.make_opsetid(d, 1) for d in domains])
    made.ir_version = 10 if opset >= 21 else 8
    return made.SerializeToString()


def node(operator, inputs, output, **attributes):
    return helper.make_node(operator, inputs, [output], **attributes)


TAIL = [node("Tanh", ["a"], "t"), node("MatMul", ["t", "V"], "y")]


def describe(source):
    return cet.inspect(cet.Model(source))


def notes(plan):
    return json.loads(plan.to_json())["notes"]


def compressed(source, inputs=None, bits=8, encoding="planes", **options):
    loaded, data = cet.Model(source), cet.Calibration(inputs or {"x": X})
    plan = cet.plan(loaded, data, target_bits=bits, bits=[bits], loss="mse", encoding=encoding, **options)
    return cet.quantize(loaded, data, plan)


def expect_equal_everywhere(small, inputs=None):
    """The written file computes in onnxruntime what the library says that it computes; gives it."""
    inputs = inputs or {"x": X}
    written = small.to_bytes()
    onnx.checker.check_model(onnx.load_from_string(written))
    assert len(written) == small.plan.summary.file_bytes
    predicted = cet.run(cet.Model(written), inputs)["y"]
    for optimized in (True, False):
        assert close(run(written, optimized, **inputs)[0], predicted)
    return predicted


LORA = dict(W=weights(16, 12), A=weights(16, 2), B=weights(2, 12), V=weights(12, 8))
LORA_NODES = [node("MatMul", ["A", "B"], "AB"), node("Add", ["W", "AB"], "sum"), node("MatMul", ["x", "sum"], "a")]


@pytest.mark.parametrize("encoding", ["planes", "qdq", "float"])
def test_lora_pairAddedToAWeight_isOneWeight(encoding):
    source = model(LORA_NODES + TAIL, **LORA)
    assert [entry["name"] for entry in describe(source)["parameters"]] == ["sum", "V"]
    small = compressed(source, encoding=encoding)
    predicted = expect_equal_everywhere(small)
    expected = np.tanh(X @ (LORA["W"] + LORA["A"] @ LORA["B"])) @ LORA["V"]
    assert np.linalg.norm(predicted - expected) < 0.02 * np.linalg.norm(expected)
    graph = onnx.load_from_string(small.to_bytes()).graph
    assert not {"W", "A", "B"} & {tensor.name for tensor in graph.initializer}
    assert np.abs(small["sum"].dequantize() - (LORA["W"] + LORA["A"] @ LORA["B"])).max() < 0.02


def test_lora_hessianProduct_isThatOfTheFoldedModel():
    folded = model([node("MatMul", ["x", "sum"], "a")] + TAIL, sum=LORA["W"] + LORA["A"] @ LORA["B"], V=LORA["V"])
    v = np.random.default_rng(2).standard_normal(16 * 12 + 12 * 8).astype(np.float32)
    products = [
        cet.Hessian(cet.Model(m), cet.Calibration({"x": X}), loss="mse") @ v for m in (model(LORA_NODES + TAIL, **LORA), folded)]
    assert close(*products)


def test_lora_baseIsReadElsewhereToo_fileStaysTrueWhateverIsKept():
    nodes = LORA_NODES + [node("MatMul", ["x", "W"], "b"), node("Add", ["a", "b"], "c"), node("Tanh", ["c"], "t"), TAIL[1]]
    source = model(nodes, **LORA)
    expected = np.tanh(X @ (2 * LORA["W"] + LORA["A"] @ LORA["B"])) @ LORA["V"]
    for keep in ([], ["sum"], ["W"], ["sum", "W"]):
        small = compressed(source, bits=4, keep=keep)
        # ½‖difference‖², mean over samples: what was measured is what the file does.
        loss = 0.5 * np.sum((expect_equal_everywhere(small).astype(np.float64) - expected) ** 2) / len(X)
        assert abs(loss - small.plan.measured_loss_change) <= 0.01 * loss


def test_lora_behindTranspose_isOneWeightToo():
    nodes = [node("MatMul", ["A", "B"], "AB"), node("Add", ["W", "AB"], "sum"), node("Transpose", ["sum"], "T", perm=[1, 0]),
             node("MatMul", ["x", "T"], "a")]
    source = model(nodes + TAIL, W=weights(12, 16), A=weights(12, 2), B=weights(2, 16), V=weights(12, 8))
    assert [entry["name"] for entry in describe(source)["parameters"]] == ["T", "V"]
    expect_equal_everywhere(compressed(source, bits=4))


def test_lora_pairAlone_staysAndSaysWhy():
    source = model([node("MatMul", ["A", "B"], "AB"), node("MatMul", ["x", "AB"], "a")] + TAIL, A=LORA["A"], B=LORA["B"], V=LORA["V"])
    described = describe(source)
    assert [entry["name"] for entry in described["parameters"]] == ["V"]
    assert described["unplanned"] == [{"name": "AB", "reason": "a product of constants that are smaller than it"}]
    expect_equal_everywhere(compressed(source, bits=4))


@pytest.mark.parametrize("product", [
    [node("Gemm", ["P", "Q"], "k", transB=1)], [node("MatMul", ["P", "Q"], "k")],
    [node("Conv", ["P4", "Q4"], "c"), node("Reshape", ["c", "rows"], "k")]])
def test_productOfConstants_addedToActivations_isNoLayer(product):
    square = weights(12, 12)
    source = model(
        product + [node("MatMul", ["x", "W"], "a0"), node("ReduceMean", ["k"], "m", axes=[0], keepdims=1),
                   node("Add", ["a0", "m"], "a")] + TAIL,
        P=weights(12, 12), Q=square, P4=weights(1, 12, 12, 1), Q4=weights(12, 12, 1, 1), rows=np.array([12, 12]), W=weights(16, 12),
        V=weights(12, 8))
    described = describe(source)
    assert [entry["name"] for entry in described["parameters"]] == ["W", "V"]
    assert described["unplanned"] == [{"name": product[0].output[0], "reason": "a product of constants"}]
    expect_equal_everywhere(compressed(source, bits=4))


def test_computedWeight_inALoopBody_isOneWeight():
    info = lambda name, kind=TensorProto.FLOAT, shape=None: helper.make_tensor_value_info(name, kind, shape)
    body = helper.make_graph(
        [node("Add", ["W", "D"], "sum"), node("MatMul", ["h", "sum"], "u"), node("Tanh", ["u"], "next"), node("Identity", ["c"], "c2")],
        "body", [info("i", TensorProto.INT64, []), info("c", TensorProto.BOOL, []), info("h")],
        [info("c2", TensorProto.BOOL, []), info("next")])
    nodes = [helper.make_node("Loop", ["n", "yes", "x"], ["t"], body=body), TAIL[1]]
    source = model(nodes, n=np.array(3), yes=np.array(True), W=weights(16, 16), D=weights(16, 16), V=weights(16, 8))
    assert [entry["name"] for entry in describe(source)["parameters"]] == ["sum", "V"]
    expect_equal_everywhere(compressed(source, bits=4))


def test_computedWeight_inAFunction_isOneWeight():
    inner = helper.make_function(
        "here", "adapted", ["x", "w", "a", "b"], ["y"],
        [node("MatMul", ["a", "b"], "ab"), node("Add", ["w", "ab"], "s"), node("MatMul", ["x", "s"], "y")], [helper.make_opsetid("", 17)])
    source = onnx.load_from_string(
        model([helper.make_node("adapted", ["x", "W", "A", "B"], ["a"], domain="here")] + TAIL, domains=["here"], **LORA))
    source.functions.append(inner)
    source = source.SerializeToString()
    assert len(describe(source)["parameters"]) == 2
    predicted = expect_equal_everywhere(compressed(source))
    expected = np.tanh(X @ (LORA["W"] + LORA["A"] @ LORA["B"])) @ LORA["V"]
    assert np.linalg.norm(predicted - expected) < 0.02 * np.linalg.norm(expected)


def test_computedTable_ofGather_isOneWeight():
    ids = np.random.default_rng(1).integers(0, 20, (32, 3))
    nodes = [node("Mul", ["E", "s"], "table"), node("Gather", ["table", "ids"], "e"), node("ReduceMean", ["e"], "t", axes=[1], keepdims=0), TAIL[1]]
    table, scale = weights(20, 12), weights(20, 1)
    source = model(nodes, inputs=(), E=table, s=scale, V=weights(12, 8))
    proto = onnx.load_from_string(source)
    proto.graph.input.append(helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", 3]))
    source = proto.SerializeToString()
    assert [entry["name"] for entry in describe(source)["parameters"]] == ["table", "V"]
    expect_equal_everywhere(compressed(source, {"ids": ids}), {"ids": ids})


def test_sixteenBitWeights_computed_keepTheirType():
    half = lambda *shape: weights(*shape).astype(np.float16)
    nodes = [node("Add", ["W", "D"], "sum"), node("Cast", ["sum"], "w32", to=TensorProto.FLOAT), node("MatMul", ["x", "w32"], "a")]
    source = model(nodes + TAIL, W=half(16, 12), D=half(16, 12), V=weights(12, 8))
    expect_equal_everywhere(compressed(source))


# MARK: Files that this library wrote


def chain():
    nodes = [node("MatMul", ["x", "W"], "a"), node("Tanh", ["a"], "b"), node("Transpose", ["U"], "UT", perm=[1, 0]),
             node("MatMul", ["b", "UT"], "c"), node("Tanh", ["c"], "t"), TAIL[1]]
    return model(nodes, W=weights(16, 12), U=weights(12, 12), V=weights(12, 8))


@pytest.mark.parametrize("first", ["planes", "qdq", "float"])
@pytest.mark.parametrize("second", ["planes", "qdq", "float"])
@pytest.mark.parametrize("granularity", ["per-axis", "block:5", "per-tensor"])
def test_ownFile_compressedAgain_isThatOfItsDecodedWeights(first, second, granularity):
    once = compressed(chain(), bits=4, encoding=first, granularity=granularity, keep=["V"])
    written = once.to_bytes()
    described = describe(written)
    assert [(entry["name"], entry["bits"]) for entry in described["quantized"]["own"]] == [("W", 4), ("U", 4)]
    assert described["quantized"]["float_weights"] == 12 * 8
    assert [entry["name"] for entry in described["parameters"]] == ["W", "U", "V"]
    # The same model with the decoded weights as floats, and without any trace of the library, is the judge. The nodes that rotate weights
    # back round as a matrix product does: the last digit is theirs.
    plain = onnx.load_from_string(chain())
    again = onnx.load_from_string(once.to_bytes(encoding="float"))
    del again.metadata_props[:]
    loaded = cet.Model(written)
    decoded = {entry.name: loaded.parameter_vector()[entry.slice].reshape(entry.shape) for entry in loaded.parameters}
    for initializer in again.graph.initializer:
        if initializer.name in decoded:
            values = numpy_helper.to_array(initializer)
            is_rotated = initializer.name in once and (once[initializer.name].trellis_rotation or 1) > 1
            np.testing.assert_allclose(decoded[initializer.name], values, rtol=0, atol=2e-7 * np.abs(values).max() if is_rotated else 0)
            initializer.CopyFrom(numpy_helper.from_array(decoded[initializer.name], initializer.name))
    assert len(plain.graph.node) <= len(again.graph.node)
    expected = compressed(again.SerializeToString(), bits=3, encoding=second, rounding="gptq")
    found = compressed(written, bits=3, encoding=second, rounding="gptq")
    predicted = expect_equal_everywhere(found)
    for name in ("W", "U", "V"):
        np.testing.assert_array_equal(found[name].codes, expected[name].codes)
        np.testing.assert_array_equal(found[name].scale, expected[name].scale)
    assert close(predicted, run(expected.to_bytes(), x=X)[0])
    # Nothing of the first encoding is left.
    sizes = [len(s.to_bytes()) for s in (found, expected)]
    assert abs(sizes[0] - sizes[1]) < 600
    assert any("already quantized" in note for note in notes(found.plan))


def test_ownFile_keptWeightsStayEncoded_andAreRememberedAsOurs():
    once = compressed(chain(), bits=4).to_bytes()
    twice = compressed(once, bits=3, keep=["U"])
    expect_equal_everywhere(twice)
    described = describe(twice.to_bytes())
    assert {entry["name"]: entry["bits"] for entry in described["quantized"]["own"]} == {"W": 3, "U": 4, "V": 3}


def test_ownFile_curvature_isThatOfTheDecodedWeights():
    once = compressed(chain(), bits=4)
    v = np.random.default_rng(2).standard_normal(16 * 12 + 12 * 12 + 12 * 8).astype(np.float32)
    products = [cet.Hessian(cet.Model(once.to_bytes(encoding=e)), cet.Calibration({"x": X}), loss="mse") @ v for e in ("planes", "float")]
    assert close(*products)


# MARK: Files that others quantized


def codes(*shape):
    return RANDOM.integers(-100, 100, shape).astype(np.int8)


def test_othersCodes_underDequantizeLinear_stayAndAreCounted():
    nodes = [node("DequantizeLinear", ["Q", "s", "z"], "W", axis=1), node("MatMul", ["x", "W"], "a")]
    source = model(nodes + TAIL, Q=codes(16, 12), s=np.abs(weights(12)) / 50, z=np.zeros(12, np.int8), V=weights(12, 8))
    described = describe(source)
    assert [entry["name"] for entry in described["parameters"]] == ["V"]
    assert described["quantized"]["others"] == [{"operator": "DequantizeLinear", "tensors": 1, "count": 192}]
    assert described["quantized"]["float_weights"] == 96
    small = compressed(source, bits=4)
    expect_equal_everywhere(small)
    assert any("already quantized" in note for note in notes(small.plan))
    held = {t.name: numpy_helper.to_array(t) for t in onnx.load_from_string(small.to_bytes()).graph.initializer}
    np.testing.assert_array_equal(held["Q"], numpy_helper.to_array(onnx.load_from_string(source).graph.initializer[0]))


def test_othersCodes_nothingIsFloat_compressIsRefusedInOneLine():
    nodes = [node("DequantizeLinear", ["Q", "s", "z"], "W", axis=1), node("MatMul", ["x", "W"], "y")]
    source = model(nodes, Q=codes(16, 8), s=np.abs(weights(8)), z=np.zeros(8, np.int8))
    with pytest.raises(cet.CetError, match="already quantized: 1 constant tensors .128 values. by DequantizeLinear"):
        compressed(source)


@pytest.mark.parametrize("kind", ["codebook of rows", "codebook of scalars", "shifted"])
def test_othersCodes_decodedByArithmetic_stay(kind):
    if kind == "codebook of rows":
        nodes = [node("Gather", ["book", "Q"], "g"), node("Reshape", ["g", "shape"], "W")]
        constants = dict(book=weights(9, 4), Q=RANDOM.integers(0, 9, 48), shape=np.array([16, 12]))
    elif kind == "codebook of scalars":
        nodes = [node("Gather", ["book", "Q"], "W")]
        constants = dict(book=weights(9), Q=RANDOM.integers(0, 9, (16, 12)))
    else:
        nodes = [node("Cast", ["Q"], "f", to=TensorProto.FLOAT), node("Mul", ["f", "s"], "W")]
        constants = dict(Q=codes(16, 12), s=weights(1, 12))
    source = model(nodes + [node("MatMul", ["x", "W"], "a")] + TAIL, V=weights(12, 8), **constants)
    described = describe(source)
    assert [entry["name"] for entry in described["parameters"]] == ["V"]
    assert described["unplanned"][0]["reason"].startswith("already quantized")
    assert "already quantized" in described["quantized"]["summary"]
    expect_equal_everywhere(compressed(source, bits=4))


def test_othersOperators_areNamedAndCounted():
    ms = "com.microsoft"
    nodes = [
        helper.make_node("MatMulBnb4", ["x", "B", "Bs"], ["b"], domain=ms, K=16, N=12, block_size=16, quant_type=1),
        node("QuantizeLinear", ["b", "qs", "qz"], "bq"), node("DequantizeLinear", ["bq", "qs", "qz"], "c"),
        helper.make_node("DynamicQuantizeLinear", ["c"], ["dq", "ds", "dz"]),
        helper.make_node("MatMulInteger", ["dq", "I", "dz"], ["mi"]), node("Cast", ["mi"], "mf", to=TensorProto.FLOAT),
        node("Mul", ["mf", "ds"], "t"), TAIL[1]]
    source = model(
        nodes, domains=[ms], B=RANDOM.integers(0, 255, (12, 1, 8)).astype(np.uint8), Bs=np.abs(weights(12)), qs=np.float32(0.1),
        qz=np.uint8(128), I=codes(12, 12), V=weights(12, 8))
    described = describe(source)
    assert described["quantized"]["others"] == [
        {"operator": "MatMulInteger", "tensors": 1, "count": 144}, {"operator": "com.microsoft.MatMulBnb4", "tensors": 1, "count": 192}]
    assert described["quantized"]["activations"] == ["DynamicQuantizeLinear", "QuantizeLinear"]
    assert described["quantized"]["float_weights"] == 96
    with pytest.raises(cet.CetError, match="already quantized"):
        compressed(source)


def test_inspectText_saysWhatIsQuantized(tool, tmp_path):
    (tmp_path / "once.onnx").write_bytes(compressed(chain(), bits=4, keep=["V"]).to_bytes())
    text = tool("inspect", tmp_path / "once.onnx").stdout
    assert "already quantized: 2 weight tensors (336 weights) by libcet" in text and "4 bits" in text
    # Neither the operators that decode, one of them cet.Trellis, nor the tensors that were made for the file are listed.
    assert not [line for line in text.splitlines() if "cet." in line.split("  ")[0]]
