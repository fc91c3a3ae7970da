"""Files of encoding `ort`: what onnxruntime's own operators make of the codes, against the dequantized model."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from dequantized_model import dequantized, halved
from onnx import helper, numpy_helper

import cet

RANDOM = np.random.default_rng(0)
IDS = RANDOM.integers(0, 50, (32, 6)).astype(np.int64)


def weight(name, *shape):
    return numpy_helper.from_array((RANDOM.standard_normal(shape) * 0.2).astype(np.float32), name)


def made(nodes, initializers, outputs, inputs=None, opset=13):
    inputs = inputs or [helper.make_tensor_value_info("ids", 7, ["N", 6])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8).SerializeToString()


def text_model(opset=13):
    """A table, products with and without an addend behind, Gemm in both directions; sizes that are no multiples of blocks."""
    node = helper.make_node
    return made(
        [node("Gather", ["E", "ids"], ["e"]), node("MatMul", ["e", "W"], ["a"]), node("Tanh", ["a"], ["t"]),
         node("MatMul", ["t", "V"], ["u"]), node("Add", ["u", "v"], ["s"]), node("ReduceMean", ["s"], ["r"], axes=[1], keepdims=0),
         node("Gemm", ["r", "G", "g"], ["z"], transB=1), node("Relu", ["z"], ["zz"]), node("Gemm", ["zz", "H"], ["y"])],
        [weight("E", 50, 90), weight("W", 90, 200), weight("V", 200, 77), weight("v", 77), weight("G", 130, 77), weight("g", 130),
         weight("H", 130, 5)],
        [helper.make_tensor_value_info("y", 1, ["N", 5])], opset=opset)


def session_output(content, feeds):
    return ort.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, feeds)[0]


def compressed(content, feeds, **options):
    model, data = cet.Model(content), cet.Calibration(feeds)
    options = {"encoding": "ort", "rounding": "nearest", **options}
    plan = cet.plan(model, data, **options)
    return cet.quantize(model, data, plan)


def operators(content):
    return sorted(node.op_type for node in onnx.load_model_from_string(content).graph.node if node.domain == "com.microsoft")


@pytest.mark.parametrize("granularity", [None, "per-axis", "block:16", "block:32", "block:64", "block:256"])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_kernels_of_every_width_and_block_give_the_dequantized_model(bits, granularity):
    content = text_model()
    small = compressed(content, {"ids": IDS}, bits=[bits], target_bits=bits, granularity=granularity)
    written = small.to_bytes()
    expected = session_output(dequantized(content, small), {"ids": IDS})
    np.testing.assert_allclose(session_output(written, {"ids": IDS}), expected, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(cet.run(cet.Model(written), {"ids": IDS})["y"], expected, atol=1e-5 * np.abs(expected).max())
    assert operators(written).count("MatMulNBits") == 4
    assert operators(written).count("GatherBlockQuantized") == (0 if bits == 2 else 1)
    assert small.plan.summary.file_bytes == len(written)


@pytest.mark.parametrize("coding", ["affine", "symmetric"])
@pytest.mark.parametrize("granularity", [None, "per-axis", "block:16"])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_kernels_of_float16_have_float16_scales(bits, granularity, coding):
    """What float32 makes of the decoded weights, within the precision of float16."""
    plain = text_model()
    content = halved(plain)
    small = compressed(content, {"ids": IDS}, bits=[bits], target_bits=bits, granularity=granularity, coding=coding, min_runtime="ort-1.28")
    written = small.to_bytes()
    expected = session_output(dequantized(plain, small), {"ids": IDS})
    for found in (session_output(written, {"ids": IDS}), cet.run(cet.Model(written), {"ids": IDS})["y"]):
        np.testing.assert_allclose(found.astype(np.float32), expected, atol=3e-3 * np.abs(expected).max())
    kinds = operators(written)
    assert (kinds.count("MatMulNBits"), kinds.count("GatherBlockQuantized")) == (4, 0 if bits == 2 else 1)
    arrays = {each.name: numpy_helper.to_array(each) for each in onnx.load_model_from_string(written).graph.initializer}
    tensors = {tensor.name: tensor for tensor in small.plan.tensors}
    for name in "WVGH":
        scales = arrays[f"{name}.cet.scale"]
        assert scales.dtype == np.float16
        np.testing.assert_array_equal(scales.ravel(), np.ravel(small[name].scale))
        assert tensors[name].stored_bytes == sum(array.nbytes for each, array in arrays.items() if each.startswith(f"{name}.cet."))
    assert small.plan.summary.file_bytes == len(written)
    assert cet.inspect(cet.Model(written))["oldest_runtime"] == {2: "ort-1.28", 4: "ort-1.20", 8: "ort-1.23"}[bits]


@pytest.mark.parametrize("size", [1e-2, 1e-4, 1e-6, 1e3])
@pytest.mark.parametrize("bits", [4, 8])
def test_float16_scales_of_tiny_and_huge_weights_round_no_worse_than_they_must(bits, size):
    """Below 6.1e-5 float16 has fewer digits: codes are those of the scale that is there."""
    node = helper.make_node
    values = (RANDOM.standard_normal((64, 32)) * size).astype(np.float16)
    content = made(
        [node("MatMul", ["x", "W"], ["y"])], [numpy_helper.from_array(values, "W")], [helper.make_tensor_value_info("y", 10, ["N", 32])],
        inputs=[helper.make_tensor_value_info("x", 10, ["N", 64])])
    x = RANDOM.standard_normal((32, 64)).astype(np.float16)
    small = compressed(content, {"x": x}, bits=[bits], target_bits=bits, loss="mse", granularity="block:16")
    assert operators(small.to_bytes()) == ["MatMulNBits"]
    found, true = small["W"].dequantize(), values.astype(np.float32)
    assert np.isfinite(found.astype(np.float16)).all()
    # Half a step of an even grid over a block, or of float16's least numbers.
    blocks = true.T.reshape(32, 4, 16)
    step = np.maximum(blocks.max(axis=-1) - blocks.min(axis=-1), 0) / (2**bits - 1) + 2.0**-24
    error = np.abs((found - true).T.reshape(32, 4, 16)).max(axis=-1)
    assert (error <= 1.5 * step).all()
    np.testing.assert_allclose(
        session_output(small.to_bytes(), {"x": x}).astype(np.float32), x.astype(np.float32) @ found, rtol=0.02, atol=0.01 * np.abs(x @ true).max() + 1e-7)


def deep_model(layers=8, width=64):
    """Products behind each other with normalization between: what float16 rounds is made larger."""
    node, nodes, constants = helper.make_node, [helper.make_node("Gather", ["E", "ids"], ["h0"])], [weight("E", 50, width)]
    for k in range(layers):
        nodes += [node("MatMul", [f"h{k}", f"A{k}"], [f"a{k}"]), node("Relu", [f"a{k}"], [f"r{k}"]), node("MatMul", [f"r{k}", f"B{k}"], [f"b{k}"]),
                  node("Add", [f"b{k}", f"h{k}"], [f"s{k}"]), node("LayerNormalization", [f"s{k}", "one", "none"], [f"h{k + 1}"])]
        constants += [weight(f"A{k}", width, 2 * width), weight(f"B{k}", 2 * width, width)]
    nodes += [node("ReduceMean", [f"h{layers}"], ["m"], axes=[1], keepdims=0), node("MatMul", ["m", "H"], ["y"])]
    constants += [weight("H", width, 5), numpy_helper.from_array(np.ones(width, np.float32), "one"), numpy_helper.from_array(np.zeros(width, np.float32), "none")]
    return made(nodes, constants, [helper.make_tensor_value_info("y", 1, ["N", 5])], opset=17)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("granularity", [None, "block:32"])
def test_deep_float16_models_are_written_with_kernels(bits, granularity):
    plain = deep_model()
    small = compressed(halved(plain), {"ids": IDS}, bits=[bits], target_bits=bits, granularity=granularity, min_runtime="ort-1.23")
    written = small.to_bytes()
    assert operators(written).count("MatMulNBits") == 17
    expected = session_output(dequantized(plain, small), {"ids": IDS})
    np.testing.assert_allclose(session_output(written, {"ids": IDS}).astype(np.float32), expected, atol=5e-3 * np.abs(expected).max())


@pytest.mark.parametrize("encoding", ["ort", "planes", "qdq"])
@pytest.mark.parametrize("granularity", [None, "per-axis", "block:32", "block:128", "block:512"])
def test_blocks_longer_than_a_row_take_no_room(granularity, encoding):
    """What a plan counts is what stands in the file."""
    content = text_model()
    small = compressed(content, {"ids": IDS}, encoding=encoding, bits=[4], target_bits=4, granularity=granularity, min_runtime="ort-1.24")
    written = onnx.load_model_from_string(small.to_bytes())
    tensors = {tensor.name: tensor for tensor in small.plan.tensors}
    for name, tensor in tensors.items():
        held = sum(numpy_helper.to_array(each).nbytes if each.data_type not in (21, 22) else len(each.raw_data)
                   for each in written.graph.initializer if each.name.startswith(f"{name}.cet."))
        if held and encoding != "planes":  # tensors that are decoded together have common operands there
            assert tensor.stored_bytes == held, name
    assert len(small.to_bytes()) < 1.02 * small.plan.summary.stored_bytes + 6000
    expected = session_output(dequantized(content, small), {"ids": IDS})
    found = session_output(small.to_bytes(), {"ids": IDS})
    np.testing.assert_allclose(found, expected, atol=(0.05 if encoding == "qdq" else 1e-5) * np.abs(expected).max())


@pytest.mark.parametrize("options, encoding", [
    ({"coding": "trellis", "target_bits": 5, "rounding": "compensated", "effort": "low"}, "planes"), ({"granularity": "per-tensor", "target_bits": 5}, "planes"),
    ({"granularity": "block:48", "target_bits": 5}, "planes"), ({"granularity": "block:64", "target_bits": 5}, "ort")])
def test_encoding_auto_is_planes_where_no_kernel_holds_what_is_asked_for(options, encoding):
    small = compressed(text_model(), {"ids": IDS}, encoding="auto", min_runtime="ort-1.28", **options)
    assert small.plan.summary.encoding == encoding


def test_a_plan_for_kernels_that_has_none_says_so():
    model, data = cet.Model(text_model()), cet.Calibration({"ids": IDS})
    plan = cet.plan(model, data, encoding="ort", granularity="per-tensor", target_bits=4, rounding="nearest")
    assert any("no tensor of this plan stays codes in memory" in note for note in plan.notes)
    plan = cet.plan(model, data, encoding="ort", target_bits=4, rounding="nearest")
    assert not any("stays codes in memory" in note for note in plan.notes)


def test_codes_with_float32_scales_are_planes_where_kernels_need_float16():
    """A file of another encoding than its plan's."""
    plain = text_model()
    content = halved(plain)
    model, data = cet.Model(content), cet.Calibration({"ids": IDS})
    small = cet.quantize(model, data, cet.plan(model, data, granularity="block:32", bits=[4], target_bits=4, coding="affine", rounding="nearest"))
    written = small.to_bytes(encoding="ort")
    expected = session_output(dequantized(plain, small), {"ids": IDS})
    np.testing.assert_allclose(session_output(written, {"ids": IDS}).astype(np.float32), expected, atol=3e-3 * np.abs(expected).max())


@pytest.mark.parametrize("granularity", ["per-axis", "block:16", "block:32"])
@pytest.mark.parametrize("columns", [64, 80, 90])
@pytest.mark.parametrize("coding", ["affine", "symmetric"])
def test_tables_of_two_bits_are_codes_from_the_release_that_reads_them(columns, granularity, coding):
    node = helper.make_node
    content = made(
        [node("Gather", ["E", "ids"], ["e"]), node("ReduceMean", ["e"], ["y"], axes=[1], keepdims=0)], [weight("E", 50, columns)],
        [helper.make_tensor_value_info("y", 1, ["N", columns])])
    options = {"bits": [2], "target_bits": 2, "granularity": granularity, "coding": coding}
    older, newer = (compressed(content, {"ids": IDS}, min_runtime=runtime, **options).to_bytes() for runtime in ("ort-1.26", "ort-1.27"))
    assert operators(older) == []
    # Four codes lie in a byte of one row.
    assert operators(newer) == (["GatherBlockQuantized"] if columns % 4 == 0 else [])
    small = compressed(content, {"ids": IDS}, min_runtime="ort-1.27", **options)
    expected = session_output(dequantized(content, small), {"ids": IDS})
    for written in (older, newer):
        np.testing.assert_allclose(session_output(written, {"ids": IDS}), expected, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(cet.run(cet.Model(newer), {"ids": IDS})["y"], expected, atol=1e-5 * np.abs(expected).max())
    assert small.plan.summary.file_bytes == len(newer)
    oldest = cet.inspect(cet.Model(newer))["oldest_runtime"]
    assert oldest == ("ort-1.27" if columns % 4 == 0 else "ort-1.20")


@pytest.mark.parametrize("options", [
    {"bits": [3], "target_bits": 3},  # no kernel has 3 bits
    {"bits": [4], "target_bits": 4, "granularity": "block:24"},  # nor blocks of 24
    {"bits": [4], "target_bits": 4, "granularity": "per-tensor"},
])
def test_kernels_leave_what_they_have_not_to_planes(options):
    content = text_model()
    small = compressed(content, {"ids": IDS}, **options)
    written = small.to_bytes()
    assert operators(written) == []
    expected = session_output(dequantized(content, small), {"ids": IDS})
    np.testing.assert_allclose(session_output(written, {"ids": IDS}), expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("opset", [8, 9, 11, 12, 13])
@pytest.mark.parametrize("bits, granularity", [(3, None), (5, "per-axis"), (6, "block:32"), (7, None), (8, "per-tensor")])
def test_planes_beside_a_typed_table_are_of_its_operator_set(opset, bits, granularity):
    """A table of 4 bits needs operator set 21, whatever the source has."""
    node = helper.make_node
    content = made(
        [node("Gather", ["E", "ids"], ["e"]), node("Flatten", ["e"], ["f"]), node("MatMul", ["f", "W"], ["h"]), node("Tanh", ["h"], ["t"]),
         node("MatMul", ["t", "V"], ["y"])],
        [weight("E", 50, 20), weight("W", 120, 32), weight("V", 32, 5)], [helper.make_tensor_value_info("y", 1, ["N", 5])], opset=opset)
    small = compressed(content, {"ids": IDS}, bits=sorted({4, bits}), fix={"E": 4, "W": bits, "V": bits}, target_bits=8, granularity=granularity)
    written = small.to_bytes()
    expected = session_output(dequantized(content, small), {"ids": IDS})
    np.testing.assert_allclose(session_output(written, {"ids": IDS}), expected, atol=1e-5 * np.abs(expected).max())
    assert operators(written).count("GatherBlockQuantized") == (granularity != "per-tensor")
    assert small.plan.summary.file_bytes == len(written)


@pytest.mark.parametrize("convert", [bytes, halved])
def test_kernels_compensated_rounding_keeps_the_measured_loss(convert):
    content = convert(text_model())
    model, data = cet.Model(content), cet.Calibration({"ids": IDS})
    small = cet.quantize(model, data, cet.plan(model, data, encoding="ort", target_bits=4.5))
    reference, found = (session_output(each, {"ids": IDS}) for each in (content, small.to_bytes()))

    def log_probabilities(x):
        x = x.astype(np.float64)
        return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))

    p, q = log_probabilities(reference), log_probabilities(found)
    assert (np.exp(p) * (p - q)).sum(axis=-1).mean() == pytest.approx(
        small.plan.measured_loss_change, rel=1e-3 if convert is bytes else 0.02, abs=1e-7)


def test_kernels_have_the_names_of_the_nodes_that_they_replace():
    source = onnx.load_model_from_string(text_model())
    for number, node in enumerate(source.graph.node):
        node.name, node.doc_string = f"{node.op_type} number {number}", f"text {number}"
        node.metadata_props.add(key="who", value=str(number))
    small = compressed(source.SerializeToString(), {"ids": IDS}, bits=[4], target_bits=4)
    written = onnx.load_model_from_string(small.to_bytes())
    kernels = [node for node in written.graph.node if node.domain == "com.microsoft"]
    former = {node.name: node for node in source.graph.node}
    assert kernels and {node.name for node in kernels} <= former.keys()
    assert all((node.doc_string, node.metadata_props) == (former[node.name].doc_string, former[node.name].metadata_props) for node in kernels)


def test_kernels_for_an_old_runtime_have_4_bits_alone():
    small = compressed(text_model(), {"ids": IDS}, bits=[2, 4, 8], target_bits=4, min_runtime="ort-1.20")
    model = onnx.load_model_from_string(small.to_bytes())
    widths = {attribute.i for node in model.graph.node if node.op_type == "MatMulNBits"
              for attribute in node.attribute if attribute.name == "bits"}
    assert widths == {4}


@pytest.mark.parametrize("runtime, encoding", [
    ("ort-1.24", "ort"), ("ort-1.20", "ort"), ("openvino-2026", "ort"), (None, "planes")])
def test_encoding_auto_follows_the_runtime(runtime, encoding):
    small = compressed(text_model(), {"ids": IDS}, encoding="auto", target_bits=5, min_runtime=runtime)
    assert small.plan.summary.encoding == encoding


@pytest.mark.parametrize("runtime", ["ort-1.20", "ort-1.28", "openvino-2026"])
def test_encoding_auto_is_planes_where_the_target_leaves_kernels_too_few_bits(runtime):
    content = text_model()
    size = len(compressed(content, {"ids": IDS}, bits=[4], target_bits=4, min_runtime=runtime).to_bytes())
    for target, encoding in [
        ({"target_ratio": 8}, "ort"), ({"target_ratio": 8.1}, "planes"), ({"target_bits": 2.5}, "planes"), ({"target_ratio": 16}, "planes"),
        ({"target_size": size + 400}, "ort"), ({"target_size": int(size * 0.8)}, "planes"), ({"max_loss": 0.01}, "planes" if runtime == "ort-1.20" else "ort"),
        ({"target_bits": 3, "bits": [2, 4]}, "planes"), ({"target_bits": 8, "bits": [8]}, "planes" if runtime == "ort-1.20" else "ort"),
    ]:
        small = compressed(content, {"ids": IDS}, encoding="auto", min_runtime=runtime, **target)
        assert small.plan.summary.encoding == encoding, target
        written = small.to_bytes()
        assert (operators(written) != []) == (encoding == "ort"), target
        assert "target_size" not in target or len(written) <= target["target_size"]


def test_encoding_auto_of_a_session_follows_its_target():
    model, data = cet.Model(text_model()), cet.Calibration({"ids": IDS})
    options = {"encoding": "auto", "min_runtime": "ort-1.28", "rounding": "nearest"}
    for target, encoding, budget in [({"target_bits": 4}, "ort", 5), ({"target_bits": 3}, "planes", 2), ({}, "ort", 5)]:
        session = cet.Session(model, data, **options, **target)
        plan = session.plan(target_bits=budget)
        assert plan.summary.encoding == encoding
        assert (operators(session.quantize(plan).to_bytes()) != []) == (encoding == "ort")


def test_encoding_auto_of_a_convolutional_model_is_planes():
    node = helper.make_node
    content = made(
        [node("Conv", ["x", "C"], ["c"]), node("GlobalAveragePool", ["c"], ["p"]), node("Flatten", ["p"], ["y"])],
        [weight("C", 16, 3, 3, 3)], [helper.make_tensor_value_info("y", 1, ["N", 16])],
        inputs=[helper.make_tensor_value_info("x", 1, ["N", 3, 8, 8])])
    x = RANDOM.standard_normal((16, 3, 8, 8)).astype(np.float32)
    small = compressed(content, {"x": x}, encoding="auto", target_bits=4, min_runtime="ort-1.24")
    assert small.plan.summary.encoding == "planes"


@pytest.mark.parametrize("text", ["ort-1.19", "ort-2", "ort-1.2O", "tensorrt-10", "openvino-2025", ""])
def test_min_runtime_that_is_not_known_is_refused(text):
    with pytest.raises(cet.InvalidArgument, match="min_runtime"):
        compressed(text_model(), {"ids": IDS}, target_bits=4, min_runtime=text)


def test_kernels_do_not_take_weights_that_they_would_get_wrong():
    """Scaled products, transposed inputs, weights that two nodes read, 16-bit floats, left operands."""
    node = helper.make_node
    content = made(
        [node("Gemm", ["x", "A"], ["a"], alpha=0.5), node("Gemm", ["a", "B", "b"], ["c"], beta=2.0),
         node("MatMul", ["c", "S"], ["d"]), node("MatMul", ["d", "S"], ["e"]), node("Transpose", ["T"], ["tt"], perm=[1, 0]),
         node("MatMul", ["e", "tt"], ["y"])],
        [weight("A", 24, 32), weight("B", 32, 40), weight("b", 40), weight("S", 40, 40), weight("T", 8, 40)],
        [helper.make_tensor_value_info("y", 1, ["N", 8])], inputs=[helper.make_tensor_value_info("x", 1, ["N", 24])])
    x = RANDOM.standard_normal((16, 24)).astype(np.float32)
    small = compressed(content, {"x": x}, bits=[4], target_bits=4)
    written = small.to_bytes()
    assert operators(written) == []
    expected = session_output(dequantized(content, small), {"x": x})
    np.testing.assert_allclose(session_output(written, {"x": x}), expected, atol=1e-5 * np.abs(expected).max())


def test_kernels_in_branches_that_make_values_of_the_same_name_keep_their_own_weights():
    """A node is replaced by the name of its output, which only the branch it stands in tells apart."""
    node = helper.make_node

    def branch(matrix):
        return helper.make_graph(
            [node("MatMul", ["x", matrix], ["h"]), node("Identity", ["h"], ["b"])], matrix, [], [helper.make_tensor_value_info("b", 1, ["N", 48])])

    content = made(
        [node("Shape", ["x"], ["s"]), node("Gather", ["s", "zero"], ["n"]), node("Greater", ["n", "few"], ["c"]),
         node("If", ["c"], ["i"], then_branch=branch("P"), else_branch=branch("M")), node("MatMul", ["i", "W"], ["y"])],
        [weight("P", 32, 48), weight("M", 32, 48), weight("W", 48, 8), numpy_helper.from_array(np.int64(0), "zero"),
         numpy_helper.from_array(np.int64(4), "few")],
        [helper.make_tensor_value_info("y", 1, ["N", 8])], inputs=[helper.make_tensor_value_info("x", 1, ["N", 32])])
    x = RANDOM.standard_normal((16, 32)).astype(np.float32)
    small = compressed(content, {"x": x}, bits=[4], target_bits=4)
    written, reference = small.to_bytes(), dequantized(content, small)
    for fed in (x, x[:3]):
        expected = session_output(reference, {"x": fed})
        np.testing.assert_allclose(session_output(written, {"x": fed}), expected, atol=1e-5 * np.abs(expected).max())
    assert operators(written) == ["MatMulNBits"]


def test_file_with_kernels_is_planned_again_for_what_is_float():
    """What the kernels hold stays as it is."""
    content = text_model()
    small = compressed(content, {"ids": IDS}, bits=[4], target_bits=4, keep="H").to_bytes()
    again = compressed(small, {"ids": IDS}, bits=[4], target_bits=4)
    assert set(again.plan.bits) == {"H"}
    assert operators(again.to_bytes()).count("MatMulNBits") == 4


@pytest.mark.parametrize("bits, block, oldest", [(4, 128, "ort-1.20"), (4, 512, "ort-1.32"), (8, 256, "ort-1.23"), (3, 32, None)])
def test_inspect_knows_kernels_that_others_wrote(bits, block, oldest):
    codes = RANDOM.integers(0, 255, (16, 512 // block, block * bits // 8)).astype(np.uint8)
    content = made(
        [helper.make_node("MatMulNBits", ["x", "q", "s"], ["y"], domain="com.microsoft", K=512, N=16, bits=bits, block_size=block)],
        [numpy_helper.from_array(codes, "q"), numpy_helper.from_array(np.ones(16 * 512 // block, np.float32), "s")],
        [helper.make_tensor_value_info("y", 1, ["N", 16])], inputs=[helper.make_tensor_value_info("x", 1, ["N", 512])])
    model = onnx.load_model_from_string(content)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert cet.inspect(cet.Model(model.SerializeToString()))["oldest_runtime"] == oldest


@pytest.mark.parametrize("ratios, encoding", [("4,6", "ort"), ("6,11", "planes")])
def test_encoding_auto_of_a_sweep_is_one_that_every_ratio_can_have(tool, tmp_path, ratios, encoding):
    (tmp_path / "m.onnx").write_bytes(text_model())
    np.savez(tmp_path / "d.npz", ids=IDS)
    run = tool("sweep", tmp_path / "m.onnx", "--data", tmp_path / "d.npz", "--ratios", ratios, "-o", tmp_path / "out", "--encoding", "auto",
               "--min-runtime", "ort-1.24", "--rounding", "nearest", "--quiet")
    assert run.returncode == 0, run.stderr
    files = sorted((tmp_path / "out").glob("*.onnx"))
    assert len(files) == 2
    assert all((operators(file.read_bytes()) != []) == (encoding == "ort") for file in files)
