"""Makes the small models of Tests/Fixtures/onnx with the onnx package, and beside each the text that
dump_model.py reads from it. Run it after changing either; the results are checked in.
"""
import pathlib
import shutil
import sys

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import arguments
from dump_model import element_bytes, model_lines

FOLDER = pathlib.Path(__file__).parent.parent / "Tests" / "Fixtures" / "onnx"
FLOAT = TensorProto.FLOAT


def info(name, type=FLOAT, shape=("n", 4)):
    return helper.make_tensor_value_info(name, type, shape)


def model(graph, opset=17, ir=8, **rest):
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir, producer_name="fixtures", **rest)


def save(name, proto, check=True, unknown=b""):
    path = FOLDER / f"{name}.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(proto.SerializeToString() + unknown)
    if check:
        onnx.checker.check_model(str(path), full_check=True)
    path.with_suffix(".dump").write_text("\n".join(model_lines(path)) + "\n")


def all_types():
    """Every element type in raw and in typed form, an odd count so that the last byte is not full."""
    values = {
        "FLOAT": [1.5, -2.25, 0, 3e38, -1e-40, float("inf"), 7], "DOUBLE": [1.5, -2.25, 0, 3e300, -1e-310, 8, 9],
        "INT8": [-128, 127, 0, 1, -1, 5, 6], "UINT8": [0, 255, 1, 2, 3, 4, 5],
        "INT16": [-32768, 32767, 0, 1, -1, 5, 6], "UINT16": [0, 65535, 1, 2, 3, 4, 5],
        "INT32": [-2**31, 2**31 - 1, 0, 1, -1, 5, 6], "UINT32": [0, 2**32 - 1, 1, 2, 3, 4, 5],
        "INT64": [-2**63, 2**63 - 1, 0, 1, -1, 5, 6], "UINT64": [0, 2**64 - 1, 1, 2, 3, 4, 5],
        "BOOL": [1, 0, 1, 1, 0, 0, 1], "FLOAT16": [1.5, -2.25, 0, 65504, -6e-8, 8, 9],
        "BFLOAT16": [1.5, -2.25, 0, 3e38, -1, 8, 9],
        "COMPLEX64": [1 + 2j, -1.5j, 0, 3, 4, 5, 6], "COMPLEX128": [1 + 2j, -1.5j, 0, 3, 4, 5, 6],
        "FLOAT8E4M3FN": [1.5, -2.25, 0, 448, 0.5, 8, 9], "FLOAT8E4M3FNUZ": [1.5, -2.25, 0, 240, 0.5, 8, 9],
        "FLOAT8E5M2": [1.5, -2, 0, 448, 0.5, 8, 10], "FLOAT8E5M2FNUZ": [1.5, -2, 0, 448, 0.5, 8, 10],
        "FLOAT8E8M0": [1, 2, 4, 0.5, 0.25, 8, 16], "FLOAT4E2M1": [0, 0.5, -1, 1.5, -6, 4, 3],
        "UINT4": [0, 15, 1, 2, 8, 9, 7], "INT4": [-8, 7, 0, 1, -1, 5, -3],
        "UINT2": [0, 3, 1, 2, 2, 1, 3], "INT2": [-2, 1, 0, -1, 1, -2, -1],
    }
    tensors = []
    for kind, data in values.items():
        number = getattr(TensorProto, kind)
        typed = helper.make_tensor(f"{kind}.typed", number, [7], data)
        raw = TensorProto(name=f"{kind}.raw", data_type=number, dims=[7])
        array = numpy_helper.to_array(typed)
        raw.raw_data = numpy_helper.from_array(array).raw_data
        assert raw.raw_data and element_bytes(raw) == element_bytes(typed), kind
        tensors += [typed, raw]
    tensors.append(helper.make_tensor("STRING.typed", TensorProto.STRING, [2], [b"a", b"bc"]))
    tensors.append(helper.make_tensor("empty", FLOAT, [0, 3], []))
    tensors.append(helper.make_tensor("scalar", FLOAT, [], [2.5]))
    node = helper.make_node("Identity", ["x"], ["y"])
    save("all_types", model(helper.make_graph([node], "types", [info("x")], [info("y")], tensors), opset=25, ir=13))


def structure():
    """Every kind of attribute, value info, function, and fields that the library does not know."""
    tensor = numpy_helper.from_array(np.arange(3, dtype=np.float32), "t")
    body = helper.make_graph(
        [helper.make_node("Add", ["x", "inner"], ["b"])], "body", [], [info("b")],
        [numpy_helper.from_array(np.ones(4, np.float32), "inner")])
    everything = helper.make_node(
        "Everything", ["x", "", "w"], ["e", "", "e2"], name="every", domain="test.custom", doc_string="says nothing",
        f=1.25, i=-7, s=b"\xff\x00text", t=tensor, g=body, fs=[1.0, -0.5], is_=[1, -2, 3], ss=[b"a", b""])
    everything.attribute.append(helper.make_attribute("ts", [tensor, tensor]))
    everything.attribute.append(helper.make_attribute("gs", [body]))
    everything.attribute.append(helper.make_attribute("no_ints", [], attr_type=AttributeProto.INTS))
    everything.attribute.append(AttributeProto(name="zero", type=AttributeProto.INT))
    everything.attribute.append(AttributeProto(name="tp", type=AttributeProto.TYPE_PROTO))
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.array([5.0], np.float32), "sparse"),
        numpy_helper.from_array(np.array([2], np.int64), "indices"), [4])
    function = helper.make_function(
        "test.local", "Twice", ["a"], ["c"],
        [helper.make_node("Add", ["a", "a"], ["d"]), helper.make_node("Elu", ["d"], ["c"])],
        [helper.make_opsetid("", 17)], attributes=["alpha"], attribute_protos=[helper.make_attribute("beta", 0.5)])
    reference = AttributeProto(name="alpha", ref_attr_name="alpha", type=AttributeProto.FLOAT)
    function.node[1].attribute.append(reference)
    nodes = [
        everything,
        helper.make_node("Twice", ["e"], ["f"], domain="test.local", alpha=1.0),
        helper.make_node("Add", ["f", "sparse"], ["g"], domain="ai.onnx"),
        helper.make_node("Mul", ["g", "odd"], ["y"]),
    ]
    odd = TensorProto(name="odd", data_type=27, dims=[4], raw_data=b"abc")
    graph = helper.make_graph(
        nodes, "main", [info("x", shape=["n", None, 3, -1]), info("u", shape=None)],
        [info("y", shape=[]), helper.make_tensor_sequence_value_info("e2", FLOAT, None)],
        [numpy_helper.from_array(np.arange(600, dtype=np.float32).reshape(20, 30), "w"), odd], doc_string="graph text",
        value_info=[info("e", shape=["n", 4])], sparse_initializer=[sparse])
    graph.quantization_annotation.add(tensor_name="e")
    proto = model(graph, functions=[function], doc_string="model text")
    proto.opset_import.add(domain="test.custom", version=3)
    proto.opset_import.add(domain="test.local", version=1)
    helper.set_model_props(proto, {"author": "nobody", "üñí": "←→"})
    unknown = b"\xf2\x3f\x05hello" + b"\xf8\x3f\x07" + b"\xfd\x3f\x01\x02\x03\x04" + b"\xf9\x3f12345678"
    save("structure", proto, check=False, unknown=unknown)


def linear(name, ir, listed, tied=False):
    rng = np.random.default_rng(1)
    w = numpy_helper.from_array(rng.standard_normal((4, 5)).astype(np.float32), "w")
    v = numpy_helper.from_array(rng.standard_normal((5, 4)).astype(np.float32), "v")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"], "first"), helper.make_node("MatMul", ["h", "v"], ["y"], "second")]
    inputs = [info("x")] + ([info("w", shape=[4, 5]), info("v", shape=[5, 4])] if listed else [])
    if tied:
        nodes += [helper.make_node("MatMul", ["y", "w"], ["z"], "third")]
    outputs = [info("z", shape=["n", 5]) if tied else info("y")]
    graph = helper.make_graph(nodes, name, inputs, outputs, [w, v], value_info=[info("w", shape=[4, 5])] if not listed else [])
    save(name, model(graph, opset=9 if ir == 3 else 13, ir=ir))


def constants():
    rng = np.random.default_rng(2)
    weight = numpy_helper.from_array(rng.standard_normal((4, 4)).astype(np.float32), "")
    nodes = [
        helper.make_node("Constant", [], ["w"], "const", value=weight),
        helper.make_node("Constant", [], ["s"], value_float=2.0),
        helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Mul", ["h", "s"], ["y"]),
    ]
    save("constants", model(helper.make_graph(nodes, "constants", [info("x")], [info("y")])))


def branches():
    """Weights inside If branches, which also read the outer graph."""
    rng = np.random.default_rng(3)

    def branch(name):
        weight = numpy_helper.from_array(rng.standard_normal((4, 4)).astype(np.float32), "bw")
        return helper.make_graph([helper.make_node("MatMul", ["h", "bw"], [name])], name, [], [info(name)], [weight])

    nodes = [
        helper.make_node("Relu", ["x"], ["h"]), helper.make_node("ReduceSum", ["h"], ["total"], keepdims=0),
        helper.make_node("Cast", ["total"], ["flag"], to=TensorProto.BOOL),
        helper.make_node("If", ["flag"], ["y"], then_branch=branch("then"), else_branch=branch("else")),
    ]
    save("branches", model(helper.make_graph(nodes, "branches", [info("x")], [info("y")])))


def external():
    """Initializers and a Constant whose data is in one file of the folder, another in a sub-folder."""
    rng = np.random.default_rng(4)
    folder = FOLDER / "external"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "sub").mkdir(parents=True)
    data = b""

    def place(array, name, location, with_length=True):
        nonlocal data
        tensor = TensorProto(name=name, data_type=FLOAT, dims=array.shape, data_location=TensorProto.EXTERNAL)
        raw = array.tobytes()
        offset = 0
        if location == "weights.bin":
            data += bytes(-len(data) % 64)
            offset = len(data)
            data += raw
        else:
            (folder / location).write_bytes(raw)
        entries = [("location", location)] + ([("offset", str(offset)), ("length", str(len(raw)))] if with_length else [])
        for key, value in entries:
            tensor.external_data.add(key=key, value=value)
        return tensor

    def weight():
        return rng.standard_normal((4, 4)).astype(np.float32)

    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Constant", [], ["c"], value=place(weight(), "", "weights.bin")),
        helper.make_node("MatMul", ["h", "c"], ["k"]), helper.make_node("MatMul", ["k", "v"], ["y"]),
    ]
    tensors = [place(weight(), "w", "weights.bin"), place(weight(), "v", "sub/v.bin", with_length=False)]
    (folder / "weights.bin").write_bytes(data)
    graph = helper.make_graph(nodes, "external", [info("x")], [info("y")], tensors)
    save("external/model", model(graph), check=False)
    # The checker resolves a Constant's external data nowhere; the rest must pass.


def main():
    arguments.Parser(__doc__).parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    all_types()
    structure()
    linear("linear", 8, listed=False)
    linear("old_ir", 3, listed=True)
    linear("tied", 8, listed=True, tied=True)
    constants()
    branches()
    external()
    digits = FOLDER.parent / "digits_cnn"
    for path in sorted(digits.glob("*.onnx")):
        path.with_suffix(".dump").write_text("\n".join(model_lines(path)) + "\n")


if __name__ == "__main__":
    main()
