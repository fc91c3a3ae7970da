"""Names that the library adds to a model are free in it, whatever the model calls its own values and nodes."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import cet

ort = pytest.importorskip("onnxruntime")

RANDOM = np.random.default_rng(3)
X = RANDOM.standard_normal((32, 8)).astype(np.float32)
# What the library adds for a weight `W` and an output `a`, by any encoding.
ADDED = ["W.cet.bias", "W.cet.q", "W.cet.scale", "W.cet.zero", "W.cet.wide", "W.cet.matrix", "W.cet.rows", "a.cet.product"]
ADDED += [f"cet.{n}" for n in range(16)] + ["y/scores"]


def weights(*shape, scale=0.4):
    return (RANDOM.standard_normal(shape) * scale).astype(np.float32)


def model(nodes, output, *, inputs=(("x", ["N", 8]),), opset=17, functions=(), **constants):
    info = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    graph = helper.make_graph(
        nodes, "g", [info(*entry) for entry in inputs], [info(*output)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()])
    opsets = [helper.make_opsetid("", opset)] + [helper.make_opsetid(f.domain, 1) for f in functions]
    made = helper.make_model(graph, opset_imports=opsets, functions=list(functions))
    made.ir_version = 8
    onnx.checker.check_model(made)
    return made.SerializeToString()


def clashing(taken, weight):
    """x·W, then a value of the name `taken` on the way to the output."""
    return model(
        [helper.make_node("MatMul", ["x", "W"], ["a"]), helper.make_node("Tanh", ["a"], [taken]),
         helper.make_node("Sigmoid", [taken], ["y"])], ("y", ["N", 5]), W=weight)


def run(model, optimized=True, **inputs):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    # Without it activations of a product with quantized weights are rounded to 8 bits.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    if not optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run(None, inputs)


def close(found, expected):
    return np.linalg.norm(found - expected) <= 1e-5 * max(np.linalg.norm(expected), 1e-6)


def compressed(model, inputs, encoding="planes", bits=4, **options):
    data = cet.Calibration(inputs)
    loaded = cet.Model(model)
    plan = cet.plan(loaded, data, target_bits=bits, bits=[bits], loss="mse", encoding=encoding, **options)
    return cet.quantize(loaded, data, plan), plan


@pytest.mark.parametrize("taken", ADDED)
def test_addedNames_valueOfTheModelHasOne_productAndFileAreThoseOfAnotherName(taken):
    weight = weights(8, 5)
    v = np.random.default_rng(1).standard_normal(40).astype(np.float32)
    results = []
    for name in ("free", taken):
        hessian = cet.Hessian(cet.Model(clashing(name, weight)), cet.Calibration({"x": X}), loss="mse")
        results.append(hessian @ v)
    assert np.linalg.norm(results[0]) > 0
    np.testing.assert_array_equal(results[0], results[1])
    for encoding in ("planes", "qdq", "float"):
        outputs = []
        for name in ("free", taken):
            small, plan = compressed(clashing(name, weight), {"x": X}, encoding)
            written = small.to_bytes()
            onnx.checker.check_model(onnx.load_from_string(written))
            assert len(written) == small.plan.summary.file_bytes
            # Also where a bias does not pay and is not added in the end.
            assert plan.summary.file_bytes == len(written)
            nearest, plan = compressed(clashing(name, weight), {"x": X}, encoding, rounding="nearest")
            assert plan.summary.file_bytes == len(nearest.to_bytes())
            outputs.append(run(written, x=X)[0])
            assert close(run(written, optimized=False, x=X)[0], outputs[-1])
            assert close(cet.run(cet.Model(written), {"x": X})["y"], outputs[-1])
        np.testing.assert_array_equal(outputs[0], outputs[1])


def test_addedNames_initializerOfTheModelHasOne_bothKeepTheirValues():
    weight, offset = weights(8, 5), weights(5)
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["a"]), helper.make_node("Tanh", ["a"], ["t"]),
        helper.make_node("Add", ["t", "W.cet.bias"], ["u"]), helper.make_node("Mul", ["u", "cet.0"], ["y"])]
    source = model(nodes, ("y", ["N", 5]), **{"W": weight, "W.cet.bias": offset, "cet.0": np.float32([2])})
    small, _ = compressed(source, {"x": X}, bits=8)
    written = onnx.load_from_string(small.to_bytes())
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in written.graph.initializer}
    np.testing.assert_array_equal(held["W.cet.bias"], offset)
    np.testing.assert_array_equal(held["cet.0"], np.float32([2]))
    expected = 2 * (np.tanh(X @ weight) + offset)
    assert np.linalg.norm(run(written.SerializeToString(), x=X)[0] - expected) < 0.02 * np.linalg.norm(expected)


def test_addedNames_valueInABranchHasOne_fileRuns():
    weight = weights(8, 5)
    info = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
    then = helper.make_graph(
        [helper.make_node("Tanh", ["a"], ["W.cet.bias"]), helper.make_node("Neg", ["W.cet.bias"], ["cet1"]),
         helper.make_node("Identity", ["cet1"], ["o"])], "then", [], [info])
    other = helper.make_graph([helper.make_node("Identity", ["a"], ["o2"])], "else", [],
                              [helper.make_tensor_value_info("o2", TensorProto.FLOAT, None)])
    nodes = [helper.make_node("MatMul", ["x", "W"], ["a"]),
             helper.make_node("If", ["yes"], ["y"], then_branch=then, else_branch=other)]
    source = model(nodes, ("y", ["N", 5]), W=weight, yes=np.array(True))
    small, _ = compressed(source, {"x": X}, bits=8)
    written = small.to_bytes()
    onnx.checker.check_model(onnx.load_from_string(written))
    expected = -np.tanh(X @ weight)
    for optimized in (True, False):
        found = run(written, optimized, x=X)[0]
        assert np.linalg.norm(found - expected) < 0.02 * np.linalg.norm(expected)


def test_inlinedFunction_modelHasTheNames_nodesAndValuesStayApart():
    inner = helper.make_function(
        "here", "block", ["x"], ["y"],
        [helper.make_node("Constant", [], ["W"], value=numpy_helper.from_array(weights(8, 8))),
         helper.make_node("MatMul", ["x", "W"], ["t"], name="n"), helper.make_node("Tanh", ["t"], ["y"], name="m")],
        [helper.make_opsetid("", 17)])
    nodes = [
        helper.make_node("Sin", ["x"], ["a/t"], name="call/n"), helper.make_node("block", ["a/t"], ["a"], name="call", domain="here"),
        helper.make_node("Cos", ["a"], ["block.W"], name="block.W"), helper.make_node("MatMul", ["block.W", "V"], ["y"])]
    source = model(nodes, ("y", ["N", 5]), functions=[inner], V=weights(8, 5))
    small, _ = compressed(source, {"x": X}, bits=8)
    written = onnx.load_from_string(small.to_bytes())
    onnx.checker.check_model(written)
    names = [node.name for node in written.graph.node if node.name]
    assert len(names) == len(set(names))
    expected = run(source, x=X)[0]
    assert np.linalg.norm(run(small.to_bytes(), x=X)[0] - expected) < 0.02 * np.linalg.norm(expected)


def test_raisedOperatorSet_modelHasTheNameOfAnAxesInput_fileRuns():
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["a"]), helper.make_node("ReduceMean", ["a"], ["m"], axes=[1], keepdims=1),
        helper.make_node("Tanh", ["m"], ["m.cet.axes"]), helper.make_node("Sub", ["a", "m.cet.axes"], ["y"])]
    source = model(nodes, ("y", ["N", 5]), opset=13, W=weights(8, 5))
    small, _ = compressed(source, {"x": X}, "qdq", bits=4)
    written = small.to_bytes()
    onnx.checker.check_model(onnx.load_from_string(written))
    assert close(cet.run(cet.Model(written), {"x": X})["y"], run(written, optimized=False, x=X)[0])


def test_recurrentStates_modelHasTheirName_planIsThatOfAnotherName():
    time, batch, inputs, hidden = 5, 24, 6, 4
    x = np.random.default_rng(5).standard_normal((time, batch, inputs)).astype(np.float32)
    constants = dict(G=weights(1, 4 * hidden, inputs), R=weights(1, 4 * hidden, hidden), V=weights(hidden, 3))

    def named(name):
        nodes = [
            helper.make_node("Transpose", ["x"], ["xt"], perm=[1, 0, 2]), helper.make_node("LSTM", ["xt", "G", "R"], ["", "h"], hidden_size=hidden),
            helper.make_node("Squeeze", ["h", "zero"], ["s"]), helper.make_node("Tanh", ["s"], [name]),
            helper.make_node("MatMul", [name, "V"], ["y"])]
        return model(nodes, ("y", ["N", 3]), inputs=(("x", ["N", time, inputs]),), zero=np.array([0]), **constants)

    plans = [compressed(named(name), {"x": x.transpose(1, 0, 2).copy()})[0] for name in ("free", "h.cet.states.0.0")]
    np.testing.assert_array_equal(plans[0]["R"].codes, plans[1]["R"].codes)


def test_nameWithAZeroByte_isRefused():
    with pytest.raises(cet.CetError, match="zero byte"):
        cet.Model(clashing("a\0b", weights(8, 5)))
