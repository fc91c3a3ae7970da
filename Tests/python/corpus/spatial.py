"""Normalizations, pools, resizing and what else works on images."""

import numpy as np

from .net import SAMPLES, Net


def positive(net, *shape):
    return np.abs(net.draw(*shape, scale=.3)) + np.float32(.6)


def normalizations():
    net = Net("BatchNormalization behind a product", opset=15)
    h = net.op("BatchNormalization", net.linear(net.x(6), 6, 8), positive(net, 8), net.draw(8), net.draw(8), positive(net, 8),
        epsilon=1e-3)
    yield net.case(net.linear(net.op("Tanh", h), 8, 4))

    net = Net("BatchNormalization in front of an opset 8 Conv", opset=8)
    h = net.op("BatchNormalization", net.x(3, 5, 5), positive(net, 3), net.draw(3), net.draw(3), positive(net, 3))
    yield net.case(net.pooled(net.op("Relu", net.conv(h, 3, 4, 3, 3)), 4))

    for axis, opset in ((-1, 17), (1, 17), (2, 22)):
        net = Net(f"LayerNormalization axis {axis} opset {opset}", opset=opset, ir=8 if opset < 20 else 10)
        h = net.linear(net.x(3, 6), 6, 8)
        shape = (3, 8) if axis == 1 else (8,)
        h = net.op("LayerNormalization", h, positive(net, *shape), net.draw(*shape), axis=axis, epsilon=1e-4)
        yield net.case(net.linear(h, 8, 4))

    net = Net("LayerNormalization without bias, its statistics are used")
    h = net.linear(net.x(3, 6), 6, 8)
    y, mean, inverse = net.op("LayerNormalization", h, positive(net, 8), outputs=3)
    yield net.case(net.linear(net.op("Add", y, net.op("Mul", mean, inverse)), 8, 4))

    net = Net("Layer normalization written out")
    h = net.linear(net.x(3, 6), 6, 8)
    d = net.op("Sub", h, net.op("ReduceMean", h, axes=[-1]))
    v = net.op("ReduceMean", net.op("Pow", d, np.float32(2)), axes=[-1])
    yield net.case(net.linear(net.op("Div", d, net.op("Sqrt", net.op("Add", v, np.float32(1e-5)))), 8, 4))

    net = Net("InstanceNormalization")
    h = net.op("InstanceNormalization", net.conv(net.x(3, 6, 6), 3, 4, 3, 3), positive(net, 4), net.draw(4), epsilon=1e-3)
    yield net.case(net.pooled(net.op("Tanh", h), 4))

    for opset, shape in ((18, 2), (21, 6)):
        net = Net(f"GroupNormalization opset {opset}", opset=opset, ir=10)
        h = net.conv(net.x(3, 6, 6), 3, 6, 3, 3)
        h = net.op("GroupNormalization", h, positive(net, shape), net.draw(shape), num_groups=2)
        yield net.case(net.pooled(net.op("Tanh", h), 6))

    net = Net("RMSNormalization", opset=23, ir=10)
    h = net.op("RMSNormalization", net.linear(net.x(3, 6), 6, 8), positive(net, 8), epsilon=1e-5)
    yield net.case(net.linear(h, 8, 4))

    net = Net("RMSNormalization over two axes", opset=23, ir=10)
    h = net.op("RMSNormalization", net.linear(net.x(3, 6), 6, 8), positive(net, 3, 8), axis=1)
    yield net.case(net.linear(h, 8, 4))

    net = Net("SimplifiedLayerNormalization of the standard domain")
    h = net.op("SimplifiedLayerNormalization", net.linear(net.x(3, 6), 6, 8), positive(net, 8), axis=-1, epsilon=1e-5)
    yield net.case(net.linear(h, 8, 4))

    net = Net("LRN")
    h = net.op("LRN", net.conv(net.x(3, 6, 6), 3, 6, 3, 3), size=3, alpha=.5, beta=.6, bias=1.5)
    yield net.case(net.pooled(net.op("Tanh", h), 6))

    net = Net("LRN of an even window")
    h = net.op("LRN", net.conv(net.x(3, 6, 6), 3, 6, 3, 3), size=4, alpha=.8)
    yield net.case(net.pooled(h, 6), stock=False)

    for p in (1, 2):
        net = Net(f"LpNormalization p {p}")
        yield net.case(net.linear(net.op("LpNormalization", net.linear(net.x(3, 6), 6, 8), p=p, axis=-1), 8, 4))

    net = Net("MeanVarianceNormalization", opset=13)
    h = net.op("MeanVarianceNormalization", net.conv(net.x(3, 6, 6), 3, 4, 3, 3), axes=[2, 3])
    yield net.case(net.pooled(net.op("Tanh", h), 4))

    for type in ("Softmax", "LogSoftmax"):
        for opset, axis in ((11, 1), (13, -1), (13, 1)):
            net = Net(f"{type} axis {axis} opset {opset}", opset=opset)
            h = net.op(type, net.linear(net.x(3, 6), 6, 8), axis=axis)
            yield net.case(net.linear(h, 8, 4))


POOLS = {
    "2-D": ((6, 6), dict(kernel_shape=[2, 2], strides=[2, 2])),
    "overlapping padded": ((7, 6), dict(kernel_shape=[3, 3], strides=[2, 1], pads=[1, 1, 1, 1])),
    "ceil": ((7, 8), dict(kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)),
    "same upper": ((7, 6), dict(kernel_shape=[3, 2], strides=[2, 2], auto_pad="SAME_UPPER")),
    "1-D": ((11,), dict(kernel_shape=[3], strides=[2])),
    "3-D": ((4, 5, 4), dict(kernel_shape=[2, 2, 2])),
    "dilated": ((8, 8), dict(kernel_shape=[2, 3], dilations=[2, 2])),
}


def pools():
    for type in ("MaxPool", "AveragePool", "LpPool"):
        for name, (size, attributes) in POOLS.items():
            if type == "LpPool" and "pads" in attributes:
                continue
            net = Net(f"{type} {name}", opset=19 if name == "dilated" else 12 if type != "LpPool" else 18)
            h = net.conv(net.x(2, *size), 2, 4, *([1] * len(size)))
            yield net.case(net.pooled(net.op("Tanh", net.op(type, h, **attributes)), 4))

    net = Net("AveragePool counts padding")
    h = net.op("AveragePool", net.conv(net.x(2, 6, 6), 2, 4, 1, 1), kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2],
        count_include_pad=1)
    yield net.case(net.pooled(net.op("Tanh", h), 4))

    net = Net("LpPool p 3")
    yield net.case(net.pooled(net.op("LpPool", net.conv(net.x(2, 6, 6), 2, 4, 1, 1), kernel_shape=[2, 2], p=3, strides=[2, 2]), 4))

    for type, attributes in (("GlobalAveragePool", {}), ("GlobalMaxPool", {}), ("GlobalLpPool", dict(p=2))):
        net = Net(type)
        h = net.op(type, net.conv(net.x(2, 6, 6), 2, 6, 3, 3), **attributes)
        yield net.case(net.linear(net.op("Tanh", net.op("Flatten", h)), 6, 4))

    net = Net("MaxPool and MaxUnpool")
    h, places = net.op("MaxPool", net.conv(net.x(1, 6, 6), 1, 1, 3, 3), kernel_shape=[2, 2], strides=[2, 2], outputs=2)
    h = net.op("MaxUnpool", h, places, kernel_shape=[2, 2], strides=[2, 2])
    yield net.case(net.linear(net.op("Tanh", net.op("Flatten", h)), 16, 4))


RESIZES = {
    "nearest": (11, dict(mode="nearest"), [1, 1, 2, 2]),
    "nearest down": (13, dict(mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric"), [1, 1, .5, .6]),
    "nearest ceil": (13, dict(mode="nearest", nearest_mode="ceil", coordinate_transformation_mode="align_corners"), [1, 1, 1.5, 2]),
    "linear": (13, dict(mode="linear"), [1, 1, 2, 1.5]),
    "linear aligned": (13, dict(mode="linear", coordinate_transformation_mode="align_corners"), [1, 1, 2, 2]),
    "linear pytorch": (13, dict(mode="linear", coordinate_transformation_mode="pytorch_half_pixel"), [1, 1, 2, .5]),
    "cubic": (13, dict(mode="cubic"), [1, 1, 2, 2]),
    "cubic excluding": (13, dict(mode="cubic", cubic_coeff_a=-.5, exclude_outside=1), [1, 1, 1.5, 1.5]),
    "linear antialiased": (18, dict(mode="linear", antialias=1), [1, 1, .5, .5]),
}


def resizes():
    for name, (opset, attributes, scales) in RESIZES.items():
        net = Net(f"Resize {name}", opset=opset)
        h = net.conv(net.x(2, 6, 6), 2, 4, 1, 1)
        h = net.op("Tanh", net.op("Resize", h, "" if opset > 11 else np.float32([]), np.float32(scales), **attributes))
        yield net.case(net.pooled(net.conv(h, 4, 4, 2, 2), 4))

    net = Net("Resize by sizes of some axes", opset=18)
    h = net.op("Resize", net.conv(net.x(2, 6, 6), 2, 4, 1, 1), "", "", np.array([9, 8]), axes=[2, 3], mode="linear")
    yield net.case(net.pooled(net.conv(net.op("Tanh", h), 4, 4, 2, 2), 4))

    net = Net("Resize to the size of another", opset=13)
    x = net.x(2, 6, 6)
    small = net.op("Tanh", net.conv(x, 2, 4, 3, 3, strides=[2, 2]))
    large = net.conv(x, 2, 4, 1, 1)
    size = net.op("Concat", net.cut(net.op("Shape", small), 0, 2), net.cut(net.op("Shape", large), 2, 4), axis=0)
    h = net.op("Add", net.op("Resize", small, "", "", size, mode="linear", coordinate_transformation_mode="asymmetric"), large)
    yield net.case(net.pooled(net.op("Tanh", h), 4))

    net = Net("Resize opset 10", opset=10)
    h = net.op("Resize", net.conv(net.x(2, 4, 4), 2, 4, 1, 1), np.float32([1, 1, 2, 2]), mode="nearest")
    yield net.case(net.pooled(net.conv(net.op("Tanh", h), 4, 4, 2, 2), 4))

    for mode in ("nearest", "linear"):
        net = Net(f"Upsample {mode}", opset=9)
        h = net.op("Upsample", net.conv(net.x(2, 4, 4), 2, 4, 1, 1), np.float32([1, 1, 2, 2]), mode=mode)
        yield net.case(net.pooled(net.conv(net.op("Tanh", h), 4, 4, 2, 2), 4))

    net = Net("Upsample opset 7", opset=7)
    h = net.op("Upsample", net.conv(net.x(2, 4, 4), 2, 4, 1, 1), scales=[1., 1., 2., 3.], mode="nearest")
    yield net.case(net.pooled(net.conv(net.op("Tanh", h), 4, 4, 2, 2), 4))


def vision():
    for mode in ("DCR", "CRD"):
        net = Net(f"DepthToSpace {mode}")
        h = net.op("DepthToSpace", net.conv(net.x(2, 4, 4), 2, 8, 1, 1), blocksize=2, mode=mode)
        yield net.case(net.pooled(net.conv(net.op("Tanh", h), 2, 4, 3, 3), 4))

    net = Net("SpaceToDepth")
    h = net.op("SpaceToDepth", net.conv(net.x(2, 6, 6), 2, 3, 1, 1), blocksize=2)
    yield net.case(net.pooled(net.conv(net.op("Tanh", h), 12, 4, 2, 2), 4))

    net = Net("CenterCropPad", opset=18)
    h = net.op("CenterCropPad", net.conv(net.x(2, 6, 5), 2, 3, 1, 1), np.array([4, 8]), axes=[2, 3])
    yield net.case(net.pooled(net.conv(net.op("Tanh", h), 3, 4, 3, 3), 4))

    net = Net("Col2Im", opset=18)
    h = net.op("Reshape", net.linear(net.x(6), 6, 4 * 9 * 2), np.array([-1, 8, 9]))
    h = net.op("Col2Im", h, np.array([4, 4]), np.array([2, 2]))
    yield net.case(net.linear(net.op("Tanh", net.op("Flatten", h)), 32, 4))

    for mode, padding, corners in (("linear", "zeros", 0), ("linear", "border", 1), ("nearest", "reflection", 0),
        ("cubic", "zeros", 0)):
        net = Net(f"GridSample {mode} {padding}", opset=20, ir=9)
        grid = net.input(np.tanh(net.draw(SAMPLES, 3, 4, 2)).astype(np.float32), "grid")
        h = net.op("GridSample", net.conv(net.x(2, 5, 5), 2, 3, 1, 1), grid, mode=mode, padding_mode=padding, align_corners=corners)
        yield net.case(net.pooled(net.conv(net.op("Tanh", h), 3, 4, 2, 2), 4))

    net = Net("Spatial transformer", opset=20, ir=9)
    x = net.x(1, 5, 5)
    theta = net.op("Mul", net.op("Tanh", net.linear(net.op("Flatten", x), 25, 6)), np.float32(.8))
    theta = net.op("Reshape", theta, np.array([-1, 2, 3]))
    size = net.op("Concat", net.cut(net.op("Shape", x), 0, 1), np.array([1, 4, 4]), axis=0)
    h = net.op("GridSample", x, net.op("AffineGrid", theta, size), mode="linear")
    yield net.case(net.linear(net.op("Flatten", h), 16, 4))

    net = Net("NonMaxSuppression of boxes that are given", opset=11)
    boxes = net.constant(np.float32([[[0, 0, 1, 1], [0, .1, 1, 1.1], [0, 2, 1, 3], [0, 2.05, 1, 3]]]))
    scores = net.constant(np.float32([[[.9, .8, .7, .6]]]))
    picked = net.op("NonMaxSuppression", boxes, scores, np.array([3]), np.float32([.5]), np.float32([.1]))
    rows = net.op("Squeeze", net.cut(picked, 2, 3, 1), axes=[1])
    h = net.op("Gather", net.op("Tanh", net.linear(net.x(4, 6), 6, 8)), rows, axis=1)
    yield net.case(net.linear(h, 8, 4))

    net = Net("Pyramid of two scales with skip connections")
    x = net.x(2, 8, 8)
    a = net.op("Relu", net.conv(x, 2, 4, 3, 3, pads=[1] * 4, bias=True))
    b = net.op("Relu", net.conv(net.op("MaxPool", a, kernel_shape=[2, 2], strides=[2, 2]), 4, 6, 3, 3, pads=[1] * 4))
    u = net.op("ConvTranspose", b, net.weight(6, 4, 2, 2), strides=[2, 2])
    h = net.op("Relu", net.conv(net.op("Concat", a, u, axis=1), 8, 4, 3, 3, pads=[1] * 4))
    yield net.case(net.op("Transpose", net.conv(h, 4, 3, 1, 1), perm=[0, 2, 3, 1]))

    net = Net("Squeeze and excitation, depthwise separable")
    h = net.op("HardSwish", net.conv(net.conv(net.x(3, 6, 6), 3, 3, 3, 3, group=3), 3, 8, 1, 1, bias=True), )
    s = net.op("GlobalAveragePool", h)
    s = net.op("HardSigmoid", net.conv(net.op("Relu", net.conv(s, 8, 2, 1, 1, bias=True)), 2, 8, 1, 1, bias=True), alpha=1 / 6)
    yield net.case(net.pooled(net.op("Mul", h, s), 8))


FAMILIES = [normalizations, pools, resizes, vision]
