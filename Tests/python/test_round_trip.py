"""Compression changes the weights that the plan names, and the nodes that read them where a bias is corrected. The protobuf library
compares everything else, unknown fields included."""

import collections
import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import unusual_model
from onnx import numpy_helper

ENCODINGS = {"trellis": [], "affine": ["--coding", "affine"], "qdq": ["--encoding", "qdq"]}


@pytest.fixture(scope="module")
def source():
    return unusual_model.model()


@pytest.fixture(scope="module", params=ENCODINGS.values(), ids=ENCODINGS.keys())
def written(request, source, tmp_path_factory, tool):
    folder = tmp_path_factory.mktemp("round")
    (folder / "m.onnx").write_bytes(source.SerializeToString())
    np.savez(folder / "d.npz", x=unusual_model.samples())
    run = tool("compress", folder / "m.onnx", folder / "o.onnx", "--data", folder / "d.npz", "--target-bits", 4, *request.param)
    assert run.returncode == 0, run.stderr
    small = onnx.load(folder / "o.onnx")
    small_bits = json.loads(next(entry.value for entry in small.metadata_props if entry.key == "ai.libcet.plan"))
    return small, folder / "o.onnx", small_bits


def without(message, *fields):
    copy = type(message)()
    copy.CopyFrom(message)
    for field in fields:
        copy.ClearField(field)
    return copy


def same(first, second):
    """Equal in every field. The order of unknown fields among the known ones is free."""
    assert type(first) is type(second)
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)


def test_unusual_model_is_whole(source):
    """The fixture has what it is for: no message of onnx.proto without its unknown fields, and a runtime runs it."""
    found = list(unusual_model.messages(source))
    assert len({type(message) for message in found}) >= 15
    assert source.SerializeToString().count(unusual_model.UNKNOWN) == len(found)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    assert ort.InferenceSession(source.SerializeToString(), options).run(None, {"x": unusual_model.samples()})[0].shape == (48, 5)


def test_model_keeps_all_fields_but_the_graph(source, written):
    small, _, _ = written
    raised = ["opset_import", "functions"] if small.ir_version > 8 else []
    assert small.ir_version == (10 if raised else 8)
    same(without(small, "graph", "metadata_props", "ir_version", *raised), without(source, "graph", "metadata_props", "ir_version", *raised))
    for first, second in zip(small.metadata_props, source.metadata_props):
        same(first, second)
    added = [entry.key for entry in small.metadata_props[len(source.metadata_props):]]
    assert added and all(key.startswith("ai.libcet.") for key in added)
    if raised:
        assert {e.domain: e.version for e in small.opset_import} == {**{e.domain: e.version for e in source.opset_import}, "": 21}
        for first, second in zip(small.opset_import, source.opset_import):
            same(without(first, "version"), without(second, "version"))
        for first, second in zip(small.functions, source.functions, strict=True):
            same(without(first, "opset_import"), without(second, "opset_import"))
            for one, two in zip(first.opset_import, second.opset_import, strict=True):
                same(without(one, "version"), without(two, "version"))


def test_graph_keeps_what_is_not_quantized(source, written):
    small, _, _ = written
    parts = ["node", "initializer"]
    same(without(small.graph, *parts), without(source.graph, *parts))
    kept = {tensor.name: tensor for tensor in small.graph.initializer}
    quantized = {"W", "T", "A", "B", "V"}
    assert not quantized & kept.keys()
    for tensor in source.graph.initializer:
        if tensor.name not in quantized:
            # Corrections of an output go to its bias.
            changed = ["raw_data"] if tensor.name == "b" else []
            same(without(kept[tensor.name], *changed), without(tensor, *changed))


def test_nodes_stay_in_order_and_keep_their_texts(source, written):
    small, _, _ = written
    nodes = iter(small.graph.node)
    for before in source.graph.node:
        after = next(node for node in nodes if (node.op_type, node.name) == (before.op_type, before.name))
        changed = ["output"] if after.op_type == "MatMul" and after.output != before.output else []
        if changed:
            assert after.output[0].startswith(before.output[0] + ".cet.")
        if after.op_type == "If":
            changed.append("attribute")
        same(without(after, *changed), without(before, *changed))


def test_branches_keep_what_is_not_quantized(source, written):
    small, _, _ = written

    def branches(model):
        node = next(node for node in model.graph.node if node.op_type == "If")
        return {attribute.name: attribute for attribute in node.attribute}

    after, before = branches(small), branches(source)
    assert after.keys() == before.keys() == {"then_branch", "else_branch"}
    # The branch that runs has its weight from outside now; the other one stays as it is.
    same(after["else_branch"], before["else_branch"])
    same(without(after["then_branch"], "g"), without(before["then_branch"], "g"))
    graph, old = after["then_branch"].g, before["then_branch"].g
    same(without(graph, "node", "initializer"), without(old, "node", "initializer"))
    assert len(graph.initializer) == 0
    same(without(graph.node[0], "output"), without(old.node[0], "output"))


def test_tied_weight_is_written_once(source, written):
    """All codes together take what the plan's bits say of each weight once."""
    small, _, bits_of = written
    readers = [node for node in small.graph.node if "T" in node.input]
    assert len(readers) == 2
    makers = [node for node in small.graph.node if "T" in node.output]
    assert len(makers) == 1
    names = collections.Counter(tensor.name for tensor in small.graph.initializer)
    assert set(names.values()) == {1}
    codes = [t for t in small.graph.initializer if t.name.endswith(".cet.q") or t.name.startswith("cet.w") and t.name.endswith(".q")]
    held = sum(len(numpy_helper.to_array(t).tobytes()) if t.data_type == onnx.TensorProto.UINT8 else len(t.raw_data) for t in codes)
    # DequantizeLinear has no 3 bits: they take the space of 4.
    stored = {3: 4} if small.ir_version > 8 else {}
    sizes = {"W": 16 * 24, "V": 24 * 5}
    once = sum(sizes.get(name, 24 * 24) * stored.get(bits, bits) for name, bits in bits_of.items()) / 8
    assert bits_of.keys() == {"W", "T", "A", "B", "V", "then.w"}
    assert once <= held <= once * 1.1


def test_written_file_runs_and_is_close(source, written):
    _, path, _ = written
    options = ort.SessionOptions()
    options.log_severity_level = 4
    expected, found = (
        ort.InferenceSession(model, options).run(None, {"x": unusual_model.samples()})[0]
        for model in (source.SerializeToString(), str(path)))
    assert np.abs(found - expected).max() < 0.5 * np.abs(expected).max()
