"""Operators that pick, move, shape and sum elements."""

import numpy as np
from onnx import TensorProto

from .net import SAMPLES, Net


def indices():
    for axis in (0, 1, -1):
        net = Net(f"Gather from an activation, axis {axis}")
        h = net.op("Tanh", net.linear(net.x(4, 6), 6, 8))
        if axis == 0:
            h = net.op("Transpose", net.op("Gather", net.op("Transpose", h, perm=[1, 0, 2]), np.array([2, 0, -1])), perm=[1, 0, 2])
        else:
            h = net.op("Gather", h, np.array([[1, 3], [0, -2]]) if axis == 1 else np.array([7, 0, 0, 3]), axis=axis)
        yield net.case(net.linear(h, 4 if axis == -1 else 8, 3))

    net = Net("Gather a table by tokens")
    h = net.op("Gather", net.weight(11, 6, scale=1), net.ids(11, 4))
    yield net.case(net.linear(net.op("Tanh", h), 6, 4))

    net = Net("Gather two tables, negative and 32-bit ids")
    words = net.op("Gather", net.weight(11, 6, scale=1), net.input(net.random.integers(-11, 11, (SAMPLES, 4)).astype(np.int32)))
    places = net.op("Gather", net.weight(4, 6, scale=1), np.arange(4))
    yield net.case(net.linear(net.op("Tanh", net.op("Add", words, places)), 6, 4))

    net = Net("Gather columns of a table")
    h = net.op("Gather", net.weight(6, 9, scale=1), net.ids(9, 3), axis=1)
    yield net.case(net.linear(net.op("Tanh", net.op("Transpose", h, perm=[1, 2, 0])), 6, 4))

    net = Net("Gather one table for input and output")
    table = net.weight(9, 6, scale=.5)
    h = net.op("Tanh", net.linear(net.op("Gather", table, net.ids(9, 3)), 6, 6))
    yield net.case(net.op("MatMul", h, net.op("Transpose", table, perm=[1, 0])))

    net = Net("GatherElements")
    h = net.op("GatherElements", net.op("Tanh", net.linear(net.x(6), 6, 8)), net.ids(8, 5), axis=1)
    yield net.case(net.linear(h, 5, 4))

    net = Net("GatherND", opset=13)
    h = net.op("GatherND", net.op("Tanh", net.linear(net.x(4, 6), 6, 8)), net.ids(4, 3, 1), batch_dims=1)
    yield net.case(net.linear(h, 8, 4))

    for reduction in ("none", "add", "mul", "max"):
        net = Net(f"ScatterElements {reduction}", opset=18)
        x = net.x(6)
        h, u = net.op("Tanh", net.linear(x, 6, 8)), net.linear(x, 6, 3)
        where = np.tile(np.array([[1, 6, 3]]), (SAMPLES, 1))
        where = net.op("Slice", where, np.array([0]), net.cut(net.op("Shape", x), 0, 1))
        yield net.case(net.linear(net.op("ScatterElements", h, where, u, axis=1, reduction=reduction), 8, 4))

    for reduction in ("none", "add"):
        net = Net(f"ScatterND rows of a state, {reduction}", opset=16)
        h = net.op("Transpose", net.linear(net.x(5, 6), 6, 8), perm=[1, 0, 2])
        u = net.op("Tanh", net.op("Gather", h, np.array([0, 1])))
        h = net.op("ScatterND", h, np.array([[3], [2]]), u, reduction=reduction)
        yield net.case(net.linear(net.op("Transpose", h, perm=[1, 0, 2]), 8, 4))

    net = Net("Scatter opset 9", opset=9)
    h = net.op("Transpose", net.linear(net.x(6), 6, 8), perm=[1, 0])
    first = net.op("Slice", h, starts=[0], ends=[2], axes=[0])
    where = net.op("Add", net.op("Cast", net.op("Mul", first, np.float32(0)), to=TensorProto.INT64), np.array([[5], [3]]))
    h = net.op("Scatter", h, where, net.op("Tanh", first), axis=0)
    yield net.case(net.linear(net.op("Transpose", h, perm=[1, 0]), 8, 4))

    net = Net("TensorScatter into a cache", opset=24, ir=11)
    cache = net.x(1, 5, 6, name="cache")
    h = net.op("Unsqueeze", net.linear(net.x(2, 6), 6, 6), np.array([1]))
    h = net.op("TensorScatter", cache, h, net.input(np.full(SAMPLES, 2, np.int64), "at"), mode="linear")
    yield net.case(net.linear(net.op("Tanh", net.op("Squeeze", h, np.array([1]))), 6, 4))

    for k, axis, largest in ((3, -1, 1), (2, 1, 0)):
        net = Net(f"TopK of {k} along {axis}, largest {largest}", opset=11)
        values, places = net.op("TopK", net.linear(net.x(4, 6), 6, 8), np.array([k]), axis=axis, largest=largest, outputs=2)
        weighted = net.op("Mul", values, net.op("Cos", net.op("Cast", places, to=TensorProto.FLOAT)))
        yield net.case(net.linear(net.op("Tanh", weighted), k if axis == -1 else 8, 4))

    net = Net("TopK opset 9", opset=9)
    values, places = net.op("TopK", net.linear(net.x(6), 6, 8), k=3, outputs=2)
    yield net.case(net.linear(net.op("Tanh", values), 3, 4))

    for type in ("ArgMax", "ArgMin"):
        net = Net(f"{type} picks a row of a table", opset=13)
        picked = net.op(type, net.linear(net.x(4, 6), 6, 8), axis=-1, keepdims=0)
        yield net.case(net.linear(net.op("Tanh", net.op("Gather", net.weight(8, 5, scale=1), picked)), 5, 4))

    net = Net("Hardmax gates experts")
    x = net.x(6)
    gates = net.op("Hardmax", net.linear(x, 6, 3))
    experts = net.op("Reshape", net.op("Tanh", net.linear(x, 6, 3 * 5)), np.array([0, 3, 5]))
    h = net.op("ReduceSum", net.op("Mul", experts, net.op("Unsqueeze", gates, np.array([2]))), np.array([1]), keepdims=0)
    yield net.case(net.linear(h, 5, 4))

    net = Net("OneHot of tokens")
    h = net.op("OneHot", net.ids(6, 3), np.array(6), np.float32([-.1, 1]))
    yield net.case(net.linear(net.op("Tanh", net.linear(h, 6, 8)), 8, 4))

    net = Net("Compress columns")
    h = net.op("Compress", net.op("Tanh", net.linear(net.x(6), 6, 8)), np.array([1, 0, 1, 1, 0, 1], bool), axis=1)
    yield net.case(net.linear(h, 4, 4))

    net = Net("NonZero of a constant mask")
    places = net.op("Squeeze", net.op("NonZero", np.array([1, 0, 2, 0, 0, 3, 1, 1])), np.array([0]))
    yield net.case(net.linear(net.op("Gather", net.op("Tanh", net.linear(net.x(6), 6, 8)), places, axis=1), 5, 4))

    net = Net("Unique of a constant")
    picked, *_ = net.op("Unique", np.array([5, 1, 5, 3, 1]), outputs=2)
    yield net.case(net.linear(net.op("Gather", net.op("Tanh", net.linear(net.x(6), 6, 8)), picked, axis=1), 3, 4))

    for exclusive, reverse in ((0, 0), (1, 1)):
        net = Net(f"CumSum exclusive {exclusive} reverse {reverse}", opset=14)
        h = net.op("CumSum", net.linear(net.x(4, 6), 6, 8), np.array(1), exclusive=exclusive, reverse=reverse)
        yield net.case(net.linear(net.op("Tanh", h), 8, 4))

    net = Net("CumProd", opset=26, ir=13)
    h = net.op("CumProd", net.op("Sigmoid", net.linear(net.x(4, 6), 6, 8)), np.array(1))
    yield net.case(net.linear(net.op("Tanh", h), 8, 4))

    for upper, k in ((1, 0), (0, 1)):
        net = Net(f"Trilu upper {upper} k {k}", opset=14)
        h = net.op("Trilu", net.linear(net.x(4, 6), 6, 4), np.array(k), upper=upper)
        yield net.case(net.linear(net.op("Sin", h), 4, 4))

    net = Net("EyeLike added")
    eye = net.op("EyeLike", net.op("ConstantOfShape", np.array([4, 6])), dtype=TensorProto.FLOAT, k=1)
    yield net.case(net.linear(net.op("Tanh", net.linear(net.op("Add", net.x(4, 6), eye), 6, 8)), 8, 4))

    net = Net("ReverseSequence")
    lengths = net.input(net.random.integers(1, 5, SAMPLES).astype(np.int64), "lengths")
    h = net.op("ReverseSequence", net.linear(net.x(4, 6), 6, 8), lengths, batch_axis=0, time_axis=1)
    yield net.case(net.linear(net.op("Tanh", h), 8, 4))


def movements():
    moves = {
        "Reshape to heads and back": lambda n, h: n.op("Reshape", n.op("Tanh", n.op("Reshape", h, np.array([0, -1, 4, 2]))),
            np.array([0, 0, 8])),
        "Transpose and back": lambda n, h: n.op("Transpose", n.op("CumSum", n.op("Transpose", h, perm=[2, 0, 1]), np.array(0)),
            perm=[1, 2, 0]),
        "Slice with a negative step": lambda n, h: n.cut(h, -1, -1000, 2, -1),
        "Concat with itself": lambda n, h: n.op("Concat", n.cut(h, 0, 4, -1), n.op("Tanh", n.cut(h, 2, 6, 2)), axis=2),
        "Split in uneven parts": lambda n, h: n.op("Concat", *reversed(n.op("Split", h, np.array([1, 5, 2]), axis=-1,
            outputs=3)), axis=-1),
        "Tile": lambda n, h: n.cut(n.op("Tile", h, np.array([1, 1, 2])), 3, 11, 2),
        "Expand": lambda n, h: n.op("ReduceSum", n.op("Tanh",
            n.op("Expand", n.op("Unsqueeze", h, np.array([2])), np.array([1, 1, 3, 1]))), np.array([2]), keepdims=0),
        "Squeeze and Unsqueeze": lambda n, h: n.op("Squeeze", n.op("Sin", n.op("Unsqueeze", h, np.array([1, -1]))),
            np.array([1, 4])),
        "Pad and crop": lambda n, h: n.cut(n.op("Pad", h, np.array([0, 1, 2, 0, 0, 1]), np.float32(.5)), 1, 9, 2),
        "Pad reflect": lambda n, h: n.cut(n.op("Pad", h, np.array([0, 0, 2, 0, 0, 1]), mode="reflect"), 1, 9, 2),
        "Pad edge": lambda n, h: n.cut(n.op("Pad", h, np.array([0, 0, 2, 0, 0, 1]), mode="edge"), 1, 9, 2),
    }
    for name, move in moves.items():
        net = Net(name)
        yield net.case(net.linear(net.op("Tanh", move(net, net.linear(net.x(4, 6), 6, 8))), 8, 4))

    net = Net("Flatten of a transposed image")
    h = net.op("Flatten", net.op("Transpose", net.conv(net.x(2, 3, 4), 2, 3, 2, 2), perm=[0, 2, 3, 1]), axis=1)
    yield net.case(net.linear(net.op("Tanh", h), 18, 4))

    net = Net("Pad wrap", opset=19, ir=9)
    h = net.op("Pad", net.linear(net.x(4, 6), 6, 8), np.array([0, 0, 2, 0, 0, 1]), mode="wrap")
    yield net.case(net.linear(net.op("Tanh", h), 11, 4))

    net = Net("Pad and Slice with attributes, opset 9", opset=9)
    h = net.op("Pad", net.linear(net.x(4, 6), 6, 8), pads=[0, 1, 0, 0, 0, 1], value=.5)
    h = net.op("Slice", h, axes=[1, 2], starts=[0, 1], ends=[4, -1])
    yield net.case(net.linear(net.op("Tanh", h), 7, 4))

    net = Net("Split in equal parts by number", opset=18)
    a, b, c = net.op("Split", net.linear(net.x(6), 6, 8), axis=1, num_outputs=3, outputs=3)
    yield net.case(net.linear(net.op("Concat", c, net.op("Sin", b), net.op("Tanh", a), axis=1), 8, 4))


def shapes():
    net = Net("Reshape by a shape computed at run time")
    h = net.linear(net.x(4, 6), 6, 8)
    n = net.cut(net.op("Shape", h), 0, 1)
    h = net.op("Reshape", h, net.op("Concat", n, np.array([2, 16]), axis=0))
    yield net.case(net.linear(net.op("Tanh", h), 16, 4))

    net = Net("Shape with start and end, Size, ConstantOfShape", opset=19, ir=9)
    h = net.linear(net.x(4, 6), 6, 8)
    noise = net.op("ConstantOfShape", net.op("Shape", h, start=1, end=3), value=np_tensor([.25]))
    size = net.op("Cast", net.op("Div", net.op("Size", h), net.op("Squeeze", net.op("Shape", h, end=1), np.array([0]))),
        to=TensorProto.FLOAT)
    h = net.op("Div", net.op("Add", h, noise), net.op("Sqrt", size))
    yield net.case(net.linear(net.op("Tanh", h), 8, 4))

    net = Net("Range gives positions to a table")
    ids = net.ids(9, 4)
    length = net.op("Squeeze", net.cut(net.op("Shape", ids), 1, 2), np.array([0]))
    places = net.op("Gather", net.weight(6, 5, scale=1), net.op("Range", np.array(0), length, np.array(1)))
    h = net.op("Add", net.op("Gather", net.weight(9, 5, scale=1), ids), places)
    yield net.case(net.linear(net.op("Tanh", h), 5, 4))

    net = Net("Expand a state to the batch")
    x = net.x(3, 6)
    n = net.cut(net.op("Shape", x), 0, 1)
    token = net.op("Expand", net.draw(1, 1, 6), net.op("Concat", n, np.array([1, 6]), axis=0))
    yield net.case(net.linear(net.op("Tanh", net.linear(net.op("Concat", token, x, axis=1), 6, 8)), 8, 4))

    net = Net("A sequence without steps beside one with steps")
    h = net.linear(net.x(4, 6), 6, 8)
    nothing = net.cut(h, 2, 2, 1)
    yield net.case(net.linear(net.op("Tanh", net.op("Concat", nothing, h, axis=1)), 8, 4))

    net = Net("A state without history")
    past = net.input(np.zeros((SAMPLES, 0, 6), np.float32), "past", ["n", "past", 6])
    h = net.op("Concat", past, net.x(3, 6), axis=1)
    yield net.case(net.linear(net.op("Tanh", net.linear(h, 6, 8)), 8, 4))

    net = Net("Every axis is open")
    x = net.input(net.draw(SAMPLES, 3, 6), dims=["a", "b", "c"])
    yield net.case(net.linear(net.op("Tanh", net.linear(x, 6, 8)), 8, 4))

    net = Net("Every axis is fixed")
    x = net.input(net.draw(4, 3, 6), dims=[4, 3, 6])
    yield net.case(net.linear(net.op("Tanh", net.linear(x, 6, 8)), 8, 4), batches=(4,), samples=4)

    net = Net("One sample at a time")
    x = net.input(net.draw(4, 3, 6), dims=[1, 3, 6])
    yield net.case(net.linear(net.op("Tanh", net.linear(x, 6, 8)), 8, 4), batches=(1,), samples=4)


def np_tensor(values):
    from onnx import numpy_helper

    return numpy_helper.from_array(np.float32(values))


def reductions():
    for type in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum",
                 "ReduceLogSumExp", "ReduceSumSquare"):
        for opset, keep in ((11, 1), (18, 0)):
            net = Net(f"{type} opset {opset} keepdims {keep}", opset=opset)
            h = net.linear(net.x(4, 6), 6, 8)
            if type == "ReduceLogSum":
                h = net.op("Exp", h)
            if opset < 13:
                r = net.op(type, h, axes=[1], keepdims=keep)
            else:
                r = net.op(type, h, np.array([-2]), keepdims=keep)
            yield net.case(net.linear(net.op("Tanh", r), 8, 4))

    net = Net("ReduceMean over two axes of an image", opset=18)
    h = net.op("ReduceMean", net.conv(net.x(2, 5, 5), 2, 6, 3, 3), np.array([2, 3]), keepdims=0)
    yield net.case(net.linear(net.op("Tanh", h), 6, 4))

    net = Net("ReduceSum without axes that does nothing")
    h = net.op("ReduceSum", net.linear(net.x(6), 6, 8), np.zeros(0, np.int64), noop_with_empty_axes=1)
    yield net.case(net.linear(net.op("Tanh", h), 8, 4))

    net = Net("ReduceMax over rows shares ties")
    h = net.op("Relu", net.linear(net.x(4, 6), 6, 8))
    yield net.case(net.linear(net.op("ReduceMax", h, axes=[1], keepdims=0), 8, 4), curvature=False,
                   why="Several rows are 0, so that the maximum has a kink where it is.")


def einsums():
    for equation, shapes in {
        "bi,ij->bj": [(8, 5)], "bi,ji->bj": [(5, 8)], "bi,i->bi": [(8,)], "bi,ij,jk->bk": [(8, 5), (5, 6)],
        "...i,ij": [(8, 5)], "bi,bj->bij": ["x"], "bi,ijk->bjk": [(8, 2, 5)]}.items():
        net = Net(f"Einsum {equation}")
        h = net.op("Tanh", net.linear(net.x(6), 6, 8))
        y = net.op("Einsum", h, *(h if s == "x" else net.draw(*s, scale=.4) for s in shapes), equation=equation)
        yield net.case(y)

    net = Net("Einsum attention")
    x = net.x(4, 6)
    q, k, v = (net.op("Reshape", net.linear(x, 6, 8), np.array([0, 0, 2, 4])) for _ in range(3))
    a = net.op("Softmax", net.op("Einsum", q, k, equation="bqhd,bkhd->bhqk"), axis=-1)
    h = net.op("Reshape", net.op("Einsum", a, v, equation="bhqk,bkhd->bqhd"), np.array([0, 0, 8]))
    yield net.case(net.linear(h, 8, 4))

    net = Net("Einsum diagonal")
    h = net.op("Einsum", net.linear(net.x(4, 6), 6, 4), equation="bii->bi")
    yield net.case(net.linear(net.op("Tanh", h), 4, 4))


FAMILIES = [indices, movements, shapes, reductions, einsums]
