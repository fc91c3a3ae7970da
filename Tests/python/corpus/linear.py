"""Convolutions, transposed convolutions and matrix products with all their attributes."""

import numpy as np

from .net import Net

CONVOLUTIONS = {
    # name: channels, size, kernel, attributes
    "plain": (3, (6, 6), (3, 3), {}),
    "padded": (3, (6, 6), (3, 3), dict(pads=[1, 1, 1, 1])),
    "one sided pads": (3, (6, 5), (3, 2), dict(pads=[0, 1, 2, 0])),
    "strided": (4, (7, 8), (3, 3), dict(strides=[2, 3], pads=[1, 1, 1, 1])),
    "dilated": (4, (8, 9), (3, 3), dict(dilations=[2, 3])),
    "grouped": (4, (6, 6), (3, 3), dict(group=2)),
    "depthwise": (4, (6, 6), (3, 3), dict(group=4, pads=[1, 1, 1, 1])),
    "depthwise strided dilated": (6, (9, 9), (3, 3), dict(group=6, strides=[2, 2], dilations=[2, 2])),
    "pointwise": (6, (4, 4), (1, 1), {}),
    "wide kernel": (2, (9, 9), (5, 7), dict(pads=[2, 3, 2, 3])),
    "same upper": (3, (7, 6), (4, 3), dict(auto_pad="SAME_UPPER", strides=[2, 2])),
    "same lower": (3, (7, 6), (4, 3), dict(auto_pad="SAME_LOWER", strides=[2, 2])),
    "same upper dilated": (3, (7, 6), (3, 3), dict(auto_pad="SAME_UPPER", dilations=[2, 1])),
    "valid": (3, (7, 6), (3, 3), dict(auto_pad="VALID", strides=[2, 1])),
    "explicit kernel shape": (3, (5, 5), (3, 3), dict(kernel_shape=[3, 3], auto_pad="NOTSET")),
    "1-D": (4, (12,), (5,), dict(pads=[2, 2])),
    "1-D causal": (4, (12,), (3,), dict(pads=[4, 0], dilations=[2])),
    "1-D depthwise strided": (4, (13,), (4,), dict(group=4, strides=[3])),
    "3-D": (2, (4, 5, 6), (2, 3, 3), dict(pads=[0, 1, 1, 1, 1, 1])),
    "3-D grouped strided": (4, (5, 5, 5), (3, 3, 3), dict(group=2, strides=[2, 1, 2])),
}

TRANSPOSED = {
    "plain": (4, (4, 4), (3, 3), {}),
    "strided": (4, (4, 3), (3, 3), dict(strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])),
    "dilated": (4, (4, 4), (3, 2), dict(dilations=[2, 2])),
    "grouped": (4, (4, 4), (3, 3), dict(group=2, strides=[2, 1])),
    "depthwise": (4, (4, 4), (4, 4), dict(group=4, strides=[2, 2], pads=[1, 1, 1, 1])),
    "output shape": (4, (4, 4), (3, 3), dict(strides=[2, 2], output_shape=[8, 9])),
    "same upper": (4, (4, 4), (3, 3), dict(strides=[2, 2], auto_pad="SAME_UPPER")),
    "same lower": (4, (4, 4), (4, 3), dict(strides=[2, 2], auto_pad="SAME_LOWER")),
    "1-D": (4, (6,), (4,), dict(strides=[3])),
    "3-D": (2, (3, 3, 2), (2, 2, 3), dict(strides=[2, 1, 1])),
}


def convolutions():
    for index, (name, (channels, size, kernel, attributes)) in enumerate(CONVOLUTIONS.items()):
        net = Net(f"Conv {name}", opset=[11, 17, 21, 22][index % 4])
        h = net.conv(net.x(channels, *size), channels, channels + channels % 3 * 2 if "group" not in attributes else channels,
                     *kernel, bias=index % 2 == 0, **attributes)
        width = channels + channels % 3 * 2 if "group" not in attributes else channels
        # onnxruntime has no automatic padding of dilated windows.
        yield net.case(net.pooled(net.op("Tanh", h), width), stock=name != "same upper dilated")

    net = Net("Conv net with batch normalization and residual")
    x = net.conv(net.x(3, 8, 8), 3, 6, 3, 3, pads=[1] * 4)
    x = net.op("Relu", net.op("BatchNormalization", x, 1 + net.draw(6, scale=.1), net.draw(6, scale=.1), net.draw(6, scale=.1),
        np.float32([1, 2, .5, 1, .7, 1])))
    y = net.op("Relu", net.conv(x, 6, 6, 3, 3, pads=[1] * 4, bias=True))
    y = net.conv(y, 6, 6, 3, 3, pads=[1] * 4)
    yield net.case(net.pooled(net.op("Relu", net.op("Add", x, y)), 6))

    net = Net("Conv scores as a map of classes")
    h = net.op("Relu", net.conv(net.x(2, 5, 4), 2, 6, 3, 3, pads=[1] * 4))
    yield net.case(net.conv(h, 6, 4, 1, 1, bias=True), loss=("mse", "kl"))

    net = Net("Conv scores for each pixel")
    y = net.conv(net.op("Sigmoid", net.conv(net.x(2, 5, 4), 2, 6, 3, 3, pads=[1] * 4)), 6, 4, 1, 1, bias=True)
    yield net.case(net.op("Transpose", y, perm=[0, 2, 3, 1]))

    net = Net("Conv one weight twice")
    w = net.weight(3, 3, 3, 3)
    h = net.op("Tanh", net.op("Conv", net.x(3, 6, 6), w, pads=[1] * 4))
    yield net.case(net.pooled(net.op("Conv", h, w, pads=[2] * 4, dilations=[2, 2]), 3))

    net = Net("Conv weight also the kernel of the transposed")
    w = net.weight(4, 3, 3, 3)
    h = net.op("Tanh", net.op("Conv", net.x(3, 6, 6), w))
    yield net.case(net.pooled(net.op("ConvTranspose", h, w), 3))


def transposed_convolutions():
    for index, (name, (channels, size, kernel, attributes)) in enumerate(TRANSPOSED.items()):
        net = Net(f"ConvTranspose {name}", opset=[11, 17, 22][index % 3])
        groups = attributes.get("group", 1)
        width = 6 // groups if groups != 4 else 1
        parts = [net.x(channels, *size), net.weight(channels, width, *kernel)]
        if index % 2:
            parts.append(net.draw(width * groups, scale=.3))
        h = net.op("ConvTranspose", *parts, **attributes)
        yield net.case(net.pooled(net.op("Tanh", h), width * groups))

    net = Net("ConvTranspose decoder of an image")
    h = net.op("Relu", net.linear(net.x(6), 6, 32, bias=True))
    h = net.op("Reshape", h, np.array([-1, 8, 2, 2]))
    h = net.op("Tanh", net.op("ConvTranspose", h, net.weight(8, 4, 4, 4), strides=[2, 2], pads=[1] * 4))
    yield net.case(net.op("ConvTranspose", h, net.weight(4, 2, 4, 4), net.draw(2), strides=[2, 2], pads=[1] * 4))


def products():
    for alpha, beta, right, bias in [
        (1, 1, 0, "row"), (1, 1, 1, "row"), (.5, 1, 0, "none"), (2, .25, 1, "row"), (1, 1, 0, "scalar"), (1, 1, 1, "one row"),
        (1, 0, 0, "row"), (-1, 1, 0, "column"), (1, 1, 1, "scalar of rank 1")]:
        net = Net(f"Gemm alpha {alpha} beta {beta} transB {right} bias {bias}", opset=13)
        x = net.op("Tanh", net.linear(net.x(6), 6, 8))
        shape = {"row": (5,), "scalar": (), "one row": (1, 5), "column": (1, 1), "scalar of rank 1": (1,)}.get(bias)
        parts = [x, net.weight(*((5, 8) if right else (8, 5)))] + ([] if shape is None else [net.draw(*shape)])
        yield net.case(net.op("Gemm", *parts, alpha=float(alpha), beta=float(beta), transB=right))

    for right in (0, 1):
        net = Net(f"Gemm transA transB {right}")
        x = net.op("Transpose", net.op("Tanh", net.linear(net.x(6), 6, 8)))
        yield net.case(net.op("Gemm", x, net.weight(*((5, 8) if right else (8, 5))), net.draw(5), transA=1, transB=right))

    net = Net("Gemm whose bias is another sample's product")
    x = net.x(6)
    yield net.case(net.op("Gemm", net.op("Tanh", net.linear(x, 6, 8)), net.weight(8, 5), net.linear(x, 6, 5)))

    net = Net("Gemm constant on the left")
    x = net.op("Tanh", net.linear(net.x(6), 6, 5))
    yield net.case(net.op("Transpose", net.op("Gemm", net.weight(4, 5, name="left"), x, transB=1)))

    net = Net("MatMul weight on the left")
    h = net.op("MatMul", net.weight(5, 4), net.x(4, 6))
    yield net.case(net.linear(net.op("Tanh", h), 6, 3))

    net = Net("MatMul weights on both sides")
    h = net.op("MatMul", net.op("MatMul", net.weight(5, 4), net.x(4, 6)), net.weight(6, 4))
    yield net.case(net.op("Sin", h))

    net = Net("MatMul batched weights")
    h = net.op("MatMul", net.x(3, 2, 6), net.weight(3, 6, 5))
    yield net.case(net.linear(net.op("Tanh", h), 5, 4))

    net = Net("MatMul batched weights broadcast over samples")
    h = net.op("MatMul", net.op("Unsqueeze", net.x(2, 6), np.array([1])), net.weight(1, 3, 6, 5))
    yield net.case(net.linear(net.op("Tanh", h), 5, 4))

    net = Net("MatMul batched weights on the left")
    h = net.op("MatMul", net.weight(3, 4, 6), net.op("Unsqueeze", net.x(6, 5), np.array([1])))
    yield net.case(net.linear(net.op("Tanh", h), 5, 4))

    net = Net("MatMul ranks 4 and 2")
    yield net.case(net.linear(net.op("Tanh", net.linear(net.x(2, 3, 6), 6, 8, bias=True)), 8, 4))

    net = Net("MatMul with a vector")
    h = net.op("MatMul", net.op("Tanh", net.linear(net.x(4, 6), 6, 8)), net.draw(8))
    yield net.case(net.linear(h, 4, 3))

    net = Net("MatMul of one matrix with itself")
    w = net.weight(6, 6)
    yield net.case(net.op("MatMul", net.op("Tanh", net.op("MatMul", net.x(6), w)), w))

    net = Net("MatMul of two activations")
    x = net.x(3, 6)
    a, b = net.linear(x, 6, 5), net.linear(x, 6, 5)
    yield net.case(net.op("MatMul", a, net.op("Transpose", b, perm=[0, 2, 1])))

    net = Net("MatMul bias in front")
    yield net.case(net.op("Add", net.draw(4), net.linear(net.op("Relu", net.op("Add", net.draw(8), net.linear(net.x(6), 6, 8))),
        8, 4)))

    net = Net("MatMul one column and one row")
    yield net.case(net.linear(net.op("Tanh", net.linear(net.x(6), 6, 1)), 1, 4))

    net = Net("Product of constants in front of a product")
    w = net.op("MatMul", net.weight(6, 2, name="down"), net.weight(2, 8, name="up"))
    w = net.op("Add", w, net.weight(6, 8, name="base"))
    yield net.case(net.linear(net.op("Tanh", net.op("MatMul", net.x(6), w)), 8, 4))

    net = Net("Deep narrow network")
    h = net.x(4)
    for _ in range(8):
        h = net.op("Add", h, net.op("Tanh", net.linear(h, 4, 4, bias=True)))
    yield net.case(h)


FAMILIES = [convolutions, transposed_convolutions, products]
