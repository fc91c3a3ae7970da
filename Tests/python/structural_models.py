"""Models that are wrong in one place, of every operator: each has to be answered with a status, by a process that goes on.

Two families, of which `models()` yields name and bytes in a fixed order:
- bare: an operator of the library's table alone, with 0 to one more than all of its operands, of every kind;
- changed: a model of the corpus in which one operand or one attribute of one node is something else. What is around it is
  sound, so that the call gets as far as that node.

Run as a program it puts some of them through every call and prints a line of JSON for each before it starts (its number and
name) and one for what was wrong with an answer.

    python structural_models.py FIRST STEP [COUNT] [--write FILE]
"""

import json
import pathlib
import re
import sys
import time

import numpy as np
from onnx import AttributeProto, ModelProto, TensorProto, defs, helper, numpy_helper

import hostile_models

ROOT = pathlib.Path(__file__).resolve().parents[2]
BARE_OPSETS = (13, 21)
# For operators that onnx has no schema of.
MOST_OPERANDS = 7


def _constant(values, dtype=np.float32):
    return numpy_helper.from_array(np.array(values, dtype), "c")


def _ones(*shape, dtype=np.float32):
    return numpy_helper.from_array(np.ones(shape, dtype), "c")


# What an operand may be: a constant, the name of a graph input of `FEEDS`, or "" for one that is left out.
KINDS = {
    "left out": "",
    "nowhere": "nowhere",
    "float input": "x",
    "image input": "image",
    "integer input": "ids",
    "bool input": "flags",
    "text input": "words",
    "scalar": _constant(0.5),
    "row": _ones(4),
    "matrix": _ones(4, 4),
    "image": _ones(4, 4, 1, 1),
    "rank 9": _ones(*[1] * 9),
    "empty": _ones(0),
    "no rows": _ones(0, 4),
    "no columns": _ones(4, 0),
    "integer": _constant([1], np.int64),
    "integer scalar": _constant(2, np.int64),
    "negative": _constant([-3, -1], np.int64),
    "huge": _constant([2**40, 2**62, -(2**63)], np.int64),
    "int32": _constant([1, 0], np.int32),
    "uint8": _ones(4, 4, dtype=np.uint8),
    "bool": _constant(True, bool),
    "half": _ones(4, 4, dtype=np.float16),
    "double": _ones(4, 4, dtype=np.float64),
    "not finite": _constant([np.nan, np.inf, -np.inf, 1]),
    "text": helper.make_tensor("c", TensorProto.STRING, [2], [b"a", b"b"]),
    "int4": helper.make_tensor("c", TensorProto.INT4, [4], [1, 2, 3, 4]),
    "float8": helper.make_tensor("c", TensorProto.FLOAT8E4M3FN, [4], [1.0] * 4),
    "bfloat16": helper.make_tensor("c", TensorProto.BFLOAT16, [4], [1.0] * 4),
    "short of data": TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[4, 4], raw_data=b"\0" * 12),
    "negative size": TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[-4, 4], raw_data=b"\0" * 64),
    "unknown type": TensorProto(name="c", data_type=99, dims=[1], raw_data=b"\0"),
}

VALUES = {
    "int": 1, "zero": 0, "negative": -7, "largest": 2**63 - 1, "smallest": -(2**63), "float": 0.5, "nan": float("nan"), "text": "text",
    "ints": [2, -1], "many ints": [1] * 9, "huge ints": [2**62, 2**62], "no ints": [], "floats": [0.5, -1.0], "texts": ["a", ""],
    "tensor": _ones(2, 2), "empty tensor": _ones(0), "graph": helper.make_graph([], "g", [], []), "gone": None,
}

FEEDS = {
    "x": np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4), "image": np.linspace(-1, 1, 128, dtype=np.float32).reshape(2, 4, 4, 4),
    "ids": np.array([[0, 1], [1, 0]], np.int64), "flags": np.array([[True], [False]]),
}
INPUTS = [*(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), ["n", *array.shape[1:]])
            for name, array in FEEDS.items()), helper.make_tensor_value_info("words", TensorProto.STRING, ["n"])]


def table():
    """Domain and name of every operator that the library executes."""
    domain = ""
    for line in (ROOT / "docs" / "operators.md").read_text().splitlines():
        if line.startswith("## "):
            domain = "" if line.split()[1] == "ai.onnx" else line.split()[1]
        entry = re.match(r"\| (\w+) \| \d", line)
        if entry:
            yield domain, entry[1]


def schema(domain, name, opset):
    try:
        return defs.get_schema(name, opset, domain)
    except defs.SchemaError:
        return None


def attribute(key, value):
    if isinstance(value, list) and not value:
        return AttributeProto(name=key, type=AttributeProto.INTS)
    return helper.make_attribute(key, value)


# ---- Bare

def bare_model(domain, name, opset, operands, attributes=()):
    """The operator behind a layer that is in order, whose loss it moves."""
    constants, names = [], []
    for index, kind in enumerate(operands):
        value = KINDS[kind]
        if isinstance(value, TensorProto):
            constants.append(TensorProto.FromString(value.SerializeToString()))
            constants[-1].name = f"c{index}"
            value = f"c{index}"
        names.append(value)
    node = helper.make_node(name, names, ["r"], domain=domain, name="subject")
    node.attribute.extend(attributes)
    nodes = [
        node, helper.make_node("Cast", ["r"], ["cast"], to=TensorProto.FLOAT), helper.make_node("ReduceMax", ["cast"], ["number"], keepdims=0),
        helper.make_node("MatMul", ["x", "weight"], ["product"]), helper.make_node("Mul", ["product", "number"], ["y"])]
    weight = numpy_helper.from_array(np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3), "weight")
    used = [info for info in INPUTS if info.name in names or info.name == "x"]
    graph = helper.make_graph(nodes, "g", used, [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])], [weight, *constants])
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def bare():
    for domain, name in table():
        for opset in BARE_OPSETS:
            known = schema(domain, name, opset if not domain else 1)
            most = min(known.max_input, MOST_OPERANDS) if known else MOST_OPERANDS
            start = f"bare {name}-{opset}"
            for count in range(most + 2):
                for kind in KINDS:
                    yield f"{start} {count} x {kind}", lambda d=domain, n=name, o=opset, k=[kind] * count: bare_model(d, n, o, k)
            for slot in range(most):
                for base in ("float input", "image input", "matrix"):
                    for kind in KINDS:
                        operands = [base] * max(1, most)
                        operands[slot] = kind
                        yield f"{start} {base}, {slot} {kind}", lambda d=domain, n=name, o=opset, k=operands: bare_model(d, n, o, k)
            for key in sorted(known.attributes) if known else []:
                for label, value in VALUES.items():
                    if value is not None:
                        operands = ["image input"] * max(1, known.min_input)
                        yield (f"{start} {key}: {label}",
                               lambda d=domain, n=name, o=opset, k=operands, a=key, v=value: bare_model(d, n, o, k, [attribute(a, v)]))


# ---- Changed

def nodes_of(graph):
    for node in graph.node:
        yield node, graph
        for each in node.attribute:
            if each.type == AttributeProto.GRAPH:
                yield from nodes_of(each.g)


def with_operand(data, number, slot, kind):
    model = ModelProto.FromString(data)
    node, _ = list(nodes_of(model.graph))[number]
    value = KINDS[kind]
    if isinstance(value, TensorProto):
        tensor = model.graph.initializer.add()
        tensor.CopyFrom(value)
        tensor.name = value = "changed_operand"
    elif value in FEEDS or value == "words":
        info = next(each for each in INPUTS if each.name == value)
        model.graph.input.add().CopyFrom(info)
        model.graph.input[-1].name = value = f"changed_{value}"
    if slot < len(node.input):
        node.input[slot] = value
    else:
        node.input.append(value)
    return model.SerializeToString()


def without_operands(data, number, count):
    model = ModelProto.FromString(data)
    node, _ = list(nodes_of(model.graph))[number]
    del node.input[count:]
    return model.SerializeToString()


def with_attribute(data, number, key, label):
    model = ModelProto.FromString(data)
    node, _ = list(nodes_of(model.graph))[number]
    for index, each in enumerate(node.attribute):
        if each.name == key:
            del node.attribute[index]
            break
    if VALUES[label] is not None:
        node.attribute.append(attribute(key, VALUES[label]))
    return model.SerializeToString()


def changed():
    from corpus import CASES

    for case in CASES:
        model = ModelProto.FromString(case.model)
        opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 17)
        for number, (node, _) in enumerate(nodes_of(model.graph)):
            start = f"{case.name}, node {number} ({node.op_type})"
            for count in range(len(node.input)):
                yield f"{start}, {count} operands", lambda d=case.model, n=number, c=count: without_operands(d, n, c), case
            for slot in range(len(node.input) + 1):
                for kind in KINDS:
                    yield f"{start}, {slot} {kind}", lambda d=case.model, n=number, s=slot, k=kind: with_operand(d, n, s, k), case
            known = schema(node.domain, node.op_type, opset if not node.domain else 1)
            keys = {each.name for each in node.attribute} | (set(known.attributes) if known else set())
            for key in sorted(keys):
                for label in VALUES:
                    yield f"{start}, {key}: {label}", lambda d=case.model, n=number, k=key, v=label: with_attribute(d, n, k, v), case


def more(array, samples):
    return np.resize(array, (samples, *array.shape[1:]))


def models():
    """Name, a function that gives the bytes, arrays for its inputs."""
    for name, make in bare():
        yield name, make, FEEDS
    for name, make, case in changed():
        yield name, make, {**case.inputs, **{f"changed_{key}": more(array, case.samples) for key, array in FEEDS.items()}}


# ---- Answers

def faults(said, seconds):
    """What is wrong with the answers of `hostile_models.exercise`."""
    for call, answer in said.items():
        if answer.startswith("InternalError") or "\n" in answer or answer.endswith(": "):
            yield f"{call} says {answer!r}"
    if seconds > 2:
        yield f"took {seconds:.1f} s"


def main():
    numbers = [int(argument) for argument in sys.argv[1:4] if argument.isdigit()]
    first, step, count = numbers[0], numbers[1], numbers[2] if len(numbers) > 2 else None
    sys.path.insert(0, str(ROOT / "bindings" / "python"))
    import cet

    done = 0
    for number, (name, make, inputs) in enumerate(models()):
        if number < first or (number - first) % step:
            continue
        if done == count:
            break
        done += 1
        try:
            data = make()
        except (TypeError, ValueError):
            continue  # no such model can be written
        if "--write" in sys.argv:
            pathlib.Path(sys.argv[sys.argv.index("--write") + 1]).write_bytes(data)
            return
        print(json.dumps({"number": number, "name": name}), flush=True)
        started = time.monotonic()
        said = hostile_models.exercise(cet, data, inputs)
        for fault in faults(said, time.monotonic() - started):
            print(json.dumps({"number": number, "name": name, "fault": fault}), flush=True)
    print("done", flush=True)


if __name__ == "__main__":
    main()
