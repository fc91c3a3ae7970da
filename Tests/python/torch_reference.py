"""Loss, gradient and Hessian-vector product of an ONNX model by PyTorch's double backward.

The graph is run node by node with torch.nn.functional: no converter, so weights keep their ONNX names and shapes.
"""

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper

# Which input of an operator is a quantizable weight.
WEIGHT_INPUT = {"Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1, "Gather": 0}


def conv(attributes, x, weight, bias=None):
    spatial = weight.ndim - 2
    pads = attributes.get("pads", [0] * 2 * spatial)
    padding = pads[:spatial]
    if padding != pads[spatial:]:
        # F.pad wants the last axis first, its begin before its end.
        x = F.pad(x, [side for axis in reversed(range(spatial)) for side in (pads[axis], pads[axis + spatial])])
        padding = 0
    return F.conv2d(
        x, weight, bias, attributes.get("strides", 1), padding, attributes.get("dilations", 1),
        attributes.get("group", 1))


def max_pool(attributes, x):
    pads = attributes.get("pads", [0] * 4)
    assert pads[:2] == pads[2:]
    return F.max_pool2d(x, attributes["kernel_shape"], attributes.get("strides", 1), pads[:2])


def gather(attributes, x, indices):
    axis = attributes.get("axis", 0)
    if axis == 0 and x.ndim == 2:
        return F.embedding(indices, x)
    rows = torch.index_select(x, axis, indices.reshape(-1) % x.shape[axis])
    return rows.reshape(x.shape[:axis] + indices.shape + x.shape[axis + 1:])


def unsqueeze(attributes, x, axes):
    for axis in axes.tolist():
        x = x.unsqueeze(axis)
    return x


def gemm(attributes, a, b, c=None):
    a = a.T if attributes.get("transA") else a
    b = b.T if attributes.get("transB") else b
    product = attributes.get("alpha", 1.0) * (a @ b)
    return product if c is None else product + attributes.get("beta", 1.0) * c


def reduce_mean(attributes, x, axes=None):
    axes = attributes["axes"] if axes is None else axes.tolist()
    return x.mean(axes, keepdim=bool(attributes.get("keepdims", 1)))


def reshape(attributes, x, shape):
    sizes = shape.tolist()
    if not attributes.get("allowzero"):
        sizes = [x.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    return x.reshape(sizes)


def cut(_, x, starts, ends, axes=None, steps=None):
    starts, ends = starts.tolist(), ends.tolist()
    axes = range(len(starts)) if axes is None else axes.tolist()
    steps = [1] * len(starts) if steps is None else steps.tolist()
    for start, end, axis, step in zip(starts, ends, axes, steps):
        kept = range(x.shape[axis])[start:end:step]
        if len(kept) < x.shape[axis] or step < 0:
            x = x.index_select(axis, torch.tensor(kept))
    return x


def pad(attributes, x, pads, value=None):
    pads = pads.tolist()
    sides = [side for axis in reversed(range(x.ndim)) for side in (pads[axis], pads[axis + x.ndim])]
    return F.pad(x, sides, value=0.0 if value is None else value.item())


def average_pool(attributes, x):
    assert not any(attributes.get("pads", []))
    return F.avg_pool2d(x, attributes["kernel_shape"], attributes.get("strides", 1))


TYPES = {onnx.TensorProto.FLOAT: torch.float32, onnx.TensorProto.INT64: torch.int64}

OPERATORS = {
    "Conv": conv,
    "Gemm": gemm,
    "MatMul": lambda _, a, b: a @ b,
    "Add": lambda _, a, b: a + b,
    "Sub": lambda _, a, b: a - b,
    "Mul": lambda _, a, b: a * b,
    "Relu": lambda _, x: F.relu(x),
    "Constant": lambda attributes: torch.from_numpy(numpy_helper.to_array(attributes["value"]).copy()),
    "Clip": lambda _, x, low, high: torch.clamp(x, low, high),
    "Tanh": lambda _, x: torch.tanh(x),
    "Erf": lambda _, x: torch.erf(x),
    "Identity": lambda _, x: x,
    "Softmax": lambda attributes, x: F.softmax(x, attributes.get("axis", -1)),
    "LayerNormalization": lambda attributes, x, scale, bias: F.layer_norm(
        x, scale.shape, scale, bias, attributes.get("epsilon", 1e-5)),
    "Transpose": lambda attributes, x: x.permute(attributes["perm"]),
    "Cast": lambda attributes, x: x.to(TYPES[attributes["to"]]),
    "Unsqueeze": unsqueeze,
    "Gather": gather,
    "Slice": cut,
    "Concat": lambda attributes, *parts: torch.cat(parts, attributes["axis"]),
    "Shape": lambda _, x: torch.tensor(x.shape),
    "ConstantOfShape": lambda attributes, shape: torch.full(
        shape.tolist(), numpy_helper.to_array(attributes["value"]).item()),
    "AveragePool": average_pool,
    "Pad": pad,
    "MaxPool": max_pool,
    "GlobalAveragePool": lambda _, x: x.mean(tuple(range(2, x.ndim)), keepdim=True),
    "Flatten": lambda attributes, x: x.flatten(attributes.get("axis", 1)),
    "ReduceMean": reduce_mean,
    "Reshape": reshape,
}


class TorchReference:
    """Parameters are the quantizable weights in graph order, each in C order. Means over all samples of `arrays`."""

    def __init__(self, path, arrays, dtype=torch.float64, batch=64):
        self.graph = onnx.load(path).graph
        self.held = {}
        for tensor in self.graph.initializer:
            value = torch.from_numpy(numpy_helper.to_array(tensor).copy())
            self.held[tensor.name] = value.to(dtype) if value.is_floating_point() else value
        self.names = []
        for node in self.graph.node:
            position = WEIGHT_INPUT.get(node.op_type)
            if position is not None and node.input[position] in self.held and node.input[position] not in self.names:
                self.names.append(node.input[position])
        self.weights = [self.held[name].requires_grad_(True) for name in self.names]
        self.inputs = {key: torch.from_numpy(array) for key, array in arrays.items() if key != "labels"}
        self.inputs = {key: x.to(dtype) if x.is_floating_point() else x for key, x in self.inputs.items()}
        self.labels = torch.from_numpy(np.asarray(arrays["labels"]))
        self.count = len(next(iter(self.inputs.values())))
        self.batch = batch
        with torch.no_grad():
            self.reference = torch.cat([self._logits(samples) for samples in self._batches()])

    def check_order(self, parameters):
        """The library's parameter vector holds the same tensors in the same order."""
        expected = [(name, tuple(weight.shape)) for name, weight in zip(self.names, self.weights)]
        assert [(parameter.name, parameter.shape) for parameter in parameters] == expected

    def _batches(self):
        return [slice(start, min(start + self.batch, self.count)) for start in range(0, self.count, self.batch)]

    def _logits(self, samples):
        values = dict(self.held, **{key: x[samples] for key, x in self.inputs.items()})
        for node in self.graph.node:
            attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
            inputs = [values[name] if name else None for name in node.input]
            values[node.output[0]] = OPERATORS[node.op_type](attributes, *inputs)
        return values[self.graph.output[0].name]

    def _loss(self, kind, samples):
        logits = self._logits(samples)
        if kind == "cross-entropy":
            return F.cross_entropy(logits, self.labels[samples], reduction="sum")
        if kind == "mse":
            return 0.5 * (logits - self.reference[samples]).square().sum()
        return F.kl_div(
            logits.log_softmax(-1), self.reference[samples].log_softmax(-1), log_target=True, reduction="sum")

    @staticmethod
    def _flat(tensors):
        return torch.cat([tensor.detach().reshape(-1) for tensor in tensors]).numpy()

    def gradient(self, kind):
        """Loss and gradient."""
        total, gradient = 0.0, 0.0
        for samples in self._batches():
            loss = self._loss(kind, samples)
            gradient = gradient + self._flat(torch.autograd.grad(loss, self.weights))
            total += loss.item()
        return total / self.count, gradient / self.count

    def kept_gradient(self, kind):
        """The gradients of all batches with the graph that `product` differentiates."""
        return [
            torch.autograd.grad(self._loss(kind, batch), self.weights, create_graph=True) for batch in self._batches()]

    def product(self, kept, vector):
        """H v from kept gradients."""
        ends = np.cumsum([weight.numel() for weight in self.weights])[:-1]
        direction = [
            torch.from_numpy(part).to(weight.dtype).reshape(weight.shape)
            for part, weight in zip(np.split(vector, ends), self.weights)
        ]
        product = 0.0
        for gradients in kept:
            product = product + self._flat(
                torch.autograd.grad(gradients, self.weights, grad_outputs=direction, retain_graph=True))
        return product / self.count

    def hvp(self, kind, vector):
        """H v."""
        return self.product(self.kept_gradient(kind), vector)
