"""Signals, integers in place of floats, and losses in the graph."""

import numpy as np
from onnx import TensorProto

from .net import Net


def signals():
    net = Net("DFT of a product", opset=20, ir=9)
    h = net.op("Unsqueeze", net.linear(net.x(6), 6, 8), np.array([2]))
    h = net.op("DFT", h, "", np.array(1), onesided=1)
    yield net.case(net.linear(net.op("Flatten", net.op("Mul", h, h)), 10, 4))

    net = Net("DFT and its inverse, opset 17", opset=17)
    h = net.op("Unsqueeze", net.linear(net.x(6), 6, 8), np.array([2]))
    h = net.op("DFT", net.op("Mul", net.op("DFT", h, axis=1), net.draw(1, 8, 1)), axis=1, inverse=1)
    yield net.case(net.linear(net.op("Tanh", net.op("Flatten", h)), 16, 4))

    for type in ("HannWindow", "HammingWindow", "BlackmanWindow"):
        net = Net(f"STFT with a {type}", opset=17)
        h = net.op("Unsqueeze", net.linear(net.x(6), 6, 16), np.array([2]))
        h = net.op("STFT", h, np.array(4), net.op(type, np.array(8)), onesided=1)
        h = net.op("ReduceSumSquare", h, axes=[3], keepdims=0)
        yield net.case(net.linear(net.op("Log", net.op("Add", h, np.float32(1))), 5, 4))

    net = Net("Mel spectrum", opset=17)
    h = net.op("Unsqueeze", net.linear(net.x(6), 6, 16), np.array([2]))
    h = net.op("ReduceSumSquare", net.op("STFT", h, np.array(4), net.op("HannWindow", np.array(8)), onesided=1), axes=[3],
        keepdims=0)
    mel = net.op("MelWeightMatrix", np.array(3), np.array(8), np.array(8000), np.float32(100), np.float32(4000))
    yield net.case(net.linear(net.op("Tanh", net.op("MatMul", h, mel)), 3, 4))

    net = Net("Waveform into convolutions")
    h = net.op("Relu", net.conv(net.x(1, 32), 1, 4, 8, strides=[4], bias=True))
    h = net.op("Add", h, net.op("Relu", net.conv(h, 4, 4, 3, pads=[2, 2], dilations=[2])))
    yield net.case(net.pooled(h, 4))


def quantized():
    net = Net("Values through QuantizeLinear and back", opset=13)
    h = net.linear(net.x(6), 6, 8)
    q = net.op("DequantizeLinear", net.op("QuantizeLinear", h, np.float32(.05), np.uint8(128)), np.float32(.05), np.uint8(128))
    yield net.case(net.linear(net.op("Tanh", q), 8, 4), tolerance=.02, curvature=False,
                   why="A product on the edge between two codes falls on either side.")

    net = Net("DequantizeLinear of a table of bytes", opset=13)
    table = net.op("DequantizeLinear", net.random.integers(-128, 128, (9, 6)).astype(np.int8), np.float32(.01))
    h = net.op("Gather", table, net.ids(9))
    yield net.case(net.linear(net.op("Tanh", net.linear(h, 6, 8)), 8, 4))

    net = Net("DynamicQuantizeLinear and MatMulInteger", opset=13)
    x = net.x(6)
    q, scale, zero = net.op("DynamicQuantizeLinear", x, outputs=3)
    h = net.op("MatMulInteger", q, net.random.integers(-100, 100, (6, 8)).astype(np.int8), zero)
    h = net.op("Mul", net.op("Cast", h, to=TensorProto.FLOAT), net.op("Mul", scale, np.float32(.01)))
    yield net.case(net.linear(net.op("Tanh", net.linear(h, 8, 8)), 8, 4), alone=True)

    net = Net("QLinearMatMul beside float layers", opset=13)
    q = net.op("QuantizeLinear", net.x(6), np.float32(.03), np.uint8(128))
    w = net.random.integers(-100, 100, (6, 8)).astype(np.int8)
    q = net.op("QLinearMatMul", q, np.float32(.03), np.uint8(128), w, np.float32(.01), np.int8(0), np.float32(.04), np.uint8(128))
    h = net.op("DequantizeLinear", q, np.float32(.04), np.uint8(128))
    yield net.case(net.linear(net.op("Tanh", net.linear(h, 8, 8)), 8, 4))

    for type in ("QLinearConv", "ConvInteger"):
        net = Net(f"{type} beside float layers", opset=13)
        q = net.op("QuantizeLinear", net.x(2, 5, 5), np.float32(.03), np.uint8(128))
        w = net.random.integers(0, 200, (3, 2, 3, 3)).astype(np.uint8)
        if type == "ConvInteger":
            h = net.op("Mul", net.op("Cast", net.op(type, q, w, np.uint8(128), np.uint8(100)), to=TensorProto.FLOAT),
                np.float32(3e-4))
        else:
            h = net.op(type, q, np.float32(.03), np.uint8(128), w, np.float32(.01), np.uint8(100), np.float32(.04), np.uint8(128))
            h = net.op("DequantizeLinear", h, np.float32(.04), np.uint8(128))
        yield net.case(net.pooled(net.op("Tanh", net.conv(h, 3, 4, 2, 2)), 4))


def losses():
    net = Net("SoftmaxCrossEntropyLoss beside scores", opset=13)
    y = net.linear(net.op("Tanh", net.linear(net.x(6), 6, 8)), 8, 4)
    each = net.op("SoftmaxCrossEntropyLoss", y, net.ids(4, name="target"), reduction="none")
    yield net.case(y, each)

    net = Net("NegativeLogLikelihoodLoss for each sample", opset=13)
    y = net.op("LogSoftmax", net.linear(net.op("Tanh", net.linear(net.x(6), 6, 8)), 8, 4))
    each = net.op("NegativeLogLikelihoodLoss", y, net.ids(4, name="target"), np.float32([1, .5, 2, 1]), reduction="none")
    yield net.case(each, loss=("output", "mse"))


FAMILIES = [signals, quantized, losses]
