"""One compression through every door: the tool, the C example, Python. The same seed gives the same bytes."""

import json
import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest

import cet


def outputs(model, inputs):
    """What onnxruntime makes of a file or of bytes, with default options."""
    source = model if isinstance(model, bytes) else str(model)
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    return dict(zip([output.name for output in session.get_outputs()], session.run(None, inputs)))


@pytest.fixture(scope="module")
def written(tmp_path_factory, tool, compile_c, root, digits, quantized):
    """The compressed model by three ways."""
    folder = tmp_path_factory.mktemp("written")
    files = {name: folder / f"{name}.onnx" for name in ("tool", "c", "python")}
    run = tool(
        "compress", digits / "model.onnx", files["tool"], "--data", digits / "calibration.npz", "--target-ratio", 11,
        "--json")
    assert run.returncode == 0, run.stderr
    files["document"] = json.loads(run.stdout)
    program = compile_c(root / "examples" / "c" / "compress.c")
    subprocess.run(
        [program, digits / "model.onnx", digits / "calibration.npz", "11", files["c"]], check=True,
        capture_output=True)
    quantized.save(files["python"])
    return files


@pytest.fixture(scope="module")
def images(calibration_arrays):
    return {"input": calibration_arrays["input"][:64]}


def test_file_same_bytes_from_tool_c_and_python(written, quantized):
    expected = written["tool"].read_bytes()
    assert written["c"].read_bytes() == expected
    assert written["python"].read_bytes() == expected
    assert quantized.to_bytes() == expected


def test_plan_same_bits_from_tool_and_python(written, plan):
    document = written["document"]["plan"]
    assert {tensor["name"]: tensor["bits"] for tensor in document["tensors"]} == plan.bits
    assert len(set(plan.bits.values())) > 1, "a mixed plan"


def test_file_same_bytes_for_any_number_of_threads(model, calibration, written):
    plan = cet.plan(model, calibration, target_ratio=11, threads=1)
    assert cet.quantize(model, calibration, plan, threads=1).to_bytes() == written["tool"].read_bytes()


def test_file_size_is_the_plans(written, quantized):
    summary = quantized.plan.summary
    assert written["tool"].stat().st_size == summary.file_bytes == written["document"]["bytes"]["file"]
    assert summary.ratio >= 11
    assert summary.model_bytes / summary.file_bytes > 7


def test_file_passes_onnx_checker(written):
    model = onnx.load(written["tool"])
    onnx.checker.check_model(model, full_check=True)


def test_file_keeps_opset_and_ir_version(written, digits):
    before, after = onnx.load(digits / "model.onnx"), onnx.load(written["tool"])
    assert [(o.domain, o.version) for o in after.opset_import] == [(o.domain, o.version) for o in before.opset_import]
    assert after.ir_version == before.ir_version
    assert [value.name for value in after.graph.input] == [value.name for value in before.graph.input]
    assert [value.name for value in after.graph.output] == [value.name for value in before.graph.output]


def test_file_metadata_tells_where_it_came_from(written):
    entries = {entry.key: entry.value for entry in onnx.load(written["tool"]).metadata_props}
    text = " ".join(f"{key} {value}" for key, value in entries.items())
    for needed in ("cet", written["document"]["plan"]["model"]["sha256"], cet.library_version()):
        assert needed in text


def test_planes_equal_dequantized_weights_in_onnxruntime(written, quantized, digits, images):
    """The file as onnxruntime reads it equals the original graph with the library's dequantized weights and
    corrected biases."""
    model = onnx.load(digits / "model.onnx")
    values = {initializer.name: initializer.dequantize() for initializer in quantized}
    values.update({correction.name: correction.values for correction in quantized.corrections if not correction.added})
    assert not any(correction.added for correction in quantized.corrections)
    for tensor in model.graph.initializer:
        if tensor.name in values:
            replaced = values.pop(tensor.name).astype(np.float32).reshape(tuple(tensor.dims))
            tensor.CopyFrom(onnx.numpy_helper.from_array(replaced, tensor.name))
    assert not values, "every name is an initializer of the model"
    expected = outputs(model.SerializeToString(), images)
    found = outputs(written["tool"], images)
    np.testing.assert_allclose(found["logits"], expected["logits"], atol=1e-4, rtol=0)
    assert np.abs(found["logits"] - outputs(digits / "model.onnx", images)["logits"]).max() > 1e-3, "it is compressed"


def test_planes_run_the_same_in_the_librarys_executor(written, images):
    found = cet.run(cet.Model(written["tool"]), images)
    np.testing.assert_allclose(found["logits"], outputs(written["tool"], images)["logits"], atol=1e-4, rtol=0)


def test_float_encoding_equals_planes(quantized, written, images):
    planes = outputs(written["tool"], images)
    floats = outputs(quantized.to_bytes(encoding="float"), images)
    np.testing.assert_allclose(floats["logits"], planes["logits"], atol=1e-4, rtol=0)


def test_codes_scales_and_zero_points_make_the_dequantized_values(model, calibration):
    plan = cet.plan(model, calibration, target_ratio=11, coding="affine", rounding="gptq")
    for initializer in cet.quantize(model, calibration, plan):
        codes = initializer.codes
        assert codes.shape == initializer.shape
        assert codes.max() < 2**initializer.bits
        assert initializer.block_size == 0
        shape = [1] * codes.ndim
        shape[initializer.axis] = -1
        scale, zero = initializer.scale.reshape(shape), initializer.zero_point.reshape(shape)
        expected = scale * (codes.astype(np.float32) - zero.astype(np.float32))
        np.testing.assert_allclose(initializer.dequantize(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["model.onnx", "model_opset21.onnx"])
def test_run_equals_onnxruntime(digits, images, name):
    found = cet.run(cet.Model(digits / name), images)
    expected = outputs(digits / name, images)
    assert list(found) == list(expected)
    for key in expected:
        np.testing.assert_allclose(found[key], expected[key], atol=1e-5, rtol=1e-5)


def test_accuracy_survives_compression(written, digits):
    test = np.load(digits / "test.npz")
    images = {"input": (test["x"].astype(np.float32) / 16 - np.float32(0.3))[:, None]}
    before = (outputs(digits / "model.onnx", images)["logits"].argmax(1) == test["y"]).mean()
    after = (outputs(written["tool"], images)["logits"].argmax(1) == test["y"]).mean()
    assert before > 0.99
    assert after > before - 0.01


def test_addend_broadcast_over_samples_is_no_residual():
    """A computed bias of shape [1, C, 1, 1] behind a convolution has no row for every sample."""
    random = np.random.default_rng(9)
    constants = {
        "w1": random.standard_normal((16, 8, 3, 3)) / 8, "w2": random.standard_normal((32, 16, 1, 1)) / 4,
        "flat": random.standard_normal(32), "w3": random.standard_normal((4, 32)) / 5}
    held = [onnx.numpy_helper.from_array(array.astype(np.float32), name) for name, array in constants.items()]
    held.append(onnx.numpy_helper.from_array(np.array([1, 32, 1, 1]), "shape"))
    make = onnx.helper.make_node
    nodes = [
        make("Conv", ["x", "w1"], ["a"], pads=[1] * 4), make("Relu", ["a"], ["b"]), make("GlobalAveragePool", ["b"], ["c"]),
        make("Conv", ["c", "w2"], ["d"]), make("Reshape", ["flat", "shape"], ["offset"]), make("Add", ["d", "offset"], ["e"]),
        make("Relu", ["e"], ["f"]), make("Flatten", ["f"], ["g"]), make("Gemm", ["g", "w3"], ["y"], transB=1)]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes, "broadcast", [value("x", onnx.TensorProto.FLOAT, ["n", 8, 6, 6])],
        [value("y", onnx.TensorProto.FLOAT, ["n", 4])], held)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    data = cet.Calibration({"x": random.standard_normal((256, 8, 6, 6)).astype(np.float32)})
    files = set()
    for _ in range(3):
        loaded = cet.Model(model.SerializeToString())
        small = cet.quantize(loaded, data, cet.plan(loaded, data, target_ratio=8))
        assert all(np.isfinite(small[name].dequantize()).all() for name in ("w1", "w2", "w3"))
        files.add(small.to_bytes())
    assert len(files) == 1
