"""Prints an ONNX model as lines of text, read by the onnx package: the oracle of Tests/CetONNXTests/ModelDump.swift.

usage: dump_model.py MODEL.onnx
"""
import struct
import sys
import zlib

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, external_data_helper, numpy_helper

import arguments

TYPES = {
    "FLOAT": "float32", "DOUBLE": "float64", "FLOAT8E8M0": "float8e8m0",
}
SUB_BYTE = {TensorProto.INT4: np.int8, TensorProto.INT2: np.int8}


def type_name(number):
    name = TensorProto.DataType.Name(number)
    return TYPES.get(name, name.lower())


def element_bytes(tensor):
    """Little-endian bytes, sub-byte types one byte an element, signed ones sign extended."""
    if tensor.data_type == TensorProto.STRING:
        return bytes(int(np.prod(tensor.dims)))
    array = numpy_helper.to_array(tensor)
    if tensor.data_type in SUB_BYTE:
        array = array.astype(SUB_BYTE[tensor.data_type])
    return np.ascontiguousarray(array).tobytes()


def tensor_text(tensor):
    try:
        known = type_name(tensor.data_type) not in ("float6e2m3", "float6e3m2")
    except ValueError:
        known = False
    if not known:
        return f"opaque {tensor.name!r}"
    data = element_bytes(tensor)
    return f"{tensor.name!r} {type_name(tensor.data_type)} {list(tensor.dims)} {len(data)} {zlib.crc32(data):08x}"


def dense(sparse):
    """The tensor that a sparse one stands for."""
    values, indices = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
    result = np.zeros(tuple(sparse.dims), values.dtype)
    result[tuple(indices.T) if indices.ndim == 2 else np.unravel_index(indices, result.shape)] = values
    return numpy_helper.from_array(result, sparse.values.name)


def float_text(value):
    return struct.pack(">f", value).hex()


def domain(name):
    return "" if name == "ai.onnx" else name


def info_text(info):
    if info.type.WhichOneof("value") != "tensor_type":
        return f"{info.name!r} none"
    tensor = info.type.tensor_type
    sizes = "none"
    if tensor.HasField("shape"):
        def size(d):
            if d.WhichOneof("value") == "dim_value" and d.dim_value >= 0:
                return str(d.dim_value)
            return d.dim_param or "?"
        sizes = "[" + ", ".join(size(d) for d in tensor.shape.dim) + "]"
    return f"{info.name!r} {type_name(tensor.elem_type)} {sizes}"


def attribute_lines(a, indent):
    head = f"{indent}attribute {a.name!r}"
    kind = a.type
    if a.ref_attr_name:
        return [f"{head} reference {a.ref_attr_name!r}"]
    if kind == AttributeProto.INT:
        return [f"{head} int {a.i}"]
    if kind == AttributeProto.FLOAT:
        return [f"{head} float {float_text(a.f)}"]
    if kind == AttributeProto.STRING:
        return [f"{head} string {a.s.hex()}"]
    if kind == AttributeProto.INTS:
        return [f"{head} ints {list(a.ints)}"]
    if kind == AttributeProto.FLOATS:
        return [f"{head} floats {' '.join(map(float_text, a.floats))}"]
    if kind == AttributeProto.STRINGS:
        return [f"{head} strings {' '.join(s.hex() for s in a.strings)}"]
    if kind == AttributeProto.TENSOR:
        return [f"{head} tensor {tensor_text(a.t)}"]
    if kind == AttributeProto.TENSORS:
        return [f"{head} tensors"] + [f"{indent}  {tensor_text(t)}" for t in a.tensors]
    if kind == AttributeProto.GRAPH:
        return [f"{head} graph"] + graph_lines(a.g, indent + "  ")
    if kind == AttributeProto.GRAPHS:
        return [f"{head} graphs"] + [line for g in a.graphs for line in graph_lines(g, indent + "  ")]
    return [f"{head} opaque"]


def node_lines(node, indent):
    text = f"{indent}node {node.op_type} {domain(node.domain)!r} {node.overload!r} {node.name!r}"
    lines = [text + f" {' '.join(map(repr, node.input))} -> {' '.join(map(repr, node.output))}"]
    for attribute in sorted(node.attribute, key=lambda a: a.name):
        lines += attribute_lines(attribute, indent + "  ")
    return lines


def graph_lines(graph, indent=""):
    lines = [f"{indent}graph {graph.name!r}"]
    lines += [f"{indent}input {info_text(i)}" for i in graph.input]
    lines += [f"{indent}output {info_text(o)}" for o in graph.output]
    texts = [tensor_text(t) for t in graph.initializer]
    texts += [tensor_text(dense(s)) for s in graph.sparse_initializer]
    lines += [f"{indent}initializer {t}" for t in texts if not t.startswith("opaque")]
    lines += [f"{indent}{t}" for t in texts if t.startswith("opaque")]
    for node in graph.node:
        lines += node_lines(node, indent)
    return lines


def model_lines(path):
    model = onnx.load(path)
    lines = [f"ir {model.ir_version}", f"producer {model.producer_name!r}"]
    opsets = {domain(o.domain): o.version for o in model.opset_import}
    lines += [f"opset {d!r} {v}" for d, v in sorted(opsets.items())]
    lines += graph_lines(model.graph)
    for f in model.functions:
        lines.append(f"function {f.name!r} {domain(f.domain)!r} {f.overload!r}")
        lines.append(f"  {' '.join(map(repr, f.input))} -> {' '.join(map(repr, f.output))}")
        lines.append(f"  attributes {' '.join(map(repr, f.attribute))}")
        lines += [f"  opset {domain(o.domain)!r} {o.version}" for o in sorted(f.opset_import, key=lambda o: o.domain)]
        for a in sorted(f.attribute_proto, key=lambda a: a.name):
            lines += attribute_lines(a, "  ")
        for node in f.node:
            lines += node_lines(node, "  ")
    lines += [f"metadata {p.key!r} {p.value!r}" for p in model.metadata_props]
    return lines


if __name__ == "__main__":
    parser = arguments.Parser(__doc__)
    parser.add_argument("model", type=arguments.existing)
    sys.stdout.write("\n".join(model_lines(parser.parse_args().model)) + "\n")
