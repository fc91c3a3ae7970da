"""Judges from outside: onnxruntime, and onnx's reference evaluator in float64.

The evaluator gives second derivatives of the loss by differences, for nearly every operator.
"""

import numpy as np
import onnx
import onnx.inliner
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from . import evaluator_sequences  # noqa: F401, adds its operators
from .evaluator import OPERATORS

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
DOUBLE = TensorProto.DOUBLE
# Attributes that name the element type of a result, and operators whose type is float32 when none is named.
TYPED = {"Cast": "to", "EyeLike": "dtype", "MelWeightMatrix": "output_datatype", "HannWindow": "output_datatype",
         "HammingWindow": "output_datatype", "BlackmanWindow": "output_datatype"}
ALWAYS_TYPED = {"MelWeightMatrix", "HannWindow", "HammingWindow", "BlackmanWindow"}


def run_stock(model, inputs, optimized=False, **entries):
    """Outputs by onnxruntime. Without optimizations it runs the file's own nodes; with them it fuses DequantizeLinear and
    MatMul into a kernel that rounds activations to 8 bits."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    for key, value in entries.items():
        options.add_session_config_entry(key.replace("__", "."), value)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run(None, inputs)


def run_reference(model, inputs):
    return ReferenceEvaluator(onnx.load_from_string(model), new_ops=OPERATORS).run(None, inputs)


# MARK: Models as trees of nodes

def graphs(model):
    """Lists of nodes with the initializers beside them: the main graph, functions, and the bodies in both."""
    pending = [model.graph, *model.functions]
    while pending:
        graph = pending.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    pending.append(attribute.g)


def tensors(model):
    """All constant tensors with the library's names for them: initializers and the values of Constant nodes."""
    for graph in graphs(model):
        for tensor in getattr(graph, "initializer", []):
            yield tensor.name, tensor
        stem = f"{graph.name}." if isinstance(graph, onnx.FunctionProto) else ""
        for node in graph.node:
            if node.op_type == "Constant":
                for attribute in node.attribute:
                    if attribute.name == "value":
                        yield stem + node.output[0], attribute.t


def settled(model, names):
    """The model with what it computes from constants alone as constants, where the library names a weight after it."""
    made = onnx.load_from_string(model)
    for name in sorted(set(names) - {known for known, _ in tensors(made)}):
        value = run_stock(up_to(made, name).SerializeToString(), {})[0]
        node = next(node for node in made.graph.node if name in node.output)
        node.output[list(node.output).index(name)] = f"{name} as it is computed"
        made.graph.node.insert(0, helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value, name)))
    return made.SerializeToString()


def up_to(model, name):
    """What a value without inputs is made of."""
    part = onnx.ModelProto()
    part.CopyFrom(model)
    needed, nodes = {name}, []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            nodes.insert(0, node)
            needed |= set(node.input)
    del part.graph.node[:], part.graph.input[:], part.graph.output[:]
    part.graph.node.extend(nodes)
    part.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return part


def cast(tensor, values):
    """Puts float values into a tensor in its own element type."""
    name, type = tensor.name, tensor.data_type
    if type == TensorProto.BFLOAT16:
        made = helper.make_tensor(name, type, values.shape, np.asarray(values, np.float32).ravel())
    else:
        made = numpy_helper.from_array(np.asarray(values).astype(helper.tensor_dtype_to_np_dtype(type)), name)
    tensor.CopyFrom(made)


def replaced(model, values, corrections=()):
    """The model with other values for its weights, and with biases where nodes have got some."""
    model = onnx.load_from_string(model) if isinstance(model, bytes) else model
    values = dict(values)
    for correction in corrections:
        if not correction.added:
            values[correction.name] = correction.values
    found = set()
    for name, tensor in tensors(model):
        if name in values:
            cast(tensor, values[name].reshape(tuple(tensor.dims)))
            found.add(name)
    assert found == values.keys(), f"not in the model: {values.keys() - found}"
    for correction in corrections:
        if correction.added:
            add_bias(model, correction)
    return model


def add_bias(model, correction):
    """Convolutions and Gemm take the bias as their third input, behind other products stands an Add."""
    for graph in graphs(model):
        for place, node in enumerate(graph.node):
            # In a function the name has the call's in front of it.
            called = correction.node.split("/")[-1] if isinstance(graph, onnx.FunctionProto) else correction.node
            if called != (node.name or node.output[0]):
                continue
            types = [t.data_type for n, t in tensors(model) if n in node.input and t.data_type in FLOATS]
            bias = TensorProto(name=f"bias that the judge adds to {correction.name}",
                data_type=types[0] if types else TensorProto.FLOAT)
            cast(bias, correction.values)
            graph.node.insert(place, helper.make_node("Constant", [], [bias.name], value=bias))
            if node.op_type in ("Conv", "ConvTranspose", "Gemm", "FusedConv", "FusedGemm"):
                inputs = list(node.input) + [""] * (3 - len(node.input))
                inputs[2] = bias.name
                del node.input[:]
                node.input.extend(inputs)
            else:
                output = node.output[0]
                node.output[0] = f"{output} before its bias"
                graph.node.insert(place + 2, helper.make_node("Add", [node.output[0], bias.name], [output], name=bias.name))
            return
    raise AssertionError(f"no node {correction.node}")


# MARK: float64

def widened(model):
    """The same model in float64."""
    model = onnx.load_from_string(model) if isinstance(model, bytes) else model
    for _, tensor in list(tensors(model)):
        if tensor.data_type in FLOATS:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    for entry in model.opset_import:
        entry.domain = "" if entry.domain == "ai.onnx" else entry.domain
    for graph in graphs(model):
        del graph.value_info[:]
        nodes = list(graph.node)
        del graph.node[:]
        for node in nodes:
            if node.op_type == "BitCast":  # Bits are those of float32.
                bits = node.input[0] + ".float32"
                graph.node.append(helper.make_node("Cast", [node.input[0]], [bits], to=TensorProto.FLOAT))
                node.input[0] = bits
            if node.op_type == "Loop" and not node.input[1]:  # The evaluator takes no condition for false.
                node.input[1] = node.output[0] + ".go"
                graph.initializer.append(numpy_helper.from_array(np.array(True), node.input[1]))
            if node.op_type == "Resize" and len(node.input) == 2:  # As operator set 10 has it.
                node.op_type = "Upsample"
            node.domain = "" if node.domain == "ai.onnx" else node.domain
            widen_attributes(node)
            graph.node.append(node)
    return model


def widen_attributes(node):
    key = TYPED.get(node.op_type)
    for attribute in node.attribute:
        if attribute.name == key and attribute.i in FLOATS:
            attribute.i = DOUBLE
        if node.op_type == "ConstantOfShape" and attribute.name == "value" and attribute.t.data_type in FLOATS:
            attribute.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(attribute.t).astype(np.float64)))
        if node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
            values = attribute.f if attribute.name == "value_float" else list(attribute.floats)
            attribute.CopyFrom(helper.make_attribute("value", numpy_helper.from_array(np.float64(values))))
    names = {a.name for a in node.attribute}
    if node.op_type in ALWAYS_TYPED and key not in names:
        node.attribute.append(helper.make_attribute(key, DOUBLE))
    if node.op_type == "ConstantOfShape" and "value" not in names:
        node.attribute.append(helper.make_attribute("value", numpy_helper.from_array(np.zeros(1))))


class Losses:
    """The losses of a model as functions of its weights, in float64.

    Means over the samples of the sum over a sample's positions, as the library defines them.
    """

    def __init__(self, case, labels):
        self.model = widened(case.model)
        self.inputs = {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in case.inputs.items()}
        self.samples, self.labels, self.alone = case.samples, labels, case.alone
        self.logarithm = np.log if case.probabilities else log_softmax
        self.values = {
            name: numpy_helper.to_array(t).astype(np.float64) for name, t in tensors(self.model) if t.data_type == DOUBLE}
        self.own = self.output({})

    def output(self, changes):
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        model = replaced(model, changes)
        if model.functions:  # The evaluator has no attributes of functions.
            model = onnx.inliner.inline_local_functions(model)
        evaluator = ReferenceEvaluator(model, new_ops=OPERATORS)
        batches = [self.inputs]
        if self.alone:
            batches = [{k: v[i:i + 1] for k, v in self.inputs.items()} for i in range(self.samples)]
        return np.concatenate([np.atleast_1d(evaluator.run(None, batch)[0]) for batch in batches]).astype(np.float64)

    def all(self, changes):
        y = self.output(changes)
        result = {"mse": ((y - self.own) ** 2).sum() / 2 / self.samples, "output": y.sum() / self.samples}
        if y.ndim > 0:
            p, q = self.logarithm(self.own), self.logarithm(y)
            result["kl"] = (np.exp(p) * (p - q)).sum() / self.samples
            if self.labels is not None:
                result["cross-entropy"] = -np.take_along_axis(q, self.labels[..., None], -1).sum() / self.samples
        return result

    def mixed(self, u, v, step):
        """u'Hv of each loss; u and v are dictionaries of arrays."""
        total = {}
        for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            moved = {name: self.values[name].ravel() + step * (a * u[name] + b * v[name]) for name in u}
            for loss, value in self.all(moved).items():
                total[loss] = total.get(loss, 0) + a * b * value / (4 * step**2)
        return total


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))
