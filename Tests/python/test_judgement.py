"""What `inspect` promises `compress` does: both judge alike, over the node cases of ONNX and models of special kinds."""

import pathlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_constants import TAIL, X, compressed, describe, expect_equal_everywhere, model, node, notes, weights
from test_names import close, run

import cet


def judged(source):
    found = describe(source)["compress"]
    return found["status"], found["reason"]


def outcome(source, inputs):
    """The error of compressing a model with these samples, or None."""
    try:
        loaded, data = cet.Model(source), cet.Calibration(inputs)
        plan = cet.plan(loaded, data, target_bits=8, bits=[8], loss="mse", rounding="nearest")
        cet.quantize(loaded, data, plan).to_bytes()
    except cet.CetError as error:
        return error
    return None


def expect_agreement(source, inputs):
    status, reason = judged(source)
    error = outcome(source, inputs)
    if status == "yes":
        # Values of the data are not the model's.
        assert error is None or isinstance(error, cet.NumericError), f"promised, but: {error}"
    elif status == "no":
        assert error is not None, f"refused without need: {reason}"
        # Of several reasons, and of what is wrong with the data, either may be named.
        others = isinstance(error, cet.NumericError) or "input 'cet_x'" in str(error) or "float32 output" in reason
        assert others or reason.split(": ")[-1] in str(error), f"{reason} against {error}"
    return status


FOLDERS = [pathlib.Path(onnx.__file__).parent / "backend/test/data/node", pathlib.Path("/usr/share/libonnx-testdata/data/node")]
FOLDER = next((folder for folder in FOLDERS if folder.is_dir()), FOLDERS[0])
CASES = sorted(path.name for path in FOLDER.iterdir() if (path / "test_data_set_0").is_dir()) if FOLDER.is_dir() else []


def behind_a_layer(name):
    """The node case `name` with a layer in front of its first float input; its other inputs are initializers."""
    proto = onnx.load(FOLDER / name / "model.onnx")
    folder = FOLDER / name / "test_data_set_0"
    arrays = {}
    for index, info in enumerate(proto.graph.input):
        if not info.type.HasField("tensor_type"):
            return None
        tensor = onnx.TensorProto()
        tensor.ParseFromString((folder / f"input_{index}.pb").read_bytes())
        arrays[info.name] = numpy_helper.to_array(tensor)
    first = next((n for n, a in arrays.items() if a.dtype == np.float32 and a.ndim >= 1 and a.shape[-1] > 0 and a.size), None)
    if first is None:
        return None
    random = np.random.default_rng(3)
    size = arrays[first].shape[-1]
    layer = np.eye(size, dtype=np.float32) + 0.01 * random.standard_normal((size, size)).astype(np.float32)
    kept = [info for info in proto.graph.input if info.name == first]
    for info in kept:
        info.name = "cet_x"
    del proto.graph.input[:]
    proto.graph.input.extend(kept)
    proto.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in arrays.items() if n != first and n)
    proto.graph.initializer.append(numpy_helper.from_array(layer, "cet_w"))
    proto.graph.node.insert(0, helper.make_node("MatMul", ["cet_x", "cet_w"], [first]))
    if not any(o.domain in ("", "ai.onnx") for o in proto.opset_import):
        proto.opset_import.append(helper.make_opsetid("", 21))
    return proto.SerializeToString(), {"cet_x": arrays[first]}


def test_nodeCases_behindALayer_inspectAndCompressAgree():
    counts, failures = {}, []
    for name in CASES:
        made = behind_a_layer(name)
        if made is None:
            continue
        try:
            cet.Model(made[0])
        except cet.InvalidModel:
            continue
        try:
            status = expect_agreement(*made)
            counts[status] = counts.get(status, 0) + 1
        except AssertionError as error:
            failures.append(f"{name}: {error}")
    assert not failures, f"{len(failures)} of {sum(counts.values())}:\n" + "\n".join(failures)
    assert not CASES or counts["yes"] > 300


# MARK: Control flow


def conditional(condition, **more):
    info = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
    then = helper.make_graph([node("Tanh", ["a"], "o")], "then", [], [info("o")])
    other = helper.make_graph([node("Sigmoid", ["a"], "o2")], "else", [], [info("o2")])
    nodes = [node("MatMul", ["x", "W"], "a")] + condition + [
        helper.make_node("If", ["c"], ["t"], then_branch=then, else_branch=other), TAIL[1]]
    return model(nodes, W=weights(16, 12), V=weights(12, 8), **more)


def test_conditionFromActivations_isNotPromised():
    source = conditional([node("ReduceSum", ["a"], "s", keepdims=0), node("Greater", ["s", "zero"], "c")], zero=np.float32(0))
    status, reason = judged(source)
    assert status == "no" and "depends on the data" in reason and "If" in reason
    assert expect_agreement(source, {"x": X}) == "no"


def test_conditionFromAnInteger_needsData():
    source = onnx.load_from_string(conditional([node("Greater", ["n", "zero"], "c")], zero=np.int64(0)))
    source.graph.input.append(helper.make_tensor_value_info("n", TensorProto.INT64, []))
    source = source.SerializeToString()
    assert judged(source)[0] == "needs data"
    assert outcome(source, {"x": X, "n": np.array(1)}) is None


def test_constantCondition_isPromisedAndKept():
    source = conditional([node("Identity", ["yes"], "c")], yes=np.array(True))
    assert expect_agreement(source, {"x": X}) == "yes"


def test_loopWhoseConditionComesFromActivations_isNotPromised():
    info = lambda name, kind=TensorProto.FLOAT, shape=None: helper.make_tensor_value_info(name, kind, shape)
    body = helper.make_graph(
        [node("Tanh", ["h"], "next"), node("ReduceSum", ["next"], "s", keepdims=0), node("Greater", ["s", "zero"], "c2")], "body",
        [info("i", TensorProto.INT64, []), info("c", TensorProto.BOOL, []), info("h")], [info("c2", TensorProto.BOOL, []), info("next")])
    nodes = [node("MatMul", ["x", "W"], "a"), helper.make_node("Loop", ["n", "yes", "a"], ["t"], body=body), TAIL[1]]
    source = model(nodes, n=np.array(3), yes=np.array(True), zero=np.float32(0), W=weights(16, 12), V=weights(12, 8))
    assert expect_agreement(source, {"x": X}) == "no"


def test_nonMaxSuppressionOfActivations_isNotPromised():
    nodes = [
        node("MatMul", ["x", "W"], "a"), node("Reshape", ["a", "boxes_shape"], "boxes"), node("ReduceSum", ["boxes", "last"], "s", keepdims=0),
        node("Unsqueeze", ["s", "one"], "scores"), node("NonMaxSuppression", ["boxes", "scores", "k"], "picked"),
        node("Cast", ["picked"], "y", to=TensorProto.FLOAT)]
    source = model(nodes, ("y", None), W=weights(16, 12), boxes_shape=np.array([-1, 3, 4]), last=np.array([2]), one=np.array([1]), k=np.array([2]))
    assert expect_agreement(source, {"x": X}) == "no"


def test_outputOfIntegers_isNotPromised():
    source = onnx.load_from_string(model([node("MatMul", ["x", "W"], "a"), node("ArgMax", ["a"], "y", axis=1)], W=weights(16, 8)))
    source.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    assert expect_agreement(source.SerializeToString(), {"x": X}) == "no"


# MARK: Sparse tensors


def sparse(dense, name, linear):
    places = np.flatnonzero(dense)
    indices = places if linear else np.stack(np.unravel_index(places, dense.shape), axis=1)
    return helper.make_sparse_tensor(
        numpy_helper.from_array(dense.ravel()[places], name), numpy_helper.from_array(indices.astype(np.int64), name + "_indices"), dense.shape)


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("keep", [[], ["W"]])
def test_sparseInitializer_isAWeightLikeOthers(linear, keep):
    dense = weights(16, 12)
    dense[np.abs(dense) < 0.3] = 0
    bias = np.where(np.arange(12) % 3 == 0, 0.5, 0).astype(np.float32)
    plain = model([node("MatMul", ["x", "W"], "p"), node("Add", ["p", "b"], "a")] + TAIL, W=dense, b=bias, V=weights(12, 8))
    source = onnx.load_from_string(plain)
    for name, value in (("W", dense), ("b", bias)):
        held = next(t for t in source.graph.initializer if t.name == name)
        source.graph.initializer.remove(held)
        source.graph.sparse_initializer.append(sparse(value, name, linear))
    source = source.SerializeToString()
    assert close(cet.run(cet.Model(source), {"x": X})["y"], run(plain, x=X)[0])
    assert judged(source)[0] == "yes"
    small = compressed(source, bits=4, keep=keep)
    predicted = expect_equal_everywhere(small)
    judge = compressed(plain, bits=4, keep=keep)
    assert close(predicted, run(judge.to_bytes(), x=X)[0])


def test_sparseConstantNode_isAWeightLikeOthers():
    dense = weights(16, 12)
    dense[np.abs(dense) < 0.3] = 0
    constant = helper.make_node("Constant", [], ["W"], sparse_value=sparse(dense, "", True))
    source = model([constant, node("MatMul", ["x", "W"], "a")] + TAIL, V=weights(12, 8))
    assert [p["name"] for p in describe(source)["parameters"]] == ["W", "V"]
    assert judged(source)[0] == "yes"
    expect_equal_everywhere(compressed(source, bits=4))


def test_sparseInitializer_outOfProportion_isRefusedByBoth():
    huge = helper.make_sparse_tensor(
        numpy_helper.from_array(np.float32([1]), "W"), numpy_helper.from_array(np.array([5]), "W_indices"), [1 << 30, 16])
    source = onnx.load_from_string(model([node("MatMul", ["x", "W"], "a", ), node("MatMul", ["a", "V"], "y")], V=weights(16, 8)))
    source.graph.sparse_initializer.append(huge)
    source = source.SerializeToString()
    status, reason = judged(source)
    assert status == "no" and "not read" in reason
    assert "not read" in str(outcome(source, {"x": X}))


@pytest.mark.parametrize("indices, shape, text", [
    ([3, 99], [4, 4], "outside"), ([-1], [4, 4], "outside"), ([[0, 9]], [4, 4], "outside axis 1"), ([0, 1, 2], [4, 4], "indices are")])
def test_sparseInitializer_badIndices_areNamed(indices, shape, text):
    values = np.ones(1 if text == "indices are" else len(indices), np.float32)
    bad = helper.make_sparse_tensor(numpy_helper.from_array(values, "W"), numpy_helper.from_array(np.array(indices), "i"), shape)
    source = onnx.load_from_string(model([node("MatMul", ["x", "W"], "y")]))
    source.graph.sparse_initializer.append(bad)
    with pytest.raises(cet.InvalidModel, match=text):
        cet.Model(source.SerializeToString())


# MARK: Old operator sets


def old(nodes, output, **constants):
    return model(nodes, output, opset=6, **constants)


def test_operatorSetSix_compressedInPlanes_isRaisedToSeven():
    b, s, c = weights(12), weights(16), weights(1)
    nodes = [
        node("Mul", ["x", "s"], "xs", broadcast=1), node("Gemm", ["xs", "W", "b"], "a", broadcast=1), node("PRelu", ["a", "slope"], "r"),
        node("Add", ["r", "c"], "d", broadcast=1, axis=1), node("Dropout", ["d"], "t", is_test=1), node("MatMul", ["t", "V"], "y")]
    arrays = dict(s=s, W=weights(16, 12), b=b, slope=c, c=weights(12), V=weights(12, 8))
    source = old(nodes, ("y", ["N", 8]), **arrays)
    assert judged(source)[0] == "yes"
    small = compressed(source)
    written = onnx.load_from_string(small.to_bytes())
    assert [o.version for o in written.opset_import if not o.domain] == [7]
    predicted = cet.run(cet.Model(small.to_bytes()), {"x": X})["y"]
    for optimized in (True, False):
        assert close(run(small.to_bytes(), optimized, x=X)[0], predicted)
    a = (X * s) @ arrays["W"] + b
    expected = (np.where(a > 0, a, a * c) + arrays["c"]) @ arrays["V"]
    assert np.linalg.norm(predicted - expected) < 0.03 * np.linalg.norm(expected)


def test_operatorSetSix_productAlone_isPromisedAndKept():
    source = old([node("MatMul", ["x", "W"], "y")], ("y", ["N", 8]), W=weights(16, 8))
    for encoding in ("planes", "qdq", "float"):
        small = compressed(source, encoding=encoding)
        assert len(small.to_bytes()) == small.plan.summary.file_bytes
        if encoding != "float":
            assert close(run(small.to_bytes(), x=X)[0], cet.run(cet.Model(small.to_bytes()), {"x": X})["y"])
    assert expect_agreement(source, {"x": X}) == "yes"


@pytest.mark.parametrize("operator, judge", [("Add", np.add), ("Sub", np.subtract), ("Mul", np.multiply), ("Div", np.divide), ("Pow", np.power)])
@pytest.mark.parametrize("axis", [0, 1, -1, None])
def test_operatorSetSix_arithmetic_broadcastsAsItDid(operator, judge, axis):
    """Axes of the second operand begin at `axis` of the first, without it at the last ones."""
    size = 32 if axis == 0 else 16
    other = np.abs(weights(size)) + 0.5
    attributes = dict(broadcast=1) if axis is None else dict(broadcast=1, axis=axis)
    positive = np.abs(X)
    source = old([node(operator, ["x", "o"], "u", **attributes), node("MatMul", ["u", "V"], "y")], ("y", ["N", 8]), o=other, V=weights(16, 8))
    source = onnx.load_from_string(source)
    if axis == 0:
        source.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 32
    source = source.SerializeToString()
    written = compressed(source, {"x": positive}).to_bytes()
    expected = judge(positive, other[:, None] if axis == 0 else other) @ numpy_helper.to_array(onnx.load_from_string(source).graph.initializer[1])
    found = run(written, x=positive)[0]
    assert np.linalg.norm(found - expected) < 0.02 * np.linalg.norm(expected)
    assert close(cet.run(cet.Model(written), {"x": positive})["y"], found)


def test_operatorSetSix_channelsOfAConvolution_keepTheirAxis():
    nodes = [node("Conv", ["x", "W"], "c"), node("Relu", ["c"], "r"), node("Add", ["r", "b"], "y", broadcast=1, axis=1)]
    arrays = dict(W=weights(4, 3, 3, 3), b=weights(4))
    source = model(nodes, ("y", ["N", 4, 4, 4]), inputs=(("x", ["N", 3, 6, 6]),), opset=6, **arrays)
    x = np.random.default_rng(1).standard_normal((16, 3, 6, 6)).astype(np.float32)
    assert expect_agreement(source, {"x": x}) == "yes"
    written = compressed(source, {"x": x}).to_bytes()
    later = model([nodes[0], nodes[1], node("Add", ["r", "b"], "y")], ("y", ["N", 4, 4, 4]), inputs=(("x", ["N", 3, 6, 6]),),
                  W=arrays["W"], b=arrays["b"][:, None, None])
    expected, found = run(later, x=x)[0], run(written, x=x)[0]
    assert np.linalg.norm(found - expected) < 0.02 * np.linalg.norm(expected)
    assert close(cet.run(cet.Model(written), {"x": x})["y"], found)


def test_operatorSetSix_ranksAreNotInTheFile_saidByBoth():
    nodes = [node("ReduceSum", ["x"], "s", axes=[1], keepdims=0), node("Conv", ["s", "W"], "c"),
             node("Add", ["c", "b"], "y", broadcast=1, axis=1)]
    source = onnx.load_from_string(
        model(nodes, ("y", None), inputs=(("x", ["N", 2, 3, 6, 6]),), opset=6, W=weights(4, 3, 3, 3), b=weights(4)))
    source = source.SerializeToString()
    x = np.random.default_rng(1).standard_normal((16, 2, 3, 6, 6)).astype(np.float32)
    status, reason = judged(source)
    assert status == "no" and "ranks" in reason
    assert "ranks" in str(outcome(source, {"x": x}))


# MARK: Initializers that are inputs


def overridable():
    source = onnx.load_from_string(model([node("MatMul", ["x", "W"], "p"), node("Add", ["p", "b"], "a")] + TAIL, W=weights(16, 12), b=weights(12), V=weights(12, 8)))
    for name, shape in (("W", [16, 12]), ("b", [12])):
        source.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    return source.SerializeToString()


def test_initializerThatIsAnInput_givenInARun_isHonoured():
    source, other, bias = overridable(), weights(16, 12), weights(12)
    for inputs in ({"x": X, "W": other}, {"x": X, "b": bias}, {"x": X, "W": other, "b": bias}, {"x": X}):
        assert close(cet.run(cet.Model(source), inputs)["y"], run(source, **inputs)[0])
    with pytest.raises(cet.CetError, match="'W' has shape"):
        cet.run(cet.Model(source), {"x": X, "W": weights(12, 16)})


def test_initializerThatIsAnInput_givenByCalibration_isRefused(tmp_path):
    source = overridable()
    np.savez(tmp_path / "d.npz", x=X, b=weights(32, 12))
    for data in (cet.Calibration({"x": X, "b": weights(32, 12)}), cet.Calibration.from_npz(tmp_path / "d.npz")):
        with pytest.raises(cet.CetError, match="input 'b' is an initializer of the model"):
            cet.plan(cet.Model(source), data, target_bits=4, loss="mse")


def test_initializerThatIsAnInput_quantized_isNoInputAnyMoreAndThePlanSaysSo():
    small = compressed(overridable(), bits=4)
    expect_equal_everywhere(small)
    assert any("no inputs any more" in note and "W" in note for note in notes(small.plan))
    assert [info.name for info in onnx.load_from_string(small.to_bytes()).graph.input] == ["x", "b"]
