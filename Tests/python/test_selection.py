"""Networks that look at some tokens of a sequence: only what these need is computed, and it is the same."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import cet

TOKENS, WIDTH, HEADS, SAMPLES = 12, 32, 2, 6


class Encoder:
    """Two transformer layers and a head that reads some of the tokens."""

    def __init__(self):
        self.nodes, self.initializers, self.random = [], [], np.random.default_rng(3)

    def constant(self, array):
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weight(self, *shape):
        return self.constant((self.random.standard_normal(shape) * shape[0] ** -0.5).astype(np.float32))

    def node(self, operator, *inputs, **attributes):
        name = f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def linear(self, x, inputs, outputs):
        return self.node("Add", self.node("MatMul", x, self.weight(inputs, outputs)), self.weight(outputs))

    def norm(self, x):
        return self.node("LayerNormalization", x, self.weight(WIDTH), self.weight(WIDTH), axis=-1)

    def layer(self, x):
        split = self.constant(np.array([0, TOKENS, HEADS, WIDTH // HEADS]))
        q, k, v = (self.node("Reshape", self.linear(x, WIDTH, WIDTH), split) for _ in range(3))
        q, k, v = (self.node("Transpose", x, perm=perm) for x, perm in ((q, [0, 2, 1, 3]), (k, [0, 2, 3, 1]), (v, [0, 2, 1, 3])))
        scores = self.node("MatMul", q, k)
        scores = self.node("Add", self.node("Mul", scores, self.constant(np.float32(0.25))), self.weight(TOKENS, TOKENS))
        context = self.node("MatMul", self.node("Softmax", scores, axis=-1), v)
        context = self.node(
            "Reshape", self.node("Transpose", context, perm=[0, 2, 1, 3]), self.constant(np.array([0, TOKENS, WIDTH])))
        x = self.norm(self.node("Add", x, self.linear(context, WIDTH, WIDTH)))
        h = self.linear(x, WIDTH, 4 * WIDTH)
        bell = self.node("Erf", self.node("Mul", h, self.constant(np.float32(0.7))))
        bell = self.node("Add", bell, self.constant(np.float32(1)))
        return self.norm(self.node("Add", x, self.linear(self.node("Mul", h, bell), 4 * WIDTH, WIDTH)))

    def take(self, x, indices):
        return self.node("Gather", x, self.constant(np.array(indices)), axis=1)

    def cut(self, x, start, end, step=1):
        return self.node("Slice", x, *(self.constant(np.array([value])) for value in (start, end, 1, step)))

    def save(self, path, head):
        x = self.layer(self.layer("x"))
        read = head(self, x)
        logits = self.node("MatMul", read, self.weight(WIDTH, 3))
        self.nodes.append(helper.make_node("Identity", [logits], ["logits"]))
        self.nodes.append(helper.make_node("Identity", [x], ["all"]))
        graph = helper.make_graph(
            self.nodes, "encoder", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", TOKENS, WIDTH])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3]),
             helper.make_tensor_value_info("all", TensorProto.FLOAT, ["n", TOKENS, WIDTH])],
            self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        onnx.save(model, path)


def mean(net, x):
    return net.node("ReduceMean", x, axes=[1], keepdims=0)


HEADS_OF = {
    "first": lambda net, x: net.take(x, 0),
    "last": lambda net, x: net.take(x, -1),
    "several": lambda net, x: mean(net, net.take(x, [7, 0, -2, 7])),
    "slice": lambda net, x: mean(net, net.cut(x, 2, 9, 3)),
    "backwards": lambda net, x: mean(net, net.cut(x, -1, 4, -2)),
    "twice": lambda net, x: net.node("Mul", net.take(x, 0), mean(net, net.cut(x, 0, 5))),
    "apart": lambda net, x: net.node("Mul", net.take(net.node("Tanh", x), 4), net.take(net.node("Erf", x), 1)),
    "everything": lambda net, x: net.node("Mul", net.take(x, 0), mean(net, x)),
}


@pytest.fixture(params=HEADS_OF)
def encoder(request, tmp_path):
    path = tmp_path / "encoder.onnx"
    Encoder().save(path, HEADS_OF[request.param])
    random = np.random.default_rng(4)
    x = random.standard_normal((SAMPLES, TOKENS, WIDTH)).astype(np.float32)
    return path, x, random.integers(0, 3, SAMPLES)


def test_outputs_equal_onnxruntime(encoder):
    import onnxruntime

    path, x, _ = encoder
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    logits, everything = session.run(["logits", "all"], {"x": x})
    ours = cet.run(cet.Model(path), {"x": x})
    np.testing.assert_allclose(ours["logits"], logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours["all"], everything, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss", ["cross-entropy", "kl"])
def test_products_equal_pytorch_for_any_number_of_threads(encoder, loss):
    pytest.importorskip("torch", reason="PyTorch is not installed (CET_TORCH=1 make test installs it)")
    from torch_reference import TorchReference

    path, x, labels = encoder
    judge = TorchReference(path, {"x": x, "labels": labels})
    model, data = cet.Model(path), cet.Calibration({"x": x}, labels=labels)
    one, two = (cet.Hessian(model, data, loss=loss, threads=threads) for threads in (1, 2))
    judge.check_order(one.parameters)
    v = np.random.default_rng(5).standard_normal(one.shape[0]).astype(np.float32)
    value, gradient = judge.gradient(loss)
    assert one.loss() == pytest.approx(value, rel=1e-5, abs=1e-6)
    if loss == "cross-entropy":
        assert np.linalg.norm(one.gradient() - gradient) <= 1e-5 * np.linalg.norm(gradient)
    expected = judge.hvp(loss, v)
    assert np.linalg.norm(one @ v - expected) <= 1e-5 * np.linalg.norm(expected)
    np.testing.assert_array_equal(one @ v, two @ v)
