"""Recurrent networks, control flow and model-local functions."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper, parser

from .net import SAMPLES, Net

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def recurrent(
    net, type, x, inputs, hidden, *, directions=1, bias=False, lengths="", states=0, peepholes=False, outputs=2, **attributes
):
    """`x` is [time, n, inputs]. States have their samples on axis 1."""
    gates = GATES[type]
    more = [net.draw(directions, 2 * gates * hidden, scale=.3) if bias else "", lengths]
    for index in range(states):
        values = net.draw(directions, SAMPLES, hidden, scale=.5)
        more.append(net.input(values, f"state{index}", [directions, "n", hidden]))
    if peepholes:
        more += [""] * (4 - len(more)) + [net.draw(directions, 3 * hidden, scale=.4)]
    if directions == 2:
        attributes["direction"] = "bidirectional"
    while more and isinstance(more[-1], str) and more[-1] == "":
        more.pop()
    return net.op(
        type, x, net.weight(directions, gates * hidden, inputs, scale=inputs**-.5),
        net.weight(directions, gates * hidden, hidden, scale=hidden**-.5), *more, outputs=outputs, hidden_size=hidden, **attributes)


def over_time(net, *shape):
    """An input [n, time, inputs] turned to [time, n, inputs]."""
    return net.op("Transpose", net.x(*shape), perm=[1, 0, 2])


def last(net, state, width):
    """[1, n, hidden] to [n, hidden] scores."""
    return net.linear(net.op("Squeeze", state, np.array([0])), width, 4)


RECURRENT = {
    "plain": {}, "with bias": dict(bias=True), "reverse": dict(direction="reverse"),
    "with an initial state": dict(states=1, bias=True), "clipped": dict(clip=.5, bias=True),
}


def recurrent_networks():
    for type in GATES:
        for name, flags in RECURRENT.items():
            net = Net(f"{type} {name}", opset=14)
            flags = dict(flags)
            if type == "LSTM" and "states" in flags:
                flags["states"] = 2
            _, h = recurrent(net, type, over_time(net, 4, 5), 5, 6, **flags)
            yield net.case(last(net, h, 6))

        net = Net(f"{type} bidirectional over a sequence", opset=14)
        y, _ = recurrent(net, type, over_time(net, 4, 5), 5, 6, directions=2, bias=True)
        h = net.op("Reshape", net.op("Transpose", y, perm=[2, 0, 1, 3]), np.array([0, 0, -1]))
        yield net.case(net.linear(h, 12, 4))

        net = Net(f"{type} with lengths", opset=14)
        lengths = net.input(net.random.integers(1, 5, SAMPLES).astype(np.int32), "lengths")
        _, h = recurrent(net, type, over_time(net, 4, 5), 5, 6, lengths=lengths, bias=True)
        yield net.case(last(net, h, 6))

        net = Net(f"{type} of two layers", opset=14)
        y, _ = recurrent(net, type, over_time(net, 3, 5), 5, 6, bias=True)
        _, h = recurrent(net, type, net.op("Squeeze", y, np.array([1])), 6, 4, bias=True)
        yield net.case(last(net, h, 4))

    net = Net("GRU that resets late", opset=14)
    _, h = recurrent(net, "GRU", over_time(net, 4, 5), 5, 6, bias=True, linear_before_reset=1)
    yield net.case(last(net, h, 6))

    net = Net("LSTM with peepholes", opset=14)
    _, h = recurrent(net, "LSTM", over_time(net, 4, 5), 5, 6, bias=True, peepholes=True)
    yield net.case(last(net, h, 6))

    net = Net("LSTM with coupled gates", opset=14)
    _, h = recurrent(net, "LSTM", over_time(net, 4, 5), 5, 6, bias=True, input_forget=1)
    yield net.case(last(net, h, 6))

    net = Net("LSTM with other activations", opset=14)
    _, h = recurrent(net, "LSTM", over_time(net, 4, 5), 5, 6, activations=["HardSigmoid", "Softsign", "Tanh"],
        activation_alpha=[.2], activation_beta=[.5])
    yield net.case(last(net, h, 6))

    net = Net("LSTM gives its states", opset=14)
    y, h, c = recurrent(net, "LSTM", over_time(net, 4, 5), 5, 6, states=2, outputs=["", "h", "c"])
    yield net.case(last(net, h, 6), h, c)

    net = Net("LSTM bidirectional with lengths, states and peepholes", opset=22, ir=10)
    lengths = net.input(net.random.integers(1, 5, SAMPLES).astype(np.int32), "lengths")
    y, h, c = recurrent(net, "LSTM", over_time(net, 4, 5), 5, 3, directions=2, bias=True, lengths=lengths, states=2,
        peepholes=True, outputs=3)
    h = net.op("Concat", h, c, net.op("Gather", y, np.array(0), axis=0), axis=2)
    yield net.case(net.linear(net.op("Transpose", h, perm=[1, 0, 2]), 9, 4))

    net = Net("LSTM of a single step as an autoregressive cell", opset=14)
    x = net.op("Unsqueeze", net.x(5), np.array([0]))
    y, h, c = recurrent(net, "LSTM", x, 5, 6, states=2, bias=True, outputs=["y", "h", "c"])
    yield net.case(last(net, h, 6), c)

    net = Net("LSTM batch first", opset=14)
    _, h = recurrent(net, "LSTM", net.x(4, 5), 5, 6, layout=1)
    yield net.case(net.linear(net.op("Squeeze", h, np.array([1])), 6, 4), stock=False)

    net = Net("LSTM opset 7 behind an embedding", opset=7)
    ids = net.op("Transpose", net.ids(9, 4), perm=[1, 0])
    _, h = recurrent(net, "LSTM", net.op("Gather", net.weight(9, 5, scale=1), ids), 5, 6, bias=True)
    yield net.case(net.linear(net.op("Squeeze", h, axes=[0]), 6, 4))

    net = Net("RNN of Relu", opset=14)
    _, h = recurrent(net, "RNN", over_time(net, 4, 5), 5, 6, bias=True, activations=["Relu"])
    yield net.case(last(net, h, 6))


def branch(net, name, h, rows, columns, activation):
    inner = net.body(name)
    y = inner.op(activation, inner.linear(h, rows, columns))
    return inner.graph((y, FLOAT, ["n", columns]))


def control_flow():
    for flag in (True, False):
        net = Net(f"If by an input that is {flag}")
        h = net.linear(net.x(6), 6, 8)
        condition = net.input(np.array(flag), "flag", [])
        h = net.op("If", condition, then_branch=branch(net, "a", h, 8, 5, "Tanh"), else_branch=branch(net, "b", h, 8, 5, "Sin"))
        yield net.case(net.linear(h, 5, 4))

    net = Net("If by a shape")
    x = net.x(3, 6)
    long = net.op("Greater", net.op("Squeeze", net.cut(net.op("Shape", x), 1, 2), np.array([0])), np.array(2))
    h = net.op("ReduceMean", net.linear(x, 6, 8), axes=[1], keepdims=0)
    h = net.op("If", long, then_branch=branch(net, "a", h, 8, 5, "Tanh"), else_branch=branch(net, "b", h, 8, 5, "Sin"))
    yield net.case(net.linear(h, 5, 4))

    net = Net("If by a constant with outer weights")
    w = net.weight(8, 5, name="shared")
    h = net.linear(net.x(6), 6, 8)
    graphs = []
    for name, activation in (("a", "Tanh"), ("b", "Sin")):
        inner = net.body(name)
        graphs.append(inner.graph((inner.op(activation, inner.op("MatMul", h, w)), FLOAT, ["n", 5])))
    h = net.op("If", np.array(True), then_branch=graphs[0], else_branch=graphs[1])
    yield net.case(net.linear(h, 5, 4))

    for outer in (True, False):
        net = Net(f"Loop with weights {'outside' if outer else 'within'}")
        h = net.linear(net.x(6), 6, 8)
        inner = net.body("body", [("turn", INT64, []), ("go", BOOL, []), ("state", FLOAT, ["n", 8])])
        w = (net if outer else inner).weight(8, 8)
        state = inner.op("Tanh", inner.op("MatMul", "state", w))
        go = inner.op("Identity", "go")
        mean = inner.op("ReduceMean", state, axes=[1], keepdims=0)
        body = inner.graph((go, BOOL, []), (state, FLOAT, ["n", 8]), (mean, FLOAT, ["n"]))
        h, means = net.op("Loop", np.array(3), np.array(True), h, body=body, outputs=2)
        h = net.op("Concat", h, net.op("Transpose", means), axis=1)
        yield net.case(net.linear(h, 11, 4))

    net = Net("Loop until a condition, with If in it")
    h = net.linear(net.x(6), 6, 8)
    inner = net.body("body", [("turn", INT64, []), ("go", BOOL, []), ("state", FLOAT, ["n", 8])])
    go = inner.op("Less", "turn", np.array(2))
    first = inner.op("Equal", "turn", np.array(0))
    state = inner.op("If", first, then_branch=branch(inner, "a", "state", 8, 8, "Tanh"),
        else_branch=branch(inner, "b", "state", 8, 8, "Sin"))
    body = inner.graph((go, BOOL, []), (state, FLOAT, ["n", 8]))
    h = net.op("Loop", "", np.array(True), h, body=body)
    yield net.case(net.linear(h, 8, 4))

    net = Net("Loop over as many steps as the input has")
    x = net.op("Transpose", net.x(4, 6), perm=[1, 0, 2])
    steps = net.op("Squeeze", net.cut(net.op("Shape", x), 0, 1), np.array([0]))
    start = net.op("Mul", net.op("Squeeze", net.cut(x, 0, 1), np.array([0])), np.float32(0))
    inner = net.body("body", [("turn", INT64, []), ("go", BOOL, []), ("state", FLOAT, ["n", 6])])
    row = inner.op("Gather", x, "turn", axis=0)
    state = inner.op("Tanh", inner.op("Add", inner.linear(row, 6, 6), inner.linear("state", 6, 6)))
    body = inner.graph((inner.op("Identity", "go"), BOOL, []), (state, FLOAT, ["n", 6]))
    h = net.op("Loop", steps, "", start, body=body)
    yield net.case(net.linear(h, 6, 4))

    for backward in (0, 1):
        net = Net(f"Scan over time, direction {backward}", opset=11)
        x = net.op("Transpose", net.x(4, 6), perm=[1, 0, 2])
        start = net.input(net.draw(SAMPLES, 5), "start")
        inner = net.body("body", [("state", FLOAT, ["n", 5]), ("step", FLOAT, ["n", 6])])
        state = inner.op("Tanh", inner.op("Add", inner.linear("step", 6, 5), inner.linear("state", 5, 5)))
        body = inner.graph((state, FLOAT, ["n", 5]), (inner.op("Mul", state, state), FLOAT, ["n", 5]))
        h, squares = net.op("Scan", start, x, body=body, num_scan_inputs=1, scan_input_directions=[backward], outputs=2)
        h = net.op("Add", h, net.op("ReduceMean", squares, axes=[0], keepdims=0))
        yield net.case(net.linear(h, 5, 4), curvature=not backward, why="The evaluator scans forward only.")


FUNCTION = """
<domain: "pkg", opset_import: ["" : 17]>
Layer <alpha> (x, w, b) => (y) {
  h = Gemm <transB = 1> (x, w, b)
  y = LeakyRelu <alpha : float = @alpha> (h)
}"""

OUTER = """
<domain: "pkg", opset_import: ["" : 17, "pkg" : 1]>
Twice <alpha> (x, w, b) => (y) {
  h = pkg.Layer <alpha : float = @alpha> (x, w, b)
  y = pkg.Layer <alpha : float = @alpha> (h, w, b)
}"""


def functions():
    net = Net("Functions with weights from their callers", functions=(parser.parse_function(FUNCTION),))
    h = net.x(6)
    for rows, columns in ((6, 8), (8, 5)):
        h = net.op("Layer", h, net.weight(columns, rows), net.draw(columns), domain="pkg", alpha=.2)
    yield net.case(h)

    net = Net("Functions that call functions", functions=(parser.parse_function(OUTER), parser.parse_function(FUNCTION)))
    h = net.op("Twice", net.linear(net.x(6), 6, 6), net.weight(6, 6), net.draw(6), domain="pkg", alpha=.3)
    yield net.case(net.linear(h, 6, 4))

    net = Net("Functions that hold their weights")
    weights = [helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(net.draw(6, 8, scale=.4)))]
    body = weights + [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Tanh", ["h"], ["y"])]
    net.functions = (helper.make_function("pkg", "Held", ["x"], ["y"], body, [helper.make_opsetid("", 17)]),)
    yield net.case(net.linear(net.op("Held", net.x(6), domain="pkg"), 8, 4))

    net = Net("Function of another operator set", opset=18)
    nodes = [helper.make_node("ReduceMean", ["x"], ["m"], axes=[1]), helper.make_node("Sub", ["x", "m"], ["y"])]
    net.functions = (helper.make_function("pkg", "Centre", ["x"], ["y"], nodes, [helper.make_opsetid("", 13)]),)
    yield net.case(net.linear(net.op("Tanh", net.op("Centre", net.linear(net.x(6), 6, 8), domain="pkg")), 8, 4), stock=False)


FAMILIES = [recurrent_networks, control_flow, functions]
