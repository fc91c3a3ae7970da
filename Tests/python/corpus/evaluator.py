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
        each = np.einsum("nc...,co->no...", x[:, g * inputs:(g + 1) * inputs], w[(slice(g * inputs, (g + 1) * inputs), slice(None), *tap)])
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
        places = [(grid[..., k] + 1) / 2 * (n - 1) if align_corners else ((grid[..., k] + 1) * n - 1) / 2 for k, n in enumerate(sizes)]
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


# MARK: Recurrent networks

def activation(name, alpha=None, beta=None):
    def value(given, standard):
        return standard if given is None else given
    return {
        "tanh": np.tanh, "sigmoid": sigmoid, "relu": lambda x: np.maximum(x, 0), "softsign": lambda x: x / (1 + np.abs(x)),
        "hardsigmoid": lambda x: np.clip(value(alpha, .2) * x + value(beta, .5), 0, 1),
    }[name.lower()]


def recurrence(type, gates, standard, x, w, r, b, lengths, states, peepholes, hidden_size, direction="forward",
               activations=None, activation_alpha=None, activation_beta=None, clip=0.0, layout=0, **flags):
    """Every sample for itself, every step for itself, as the standard's formulas stand."""
    if layout:
        x, states = x.swapaxes(0, 1), [None if s is None else s.swapaxes(0, 1) for s in states]
    time, batch, _ = x.shape
    n, directions = hidden_size, w.shape[0]
    names = activations or standard * directions
    limit = (lambda v: np.clip(v, -clip, clip)) if clip else (lambda v: v)
    each = len(standard)
    y, finals = np.zeros((time, directions, batch, n), x.dtype), [np.zeros((directions, batch, n), x.dtype) for _ in states]
    for d in range(directions):
        alphas, betas = iter(activation_alpha or []), iter(activation_beta or [])
        fs = []
        for name in names[d * each:(d + 1) * each]:
            fs.append(activation(name, next(alphas, None), next(betas, None)) if name == "HardSigmoid" else activation(name))
        bias = np.zeros(2 * gates * n) if b is None else b[d]
        p = np.zeros(3 * n) if peepholes is None else peepholes[d]
        for s in range(batch):
            state = [np.zeros(n, x.dtype) if v is None else v[d, s] for v in states]
            steps = range(time if lengths is None else int(lengths[s]))
            for t in reversed(steps) if direction == "reverse" or d == 1 else steps:
                a = np.split(w[d] @ x[t, s] + bias[:gates * n], gates)
                R, rb = np.split(r[d], gates), np.split(bias[gates * n:], gates)
                state = STEPS[type](a, R, rb, np.split(p, 3), state, fs, limit, flags)
                y[t, d, s] = state[0]
            for final, value in zip(finals, state):
                final[d, s] = value
    if layout:
        y, finals = y.transpose(2, 0, 1, 3), [f.swapaxes(0, 1) for f in finals]
    return (y, *finals)


def rnn_step(a, R, b, p, state, f, limit, flags):
    return [f[0](limit(a[0] + R[0] @ state[0] + b[0]))]


def gru_step(a, R, b, p, state, f, limit, flags):
    h = state[0]
    z, r = (f[0](limit(a[k] + R[k] @ h + b[k])) for k in (0, 1))
    inner = r * (R[2] @ h + b[2]) if flags.get("linear_before_reset") else R[2] @ (r * h) + b[2]
    return [(1 - z) * f[1](limit(a[2] + inner)) + z * h]


def lstm_step(a, R, b, p, state, f, limit, flags):
    h, c = state
    i, o, forget, new = (a[k] + R[k] @ h + b[k] for k in range(4))
    i = f[0](limit(i + p[0] * c))
    forget = 1 - i if flags.get("input_forget") else f[0](limit(forget + p[2] * c))
    c = forget * c + i * f[1](limit(new))
    return [f[0](limit(o + p[1] * c)) * f[2](c), c]


STEPS = {"RNN": rnn_step, "GRU": gru_step, "LSTM": lstm_step}


@operator()
def RNN(x, w, r, b=None, lengths=None, h=None, **attributes):
    return recurrence("RNN", 1, ["Tanh"], x, w, r, b, lengths, [h], None, **attributes)


@operator()
def GRU(x, w, r, b=None, lengths=None, h=None, **attributes):
    return recurrence("GRU", 3, ["Sigmoid", "Tanh"], x, w, r, b, lengths, [h], None, **attributes)


@operator()
def LSTM(x, w, r, b=None, lengths=None, h=None, c=None, p=None, **attributes):
    return recurrence("LSTM", 4, ["Sigmoid", "Tanh", "Tanh"], x, w, r, b, lengths, [h, c], p, **attributes)


@operator()
def LinearAttention(q, k, v, state, decay, beta, q_num_heads=1, kv_num_heads=1, update_rule="gated_delta", scale=0.0, chunk_size=64):
    q, k, v, decay, beta = (in_heads(x, q_num_heads) for x in (q, k, v, decay, beta))
    state = np.zeros((*k.shape[:2], k.shape[3], v.shape[3])) if state is None else state
    outputs = []
    for t in range(q.shape[2]):
        key, value = k[:, :, t, :, None], v[:, :, t, None]
        state = state * np.exp(decay[:, :, t, :, None])
        state = state + key * beta[:, :, t, None] * (value - key.swapaxes(2, 3) @ state)
        outputs.append((q[:, :, t, None] @ state) * (scale or q.shape[3]**-0.5))
    y = np.concatenate(outputs, 2)
    return y.transpose(0, 2, 1, 3).reshape(y.shape[0], y.shape[2], -1), state


@operator()
def CausalConvWithState(x, w, b, state=None, activation="none"):
    reach = w.shape[2] - 1
    x = np.concatenate([np.zeros((*x.shape[:2], reach)) if state is None else state, x], 2)
    y = sum(x[:, :, k:x.shape[2] - reach + k] * w[:, 0, k, None] for k in range(reach + 1)) + b[:, None]
    return y * sigmoid(y) if activation == "silu" else y, x[:, :, x.shape[2] - reach:]


# MARK: onnxruntime's fused operators

@microsoft
def Gelu(x):
    return gelu(x)


@microsoft
def BiasGelu(x, b):
    return gelu(x + b)


@microsoft
def FastGelu(x, b=None):
    return gelu_tanh(x if b is None else x + b)


@microsoft
def QuickGelu(x, alpha=1.702):
    return x * sigmoid(np.float64(np.float32(alpha)) * x)


@microsoft
def FusedMatMul(a, b, alpha=1.0, transA=0, transB=0, transBatchA=0, transBatchB=0):
    return alpha * ((a.swapaxes(-1, -2) if transA else a) @ (b.swapaxes(-1, -2) if transB else b))


@microsoft
def FusedGemm(a, b, c=None, alpha=1.0, beta=1.0, transA=0, transB=0, activation="", **_):
    y = alpha * ((a.T if transA else a) @ (b.T if transB else b)) + (0 if c is None else beta * c)
    return FUSED[activation](y)


FUSED = {"": lambda x: x, "Relu": lambda x: np.maximum(x, 0), "Tanh": np.tanh}


@microsoft
def FusedConv(x, w, b=None, z=None, activation="", pads=None, kernel_shape=None, **_):
    rank = x.ndim - 2
    pads = pads or [0] * 2 * rank
    x = np.pad(x, [(0, 0)] * 2 + list(zip(pads[:rank], pads[rank:])))
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=tuple(range(2, x.ndim)))
    y = np.einsum("nchwij,ocij->nohw", windows, w) + spread(b, x.ndim) + (0 if z is None else z)
    return FUSED[activation](y)


def in_heads(x, count):
    return x.reshape(*x.shape[:2], count, -1).transpose(0, 2, 1, 3)


def attend(q, k, v, heads, bias=0, past=(None, None)):
    q, k, v = (in_heads(x, heads) for x in (q, k, v))
    k, v = (x if old is None else np.concatenate([old, x], 2) for x, old in zip((k, v), past))
    y = softmax(q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1]) + bias) @ v
    return y.transpose(0, 2, 1, 3).reshape(y.shape[0], y.shape[2], -1), k, v


@microsoft
def Attention(x, w, b, mask=None, num_heads=1, unidirectional=0, qkv_hidden_sizes=None):
    q, k, v = np.split(x @ w + b, np.cumsum(qkv_hidden_sizes)[:2] if qkv_hidden_sizes else 3, -1)
    time = x.shape[1]
    if mask is not None and mask.ndim == 1:
        mask = np.arange(time) < mask[:, None]
    bias = np.where(mask[:, None, None, :] > 0, 0, -1e4) if mask is not None else np.zeros((1, 1, 1, 1))
    if unidirectional:
        bias = bias + np.where(np.tri(time) > 0, 0, -1e4)
    return attend(q, k, v, num_heads, bias)[0]


@microsoft
def MultiHeadAttention(q, k, v, b=None, mask=None, bias=None, past_key=None, past_value=None, num_heads=1):
    parts = np.split(b, 3) if b is not None else [0] * 3
    return attend(*(x + part for x, part in zip((q, k, v), parts)), num_heads, past=(past_key, past_value))


@microsoft
def RotaryEmbedding(x, places, cosine, sine, num_heads=1):
    a, b = np.split(in_heads(x, num_heads), 2, -1)
    c, s = cosine[places][:, None], sine[places][:, None]
    y = np.concatenate([a * c - b * s, a * s + b * c], -1)
    return y.transpose(0, 2, 1, 3).reshape(x.shape)
