"""Functions of single elements, of pairs of them, and logic."""

import numpy as np
from onnx import TensorProto

from .net import Net

# Type: opset, attributes, and how the argument is brought into the function's domain.
UNARY = {
    "Abs": (13, {}, None), "Acos": (7, {}, "unit"), "Acosh": (9, {}, "above one"), "Asin": (7, {}, "unit"),
    "Asinh": (9, {}, None), "Atan": (7, {}, None), "Atanh": (9, {}, "unit"), "Ceil": (13, {}, None),
    "Celu": (12, dict(alpha=1.5), None), "Cos": (7, {}, None), "Cosh": (9, {}, None), "Elu": (6, dict(alpha=.7), None),
    "Erf": (13, {}, None), "Exp": (13, {}, None), "Floor": (13, {}, None), "Gelu": (20, {}, None),
    "HardSigmoid": (6, dict(alpha=.3, beta=.4), None), "HardSwish": (14, {}, None), "Identity": (16, {}, None),
    "LeakyRelu": (16, dict(alpha=.2), None), "Log": (13, {}, "positive"), "Mish": (18, {}, None), "Neg": (13, {}, None),
    "Reciprocal": (13, {}, "positive"), "Relu": (14, {}, None), "Round": (11, {}, None), "Selu": (6, {}, None),
    "Shrink": (9, dict(lambd=.3, bias=.1), None), "Sigmoid": (13, {}, None), "Sign": (13, {}, None), "Sin": (7, {}, None),
    "Sinh": (9, {}, None), "Softplus": (22, {}, None), "Softsign": (7, {}, None), "Sqrt": (13, {}, "positive"),
    "Swish": (24, dict(alpha=.8), None), "Tan": (7, {}, "unit"), "Tanh": (6, {}, None),
    "ThresholdedRelu": (10, dict(alpha=.4), None),
}


def domain(net, h, kind):
    if kind == "unit":
        return net.op("Mul", net.op("Tanh", h), np.float32(.9))
    if kind == "positive":
        return net.op("Add", net.op("Mul", h, h), np.float32(.5))
    if kind == "above one":
        return net.op("Add", net.op("Exp", h), np.float32(1.1))
    return h


def unary():
    for type, (opset, attributes, kind) in UNARY.items():
        net = Net(type, opset=max(opset, 7))
        h = net.op(type, domain(net, net.linear(net.x(6), 6, 8), kind), **attributes)
        yield net.case(net.linear(h, 8, 4))

    net = Net("Gelu tanh", opset=20)
    yield net.case(net.linear(net.op("Gelu", net.linear(net.x(6), 6, 8), approximate="tanh"), 8, 4))

    net = Net("Clip bounds as attributes", opset=10)
    yield net.case(net.linear(net.op("Clip", net.linear(net.x(6), 6, 8), min=-.5, max=.8), 8, 4))
    net = Net("Clip bounds as inputs")
    yield net.case(net.linear(net.op("Clip", net.linear(net.x(6), 6, 8), np.float32(-.5), np.float32(.8)), 8, 4))
    net = Net("Clip one bound")
    yield net.case(net.linear(net.op("Clip", net.linear(net.x(6), 6, 8), "", np.float32(.8)), 8, 4))

    for ratio in (None, .4):
        net = Net(f"Dropout in inference, ratio {ratio}", opset=13)
        h = net.linear(net.x(6), 6, 8)
        yield net.case(net.linear(net.op("Dropout", net.op("Tanh", h), *([] if ratio is None else [np.float32(ratio)])), 8, 4))

    net = Net("PRelu one slope for a channel")
    yield net.case(net.pooled(net.op("PRelu", net.conv(net.x(3, 5, 5), 3, 4, 3, 3), np.abs(net.draw(4, 1, 1))), 4))
    net = Net("PRelu one slope")
    yield net.case(net.linear(net.op("PRelu", net.linear(net.x(6), 6, 8), np.float32([.3])), 8, 4))


def binary():
    for type in ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean", "Mod"):
        net = Net(f"{type} of two activations")
        x = net.x(6)
        a, b = net.linear(x, 6, 8), net.linear(x, 6, 8)
        a, b = (domain(net, a, "positive"), domain(net, b, "positive")) if type in ("Div", "Pow", "Mod") else (a, b)
        yield net.case(net.linear(net.op(type, a, b, **(dict(fmod=1) if type == "Mod" else {})), 8, 4))

    for type in ("Add", "Sub", "Mul", "Div", "Max", "Min"):
        net = Net(f"{type} broadcast")
        h = net.linear(net.x(3, 6), 6, 8)
        h = domain(net, h, "positive") if type == "Div" else h
        constant = np.abs(net.draw(1, 3, 1)) + np.float32(.5)
        yield net.case(net.linear(net.op(type, constant, h), 8, 4))

    net = Net("Sum of three, Mean of three, Max of one")
    x = net.x(6)
    parts = [net.linear(x, 6, 8) for _ in range(3)]
    h = net.op("Mul", net.op("Sum", *parts), net.op("Mean", *parts))
    yield net.case(net.linear(net.op("Max", h), 8, 4))

    for exponent in (np.float32(2), np.float32(3), np.int64(2), np.float32(.5), np.float32([[2, 1, 3, 0, 2, 1, 2, 4]])):
        net = Net(f"Pow to {np.asarray(exponent).ravel()[:2]} of {np.asarray(exponent).dtype}", opset=15)
        h = net.op("Pow", domain(net, net.linear(net.x(6), 6, 8), "positive"), exponent)
        yield net.case(net.linear(h, 8, 4))

    net = Net("Gated linear unit")
    a, b = net.op("Split", net.linear(net.x(6), 6, 16), np.array([8, 8]), axis=-1, outputs=2)
    yield net.case(net.linear(net.op("Mul", a, net.op("Sigmoid", b)), 8, 4))

    net = Net("SwiGLU", opset=28, ir=14)
    x = net.x(6)
    yield net.case(net.linear(net.op("SwiGLU", net.linear(x, 6, 8), net.linear(x, 6, 8), alpha=1.2), 8, 4), stock=False)


def logic():
    for type, opset in (("Greater", 13), ("GreaterOrEqual", 16), ("Less", 13), ("LessOrEqual", 16), ("Equal", 19)):
        net = Net(f"{type} and Where", opset=opset)
        x = net.x(6)
        a, b = net.linear(x, 6, 8), net.linear(x, 6, 8)
        yield net.case(net.linear(net.op("Where", net.op(type, a, b), net.op("Mul", a, a), b), 8, 4))

    for type in ("And", "Or", "Xor"):
        net = Net(type)
        a = net.linear(net.x(6), 6, 8)
        mask = net.op(type, net.op("Greater", a, np.float32(.2)), net.op("Less", a, np.float32(.9)))
        yield net.case(net.linear(net.op("Where", net.op("Not", mask), net.op("Sin", a), a), 8, 4))

    net = Net("IsNaN and IsInf guard a quotient", opset=20)
    x = net.x(6)
    a, b = net.linear(x, 6, 8), net.op("Relu", net.linear(x, 6, 8))
    q = net.op("Div", a, b)
    bad = net.op("Or", net.op("IsNaN", q), net.op("IsInf", q))
    yield net.case(net.linear(net.op("Tanh", net.op("Where", bad, np.float32(0),
        net.op("Div", a, net.op("Add", b, np.float32(1))))), 8, 4))

    net = Net("Bitwise operators on ids", opset=18)
    ids = net.ids(16, 3)
    for type in ("BitwiseAnd", "BitwiseOr", "BitwiseXor"):
        ids = net.op(type, ids, np.int64(13 if type == "BitwiseAnd" else 1))
    ids = net.op("Add", net.op("BitwiseNot", ids), np.int64(16))
    h = net.op("Gather", net.weight(17, 6), ids)
    yield net.case(net.linear(net.op("Tanh", h), 6, 4))

    net = Net("BitShift of ids")
    ids = net.op("BitShift", net.ids(12, 3, type=np.uint64), np.uint64([1]), direction="RIGHT")
    h = net.op("Gather", net.weight(6, 6), net.op("Cast", ids, to=TensorProto.INT64))
    yield net.case(net.linear(net.op("Tanh", h), 6, 4))

    net = Net("BitCast of flags", opset=26, ir=13)
    bits = net.op("BitCast", net.input(net.draw(7, 6)), to=TensorProto.INT32)
    sign = net.op("Cast", net.op("Less", bits, np.int32(0)), to=TensorProto.FLOAT)
    yield net.case(net.linear(net.op("Tanh", net.linear(sign, 6, 8)), 8, 4))

    net = Net("Hysteresis by comparisons of integers")
    ids = net.ids(9, 6)
    mask = net.op("Cast", net.op("Equal", net.op("Mod", ids, np.int64(3)), np.int64(0)), to=TensorProto.FLOAT)
    yield net.case(net.linear(net.op("Tanh", net.linear(mask, 6, 8)), 8, 4))


FAMILIES = [unary, binary, logic]
