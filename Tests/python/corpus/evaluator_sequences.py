"""The same for what runs over time, and for attention: see evaluator.py."""

import numpy as np

from .evaluator import gelu, gelu_tanh, microsoft, operator, sigmoid, softmax, spread

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
