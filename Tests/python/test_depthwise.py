"""Depthwise convolutions, whose statistics are gathered for all channels at once, and class scores that keep positions."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import cet


def run(model, x):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(model, options).run(None, {"x": x})[0]


def model(nodes, constants, output):
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 5, 11, 9])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if output is not None:
        onnx.checker.check_model(made)
    return made.SerializeToString()


def samples(seed, count):
    rng = np.random.RandomState(seed)
    mix = rng.randn(5, 5) + np.eye(5)
    x = np.einsum("nchw,dc->ndhw", rng.randn(count, 5, 11, 9), mix)
    return np.maximum(x + 0.5 * rng.randn(5)[:, None, None], 0).astype(np.float32)


@pytest.mark.parametrize("rounding", ["gptq", "compensated"])
@pytest.mark.parametrize("kernel, multiplier, attributes", [
    ((3, 3), 1, dict(pads=[1, 1, 1, 1])), ((5, 3), 2, dict(strides=[2, 1], pads=[2, 0, 1, 1])),
    ((3, 3), 3, dict(dilations=[2, 2]))])
def test_depthwise_outputMeansAreKept(kernel, multiplier, attributes, rounding):
    """Statistics of a channel are those of its own windows: with them the bias takes up the mean error exactly."""
    rng = np.random.RandomState(1)
    w = (rng.randn(5 * multiplier, 1, *kernel) + 0.4).astype(np.float32)
    b = rng.randn(5 * multiplier).astype(np.float32)
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], group=5, **attributes)
    original = model([node], {"w": w, "b": b}, ["n", 5 * multiplier, "h", "w"])
    x = samples(2, 64)
    loaded, data = cet.Model(original), cet.Calibration({"x": x})
    plan = cet.plan(loaded, data, target_bits=2, bits=[2], rounding=rounding)
    written = cet.quantize(loaded, data, plan).to_bytes()
    expected, found = run(original, x), run(written, x)
    spread = expected.std()
    assert np.abs(found - expected).max() > 0.05 * spread
    assert np.abs((found - expected).mean(axis=(0, 2, 3))).max() < 1e-4 * spread


def test_depthwise_compensationBeatsNearest():
    """Channels far apart in size and each with windows of its own: the covariances must be those of the right channel."""
    rng = np.random.RandomState(3)
    w = rng.randn(5, 1, 3, 3).astype(np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=5, pads=[1, 1, 1, 1])
    original = model([node], {"w": w}, ["n", 5, 11, 9])
    x = np.cumsum(samples(4, 256), axis=3) * np.array([1, 8, 0.1, 3, 20], np.float32)[:, None, None]
    fit, test = x[::2], x[1::2]
    loaded, data = cet.Model(original), cet.Calibration({"x": fit})
    plan = cet.plan(loaded, data, target_bits=3, bits=[3], rounding="gptq")
    errors = {}
    for rounding in ("nearest", "gptq"):
        difference = run(cet.quantize(loaded, data, plan, rounding=rounding).to_bytes(), test) - run(original, test)
        errors[rounding] = (difference ** 2).mean(axis=(0, 2, 3))
    assert (errors["gptq"] < 0.5 * errors["nearest"]).all()


def pooled(output, tail):
    rng = np.random.RandomState(5)
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["m"]), helper.make_node("GlobalAveragePool", ["m"], [tail[0].input[0]]), *tail]
    return model(nodes, {"w": rng.randn(7, 5, 3, 3).astype(np.float32), "b": rng.randn(7).astype(np.float32)}, output)


@pytest.mark.parametrize("output, tail", [
    (["n", 7, 1, 1], [helper.make_node("Identity", ["p"], ["y"])]),
    (["n", 7, 1, 1], [helper.make_node("Softmax", ["p"], ["y"], axis=1)]),
    (["n", 7], [helper.make_node("Softmax", ["p"], ["s"], axis=1), helper.make_node("Flatten", ["s"], ["y"])]),
    (["n", "c", "h", "w"], [helper.make_node("Identity", ["p"], ["y"])]),
    (None, [helper.make_node("Identity", ["p"], ["y"])])])
def test_pooledScores_lossIsTheirDivergence(output, tail):
    """(samples, classes, 1, 1): the softmax is over the classes, not over the last axis, where it would always be 1."""
    original = pooled(output, tail)
    x = samples(6, 64)
    loaded, data = cet.Model(original), cet.Calibration({"x": x})
    plan = cet.plan(loaded, data, target_bits=2, bits=[2])
    written = cet.quantize(loaded, data, plan)

    def log_probabilities(bytes_):
        y = run(bytes_, x).reshape(64, 7).astype(np.float64)
        if any(n.op_type == "Softmax" for n in tail):
            return np.log(y)
        y -= y.max(1, keepdims=True)
        return y - np.log(np.exp(y).sum(1, keepdims=True))

    p, q = log_probabilities(original), log_probabilities(written.to_bytes())
    divergence = (np.exp(p) * (p - q)).sum(1).mean()
    assert divergence > 1e-4
    assert written.plan.measured_loss_change == pytest.approx(divergence, rel=1e-3)
