"""Weights that reach their operators through model-local functions, or stand in them.

torch.onnx.export(dynamo=True) and onnxscript write such models. Each is compressed, the written file is checked by onnx
and run by onnxruntime, and its output is that of the file with the dequantized weights (`compress` of test_weights.py).
"""

import numpy as np
import onnx
import onnx.inliner
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper, parser
from test_weights import SAMPLES, compress, error, random, run, skewed, statistics_help, weight

import cet


def function(text):
    return parser.parse_function(text)


LINEAR = """
<domain: "pkg", opset_import: ["" : 17]>
Linear (x, w, b) => (y) {
  wt = Transpose <perm = [1, 0]> (w)
  h = MatMul (x, wt)
  y = Add (h, b)
}"""

GEMM = """
<domain: "pkg", opset_import: ["" : 17]>
Linear (x, w, b) => (y) {
  y = Gemm <transB = 1> (x, w, b)
}"""

BARE = """
<domain: "pkg", opset_import: ["" : 17]>
Linear (x, w) => (y) {
  wt = Transpose <perm = [1, 0]> (w)
  y = MatMul (x, wt)
}"""

CONVOLUTION = """
<domain: "pkg", opset_import: ["" : 17]>
Convolution <pads> (x, w, b) => (y) {
  y = Conv <pads : ints = @pads> (x, w, b)
}"""


def called(graph, functions, initializers=(), opset=17):
    """A model of ONNX's text form with functions and initializers."""
    made = parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}, "pkg" : 1]>\n{graph}')
    made.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in initializers)
    made.functions.extend(function(f) if isinstance(f, str) else f for f in functions)
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString()


def inlined(source):
    """The same model without functions, by onnx's own inliner: the judge of what calls mean."""
    return onnx.inliner.inline_local_functions(onnx.load_from_string(source)).SerializeToString()


def functions_of(written):
    return sorted(f.name for f in onnx.load_from_string(written).functions)


def quantized(source, inputs, plan):
    return cet.quantize(cet.Model(source), cet.Calibration(inputs), plan)


def two_layers(body, biased=True):
    weights = [("w1", weight((24, 32), 1)), ("w2", weight((12, 24), 2))]
    if biased:
        weights += [("b1", weight((24,), 3, 1)), ("b2", weight((12,), 4, 1))]
    arguments = [", b1", ", b2"] if biased else ["", ""]
    return called(
        f"""g (float[n, 32] x) => (float[n, 12] y) {{
          h = pkg.Linear (x, w1{arguments[0]})
          r = Relu (h)
          y = pkg.Linear (r, w2{arguments[1]})
        }}""", [body], weights)


@pytest.mark.parametrize("body", [LINEAR, GEMM], ids=["matmul", "gemm"])
def test_two_calls_with_weights_of_their_own_are_two_parameters(body):
    source, inputs = two_layers(body), {"x": skewed((SAMPLES, 32))}
    parameters = cet.Model(source).parameters
    assert [(p.name, p.shape, p.offset) for p in parameters] == [("w1", (24, 32), 0), ("w2", (12, 24), 768)]
    plan, before, after = compress(source, inputs)
    assert [(t.name, t.axis) for t in plan.tensors] == [("w1", 0), ("w2", 0)]
    assert all(t.bits <= 8 for t in plan.tensors) and error(before, after) < 0.01 * np.var(before[0])
    # Weights and biases come in as arguments: the calls and the function stay.
    written = onnx.load_from_string(quantized(source, inputs, plan).to_bytes())
    assert [n.op_type for n in written.graph.node if n.domain == "pkg"] == ["Linear", "Linear"]
    assert [f.name for f in written.functions] == ["Linear"]
    statistics_help(source, inputs)


def test_bias_that_no_caller_gives_is_added_to_the_call():
    source, inputs = two_layers(BARE, biased=False), {"x": skewed((SAMPLES, 32)) + 1}
    plan, before, after = compress(source, inputs)
    assert error(before, after) < 0.01 * np.var(before[0])
    small = quantized(source, inputs, plan)
    assert {c.name for c in small.corrections} == {"w1.cet.bias", "w2.cet.bias"}
    assert functions_of(small.to_bytes()) == []
    statistics_help(source, inputs)


def test_convolutions_in_functions_take_the_callers_attributes():
    source = called(
        """g (float[n, 8, 6, 6] x) => (float[n, 12, m, k] y) {
          h = pkg.Convolution <pads = [1, 1, 1, 1]> (x, w1, b1)
          r = Relu (h)
          y = pkg.Convolution <pads = [0, 1, 0, 1]> (r, w2, b2)
        }""", [CONVOLUTION],
        [("w1", weight((8, 8, 3, 3), 1)), ("b1", weight((8,), 2, 1)), ("w2", weight((12, 8, 3, 3), 3)), ("b2", weight((12,), 4, 1))])
    inputs = {"x": np.ascontiguousarray(skewed((SAMPLES, 6, 6, 8)).transpose(0, 3, 1, 2))}
    plan, before, after = compress(source, inputs)
    assert [t.name for t in plan.tensors] == ["w1", "w2"] and error(before, after) < 0.01 * np.var(before[0])
    statistics_help(source, inputs)


def test_derivatives_are_those_of_the_inlined_model():
    for source in (two_layers(LINEAR), two_layers(GEMM)):
        data = cet.Calibration({"x": skewed((SAMPLES, 32))})
        H = cet.Hessian(cet.Model(source), data, loss="mse")
        G = cet.Hessian(cet.Model(inlined(source)), data, loss="mse")
        v = random(3).standard_normal(H.shape[0]).astype(np.float32)
        assert H.shape == G.shape and np.linalg.norm(G @ v) > 0
        np.testing.assert_allclose(H @ v, G @ v, rtol=1e-5, atol=1e-6 * np.linalg.norm(G @ v))


def test_one_initializer_for_two_calls_is_one_tied_parameter():
    source = called(
        """g (float[n, 16] x) => (float[n, 16] y) {
          h = pkg.Linear (x, w, b1)
          r = Tanh (h)
          y = pkg.Linear (r, w, b2)
        }""", [LINEAR], [("w", weight((16, 16), 1)), ("b1", weight((16,), 2, 1)), ("b2", weight((16,), 3, 1))])
    inputs = {"x": skewed((SAMPLES, 16))}
    assert [(p.name, p.count) for p in cet.Model(source).parameters] == [("w", 256)]
    plan, before, after = compress(source, inputs, ratio=6)
    assert [t.name for t in plan.tensors] == ["w"] and 0 < error(before, after) < 0.1 * np.var(before[0])
    written = onnx.load_from_string(quantized(source, inputs, plan).to_bytes())
    assert [i.name for i in written.graph.initializer if i.name.startswith("w.")].count("w.cet.q") == 1


def constant_function():
    """A function with weight and bias in Constant nodes, as exporters write modules that take no arguments."""
    made = function("""
      <domain: "pkg", opset_import: ["" : 17]>
      Block (x) => (y) {
        h = MatMul (x, w)
        a = Add (h, b)
        y = Tanh (a)
      }""")
    constants = [
        helper.make_node("Constant", [], [n], value=numpy_helper.from_array(v, n))
        for n, v in (("w", weight((16, 16), 1, 0.4)), ("b", weight((16,), 2, 1)))]
    nodes = constants + list(made.node)
    del made.node[:]
    made.node.extend(nodes)
    return made


@pytest.mark.parametrize("calls", [1, 2])
def test_constants_of_a_function_are_one_parameter(calls):
    names = ["x", "h", "y"] if calls == 2 else ["x", "y"]
    text = "\n".join(f"{b} = pkg.Block ({a})" for a, b in zip(names, names[1:]))
    source = called(f"g (float[n, 16] x) => (float[n, 16] y) {{\n{text}\n}}", [constant_function()])
    inputs = {"x": skewed((SAMPLES, 16))}
    assert [(p.name, p.shape) for p in cet.Model(source).parameters] == [("Block.w", (16, 16))]
    plan, before, after = compress(source, inputs, ratio=6)
    assert [t.name for t in plan.tensors] == ["Block.w"] and 0 < error(before, after) < 0.1 * np.var(before[0])
    # The codes take the place of the constant: it is nowhere in the file any more.
    small = quantized(source, inputs, plan)
    written = small.to_bytes()
    assert functions_of(written) == []
    assert weight((16, 16), 1, 0.4).tobytes() not in written
    if calls == 1:
        statistics_help(source, inputs)
    # NumPy's y = tanh(x W + b) once or twice, with the codes' weights and biases of the float file.
    stored = {i.name: numpy_helper.to_array(i) for i in onnx.load_from_string(small.to_bytes(encoding="float")).graph.initializer}
    np.testing.assert_array_equal(stored["Block.w"], small["Block.w"].dequantize())
    y = inputs["x"]
    for _ in range(calls):
        y = np.tanh(y @ stored["Block.w"] + stored["Block.b"])
    np.testing.assert_allclose(after[0], y, rtol=0, atol=1e-5)


def test_functions_that_call_functions_and_hold_branches():
    """Names that clash between the model and both functions, an omitted input, an output that is an input."""
    inner = LINEAR
    outer = function("""
      <domain: "pkg", opset_import: ["" : 17, "pkg" : 1]>
      Pair (x, w, b, more) => (h, x2, y) {
        t = pkg.Linear (x, w, b)
        h = Relu (t)
        zero = Constant <value = int64 {0}> ()
        size = Size (x)
        c = Greater (size, zero)
        y = If (c) <
          then_branch = g1 () => (float[n, k] yt) { u = Neg (h) yt = Add (u, x) },
          else_branch = g2 () => (float[n, k] ye) { u = Abs (h) ye = Identity (u) }
        >
        x2 = Identity (x)
      }""")
    source = called(
        """g (float[n, 24] x) => (float[n, 24] y) {
          h, t, u = pkg.Pair (x, w1, b1)
          s = Add (t, u)
          , , y = pkg.Pair (s, w2, b2)
        }""", [inner, outer],
        [("w1", weight((24, 24), 1)), ("b1", weight((24,), 2, 1)), ("w2", weight((24, 24), 3)), ("b2", weight((24,), 4, 1))])
    inputs = {"x": skewed((SAMPLES, 24))}
    np.testing.assert_allclose(
        cet.run(cet.Model(source), inputs)["y"], run(inlined(source), inputs)[0], rtol=1e-4, atol=1e-4)
    plan, before, after = compress(source, inputs)
    assert [t.name for t in plan.tensors] == ["w1", "w2"] and 0 < error(before, after) < 0.02 * np.var(before[0])
    statistics_help(source, inputs)


def test_call_in_a_branch_is_planned():
    source = called(
        """g (float[n, 32] x, bool c) => (float[n, 24] y) {
          y = If (c) <
            then_branch = g1 () => (float[n, 24] yt) { yt = pkg.Linear (x, w1, b) },
            else_branch = g2 () => (float[n, 24] ye) { ye = pkg.Linear (x, w2, b) }
          >
        }""", [LINEAR], [("w1", weight((24, 32), 1)), ("w2", weight((24, 32), 2)), ("b", weight((24,), 3, 1))])
    inputs = {"x": skewed((SAMPLES, 32)), "c": np.array(True)}
    plan, before, after = compress(source, inputs)
    decisions = {t.name: t.bits for t in plan.tensors}
    assert decisions["w1"] <= 4 and decisions["w2"] == 32
    assert 0 < error(before, after) < 0.05 * np.var(before[0])


def test_function_of_another_operator_set_is_run_as_a_call():
    """Its nodes would mean something else in the model, so the call stays, and what is outside is compressed."""
    old = function("""
      <domain: "pkg", opset_import: ["" : 12]>
      Mean (x) => (y) { y = ReduceMean <axes = [1], keepdims = 0> (x) }""")
    made = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18, "pkg" : 1]>
        g (float[n, 5, 32] x) => (float[n, 12] y) {
          m = pkg.Mean (x)
          y = MatMul (m, w)
        }""")
    made.graph.initializer.append(numpy_helper.from_array(weight((32, 12), 1), "w"))
    made.functions.append(old)
    inputs = {"x": skewed((SAMPLES, 5, 32))}
    source = made.SerializeToString()
    data = cet.Calibration(inputs)
    plan = cet.plan(cet.Model(source), data, target_ratio=8, loss="mse")
    small = cet.quantize(cet.Model(source), data, plan)
    assert functions_of(small.to_bytes()) == ["Mean"]
    w = small["w"].dequantize()
    bias = {c.name: c.values for c in small.corrections}["w.cet.bias"]
    np.testing.assert_allclose(
        cet.run(cet.Model(small.to_bytes()), inputs)["y"], inputs["x"].mean(axis=1) @ w + bias, rtol=0, atol=1e-4)


def test_function_that_calls_itself_is_one_clear_error():
    loop = function('<domain: "pkg", opset_import: ["" : 17, "pkg" : 1]> Loop (x) => (y) { y = pkg.Loop (x) }')
    made = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17, "pkg" : 1]> g (float[n, 4] x) => (float[n, 4] y) { h = MatMul (x, w) y = pkg.Loop (h) }')
    made.graph.initializer.append(numpy_helper.from_array(weight((4, 4), 1), "w"))
    made.functions.append(loop)
    with pytest.raises(cet.InvalidModel, match="nest deeper"):
        cet.plan(cet.Model(made.SerializeToString()), cet.Calibration({"x": weight((8, 4), 2)}), target_ratio=8)


def test_unsupported_operator_in_a_function_or_body_is_named_before_any_work():
    odd = function('<domain: "pkg", opset_import: ["" : 17, "odd" : 3]> F (x) => (y) { t = Relu (x) y = odd.Wobble (t) }')
    made = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17, "pkg" : 1, "odd" : 3]> g (float[n, 4] x) => (float[n, 4] y) { h = MatMul (x, w) y = pkg.F (h) }')
    made.graph.initializer.append(numpy_helper.from_array(weight((4, 4), 1), "w"))
    made.functions.append(odd)
    loaded = cet.Model(made.SerializeToString())
    with pytest.raises(cet.UnsupportedOperator, match=r"node 'y': operator odd.Wobble \(opset 3\) is not supported"):
        cet.plan(loaded, cet.Calibration({"x": weight((8, 4), 2)}), target_ratio=8)
    described = cet.inspect(loaded)
    assert not described["supported"]
    assert {"MatMul", "Relu", "odd.Wobble"} == {o["operator"] for o in described["operators"]}
    body = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17, "odd" : 3]> g (float[n, 4] x) => (float[n, 4] y) {
          h = MatMul (x, w)
          turns = Constant <value = int64 {2}> ()
          y = Loop (turns, , h) <body = b (int64 i, bool go, float[n, 4] s) => (bool on, float[n, 4] t) {
            on = Identity (go) t = odd.Wobble (s) }>
        }""")
    body.graph.initializer.append(numpy_helper.from_array(weight((4, 4), 1), "w"))
    loaded = cet.Model(body.SerializeToString())
    with pytest.raises(cet.UnsupportedOperator, match=r"node 't': operator odd.Wobble \(opset 3\) is not supported"):
        cet.plan(loaded, cet.Calibration({"x": weight((8, 4), 2)}), target_ratio=8)
    assert not cet.inspect(loaded)["supported"]


@pytest.mark.parametrize("has_function", [True, False])
def test_operator_of_another_domain_opens_where_a_function_says_what_it_is(has_function):
    """What `inspect` says of runtimes is what onnxruntime does."""
    function = helper.make_function(
        "own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)])
    graph = helper.make_graph(
        [helper.make_node("Twice", ["x"], ["y"], domain="own")], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])])
    proto = helper.make_model(
        graph, functions=[function] if has_function else [], ir_version=8,
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("own", 1)])
    found = cet.inspect(cet.Model(proto.SerializeToString()))
    if has_function:
        onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        assert (found["oldest_runtime"], found["oldest_runtime_reason"]) == ("ort-1.20", None)
    else:
        with pytest.raises(Exception, match="Twice"):
            onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        assert (found["oldest_runtime"], found["oldest_runtime_reason"]) == (None, "operator Twice of domain own")
