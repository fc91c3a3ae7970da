"""What goes in and out: details of errors, what a model says of itself, DLPack with NumPy and PyTorch, saved states."""

import gc
import hashlib
import json

import numpy as np
import onnx
import onnxruntime
import pytest

import cet
from cet.library import lib

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def quantized(model, calibration):
    plan = cet.plan(model, calibration, target_ratio=11, samples=64, method="uniform", rounding="nearest")
    return cet.quantize(model, calibration, plan)


def test_error_of_a_wrong_shape_has_its_parts(model):
    name = model.inputs[0].name
    with pytest.raises(cet.ShapeMismatch) as caught:
        cet.run(model, {name: np.zeros((2, 3), np.float32)})
    error = caught.value
    assert (error.input, error.got) == (name, "[2×3]")
    assert error.expected in str(error) and error.node is None and error.bytes_needed is None


def test_error_of_a_short_memory_says_what_suffices(model, calibration):
    options = dict(target_ratio=11, samples=32, threads=1)
    with pytest.raises(cet.OutOfMemory) as caught:
        cet.plan(model, calibration, max_memory=1000, **options)
    assert caught.value.bytes_needed > 1000
    cet.plan(model, calibration, max_memory=caught.value.bytes_needed, **options)


def test_error_of_an_unreachable_budget_has_the_range(model, calibration):
    with pytest.raises(cet.InfeasibleBudget) as caught:
        cet.plan(model, calibration, target_ratio=1000, samples=16)
    assert float(caught.value.got) == 1000 and "to" in caught.value.expected


def test_error_of_an_unknown_operator_names_the_node():
    node = onnx.helper.make_node("Mystery", ["x"], ["y"], name="who", domain="org.example")
    graph = onnx.helper.make_graph(
        [node], "g", [onnx.helper.make_tensor_value_info("x", 1, [2])], [onnx.helper.make_tensor_value_info("y", 1, [2])])
    made = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("org.example", 1)])
    with pytest.raises(cet.UnsupportedOperator) as caught:
        cet.run(cet.Model(made.SerializeToString()), {"x": np.zeros(2, np.float32)})
    assert caught.value.node == "who"


def test_model_says_of_itself_what_onnx_reads(digits, model):
    path = digits / "model.onnx"
    theirs = onnx.load(path)
    info = model.info
    assert (info.ir_version, info.model_version) == (theirs.ir_version, theirs.model_version)
    assert (info.producer_name, info.producer_version, info.domain) == (
        theirs.producer_name, theirs.producer_version, theirs.domain)
    assert info.graph_name == theirs.graph.name and info.documentation == theirs.doc_string
    assert info.opsets == {entry.domain: entry.version for entry in theirs.opset_import}
    assert info.metadata == {entry.key: entry.value for entry in theirs.metadata_props}
    assert [output.name for output in model.outputs] == [output.name for output in theirs.graph.output]
    assert model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert info.file_bytes == path.stat().st_size


def test_written_model_says_what_it_was_made_from(quantized, model):
    assert cet.Model(quantized.to_bytes()).info.metadata["ai.libcet.source_sha256"] == model.sha256


def test_build_info_names_what_computes():
    info = cet.build_info()
    assert info["version"] == cet.__version__ and info["blas"]["name"] == "OpenBLAS" and info["processors"] >= 1
    flags = open("/proc/cpuinfo").read().split()
    expected = "avx512f" if "avx512f" in flags else "avx2" if "avx2" in flags else "default"
    assert info["instruction_set"] == expected


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "float16"])
def test_torch_tensors_run_as_their_numbers_do(model, kind):
    name = model.inputs[0].name
    shape = [4 if size < 0 else size for size in model.inputs[0].shape]
    given = torch.randn(shape, generator=torch.Generator().manual_seed(3)).to(getattr(torch, kind))
    found = cet.run(model, {name: given})
    expected = cet.run(model, {name: given.float().numpy()})
    for output in expected:
        np.testing.assert_array_equal(found[output], expected[output])


def test_torch_tensors_that_are_not_packed_are_copied(model):
    name = model.inputs[0].name
    shape = [4 if size < 0 else size for size in model.inputs[0].shape]
    given = torch.randn(list(reversed(shape))).permute(*reversed(range(len(shape))))
    assert not given.is_contiguous()
    found = cet.run(model, {name: given})
    expected = cet.run(model, {name: given.contiguous().numpy()})
    for output in expected:
        np.testing.assert_array_equal(found[output], expected[output])


def test_bfloat16_samples_plan_as_their_numbers_do(model, calibration_arrays):
    name = model.inputs[0].name
    half = torch.from_numpy(calibration_arrays[name][:48]).bfloat16()
    plans = [
        cet.plan(model, cet.Calibration({name: samples}), target_ratio=11, method="mckp", rounding="nearest").to_json()
        for samples in (half, half.float().numpy())]
    assert plans[0] == plans[1]


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16"])
def test_weights_through_dlpack_are_torchs_own_rounding(quantized, kind):
    gc.collect()
    before = lib.cet_live_handle_count()
    for initializer in quantized:
        found = torch.from_dlpack(initializer.dlpack(kind))
        expected = torch.from_numpy(initializer.dequantize()).to(getattr(torch, kind))
        assert found.dtype == expected.dtype and torch.equal(found, expected)
        found.mul_(2)  # memory of its own
    del found
    initializer.dlpack(kind).__dlpack__(max_version=(1, 0))  # that nobody takes
    gc.collect()
    assert lib.cet_live_handle_count() == before


def test_weights_through_dlpack_are_numpys(quantized):
    initializer = quantized[0]
    if np.lib.NumpyVersion(np.__version__) < "2.1.0":
        pytest.skip("NumPy reads DLPack 1.x from 2.1 on")
    np.testing.assert_array_equal(np.from_dlpack(initializer.dlpack()), initializer.dequantize())


def test_saved_state_makes_the_same_file(model, quantized, calibration_arrays, tmp_path):
    path = tmp_path / "state"
    quantized.save_state(path)
    again = cet.Quantized.load_state(model, path)
    assert again.to_bytes() == quantized.to_bytes() and again.keys() == quantized.keys()
    session = onnxruntime.InferenceSession(again.to_bytes(), providers=["CPUExecutionProvider"])
    name = model.inputs[0].name
    assert session.run(None, {name: calibration_arrays[name][:2]})


@pytest.mark.parametrize("encoding, options", [
    ("planes", {}), ("qdq", {"coding": "affine"}), ("planes", {"granularity": "block:16"}), ("planes", {"granularity": "per-tensor"})])
def test_saved_state_holds_every_kind_of_code(model, calibration, tmp_path, encoding, options):
    plan = cet.plan(
        model, calibration, target_ratio=8, method="uniform", rounding="gptq", encoding=encoding, samples=64, effort="low", **options)
    quantized = cet.quantize(model, calibration, plan)
    quantized.save_state(tmp_path / "state")
    assert cet.Quantized.load_state(model, tmp_path / "state").to_bytes() == quantized.to_bytes()


def test_damaged_states_are_refused_everywhere(model, quantized, tmp_path):
    path = tmp_path / "state"
    quantized.save_state(path)
    whole = path.read_bytes()
    for place in list(range(0, 64, 7)) + list(range(64, len(whole), max(1, len(whole) // 60))):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1:])
        with pytest.raises(cet.CetError):
            cet.Quantized.load_state(model, path)
        path.write_bytes(whole[:place])
        with pytest.raises(cet.IOFailure):
            cet.Quantized.load_state(model, path)


def _checksum(sections):
    """As docs/spectrum-file.md says."""
    value, factor, mask = 0xCBF29CE484222325, 0x9E3779B97F4A7C15, (1 << 64) - 1
    for section in sections:
        words = [len(section)] + list(np.frombuffer(section + bytes(-len(section) % 8), "<u8").tolist())
        for word in words:
            value = (value ^ word) * factor & mask
            value ^= value >> 29
    return value.to_bytes(8, "little")


def _sections(quantized, header):
    """Lengths of the arrays of a state, tensor after tensor."""
    planned = [tensor for tensor in header["plan"]["tensors"] if tensor["bits"] < 32]
    for tensor, bias in zip(planned, header["biases"]):
        count = int(np.prod(tensor["shape"]))
        rows = next(initializer for initializer in quantized if initializer.name == tensor["name"]).scale.size
        yield -(-count * tensor["bits"] // 8)
        yield 4 * rows
        yield 0 if tensor.get("coding") == "trellis" else rows
        if bias is not None:
            yield 4 * bias


def test_states_that_contradict_themselves_are_refused(model, quantized, tmp_path):
    path = tmp_path / "state"
    quantized.save_state(path)
    whole = path.read_bytes()
    length = int.from_bytes(whole[8:16], "little")
    header, contents = json.loads(whole[16:16 + length]), whole[16 + length:-8]
    arrays, place = [], 0
    for size in _sections(quantized, header):
        arrays.append(contents[place:place + size])
        place += size
    assert place == len(contents)

    def written(changed, arrays=arrays):
        text = json.dumps(changed).encode()
        sections = [whole[:8], len(text).to_bytes(8, "little"), text, *arrays]
        path.write_bytes(b"".join(sections) + _checksum(sections))
        return cet.Quantized.load_state(model, path)

    def refused(changed, arrays=arrays):
        with pytest.raises(cet.IOFailure):
            written(changed, arrays)

    assert written(header).to_bytes() == quantized.to_bytes()
    biases, plan = header["biases"], header["plan"]
    for value in (-1, 0, 1, 7, 1 << 62, 10 ** 30, "x", []):
        refused({**header, "biases": [value, *biases[1:]]})
    for changed in ({}, {**header, "biases": []}, {**header, "biases": biases[1:]}, {**header, "plan": {}}):
        refused(changed)
    for field, values in {"bits": (0, 1, 3, 9, 32, -1), "shape": ([1], [-1], []), "name": ("other",)}.items():
        for value in values:
            changed = json.loads(json.dumps(header))
            changed["plan"]["tensors"][0][field] = value
            refused(changed)
    for options in ({"granularity": "per-tensor"}, {"granularity": "block:5"}):
        refused({**header, "plan": {**plan, "options": {**plan["options"], **options}}})
    with pytest.raises(cet.InvalidArgument) as caught:
        written({**header, "model_sha256": "0" * 64})
    assert caught.value.expected == "0" * 64 and caught.value.got == model.sha256
    refused(header, [arrays[0], np.full(len(arrays[1]) // 4, np.nan, np.float32).tobytes(), *arrays[2:]])
