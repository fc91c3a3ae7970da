"""Where weights stand and how they look: forms, types, scales, names, inputs and outputs, operator sets."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .net import SAMPLES, Net

HALF, BFLOAT, DOUBLE, FLOAT = TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE, TensorProto.FLOAT
# Sums of 16-bit numbers are rounded to 2^-11 (float16) or 2^-8 (bfloat16) after each operator, by whoever runs them.
HALF_TOLERANCE, BFLOAT_TOLERANCE = 4 * 2.0**-11, 4 * 2.0**-8


def two_layers(net, first=None, last=None, x=None):
    """A net of two products; `first` and `last` make the values that are multiplied."""
    x = x or net.x(6)
    h = net.op("MatMul", x, first(net) if first else net.weight(6, 8))
    return net.op("MatMul", net.op("Tanh", h), last(net) if last else net.weight(8, 4))


FORMS = {
    "Transpose": lambda n: n.op("Transpose", n.weight(8, 6), perm=[1, 0]),
    "Identity": lambda n: n.op("Identity", n.weight(6, 8)),
    "Cast from float16": lambda n: n.op("Cast", n.weight(6, 8, type=np.float16), to=FLOAT),
    "Cast from float64": lambda n: n.op("Cast", n.weight(6, 8, type=np.float64), to=FLOAT),
    "Slice": lambda n: n.cut(n.weight(9, 8), 2, 8, 0),
    "Concat": lambda n: n.op("Concat", n.weight(2, 8), n.weight(4, 8), axis=0),
    "Concat of columns and Transpose": lambda n: n.op("Transpose", n.op("Concat", n.weight(3, 6), n.weight(5, 6), axis=0)),
    "Reshape": lambda n: n.op("Reshape", n.weight(2, 3, 8), np.array([6, 8])),
    "Squeeze": lambda n: n.op("Squeeze", n.weight(1, 6, 8), np.array([0])),
    "Split": lambda n: n.op("Split", n.weight(6, 16), np.array([8, 8]), axis=1, outputs=2)[1],
    "Mul by a scale": lambda n: n.op("Mul", n.weight(6, 8), np.float32(.7)),
    "weight normalization": lambda n: (lambda v: n.op("Div", v, n.op("ReduceL2", v, axes=[0])))(n.weight(6, 8)),
    "Add of two": lambda n: n.op("Add", n.weight(6, 8), n.weight(6, 8)),
    "Constant node": lambda n: n.op("Constant", value=numpy_helper.from_array(n.draw(6, 8, scale=.4))),
    "Unsqueeze and Gather": lambda n: n.op("Gather", n.weight(3, 6, 8, scale=.4), np.array(1), axis=0),
    "Pad": lambda n: n.op("Pad", n.weight(5, 8), np.array([1, 0, 0, 0])),
    "Expand": lambda n: n.op("Expand", n.weight(6, 1), np.array([6, 8])),
    "Where": lambda n: n.op("Where", n.draw(6, 8) > 0, n.weight(6, 8), np.float32(0)),
}


def forms():
    for name, form in FORMS.items():
        net = Net(f"Weight behind {name}")
        yield net.case(two_layers(net, form))

    net = Net("Weight that is read plainly and transposed")
    w = net.weight(6, 6)
    yield net.case(two_layers(net, lambda n: w, lambda n: n.op("Transpose", w)))

    net = Net("Weight that is read by a product and by itself")
    w = net.weight(6, 8)
    h = net.op("Mul", net.op("MatMul", net.x(6), w), net.op("ReduceMean", w, axes=[0]))
    yield net.case(net.linear(h, 8, 4))

    net = Net("Weight that is also an output")
    w = net.weight(6, 8)
    yield net.case(two_layers(net, lambda n: w), (net.op("Identity", w), FLOAT, [6, 8]))

    net = Net("Weights that are inputs as well", opset=9)
    y = two_layers(net)

    def edit(model):
        for tensor in model.graph.initializer:
            model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    yield net.case(y, edit=edit)

    net = Net("Weights in fields of floats instead of bytes")

    def spread(model):
        for tensor in model.graph.initializer:
            values = numpy_helper.to_array(tensor).ravel()
            tensor.ClearField("raw_data")
            tensor.float_data.extend(values.tolist())
    yield net.case(two_layers(net), edit=spread)

    net = Net("Constant nodes for everything", opset=13)

    def move(model):
        constants = [helper.make_node("Constant", [], [t.name], value=t) for t in model.graph.initializer]
        nodes = list(model.graph.node)
        del model.graph.initializer[:], model.graph.node[:]
        model.graph.node.extend(constants + nodes)
    yield net.case(net.op("Gemm", net.op("Relu", net.linear(net.x(6), 6, 8, bias=True)), net.weight(4, 8), net.draw(4),
        transB=1), edit=move)

    net = Net("Two layers with equal weights under two names")
    values = net.draw(6, 6, scale=.4)
    yield net.case(two_layers(net, lambda n: n.constant(values, "a"), lambda n: n.constant(values.copy(), "b")))

    net = Net("Weights that nothing reads")
    net.weight(5, 5, name="unused")
    yield net.case(two_layers(net))

    net = Net("A layer that no output needs")
    x = net.x(6)
    net.op("Relu", net.linear(x, 6, 5))
    yield net.case(two_layers(net, x=x))


def types():
    net = Net("float16 weights and values")
    x = net.x(6, type=np.float16)
    h = net.op("MatMul", net.op("Tanh", net.op("MatMul", x, net.weight(6, 8, type=np.float16))), net.weight(8, 4, type=np.float16))
    yield net.case((h, HALF, None), tolerance=HALF_TOLERANCE)

    net = Net("float16 inside, float32 outside")
    x = net.op("Cast", net.x(6), to=HALF)
    h = net.op("Gemm", net.op("Relu", net.op("MatMul", x, net.weight(6, 8, type=np.float16))),
        net.weight(4, 8, type=np.float16), net.draw(4, type=np.float16), transB=1)
    yield net.case(net.op("Cast", h, to=FLOAT), tolerance=HALF_TOLERANCE)

    net = Net("float16 weights, products in float32")
    yield net.case(two_layers(net, lambda n: n.op("Cast", n.weight(6, 8, type=np.float16), to=FLOAT),
        lambda n: n.op("Cast", n.op("Transpose", n.weight(4, 8, type=np.float16)), to=FLOAT)))

    net = Net("float16 convolution")
    x = net.x(3, 5, 5, type=np.float16)
    h = net.op("Conv", x, net.weight(4, 3, 3, 3, type=np.float16), net.draw(4, scale=.3, type=np.float16))
    h = net.op("Cast", net.op("Relu", h), to=FLOAT)
    yield net.case(net.pooled(h, 4), tolerance=HALF_TOLERANCE)

    net = Net("bfloat16 weights, products in float32")
    w = helper.make_tensor("w", BFLOAT, [6, 8], net.draw(6, 8, scale=.4).ravel().tolist())
    yield net.case(two_layers(net, lambda n: n.op("Cast", n.constant(w, "w"), to=FLOAT)))

    net = Net("float64 values with float32 weights")
    x = net.x(6, type=np.float64)
    h = net.op("Cast", net.op("Mul", x, np.float64(.5)), to=FLOAT)
    yield net.case(two_layers(net, x=h))

    net = Net("float64 throughout")
    x = net.x(6, type=np.float64)
    h = net.op("MatMul", net.op("Tanh", net.op("MatMul", x, net.weight(6, 8, type=np.float64))), net.weight(8, 4, type=np.float64))
    yield net.case((h, DOUBLE, None), quantizable=False)

    net = Net("Integer pixels")
    x = net.input(net.random.integers(0, 256, (SAMPLES, 3, 5, 5)).astype(np.uint8))
    h = net.op("Div", net.op("Cast", x, to=FLOAT), np.float32(255))
    yield net.case(net.pooled(net.op("Relu", net.conv(h, 3, 4, 3, 3)), 4))

    net = Net("Flags as input")
    flags = net.input(net.random.random((SAMPLES, 6)) > .5)
    yield net.case(two_layers(net, x=net.op("Cast", flags, to=FLOAT)))

    net = Net("CastLike of a table")
    h = net.op("CastLike", net.op("Gather", net.weight(9, 6, scale=1, type=np.float16), net.ids(9)), net.draw(1))
    yield net.case(two_layers(net, x=h))


def extremes():
    def scaled(net, rows, columns, scale):
        return net.constant(net.draw(rows, columns, scale=rows**-.5) * np.float32(scale))

    for scale in (1e-6, 1e5):
        net = Net(f"Weights of size {scale}")
        h = net.op("Mul", net.op("MatMul", net.x(6), scaled(net, 6, 8, scale)), np.float32(1 / scale))
        yield net.case(net.op("MatMul", net.op("Tanh", h), net.weight(8, 4)))

    net = Net("Rows and columns of zeros")
    w, v = net.draw(6, 8, scale=.4), net.draw(8, 4, scale=.4)
    w[2], w[:, 5], v[:, 1] = 0, 0, 0
    yield net.case(two_layers(net, lambda n: n.constant(w), lambda n: n.constant(v)))

    net = Net("A weight of zeros")
    yield net.case(two_layers(net, lambda n: n.constant(np.zeros((6, 8), np.float32))))

    net = Net("Equal weights throughout")
    yield net.case(two_layers(net, lambda n: n.constant(np.full((6, 8), .25, np.float32))))

    net = Net("Positive weights only")
    yield net.case(two_layers(net, lambda n: n.constant(np.abs(n.draw(6, 8)))))

    net = Net("One outlier")
    w = net.draw(6, 8, scale=.1)
    w[3, 3] = 30
    yield net.case(two_layers(net, lambda n: n.constant(w)))

    net = Net("Channels of very different sizes")
    w = net.draw(6, 8, scale=.4) * (np.float32(10) ** np.arange(-5, 3, dtype=np.float32))
    yield net.case(net.op("MatMul", net.op("Tanh", net.op("MatMul", net.x(6), net.constant(w))), net.weight(8, 4)))

    net = Net("Samples that are zero")
    x = net.draw(SAMPLES, 6)
    x[::2] = 0
    yield net.case(two_layers(net, x=net.input(x)))

    net = Net("Samples that are equal")
    yield net.case(two_layers(net, x=net.input(np.tile(net.draw(1, 6), (SAMPLES, 1)))))

    net = Net("An input that is always zero")
    x = net.draw(SAMPLES, 6)
    x[:, 2] = 0
    yield net.case(two_layers(net, x=net.input(x)))

    net = Net("Large values of the input")
    yield net.case(two_layers(net, x=net.op("Div", net.x(6, scale=1e4), np.float32(1e4))))

    net = Net("Dead units behind Relu")
    h = net.op("Relu", net.op("Add", net.linear(net.x(6), 6, 8), np.float32([-100, 0, 0, -100, 0, 0, 0, 0])))
    yield net.case(net.linear(h, 8, 4))

    net = Net("A weight of one element")
    yield net.case(net.op("MatMul", net.op("Tanh", net.linear(net.x(1), 1, 1)), net.weight(1, 3)))

    net = Net("More inputs than a block", opset=21, ir=10)
    yield net.case(net.op("MatMul", net.op("Tanh", net.linear(net.x(70), 70, 8)), net.weight(8, 4)))


NAMES = {
    "unicode": ("größe.∂/重み", "выход"), "spaces": ("a weight ", " a value"), "very long": ("w" * 3000, "v" * 3000),
    "like what is added": ("W.cet.bias", "W.cet.q"), "like what is added to it": ("W", "W.cet.scale"),
    "slashes and quotes": ("/model/\"w\"'", "a:0"), "patterns": ("*", "?"), "numbers": ("0",
        "1"), "a comma and a brace": ("w,{}", "[1]"),
}


def names():
    for kind, (weight, value) in NAMES.items():
        net = Net(f"Names: {kind}")
        h = net.op("MatMul", net.x(6), net.weight(6, 8, name=weight), outputs=[value])
        yield net.case(net.linear(net.op("Tanh", h), 8, 4, bias=True))

    net = Net("Names of nodes that are like values of others")
    h = net.op("MatMul", net.x(6), net.weight(6, 8), name="v9", outputs=["a"])
    yield net.case(net.op("MatMul", net.op("Tanh", h, name="y", outputs=["v9"]), net.weight(8, 4), name="a", outputs=["y"]))

    net = Net("Names of input, output and weight with dots and slashes")
    h = net.op("MatMul", net.x(6, name="serving/x:0"), net.weight(6, 8, name="a/b.c:0"))
    yield net.case(net.op("MatMul", net.op("Tanh", h), net.weight(8, 4, name="a/b.c:1"), outputs=["serving/y:0"]))


def inputs_and_outputs():
    net = Net("Two inputs joined")
    h = net.op("Concat", net.linear(net.x(6), 6, 5), net.linear(net.x(3), 3, 5), axis=1)
    yield net.case(net.linear(net.op("Tanh", h), 10, 4))

    net = Net("Siamese towers with one weight")
    w = net.weight(6, 5)
    a, b = (net.op("Tanh", net.op("MatMul", net.x(6), w)) for _ in range(2))
    yield net.case(net.op("MatMul", net.op("Mul", a, b), net.weight(5, 4)))

    net = Net("Three outputs, one of them from within")
    h = net.op("Tanh", net.linear(net.x(6), 6, 8))
    yield net.case(net.linear(h, 8, 4), net.linear(h, 8, 2), h)

    net = Net("A scalar for all samples")
    scalar = net.input(np.float32(.7), "temperature", [])
    yield net.case(two_layers(net, x=net.op("Mul", net.x(6), scalar)))

    net = Net("A state whose samples stand on axis 1")
    x = net.x(5)
    state = net.input(net.draw(2, SAMPLES, 5), "state", [2, "n", 5])
    h = net.op("Add", x, net.op("ReduceSum", state, np.array([0]), keepdims=0))
    yield net.case(two_layers(net, lambda n: n.weight(5, 8), x=h))

    net = Net("An input that no node reads")
    net.x(6)
    net.x(2, name="spare")
    yield net.case(two_layers(net, x="x"))

    net = Net("An output that is an input")
    x = net.x(6)
    yield net.case(two_layers(net, x=x), x)

    net = Net("Output of integers beside scores")
    y = two_layers(net)
    yield net.case(y, (net.op("ArgMax", y, axis=-1, keepdims=0), TensorProto.INT64, None))

    net = Net("Softmax as the output")
    yield net.case(net.op("Softmax", two_layers(net)), probabilities=True)

    net = Net("A single score")
    yield net.case(net.linear(net.op("Tanh", net.linear(net.x(6), 6, 8)), 8, 1), loss=("mse",))

    net = Net("A scalar for each sample")
    yield net.case(net.op("Squeeze", net.linear(net.op("Tanh", net.linear(net.x(6), 6, 8)), 8, 1), np.array([1])), loss=("mse",))

    net = Net("Shapes of values are written in the file")
    yield net.case(two_layers(net), edit=lambda m: onnx.shape_inference.infer_shapes(m))

    net = Net("A custom domain is imported and not used")
    net.domains["ai.onnx.ml"] = 3
    yield net.case(two_layers(net))

    net = Net("Metadata, documentation and unknown producers")

    def annotate(model):
        model.producer_name, model.doc_string, model.domain, model.model_version = "someone", "text", "org.example", 7
        helper.set_model_props(model, {"author": "a", "classes": "[1, 2]"})
        model.graph.node[0].doc_string = "first"
    yield net.case(two_layers(net), edit=annotate)


def opsets():
    for opset in range(7, 27):
        net = Net(f"A net of operator set {opset}", opset=opset,
            ir=3 if opset < 9 else 8 if opset < 21 else 10 if opset < 24 else 11)
        x = net.op("Relu", net.conv(net.x(2, 6, 6), 2, 4, 3, 3, bias=True))
        h = net.op("Flatten", net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]))
        h = net.op("Gemm", h, net.weight(5, 16), net.draw(5), transB=1)

        def edit(model):  # IR 3 wants initializers among the inputs
            if model.ir_version < 4:
                for tensor in model.graph.initializer:
                    model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        yield net.case(net.op("LogSoftmax", h), edit=edit)

    net = Net("The standard domain by its long name")

    def rename(model):
        model.opset_import[0].domain = "ai.onnx"
        for node in model.graph.node:
            node.domain = "ai.onnx"
    yield net.case(two_layers(net), edit=rename)


FAMILIES = [forms, types, extremes, names, inputs_and_outputs, opsets]
