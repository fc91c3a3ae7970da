"""Loss, gradient and Hessian-vector product of an ONNX model by PyTorch's double backward."""

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from onnx2torch import convert

# Which input of an operator is a quantizable weight.
WEIGHT_INPUT = {"Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1, "Gather": 0}


class TorchReference:
    """Parameters are the quantizable weights in graph order, each in the ONNX file's own shape and C order."""

    def __init__(self, path, arrays, batch=64):
        proto = onnx.load(path)
        self.module = convert(proto).eval().double()
        held = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
        self.names = []
        for node in proto.graph.node:
            position = WEIGHT_INPUT.get(node.op_type)
            if position is not None and node.input[position] in held and node.input[position] not in self.names:
                self.names.append(node.input[position])
        self.shapes = [held[name].shape for name in self.names]
        self.places = [self._place(held[name]) for name in self.names]
        named = dict(self.module.named_parameters()) | dict(self.module.named_buffers())
        self.weights = [named[key].detach().clone().requires_grad_(True) for key, _ in self.places]
        self.input = torch.from_numpy(arrays["input"]).double()
        self.labels = torch.from_numpy(arrays["labels"])
        self.batch = batch
        with torch.no_grad():
            self.reference = torch.cat([self._logits(k) for k in self._batches(len(self.input))])

    def _place(self, array):
        """Name of the module's parameter with this content, and whether PyTorch holds it transposed."""
        for key, value in [*self.module.named_parameters(), *self.module.named_buffers()]:
            value = value.detach().numpy().astype(np.float32)
            if value.shape == array.shape and np.array_equal(value, array):
                return key, False
            if value.ndim == 2 and value.T.shape == array.shape and np.array_equal(value.T, array):
                return key, True
        raise AssertionError("a weight is not in the converted module")

    def check_order(self, parameters):
        """The library's parameter vector holds the same tensors in the same order."""
        assert [(p.name, p.shape) for p in parameters] == list(zip(self.names, self.shapes))

    def _batches(self, count):
        return [slice(start, min(start + self.batch, count)) for start in range(0, count, self.batch)]

    def _logits(self, samples):
        values = {key: weight for (key, _), weight in zip(self.places, self.weights)}
        return torch.func.functional_call(self.module, values, (self.input[samples],))

    def _loss(self, kind, samples):
        logits = self._logits(samples)
        if kind == "cross-entropy":
            return torch.nn.functional.cross_entropy(logits, self.labels[samples], reduction="sum")
        return torch.nn.functional.kl_div(
            logits.log_softmax(-1), self.reference[samples].log_softmax(-1), log_target=True, reduction="sum")

    def _flat(self, tensors):
        """One vector of the library's order from tensors of PyTorch's shapes."""
        parts = [
            (tensor.detach().T if transposed else tensor.detach()).reshape(-1)
            for tensor, (_, transposed) in zip(tensors, self.places)
        ]
        return torch.cat(parts).numpy()

    def _shaped(self, vector):
        parts, offset = [], 0
        for shape, (_, transposed) in zip(self.shapes, self.places):
            count = int(np.prod(shape))
            part = torch.from_numpy(vector[offset:offset + count].astype(np.float64)).reshape(shape)
            parts.append(part.T if transposed else part)
            offset += count
        return parts

    def gradient(self, kind):
        """Loss and gradient, mean over the samples."""
        total, gradient = 0.0, 0.0
        for samples in self._batches(len(self.input)):
            loss = self._loss(kind, samples)
            gradient = gradient + self._flat(torch.autograd.grad(loss, self.weights))
            total += loss.item()
        return total / len(self.input), gradient / len(self.input)

    def hvp(self, kind, vector, samples=None):
        """H v, mean over the first `samples` samples."""
        count = samples or len(self.input)
        direction = self._shaped(vector)
        product = 0.0
        for batch in self._batches(count):
            gradients = torch.autograd.grad(self._loss(kind, batch), self.weights, create_graph=True)
            product = product + self._flat(torch.autograd.grad(gradients, self.weights, grad_outputs=direction))
        return product / count
