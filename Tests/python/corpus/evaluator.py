"""Operators that onnx's reference evaluator lacks or computes otherwise than the standard says, in NumPy and any precision."""

from itertools import product

import numpy as np
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_grid_sample import GridSample as StandardGridSample

OPERATORS = []


def operator(domain="", name=None):
    """Makes an operator of a function of inputs and attributes; one that takes `opset` is told the operator set."""
    def register(function):
        def run(self, *inputs, **attributes):
            if "opset" in function.__code__.co_varnames:
                attributes["opset"] = self.run_params["opsets"][""]
            attributes = {k: v for k, v in attributes.items() if v is not None}
            result = function(*inputs, **attributes)
            return result if isinstance(result, tuple) else (result,)

        # Without a schema, which the evaluator would look up by the name alone, attributes are those of the node.
        members = {"op_domain": domain, "_run": run, **({"op_schema": None} if domain else {})}
        OPERATORS.append(type(name or function.__name__, (OpRun,), members))
        return function
    return register


def microsoft(function):
    return operator("com.microsoft")(function)


# MARK: Functions of elements

def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gelu(x):
    return x / 2 * (1 + erf(x / np.sqrt(2)))


def gelu_tanh(x):
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def erf(x):
    from math import erf as one

    return np.vectorize(one, otypes=[x.dtype])(x)


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


@operator()
def Erf(x):
    return erf(x)


@operator(name="Gelu")
def standard_gelu(x, approximate="none"):
    return gelu(x) if approximate == "none" else gelu_tanh(x)


def flat_softmax(x, axis, opset):
    """Before operator set 13 all axes from `axis` on count as one."""
    if opset >= 13:
        return softmax(x, -1 if axis is None else axis)
    axis = 1 if axis is None else axis % x.ndim
    return softmax(x.reshape(int(np.prod(x.shape[:axis])), -1)).reshape(x.shape)


@operator()
def Softmax(x, axis=None, opset=13):
    return flat_softmax(x, axis, opset)


@operator()
def LogSoftmax(x, axis=None, opset=13):
    return np.log(flat_softmax(x, axis, opset))


# MARK: Normalizations

def spread(v, rank):
    return v.reshape(1, -1, *[1] * (rank - 2))


def standardized(x, axes, epsilon):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)


@operator()
def BatchNormalization(x, scale, bias, mean, variance, epsilon=1e-5, momentum=0.9, training_mode=0, spatial=1):
    scale, bias, mean, variance = (spread(v, x.ndim) for v in (scale, bias, mean, variance))
    return (x - mean) / np.sqrt(variance + epsilon) * scale + bias


@operator()
def LRN(x, size, alpha=1e-4, beta=0.75, bias=1.0):
    total = np.zeros_like(x)
    for c in range(x.shape[1]):
        first, last = max(0, c - (size - 1) // 2), min(x.shape[1] - 1, c + size // 2)
        total[:, c] = (x[:, first:last + 1] ** 2).sum(1)
    return x / (bias + alpha / size * total) ** beta


@operator()
def LpNormalization(x, axis=-1, p=2):
    return x / (np.abs(x) ** p).sum(axis, keepdims=True) ** (1 / p)


@operator()
def MeanVarianceNormalization(x, axes=(0, 2, 3)):
    return (x - x.mean(tuple(axes), keepdims=True)) / (x.std(tuple(axes), keepdims=True) + 1e-9)


@operator()
def GroupNormalization(x, scale, bias, num_groups=1, epsilon=1e-5, stash_type=1):
    groups = x.reshape(x.shape[0], num_groups, -1)
    y = standardized(groups, -1, epsilon).reshape(x.shape)
    scale, bias = (np.repeat(v, x.shape[1] // v.size) for v in (scale, bias))  # Before operator set 21 one for a group.
    return y * spread(scale, x.ndim) + spread(bias, x.ndim)


def simplified(x, scale, axis=-1, epsilon=1e-5, stash_type=1):
    return x / np.sqrt((x**2).mean(axis, keepdims=True) + epsilon) * scale


operator(name="SimplifiedLayerNormalization")(simplified)
operator("com.microsoft", name="SimplifiedLayerNormalization")(simplified)


@microsoft
def SkipLayerNormalization(x, skip, gamma, beta=None, bias=None, epsilon=1e-12):
    x = x + skip + (0 if bias is None else bias)
    return standardized(x, -1, epsilon) * gamma + (0 if beta is None else beta)


@microsoft
def SkipSimplifiedLayerNormalization(x, skip, gamma, bias=None, epsilon=1e-12):
    x = x + skip + (0 if bias is None else bias)
    return simplified(x, gamma, epsilon=epsilon), x, x, x  # Nobody reads the two in the middle.


@microsoft
def EmbedLayerNormalization(ids, segments, words, places, kinds, gamma, beta, mask=None, epsilon=1e-12):
    x = words[ids] + places[np.arange(ids.shape[1])] + kinds[segments]
    return standardized(x, -1, epsilon) * gamma + beta, mask.sum(1).astype(np.int32)


# MARK: Images

@operator()
def ConvTranspose(x, w, b=None, strides=None, pads=None, dilations=None, output_padding=None, output_shape=None,
                  auto_pad="NOTSET", group=1, kernel_shape=None):
    kernel, rank = w.shape[2:], x.ndim - 2
    strides, dilations, extra = strides or [1] * rank, dilations or [1] * rank, output_padding or [0] * rank
    reach = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(x.shape[2:], strides, kernel, dilations)]
    begin, end = list(pads or [0] * 2 * rank)[:rank], list(pads or [0] * 2 * rank)[rank:]
    if output_shape is not None or auto_pad.startswith("SAME"):
        wanted = list(output_shape or [n * s for n, s in zip(x.shape[2:], strides)])[-rank:]
        total = [max(0, r + e - o) for r, e, o in zip(reach, extra, wanted)]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        begin, end = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
    full = np.zeros((x.shape[0], w.shape[1] * group, *(r + e for r, e in zip(reach, extra))), x.dtype)
    inputs, outputs = x.shape[1] // group, w.shape[1]
    for g, tap in product(range(group), product(*map(range, kernel))):
        each = np.einsum("nc...,co->no...", x[:, g * inputs:(g + 1) * inputs],
            w[(slice(g * inputs, (g + 1) * inputs), slice(None), *tap)])
        where = [slice(t * d, t * d + (n - 1) * s + 1, s) for t, d, n, s in zip(tap, dilations, x.shape[2:], strides)]
        full[(slice(None), slice(g * outputs, (g + 1) * outputs), *where)] += each
    y = full[(..., *(slice(a, n - z) for a, z, n in zip(begin, end, full.shape[2:])))]
    return y if b is None else y + spread(b, x.ndim)


@operator()
def GlobalLpPool(x, p=2):
    axes = tuple(range(2, x.ndim))
    return (np.abs(x) ** p).sum(axes, keepdims=True) ** (1 / p)


@operator()
def LpPool(x, kernel_shape, strides=None, pads=None, p=2, ceil_mode=0, auto_pad="NOTSET", dilations=None):
    rank = len(kernel_shape)
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    reach = [(k - 1) * d + 1 for k, d in zip(kernel_shape, dilations)]
    if auto_pad == "SAME_UPPER":
        counts = [-(-n // s) for n, s in zip(x.shape[2:], strides)]
        total = [max(0, (c - 1) * s + r - n) for c, s, r, n in zip(counts, strides, reach, x.shape[2:])]
        pads = [t // 2 for t in total] + [t - t // 2 for t in total]
    else:
        pads = list(pads or [0] * 2 * rank)
        round_ = np.ceil if ceil_mode else np.floor
        counts = [int(round_((n + a + z - r) / s)) + 1 for n, a, z, r, s in zip(x.shape[2:], pads, pads[rank:], reach, strides)]
    # As many zeros behind as a window that is rounded up reaches.
    padded = np.pad(np.abs(x) ** p, [(0, 0)] * 2 + [(a, z + r + s) for a, z, r, s in zip(pads, pads[rank:], reach, strides)])
    total = 0
    for tap in product(*map(range, kernel_shape)):
        where = [slice(t * d, t * d + (c - 1) * s + 1, s) for t, d, c, s in zip(tap, dilations, counts, strides)]
        total = total + padded[(..., *where)]
    return total ** (1 / p)


def line(size, scale, mode):
    """The matrix of an interpolation along one axis, whose coordinates are divided by the scale."""
    count = int(np.floor(size * scale))
    matrix = np.zeros((count, size))
    for row in range(count):
        at = row / scale
        low = min(int(np.floor(at)), size - 1)
        high = min(low + 1, size - 1)
        share = 0 if mode == "nearest" else min(at, size - 1) - low
        matrix[row, low] += 1 - share
        matrix[row, high] += share
    return matrix


@operator()
def Upsample(x, scales=None, mode="nearest"):
    for axis, scale in enumerate(np.asarray(scales, np.float64)):
        x = np.moveaxis(line(x.shape[axis], scale, mode) @ np.moveaxis(x, axis, -2), -2, axis) if scale != 1 else x
    return x


class GridSample(StandardGridSample):
    """The evaluator's own rounds weights of pixels to float32."""

    op_domain = ""

    def _run(self, x, grid, mode="linear", padding_mode="zeros", align_corners=0):
        if (mode, padding_mode) != ("linear", "zeros"):
            return super()._run(x, grid, mode, padding_mode, align_corners)
        sizes = x.shape[:1:-1]  # The grid has x first.
        places = [
            (grid[..., k] + 1) / 2 * (n - 1) if align_corners else ((grid[..., k] + 1) * n - 1) / 2 for k, n in enumerate(sizes)]
        y, sample = 0, np.arange(len(x))[:, None, None]
        for corner in product((0, 1), repeat=2):
            at = [np.floor(p).astype(int) + c for p, c in zip(places, corner)]
            share = np.prod([1 - np.abs(p - a) for p, a in zip(places, at)], 0)
            inside = np.all([(a >= 0) & (a < n) for a, n in zip(at, sizes)], 0)
            column, row = (np.clip(a, 0, n - 1) for a, n in zip(at, sizes))
            y = y + np.where(inside, share, 0)[:, None] * np.moveaxis(x[sample, :, row, column], -1, 1)
        return (y,)


OPERATORS.append(GridSample)


@operator()
def AffineGrid(theta, size, align_corners=0):
    def places(n):
        return np.linspace(-1, 1, n) if align_corners else (2 * np.arange(n) + 1) / n - 1
    rows, columns = np.meshgrid(places(size[2]), places(size[3]), indexing="ij")
    return np.stack([columns, rows, np.ones_like(rows)], -1) @ theta.swapaxes(1, 2)[:, None]


# MARK: Indices and integers

@operator()
def Scatter(x, indices, updates, axis=0):
    y = x.copy()
    np.put_along_axis(y, indices, updates, axis)
    return y


@operator()
def DequantizeLinear(x, scale, zero=None, axis=1, block_size=0, output_dtype=0):
    def wide(v):
        if block_size:
            return np.repeat(v, block_size, axis).take(np.arange(x.shape[axis]), axis)
        return v.reshape([-1 if k == axis else 1 for k in range(x.ndim)]) if np.size(v) > 1 else v
    return (x.astype(scale.dtype) - (0 if zero is None else wide(zero).astype(scale.dtype))) * wide(scale)
