"""A model with everything that compression must carry through: fields that nobody knows in every message, other domains, texts,
a function, branches, training information, annotations, a sparse tensor, and tied weights."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

UNKNOWN = bytes([0xF2, 0x3F, 3]) + b"new" + bytes([0xF8, 0x3F, 7, 0xFB, 0x3F, 8, 1, 0xFC, 0x3F])
"""Fields 1022, 1023 and a group 1023, which no message of ONNX has."""


def tensor(random, name, *shape, scale=0.4):
    return numpy_helper.from_array((random.standard_normal(shape) * scale).astype(np.float32), name)


def messages(message):
    """The message and all within."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in [value] if not hasattr(value, "append") else value:
                yield from messages(inner)


def model():
    random = np.random.default_rng(61)
    F = TensorProto.FLOAT
    info = helper.make_tensor_value_info
    # T is read by two nodes; A and B hold the same numbers.
    initializers = [tensor(random, "W", 16, 24), tensor(random, "T", 24, 24), tensor(random, "A", 24, 24), tensor(random, "b", 24)]
    same = TensorProto()
    same.CopyFrom(initializers[2])
    same.name = "B"
    initializers.append(same)
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.array([0.5, -1], np.float32), "S"), numpy_helper.from_array(np.array([3, 20]), "S.at"), [24])
    branch = [
        helper.make_graph(
            [helper.make_node("MatMul", ["h4", name], [name + ".y"], name="in " + name)], name + " branch", [],
            [info(name + ".y", F, None)], [tensor(random, name, 24, 24)], doc_string="a branch")
        for name in ("then.w", "else.w")
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["h0"], name="first", doc_string="the first node"),
        helper.make_node("Add", ["h0", "b"], ["h0b"]),
        helper.make_node("MatMul", ["h0b", "T"], ["h1"], name="tied 1"),
        helper.make_node("Tanh", ["h1"], ["t1"]),
        helper.make_node("MatMul", ["t1", "T"], ["h2"], name="tied 2"),
        helper.make_node("MatMul", ["h2", "A"], ["a"]),
        helper.make_node("Sigmoid", ["a"], ["as"]),
        helper.make_node("MatMul", ["as", "B"], ["h3"]),
        helper.make_node("Scaled", ["h3"], ["h4"], domain="org.example", by=0.5),
        helper.make_node("Size", ["h4"], ["size"]),
        helper.make_node("Constant", [], ["none"], value_int=0),
        helper.make_node("Greater", ["size", "none"], ["yes"]),
        helper.make_node("If", ["yes"], ["z"], then_branch=branch[0], else_branch=branch[1]),
        helper.make_node("MatMul", ["z", "V"], ["y"], name="last"),
    ]
    graph = helper.make_graph(
        nodes, "all", [info("x", F, ["n", 16], doc_string="samples")], [info("y", F, ["n", 5])],
        [*initializers, tensor(random, "V", 24, 5)], doc_string="the graph", value_info=[info("h1", F, ["n", 24]), info("T", F, [24, 24])],
        sparse_initializer=[sparse])
    annotation = graph.quantization_annotation.add(tensor_name="h1")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="b")
    function = helper.make_function(
        "org.example", "Scaled", ["v"], ["w"],
        [helper.make_node("Constant", [], ["c"]), helper.make_node("Mul", ["v", "c"], ["w"], doc_string="scales")],
        [helper.make_opsetid("", 17)], ["by"], doc_string="a function")
    reference = function.node[0].attribute.add(name="value_float", type=onnx.AttributeProto.FLOAT)
    reference.ref_attr_name = "by"
    unused = helper.make_function(
        "org.other", "Unused", ["v"], ["w"], [helper.make_node("Abs", ["v"], ["w"])], [helper.make_opsetid("", 17)])
    result = helper.make_model(
        graph, functions=[function, unused], producer_name="a producer", producer_version="7", domain="org.example.models",
        model_version=3, doc_string="the model", ir_version=8,
        opset_imports=[helper.make_opsetid(*import_) for import_ in [("", 17), ("org.example", 1), ("org.other", 4), ("ai.onnx.ml", 2)]])
    helper.set_model_props(result, {"author": "somebody", "üñí": "ÿ"})
    training = result.training_info.add()
    training.initialization.CopyFrom(helper.make_graph(
        [helper.make_node("Constant", [], ["i"], value=tensor(random, "", 24))], "start", [], [info("i", F, [24])]))
    training.algorithm.CopyFrom(helper.make_graph(
        [helper.make_node("Neg", ["b"], ["b.new"])], "step", [], [info("b.new", F, [24])]))
    training.initialization_binding.add(key="b", value="i")
    training.update_binding.add(key="b", value="b.new")
    for message in messages(result):
        message.MergeFromString(UNKNOWN)
    return result


def samples():
    return np.random.default_rng(62).standard_normal((48, 16)).astype(np.float32)
