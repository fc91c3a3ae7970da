"""Common architectures as ONNX files with random weights, for measurements of speed and memory.

    python Benchmarks/models.py resnet18 FILE.onnx

Names: resnet18, resnet50, mobilenet_v2 (images of 3 x 224 x 224, batch normalization folded), bert_base, bert_tiny
(128 tokens, two classes). The batch axis is dynamic.
"""

import argparse
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))

import arguments  # noqa: E402

NAMES = ["resnet18", "resnet50", "mobilenet_v2", "bert_base", "bert_tiny"]


def known(name):
    """The name, as a type of argparse."""
    if name not in NAMES:
        raise argparse.ArgumentTypeError(f"'{name}' is none of {', '.join(NAMES)}")
    return name


def known_or_own(text):
    """A name of models.py, or MODEL.onnx:DATA.npz, as a type of argparse."""
    if ":" not in text:
        return known(text)
    path, data = text.split(":", 1)
    arguments.existing(path)
    arguments.arrays(data)
    return text


class Network:
    """Nodes and initializers in the making. Every method returns the name of a value."""

    def __init__(self):
        self.nodes, self.initializers = [], []
        self.random = np.random.default_rng(0)

    def constant(self, array):
        name = f"t{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weight(self, shape, deviation):
        return self.constant((self.random.standard_normal(shape) * deviation).astype(np.float32))

    def node(self, operator, *inputs, **attributes):
        name = f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def convolution(self, x, inputs, outputs, kernel, stride=1, groups=1, gain=1.0):
        fan_in = inputs // groups * kernel**2
        weight = self.weight((outputs, inputs // groups, kernel, kernel), gain * (2 / fan_in) ** 0.5)
        return self.node(
            "Conv", x, weight, self.weight((outputs,), 0.01), kernel_shape=[kernel] * 2, strides=[stride] * 2,
            pads=[kernel // 2] * 4, group=groups)

    def linear(self, x, inputs, outputs):
        product = self.node("MatMul", x, self.weight((inputs, outputs), 0.02))
        return self.node("Add", product, self.weight((outputs,), 0.01))

    def classifier(self, x, inputs, classes):
        weight = self.weight((classes, inputs), inputs**-0.5)
        return self.node("Gemm", x, weight, self.weight((classes,), 0.01), transB=1)


def resnet(net, x, blocks, bottleneck):
    x = net.node("Relu", net.convolution(x, 3, 64, 7, 2))
    x = net.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = 64
    for stage, count in enumerate(blocks):
        width = 64 << stage
        outputs = 4 * width if bottleneck else width
        for block in range(count):
            stride = 2 if stage and not block else 1
            same = stride == 1 and channels == outputs
            shortcut = x if same else net.convolution(x, channels, outputs, 1, stride)
            if bottleneck:
                y = net.node("Relu", net.convolution(x, channels, width, 1))
                y = net.node("Relu", net.convolution(y, width, width, 3, stride))
                y = net.convolution(y, width, outputs, 1, gain=0.2)
            else:
                y = net.node("Relu", net.convolution(x, channels, width, 3, stride))
                y = net.convolution(y, width, width, 3, gain=0.2)
            x, channels = net.node("Relu", net.node("Add", y, shortcut)), outputs
    x = net.node("Flatten", net.node("GlobalAveragePool", x), axis=1)
    return net.classifier(x, channels, 1000)


# expansion, output channels, repeats, stride of the first
MOBILENET_V2 = [
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]


def mobilenet_v2(net, x):
    low, high = net.constant(np.float32(0)), net.constant(np.float32(6))

    def relu6(value):
        return net.node("Clip", value, low, high)

    x, channels = relu6(net.convolution(x, 3, 32, 3, 2)), 32
    for expansion, outputs, repeats, first in MOBILENET_V2:
        for repeat in range(repeats):
            stride, hidden, y = 1 if repeat else first, channels * expansion, x
            if expansion > 1:
                y = relu6(net.convolution(y, channels, hidden, 1))
            y = relu6(net.convolution(y, hidden, hidden, 3, stride, hidden))
            y = net.convolution(y, hidden, outputs, 1)
            x = net.node("Add", x, y) if stride == 1 and channels == outputs else y
            channels = outputs
    x = relu6(net.convolution(x, channels, 1280, 1))
    return net.classifier(net.node("Flatten", net.node("GlobalAveragePool", x), axis=1), 1280, 1000)


def bert(net, layers, width, heads, tokens=128, vocabulary=30522):
    size = width // heads

    def norm(x):
        return net.node(
            "LayerNormalization", x, net.constant(np.ones(width, np.float32)),
            net.constant(np.zeros(width, np.float32)), axis=-1)

    words = net.node("Gather", net.weight((vocabulary, width), 0.02), "input_ids")
    x = norm(net.node("Add", words, net.weight((1, tokens, width), 0.02)))
    seen = net.node("Unsqueeze", net.node("Cast", "attention_mask", to=TensorProto.FLOAT), net.constant(np.array([1, 2])))
    hidden = net.node("Sub", seen, net.constant(np.float32(1)))
    hidden = net.node("Mul", hidden, net.constant(np.float32(1e4)))
    split, join = net.constant(np.array([0, tokens, heads, size])), net.constant(np.array([0, tokens, width]))
    half, root, one = (net.constant(np.float32(v)) for v in (0.5, 0.5**0.5, 1))
    for _ in range(layers):
        query, key, value = (net.node("Reshape", net.linear(x, width, width), split) for _ in range(3))
        scores = net.node(
            "MatMul", net.node("Transpose", query, perm=[0, 2, 1, 3]), net.node("Transpose", key, perm=[0, 2, 3, 1]))
        scores = net.node("Mul", scores, net.constant(np.float32(size**-0.5)))
        attention = net.node("Softmax", net.node("Add", scores, hidden), axis=-1)
        mixed = net.node("MatMul", attention, net.node("Transpose", value, perm=[0, 2, 1, 3]))
        mixed = net.node("Reshape", net.node("Transpose", mixed, perm=[0, 2, 1, 3]), join)
        x = norm(net.node("Add", x, net.linear(mixed, width, width)))
        h = net.linear(x, width, 4 * width)
        bell = net.node("Add", net.node("Erf", net.node("Mul", h, root)), one)
        gelu = net.node("Mul", net.node("Mul", h, half), bell)
        x = norm(net.node("Add", x, net.linear(gelu, 4 * width, width)))
    first = net.node("Gather", x, net.constant(np.int64(0)), axis=1)
    return net.classifier(net.node("Tanh", net.classifier(first, width, width)), width, 2)


def build(name):
    net = Network()
    if name.startswith("bert"):
        shape, kind, inputs = ["batch", 128], TensorProto.INT64, ("input_ids", "attention_mask")
        logits = bert(net, *{"bert_base": (12, 768, 12), "bert_tiny": (2, 128, 2)}[name])
    else:
        shape, kind, inputs = ["batch", 3, 224, 224], TensorProto.FLOAT, ("input",)
        logits = {
            "resnet18": lambda: resnet(net, "input", (2, 2, 2, 2), False),
            "resnet50": lambda: resnet(net, "input", (3, 4, 6, 3), True),
            "mobilenet_v2": lambda: mobilenet_v2(net, "input"),
        }[name]()
    net.nodes.append(helper.make_node("Identity", [logits], ["logits"]))
    graph = helper.make_graph(
        net.nodes, name, [helper.make_tensor_value_info(i, kind, shape) for i in inputs],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", None])], net.initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def data(name, samples):
    """Random inputs and labels."""
    random = np.random.default_rng(1)
    if name.startswith("bert"):
        tokens = random.integers(0, 30522, (samples, 128))
        return {"input_ids": tokens, "attention_mask": np.ones_like(tokens)}, random.integers(0, 2, samples)
    images = random.standard_normal((samples, 3, 224, 224), dtype=np.float32)
    return {"input": images}, random.integers(0, 1000, samples)


if __name__ == "__main__":
    parser = arguments.Parser(__doc__)
    parser.add_argument("name", type=known)
    parser.add_argument("file", type=arguments.writable)
    options = parser.parse_args()
    onnx.save(build(options.name), options.file)
