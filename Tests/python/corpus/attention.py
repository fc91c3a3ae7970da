"""Attention, transformer blocks and onnxruntime's fused operators."""

import numpy as np
from onnx import TensorProto

from .net import SAMPLES, Net

HIDDEN = np.float32(-1e4)


def heads(net, x, rows, count, size):
    """[n, time, rows] to [n, count, time, size]."""
    h = net.op("Reshape", net.linear(x, rows, count * size, bias=True), np.array([0, 0, count, size]))
    return net.op("Transpose", h, perm=[0, 2, 1, 3])


def written_out(net, x, rows, count=2, size=4, mask=None):
    """Attention in small operators, as exporters write it."""
    q, k, v = (heads(net, x, rows, count, size) for _ in range(3))
    scores = net.op("MatMul", q, net.op("Transpose", k, perm=[0, 1, 3, 2]))
    scores = net.op("Mul", scores, np.float32(size**-0.5))
    if mask is not None:
        scores = net.op("Add", scores, mask)
    h = net.op("MatMul", net.op("Softmax", scores, axis=-1), v)
    return net.op("Reshape", net.op("Transpose", h, perm=[0, 2, 1, 3]), np.array([0, 0, count * size]))


def normalized(net, x, width):
    return net.op("LayerNormalization", x, 1 + net.draw(width, scale=.1), net.draw(width, scale=.1), axis=-1)


def feed_forward(net, x, width, activation="Erf"):
    h = net.linear(x, width, 2 * width, bias=True)
    half = net.op("Mul", h, np.float32(.5))
    h = net.op("Mul", half, net.op("Add", net.op("Erf", net.op("Div", h, np.float32(2**.5))), np.float32(1)))
    return net.linear(h, 2 * width, width, bias=True)


def transformers():
    net = Net("Transformer encoder block")
    x = net.x(3, 8)
    h = normalized(net, net.op("Add", x, net.linear(written_out(net, x, 8), 8, 8)), 8)
    h = normalized(net, net.op("Add", h, feed_forward(net, h, 8)), 8)
    yield net.case(net.linear(net.op("ReduceMean", h, axes=[1], keepdims=0), 8, 4))

    net = Net("Transformer with tokens, positions and a padding mask")
    ids = net.ids(9, 4)
    mask = (np.arange(4) < net.random.integers(1, 5, (SAMPLES, 1))).astype(np.int64)
    mask = net.op("Cast", net.input(mask, "attention_mask"), to=TensorProto.FLOAT)
    bias = net.op("Mul", net.op("Sub", np.float32(1), net.op("Unsqueeze", mask, np.array([1, 2]))), HIDDEN)
    h = net.op("Add", net.op("Gather", net.weight(9, 8, scale=1), ids), net.weight(4, 8, scale=1))
    h = normalized(net, h, 8)
    h = net.op("Add", h, net.linear(written_out(net, h, 8, mask=bias), 8, 8))
    total = net.op("ReduceSum", net.op("Mul", h, net.op("Unsqueeze", mask, np.array([2]))), np.array([1]), keepdims=0)
    pooled = net.op("Div", total, net.op("ReduceSum", mask, np.array([1]), keepdims=1))
    yield net.case(net.linear(net.op("Tanh", pooled), 8, 4))

    net = Net("Causal decoder with tied embeddings and a score for each token")
    ids = net.ids(9, 4)
    table = net.weight(9, 8, name="wte", scale=.5)
    h = net.op("Gather", table, ids)
    causal = np.where(np.tri(4, dtype=bool), 0, -1e4).astype(np.float32)
    h = net.op("Add", h, net.linear(written_out(net, normalized(net, h, 8), 8, mask=causal), 8, 8))
    h = net.op("Add", h, feed_forward(net, normalized(net, h, 8), 8))
    yield net.case(net.op("MatMul", normalized(net, h, 8), net.op("Transpose", table, perm=[1, 0])))

    net = Net("Cross attention of two inputs")
    a, b = net.x(3, 6), net.x(5, 4)
    q, k, v = heads(net, a, 6, 2, 4), heads(net, b, 4, 2, 4), heads(net, b, 4, 2, 4)
    s = net.op("Softmax", net.op("Mul", net.op("MatMul", q, net.op("Transpose", k, perm=[0, 1, 3, 2])), np.float32(.5)), axis=-1)
    h = net.op("Reshape", net.op("Transpose", net.op("MatMul", s, v), perm=[0, 2, 1, 3]), np.array([0, 0, 8]))
    yield net.case(net.linear(h, 8, 4))

    net = Net("Patches of an image into a transformer")
    x = net.conv(net.x(3, 6, 6), 3, 8, 3, 3, strides=[3, 3], bias=True)
    x = net.op("Transpose", net.op("Reshape", x, np.array([0, 8, -1])), perm=[0, 2, 1])
    h = net.op("Add", x, net.linear(written_out(net, normalized(net, x, 8), 8), 8, 8))
    yield net.case(net.linear(net.op("Gather", h, np.array(0), axis=1), 8, 4))

    net = Net("Packed projection split three ways")
    x = net.x(3, 8)
    q, k, v = net.op("Split", net.linear(x, 8, 24, bias=True), np.array([8, 8, 8]), axis=-1, outputs=3)
    s = net.op("Softmax", net.op("MatMul", q, net.op("Transpose", k, perm=[0, 2, 1])), axis=-1)
    yield net.case(net.linear(net.op("MatMul", s, v), 8, 4))


def attentions():
    shape = dict(q_num_heads=2, kv_num_heads=2)
    for name, attributes in {
        "plain": {}, "causal": dict(is_causal=1), "softcap": dict(softcap=2.), "scale": dict(scale=.3),
        "grouped": dict(q_num_heads=4, kv_num_heads=2)}.items():
        net = Net(f"Attention {name}", opset=23, ir=10)
        x = net.x(3, 8)
        flags = {**shape, **attributes}
        width = 4 * flags["kv_num_heads"]
        q, k, v = net.linear(x, 8, 4 * flags["q_num_heads"]), net.linear(x, 8, width), net.linear(x, 8, width)
        h = net.op("Attention", q, k, v, **flags)
        yield net.case(net.linear(h, 4 * flags["q_num_heads"], 4))

    net = Net("Attention with a mask, of rank 4", opset=23, ir=10)
    x = net.x(3, 6)
    q, k, v = (heads(net, x, 6, 2, 4) for _ in range(3))
    h = net.op("Attention", q, k, v, net.draw(1, 2, 3, 3))
    yield net.case(net.linear(net.op("Reshape", net.op("Transpose", h, perm=[0, 2, 1, 3]), np.array([0, 0, 8])), 8, 4))

    net = Net("Attention with past keys", opset=23, ir=10)
    x = net.x(2, 6)
    past = [net.x(2, 3, 4, name=name) for name in ("past_key", "past_value")]
    q, k, v = net.linear(x, 6, 8), net.linear(x, 6, 8), net.linear(x, 6, 8)
    y, key, value = net.op("Attention", q, k, v, "", *past, **shape, outputs=["h", "present_key", "present_value"])
    yield net.case(net.linear(y, 8, 4), key, value)

    net = Net("Attention with a mask of flags", opset=23, ir=10)
    x = net.x(3, 6)
    q, k, v = net.linear(x, 6, 8), net.linear(x, 6, 8), net.linear(x, 6, 8)
    h = net.op("Attention", q, k, v, np.tri(3, dtype=bool), **shape)
    yield net.case(net.linear(h, 8, 4))

    for mode in range(4):
        # Without a cap in mode 0, where the evaluator gives capped scores.
        net = Net(f"Attention gives its scores, mode {mode}", opset=23, ir=10)
        x = net.x(3, 6)
        q, k, v = net.linear(x, 6, 8), net.linear(x, 6, 8), net.linear(x, 6, 8)
        h, _, _, scores = net.op("Attention", q, k, v, net.draw(3, 3), **shape, softcap=1.5 if mode else 0.,
            qk_matmul_output_mode=mode, outputs=["h", "", "", "qk"])
        mean = net.op("Unsqueeze", net.op("ReduceMean", scores, np.array([1, 3]), keepdims=0), np.array([2]))
        yield net.case(net.linear(net.op("Add", h, mean), 8, 4))

    for interleaved in (0, 1):
        net = Net(f"RotaryEmbedding interleaved {interleaved}", opset=23, ir=10)
        x = net.x(3, 6)
        q, k = net.linear(x, 6, 8), net.linear(x, 6, 8)
        angles = np.outer(np.arange(6), [1, .1]).astype(np.float32)
        places = net.input(np.tile(np.arange(3), (SAMPLES, 1)), "position_ids")
        q, k = (
            net.op("RotaryEmbedding", h, np.cos(angles), np.sin(angles), places, num_heads=2, interleaved=interleaved)
            for h in (q, k))
        h = net.op("MatMul", net.op("Softmax", net.op("MatMul", q, net.op("Transpose", k, perm=[0, 2, 1])), axis=-1),
            net.linear(x, 6, 8))
        yield net.case(net.linear(h, 8, 4))

    net = Net("RotaryEmbedding of a part of each head, no positions", opset=23, ir=10)
    h = net.op("Reshape", net.linear(net.x(3, 6), 6, 12), np.array([0, 0, 2, 6]))
    angles = np.tile(np.outer(np.arange(3), [1, .1]).astype(np.float32), (SAMPLES, 1, 1))
    caches = [net.input(f(angles).astype(np.float32), name) for f, name in ((np.cos, "cos"), (np.sin, "sin"))]
    h = net.op("RotaryEmbedding", net.op("Transpose", h, perm=[0, 2, 1, 3]), *caches, rotary_embedding_dim=4)
    yield net.case(net.linear(net.op("Tanh", net.op("Reshape", net.op("Transpose", h, perm=[0, 2, 1, 3]),
        np.array([0, 0, 12]))), 12, 4))

    net = Net("LinearAttention gated delta", opset=27, ir=13)
    x = net.x(3, 6)
    q, k, v = net.linear(x, 6, 8), net.linear(x, 6, 8), net.linear(x, 6, 8)
    decay, beta = net.op("Neg", net.op("Softplus", net.linear(x, 6, 8))), net.op("Sigmoid", net.linear(x, 6, 2))
    h, _ = net.op("LinearAttention", q, k, v, "", decay, beta, **shape, outputs=2)
    yield net.case(net.linear(h, 8, 4))

    net = Net("CausalConvWithState", opset=27, ir=13)
    h, _ = net.op("CausalConvWithState", net.linear(net.x(4, 6), 6, 5), net.draw(4, 1, 3, scale=.5), net.draw(4),
        activation="silu", outputs=2)
    yield net.case(net.linear(h, 5, 4))


def microsoft():
    def tail(net, h, width=8, **flags):
        return net.case(net.linear(h, width, 4), **flags)

    for type in ("Gelu", "FastGelu", "QuickGelu"):
        net = Net(f"com.microsoft {type}")
        yield tail(net, net.ms(type, net.linear(net.x(6), 6, 8)))
    net = Net("com.microsoft BiasGelu")
    yield tail(net, net.ms("BiasGelu", net.linear(net.x(6), 6, 8), net.draw(8)))
    net = Net("com.microsoft FastGelu with bias")
    yield tail(net, net.ms("FastGelu", net.linear(net.x(6), 6, 8), net.draw(8)))

    for bits in (2, 4, 8):
        net = Net(f"com.microsoft MatMulNBits of {bits} bits")
        blocks, codes = 2, net.random.integers(0, 256, (8, 2, 16 * bits // 8)).astype(np.uint8)
        zero = net.random.integers(0, 256, 8 * -(-blocks * bits // 8)).astype(np.uint8)
        h = net.ms("MatMulNBits", net.linear(net.x(3, 6), 6, 20), codes, 0.1 + net.random.random(16).astype(np.float32) / 2**bits,
                   zero, K=20, N=8, bits=bits, block_size=16, accuracy_level=1)
        yield tail(net, h, curvature=False, why="onnx's evaluator has no such operator")
    net = Net("com.microsoft GatherBlockQuantized")
    codes, zero = (net.random.integers(0, 256, shape).astype(np.uint8) for shape in ((10, 24), (10, 2)))
    h = net.ms("GatherBlockQuantized", codes, net.ids(10, 3), 0.01 + net.random.random((10, 2)).astype(np.float32) / 256, zero,
               gather_axis=0, quantize_axis=1, block_size=16, bits=8)
    yield net.case(net.linear(h, 24, 4), curvature=False, why="onnx's evaluator has no such operator")

    net = Net("com.microsoft SkipLayerNormalization")
    x = net.x(3, 6)
    y = net.ms("SkipLayerNormalization", net.linear(x, 6, 8), net.linear(x, 6, 8), 1 + net.draw(8, scale=.2), net.draw(8),
        net.draw(8), epsilon=1e-5)
    yield tail(net, y)

    net = Net("com.microsoft SkipSimplifiedLayerNormalization")
    x = net.x(3, 6)
    y, _, _, total = net.ms("SkipSimplifiedLayerNormalization", net.linear(x, 6, 8), net.linear(x, 6, 8), 1 + net.draw(8, scale=.2),
                            epsilon=1e-5, outputs=["y", "", "", "sum"])
    yield tail(net, net.op("Add", y, total))

    net = Net("com.microsoft SimplifiedLayerNormalization")
    yield tail(net, net.ms("SimplifiedLayerNormalization", net.linear(net.x(3, 6), 6, 8), 1 + net.draw(8, scale=.2), axis=-1,
        epsilon=1e-5), stock=False)

    net = Net("com.microsoft EmbedLayerNormalization")
    mask = net.input(np.ones((SAMPLES, 4), np.int32), "mask")
    y, _ = net.ms("EmbedLayerNormalization", net.ids(9, 4, type=np.int32), net.ids(2, 4, type=np.int32), net.weight(9, 8, scale=1),
                  net.weight(4, 8, scale=1), net.weight(2, 8, scale=1), 1 + net.draw(8, scale=.2), net.draw(8), mask, outputs=2)
    yield tail(net, y)

    for a, b, alpha in ((0, 0, 1.), (0, 1, .5), (1, 0, 1.)):
        net = Net(f"com.microsoft FusedMatMul transA {a} transB {b}")
        h = net.op("Tanh", net.linear(net.x(3, 6), 6, 8))
        h = net.op("Transpose", h, perm=[0, 2, 1]) if a else h
        yield net.case(net.ms("FusedMatMul", h, net.weight(*((4, 8) if b else (8, 4))), transA=a, transB=b, alpha=alpha))

    for activation in ("Relu", "Tanh"):
        net = Net(f"com.microsoft FusedGemm {activation}")
        yield tail(net, net.ms("FusedGemm", net.x(6), net.weight(8, 6), net.draw(8), transB=1, activation=activation))
        net = Net(f"com.microsoft FusedConv {activation}")
        h = net.ms("FusedConv", net.x(2, 5, 5), net.weight(4, 2, 3, 3), net.draw(4), activation=activation, kernel_shape=[3, 3])
        yield net.case(net.pooled(h, 4))

    net = Net("com.microsoft FusedConv with a sum")
    x = net.x(2, 5, 5)
    h = net.ms("FusedConv", x, net.weight(2, 2, 3, 3), net.draw(2), x, activation="Relu", kernel_shape=[3, 3], pads=[1] * 4)
    yield net.case(net.pooled(h, 2))

    net = Net("com.microsoft RotaryEmbedding")
    h = net.linear(net.x(3, 6), 6, 8)
    angles = np.outer(np.arange(6), [1, .1]).astype(np.float32)
    places = net.input(np.tile(np.arange(3), (SAMPLES, 1)), "position_ids")
    h = net.ms("RotaryEmbedding", h, places, np.cos(angles), np.sin(angles), num_heads=2)
    yield tail(net, net.op("Tanh", h))

    for causal in (0, 1):
        net = Net(f"com.microsoft Attention unidirectional {causal}")
        yield tail(net, net.ms("Attention", net.x(3, 6), net.weight(6, 24), net.draw(24), num_heads=2, unidirectional=causal))
    net = Net("com.microsoft Attention with a key mask")
    mask = net.input((np.arange(3) < net.random.integers(1, 4, (SAMPLES, 1))).astype(np.int32), "mask")
    yield tail(net, net.ms("Attention", net.x(3, 6), net.weight(6, 24), net.draw(24), mask, num_heads=2))

    net = Net("com.microsoft Attention of uneven widths")
    yield tail(net, net.ms("Attention", net.x(3, 6), net.weight(6, 20), net.draw(20), num_heads=2, qkv_hidden_sizes=[6, 6, 8]))
    net = Net("com.microsoft Attention with lengths of keys")
    lengths = net.input(net.random.integers(1, 4, SAMPLES).astype(np.int32), "lengths")
    yield tail(net, net.ms("Attention", net.x(3, 6), net.weight(6, 24), net.draw(24), lengths, num_heads=2))

    net = Net("com.microsoft MultiHeadAttention with past keys")
    x = net.x(2, 6)
    past = [net.x(2, 3, 4, name=name) for name in ("past_key", "past_value")]
    q, k, v = net.linear(x, 6, 8), net.linear(x, 6, 8), net.linear(x, 6, 8)
    y, key, value = net.ms("MultiHeadAttention", q, k, v, "", "", "", *past, num_heads=2, outputs=["h", "key", "value"])
    yield net.case(net.linear(y, 8, 4), key, value)

    net = Net("com.microsoft MultiHeadAttention")
    x = net.x(3, 6)
    q, k, v = net.linear(x, 6, 8), net.linear(x, 6, 8), net.linear(x, 6, 8)
    yield tail(net, net.ms("MultiHeadAttention", q, k, v, net.draw(24), num_heads=2))


FAMILIES = [transformers, attentions, microsoft]
