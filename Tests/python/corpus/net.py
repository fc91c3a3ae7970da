"""What the families of the corpus build their models with."""

import zlib
from dataclasses import dataclass, field
from typing import Dict, Optional, Tuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SAMPLES = 7


@dataclass
class Case:
    """A model, samples for it, and what can be said of it."""

    name: str
    model: bytes
    inputs: Dict[str, np.ndarray]
    tolerance: float = 1e-5
    """Relative difference from the judge; larger ones say why where they are set."""
    batches: Tuple[int, ...] = (1, 3, SAMPLES)
    """Batch sizes that must agree. A model of a fixed size has one."""
    samples: int = SAMPLES
    curvature: bool = True
    """Whether second differences of the loss judge its products. Else `why` says what stands against it."""
    stock: bool = True
    """Whether onnxruntime runs the model; else onnx's reference evaluator is the judge."""
    quantizable: bool = True
    """Whether it has weights at all."""
    refused: str = ""
    """What `compress` says when the model can be run but not planned."""
    why: str = ""
    loss: Tuple[str, ...] = ("cross-entropy", "kl", "mse")
    alone: bool = False
    """Whether samples of a batch influence each other, so that each is run by itself when losses are taken."""
    probabilities: bool = False
    """Whether the output is a softmax: cross-entropy and KL then read its scores."""

    def __str__(self):
        return self.name


@dataclass
class Net:
    """A graph under construction. Values are names; an array in place of a name becomes an initializer."""

    name: str
    opset: int = 17
    ir: int = 8
    domains: Dict[str, int] = field(default_factory=dict)
    functions: tuple = ()
    parent: Optional["Net"] = None

    def __post_init__(self):
        self.random = np.random.default_rng(zlib.crc32(self.name.encode()))
        self.nodes, self.initializers, self.infos, self.outputs, self.inputs, self.count = [], [], [], [], {}, 0

    # Values

    def fresh(self, stem="v"):
        root = self
        while root.parent is not None:
            root = root.parent
        root.count += 1
        return f"{stem}{root.count}"

    def draw(self, *shape, scale=1.0, type=np.float32):
        return (self.random.standard_normal(shape) * scale).astype(type)

    def input(self, values, name=None, dims=None):
        """A model input with its samples; axis 0 is open unless `dims` are given."""
        values = np.asarray(values)
        name = name or ("x" if not self.inputs else f"x{len(self.inputs)}")
        dims = ["n", *values.shape[1:]] if dims is None else dims
        self.infos.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(values.dtype), dims))
        self.inputs[name] = values
        return name

    def x(self, *shape, name=None, samples=SAMPLES, scale=1.0, type=np.float32):
        return self.input(self.draw(samples, *shape, scale=scale, type=type), name)

    def ids(self, below, *shape, name=None, type=np.int64):
        return self.input(self.random.integers(0, below, (SAMPLES, *shape)).astype(type), name)

    def constant(self, values, name=None):
        tensor = values if isinstance(values, TensorProto) else numpy_helper.from_array(np.asarray(values), "")
        tensor.name = name or self.fresh("c")
        self.initializers.append(tensor)
        return tensor.name

    def weight(self, *shape, name=None, scale=None, type=np.float32):
        """A float initializer whose products keep the size of what they multiply."""
        fan = int(np.prod(shape[1:])) if len(shape) > 2 else shape[0]
        return self.constant(self.draw(*shape, scale=scale or fan**-0.5, type=type), name or self.fresh("w"))

    # Nodes

    def op(self, type, *inputs, outputs=1, name="", domain="", **attributes):
        """Adds a node and gives its output's name, or their names; `outputs` may name them."""
        names = [self.fresh() for _ in range(outputs)] if isinstance(outputs, int) else list(outputs)
        inputs = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        self.nodes.append(helper.make_node(type, inputs, names, name=name, domain=domain, **attributes))
        if domain and domain not in self.domains:
            self.domains[domain] = 1
        return names[0] if len(names) == 1 else names

    def ms(self, type, *inputs, **attributes):
        return self.op(type, *inputs, domain="com.microsoft", **attributes)

    def cut(self, x, start, end, axis=0, step=1):
        """A Slice along one axis."""
        return self.op("Slice", x, *(np.array([number]) for number in (start, end, axis, step)))

    def linear(self, x, rows, columns, bias=False):
        y = self.op("MatMul", x, self.weight(rows, columns))
        return self.op("Add", y, self.draw(columns, scale=0.3)) if bias else y

    def conv(self, x, inputs, outputs, *kernel, group=1, bias=False, **attributes):
        parts = [x, self.weight(outputs, inputs // group, *kernel)] + ([self.draw(outputs, scale=0.3)] if bias else [])
        return self.op("Conv", *parts, group=group, **attributes)

    def pooled(self, x, channels, classes=5):
        """Scores from an image."""
        return self.linear(self.op("Flatten", self.op("GlobalAveragePool", x)), channels, classes)

    # Results

    def body(self, name, inputs=()):
        """A graph inside this one: fill it and give it as an attribute through `graph`."""
        inner = Net(name, self.opset, parent=self)
        for each, type, dims in inputs:
            inner.infos.append(helper.make_tensor_value_info(each, type, dims))
        return inner

    def graph(self, *outputs):
        """Outputs are names or (name, element type, dims)."""
        infos = [
            helper.make_tensor_value_info(o, TensorProto.FLOAT, None) if isinstance(o, str)
            else helper.make_tensor_value_info(*o) for o in outputs]
        return helper.make_graph(self.nodes, self.name, self.infos, infos, self.initializers)

    def proto(self, *outputs):
        opsets = [helper.make_opsetid("", self.opset), *(helper.make_opsetid(d, v) for d, v in self.domains.items())]
        return helper.make_model(
            self.graph(*outputs), ir_version=self.ir, opset_imports=opsets, functions=list(self.functions))

    def case(self, *outputs, edit=None, **flags):
        """The finished case; `edit` may change the model before it is written."""
        model = self.proto(*outputs)
        shapes = {o.name: o.type for o in onnx.shape_inference.infer_shapes(model).graph.output}
        for info in model.graph.output:  # The checker wants to know ranks.
            if shapes[info.name].tensor_type.HasField("shape"):
                info.type.CopyFrom(shapes[info.name])
        if edit is not None:
            model = edit(model) or model
        return Case(self.name, model.SerializeToString(), self.inputs, **flags)
