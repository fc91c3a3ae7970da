"""The oldest onnxruntime that files are promised for, 1.20.1, and OpenVINO 2026.4 open exactly the files of which the library says so, and
compute what the dequantized model computes."""

import json
import os
import subprocess
import sys

import numpy as np
import onnxruntime as ort
import pytest
from conftest import ROOT
from dequantized_model import dequantized, halved
from onnx import TensorProto, helper, numpy_helper

import cet

RANDOM = np.random.default_rng(0)
INPUTS = {
    "ids": RANDOM.integers(0, 50, (32, 6)).astype(np.int64),
    "x": RANDOM.standard_normal((32, 8, 9)).astype(np.float32),
    "even": RANDOM.standard_normal((32, 32)).astype(np.float32),
    "odd": RANDOM.standard_normal((32, 65)).astype(np.float32),
    "image": RANDOM.standard_normal((32, 6, 12, 12)).astype(np.float32),
}
ENCODINGS = {"planes": [1, 2, 3, 4, 5, 6, 7, 8], "qdq": [2, 3, 4, 5, 8], "ort": [2, 3, 4, 8]}
GRANULARITIES = [None, "per-tensor", "block:32"]


def weight(name, *shape):
    return numpy_helper.from_array((RANDOM.standard_normal(shape) * 0.2).astype(np.float32), name)


def made(nodes, initializers, name, *shape):
    kind = 7 if name == "ids" else 1
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(name, kind, ["N", *shape])], [helper.make_tensor_value_info("y", 1, ["N", 5])],
        initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def text():
    node = helper.make_node
    return made(
        [node("Gather", ["E", "ids"], ["e"]), node("MatMul", ["e", "W"], ["a"]), node("Tanh", ["a"], ["t"]),
         node("ReduceMean", ["t"], ["r"], axes=[1], keepdims=0), node("Gemm", ["r", "G", "g"], ["z"], transB=1),
         node("Relu", ["z"], ["zz"]), node("Gemm", ["zz", "H"], ["y"])],
        [weight("E", 50, 96), weight("W", 96, 200), weight("G", 130, 200), weight("g", 130), weight("H", 130, 5)], "ids", 6)


def images():
    node = helper.make_node
    return made(
        [node("Conv", ["image", "A", "a"], ["c"], pads=[1, 1, 1, 1]), node("Relu", ["c"], ["d"]),
         node("Conv", ["d", "D"], ["e"], group=32, strides=[2, 2]), node("ConvTranspose", ["e", "T", "t"], ["f"]),
         node("GlobalAveragePool", ["f"], ["p"]), node("Flatten", ["p"], ["q"]), node("Gemm", ["q", "H"], ["y"])],
        [weight("A", 32, 6, 3, 3), weight("a", 32), weight("D", 32, 1, 3, 3), weight("T", 32, 20, 3, 3), weight("t", 20),
         weight("H", 20, 5)], "image", 6, 12, 12)


def sequences():
    """LSTM has the steps first: its input is transposed."""
    node = helper.make_node
    return made(
        [node("Transpose", ["x"], ["xt"], perm=[1, 0, 2]), node("LSTM", ["xt", "W", "R", "B"], ["", "h"], hidden_size=16),
         node("Squeeze", ["h", "zero"], ["s"]), node("MatMul", ["s", "H"], ["y"])],
        [weight("W", 1, 64, 9), weight("R", 1, 64, 16), weight("B", 1, 128), numpy_helper.from_array(np.array([0]), "zero"),
         weight("H", 16, 5)], "x", 8, 9)


def products():
    """Of an odd number of summands, with weights in both orders."""
    node = helper.make_node
    return made(
        [node("MatMul", ["odd", "W"], ["a"]), node("Relu", ["a"], ["b"]), node("Gemm", ["b", "G"], ["c"], transB=1),
         node("Transpose", ["T"], ["t"]), node("MatMul", ["c", "t"], ["y"])],
        [weight("W", 65, 33), weight("G", 48, 33), weight("T", 5, 48)], "odd", 65)


def tied():
    """One weight on the right of a product, and turned round on the right of another."""
    node = helper.make_node
    return made(
        [node("MatMul", ["even", "W"], ["a"]), node("Tanh", ["a"], ["b"]), node("Gemm", ["b", "W"], ["c"], transB=1),
         node("MatMul", ["c", "H"], ["y"])], [weight("W", 32, 32), weight("H", 32, 5)], "even", 32)


def moved():
    """Weights behind Transpose, with axes named and not, one of them read as it is too, and behind Identity."""
    node = helper.make_node
    return made(
        [node("MatMul", ["even", "A"], ["a"]), node("Tanh", ["a"], ["b"]), node("Transpose", ["A"], ["at"]), node("MatMul", ["b", "at"], ["c"]),
         node("Identity", ["B"], ["bi"]), node("MatMul", ["c", "bi"], ["d"]), node("Transpose", ["C"], ["ct"], perm=[1, 0]),
         node("MatMul", ["d", "ct"], ["y"])], [weight("A", 32, 16), weight("B", 32, 32), weight("C", 5, 32)], "even", 32)


MODELS = {"text": ("ids", text()), "images": ("image", images()), "sequences": ("x", sequences()), "products": ("odd", products()),
          "tied": ("even", tied()), "moved": ("even", moved())}


class Files:
    """Files in a folder, what `inspect` says of them, and what they must compute."""

    def __init__(self, folder):
        self.folder, self.expected, self.said = folder, {}, {}
        # Models in float32 of those that are not.
        self.reference = {}
        np.savez(folder / "inputs.npz", **INPUTS)

    def add(self, case, kind, **options):
        name, content = MODELS[kind]
        feeds = {name: INPUTS[name]}
        model, data = cet.Model(content), cet.Calibration(feeds)
        small = cet.quantize(model, data, cet.plan(model, data, rounding="nearest", **options))
        written = small.to_bytes()
        case = case.replace(":", "-")
        (self.folder / f"{case}.onnx").write_bytes(written)
        self.said[case] = cet.inspect(cet.Model(written))
        session = ort.InferenceSession(dequantized(self.reference.get(kind, content), small), providers=["CPUExecutionProvider"])
        self.expected[case] = session.run(None, feeds)[0]
        return small.plan

    def run(self, runtime, place):
        """The runtime's version, its words for files that it does not open, and the relative errors of its outputs."""
        beside = ROOT / ".venv" / place
        if not (beside / "installed").exists():
            pytest.skip(f"{runtime} is not installed (tools/setup.sh tests)")
        environment = {**os.environ, "PYTHONPATH": str(beside), "ORT_DISABLE_TELEMETRY": "1"}
        command = [sys.executable, ROOT / "Tests/python/run_beside.py", runtime, self.folder]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        messages = json.loads((self.folder / f"{runtime}.json").read_text())
        errors = {}
        for case in self.expected.keys() - messages.keys():
            found = np.load(self.folder / f"{case}.{runtime}.npy")
            errors[case] = float(np.abs(found - self.expected[case]).max() / np.abs(self.expected[case]).max())
        return messages.pop("version"), messages, errors


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Every encoding at every width in blocks of every kind."""
    made = Files(tmp_path_factory.mktemp("runtimes"))
    for kind in MODELS:
        for encoding, widths in ENCODINGS.items():
            if (kind, encoding) in [("tied", "qdq"), ("moved", "qdq")]:
                continue  # OpenVINO's process may end by a signal
            for bits in widths:
                for granularity in GRANULARITIES:
                    codings = ["affine", "symmetric"] + (["trellis"] if encoding == "planes" and granularity is None else [])
                    for coding in codings:
                        if bits > 1 or coding == "trellis":
                            made.add(
                                f"{kind} {encoding} {bits} {granularity} {coding}", kind, bits=[bits], target_bits=bits,
                                encoding=encoding, granularity=granularity, coding=coding)
    assert len(made.expected) > 300
    return made


def test_oldest_onnxruntime_opens_and_computes_what_inspect_says(files):
    version, messages, errors = files.run("onnxruntime", "old-runtime")
    assert version == "1.20.1"
    assert {case for case, said in files.said.items() if said["oldest_runtime"] != "ort-1.20"} == set(messages), messages
    # Codes of 2 bits, in a type or in a kernel, came later, and so did kernels of 8 bits; nothing else is held back.
    assert all(" qdq 2 " in case or " ort 2 " in case or " ort 8 " in case for case in messages), messages
    assert max(errors.values()) < 1e-5, errors


@pytest.fixture(scope="module")
def moved_files(tmp_path_factory):
    """Weights that operators move, under DequantizeLinear."""
    made = Files(tmp_path_factory.mktemp("moved"))
    for bits in (4, 8):
        for granularity in GRANULARITIES:
            for coding in ("affine", "symmetric"):
                for kind in ("moved", "tied"):
                    made.add(
                        f"{kind} {bits} {granularity} {coding}", kind, bits=[bits], target_bits=bits, encoding="qdq", granularity=granularity,
                        coding=coding)
    return made


def test_oldest_onnxruntime_computes_with_moved_weights(moved_files):
    _, messages, errors = moved_files.run("onnxruntime", "old-runtime")
    assert not messages and max(errors.values()) < 1e-5, (messages, errors)
    assert all(said["oldest_runtime"] == "ort-1.20" for said in moved_files.said.values())


@pytest.mark.parametrize("which", ["files", "moved_files"])
def test_oldest_onnxruntime_opens_by_its_defaults_what_inspect_says(which, request):
    """Its optimisations move and fuse DequantizeLinear, and round activations of products to 8 bits."""
    files = request.getfixturevalue(which)
    _, messages, errors = files.run("onnxruntime-usual", "old-runtime")
    assert {case for case, said in files.said.items() if said["oldest_runtime"] != "ort-1.20"} == set(messages), messages
    assert max(errors.values()) < 0.05, {case: error for case, error in errors.items() if error > 0.05}


def test_openvino_opens_and_computes_what_inspect_says(files):
    version, messages, errors = files.run("openvino", "openvino")
    assert version.startswith("2026.4")
    wrong = {case for case, error in errors.items() if not error < 1e-5}
    refused = {case for case, said in files.said.items() if said["oldest_openvino"] is None}

    assert refused == set(messages) | wrong, (messages, wrong)
    assert all(" qdq " in case or " ort " in case for case in refused)
    assert all((files.said[case]["oldest_openvino"] is None) == (files.said[case]["oldest_openvino_reason"] is not None) for case in errors)
    assert len(errors) - len(wrong) > 100


def test_openvino_in_its_usual_precision_is_as_close_as_that_precision(files):
    """bfloat16 where the processor has it, and activations of products beside codes in 8 bits; else float32, which is closer."""
    _, messages, errors = files.run("openvino-usual", "openvino")
    good = {case for case, said in files.said.items() if said["oldest_openvino"] is not None}
    assert not good & set(messages), {case: messages[case] for case in good & set(messages)}
    assert max(errors[case] for case in good) < 0.05, errors


@pytest.mark.parametrize("runtime", ["ort-1.20", "openvino-2026"])
def test_files_for_a_runtime_open_in_it_and_compute_what_they_should(tmp_path, runtime):
    made = Files(tmp_path)
    encodings = {}
    for kind in MODELS:
        for encoding in ["auto", "planes", "qdq", "ort"]:
            kinds = [(granularity, coding) for granularity in GRANULARITIES for coding in ["affine", "symmetric"]]
            for granularity, coding in [*kinds, (None, "trellis")]:
                case = f"{kind} {encoding} {granularity}" + ("" if coding == "affine" else f" {coding}")
                if coding == "trellis" and encoding != "planes":
                    continue
                try:
                    plan = made.add(
                        case, kind, target_bits=6, bits=[2, 3, 4, 6, 8], encoding=encoding, granularity=granularity, coding=coding,
                        min_runtime=runtime)
                    encodings[case] = json.loads(plan.to_json())["options"]["encoding"]
                except cet.InvalidArgument as error:
                    # What a runtime does not take is told by its name.
                    assert runtime == "openvino-2026" and "openvino-2026" in str(error), (case, str(error))
    engine, place = ("openvino", "openvino") if runtime == "openvino-2026" else ("onnxruntime", "old-runtime")
    _, messages, errors = made.run(engine, place)
    assert not messages
    assert max(errors.values()) < 1e-5, errors
    if engine == "openvino":
        _, messages, errors = made.run("openvino-usual", place)
        assert not messages
        assert max(errors.values()) < 0.05, errors
    if runtime == "openvino-2026":
        assert encodings["sequences auto None"] == "planes"
        assert encodings["images auto None"] == "planes"


@pytest.mark.parametrize("encoding, coding, opens", [("planes", "affine", False), ("planes", "trellis", False), ("qdq", "affine", True)])
def test_rounded_activations_open_in_openvino_as_inspect_says(tmp_path, encoding, coding, opens):
    made = Files(tmp_path)
    bits = 6 if coding == "trellis" else 8
    made.add("activations", "images", target_bits=bits, bits=[bits], encoding=encoding, activations=8, coding=coding)
    assert (made.said["activations"]["oldest_openvino"] is not None) == opens
    _, messages, errors = made.run("openvino", "openvino")
    assert not messages and errors["activations"] < 0.05
    if opens:
        _, messages, errors = made.run("openvino-usual", "openvino")
        assert not messages and errors["activations"] < 0.05
    with_runtime = {"target_bits": 8, "bits": [8], "activations": 8, "encoding": "auto", "min_runtime": "openvino-2026", "coding": "affine"}
    assert json.loads(made.add("auto", "images", **with_runtime).to_json())["options"]["encoding"] == "qdq"


@pytest.mark.parametrize("encoding, opens", [("planes", False), ("float", True)])
def test_weights_of_bfloat16_are_not_for_openvino(tmp_path, encoding, opens):
    """It cuts where Cast rounds: weights would be off by a last digit of bfloat16."""
    node = helper.make_node
    values = (RANDOM.standard_normal((32, 5)) * 0.2).astype(np.float32)
    narrow = helper.make_tensor("W", TensorProto.BFLOAT16, values.shape, values.flatten())
    content = made([node("Cast", ["W"], ["w"], to=TensorProto.FLOAT), node("MatMul", ["even", "w"], ["y"])], [narrow], "even", 32)
    model, data = cet.Model(content), cet.Calibration({"even": INPUTS["even"]})
    written = cet.quantize(model, data, cet.plan(model, data, rounding="nearest", target_bits=4, encoding=encoding)).to_bytes()
    said = cet.inspect(cet.Model(written))
    assert (said["oldest_openvino"] is not None) == opens
    assert opens or "bfloat16" in said["oldest_openvino_reason"]
    if not opens:
        with pytest.raises(cet.InvalidArgument, match="openvino-2026 cuts what is rounded to bfloat16"):
            cet.plan(model, data, rounding="nearest", target_bits=4, encoding=encoding, min_runtime="openvino-2026")


def test_one_weight_in_two_orientations_is_no_qdq_for_openvino(tmp_path):
    made = Files(tmp_path)
    made.add("tied", "tied", target_bits=8, bits=[8], encoding="qdq", granularity="per-tensor", coding="affine")
    assert made.said["tied"]["oldest_openvino_reason"] == "a weight that products read in two orientations, which it mixes up"
    assert made.said["tied"]["oldest_runtime"] == "ort-1.20"
    plan = made.add("kept", "tied", target_bits=8, bits=[8], encoding="qdq", coding="affine", min_runtime="openvino-2026")
    assert plan.bits == {"W": 32, "H": 8}
    assert made.said["kept"]["oldest_openvino"] == "openvino-2026"


def test_auto_has_an_encoding_for_simulated_activations_too():
    """qdq holds none of 4 bits."""
    model, data = cet.Model(MODELS["images"][1]), cet.Calibration({"image": INPUTS["image"]})
    plan = cet.plan(
        model, data, target_bits=8, bits=[8], rounding="nearest", activations=4, encoding="auto", min_runtime="openvino-2026", samples=16)
    assert plan.summary.encoding == "planes"
    assert any("INFERENCE_PRECISION_HINT f32 alone" in note for note in plan.notes)


@pytest.mark.parametrize("runtime, place", [
    ("onnxruntime", "old-runtime"), ("onnxruntime-usual", "old-runtime"), ("openvino", "openvino"), ("openvino-usual", "openvino")])
def test_kernels_of_float16_open_where_they_should(tmp_path, monkeypatch, runtime, place):
    """Weights, scales and activations are float16, which has a precision of 5e-4."""
    plain = text()
    monkeypatch.setitem(MODELS, "half", ("ids", halved(plain)))
    made = Files(tmp_path)
    made.reference["half"] = plain
    for granularity in [None, "per-axis", "block:32"]:
        for coding in ["affine", "symmetric"]:
            options = {"bits": [4], "target_bits": 4, "encoding": "ort", "granularity": granularity, "coding": coding}
            made.add(f"{granularity} {coding}", "half", min_runtime="openvino-2026" if place == "openvino" else "ort-1.20", **options)
    assert all(said["oldest_openvino" if place == "openvino" else "oldest_runtime"] is not None for said in made.said.values())
    _, messages, errors = made.run(runtime, place)
    assert not messages
    assert max(errors.values()) < (0.05 if runtime == "openvino-usual" else 5e-3), errors


def left():
    """Weights on the left of products, of which one is read by a rounding."""
    node = helper.make_node
    return made(
        [node("MatMul", ["even2", "A"], ["a"]), node("Relu", ["a"], ["b"]), node("MatMul", ["L", "b"], ["c"]), node("Tanh", ["c"], ["t"]),
         node("MatMul", ["K", "t"], ["d"]), node("MatMul", ["d", "B"], ["e"]), node("ReduceMean", ["e"], ["y"], axes=[1], keepdims=0)],
        [weight("A", 32, 48), weight("L", 16, 16), weight("K", 16, 16), weight("B", 48, 5)], "even2", 16, 32)


@pytest.mark.parametrize("bits, coding, activations", [
    (8, "affine", 8), (8, "symmetric", 8), (4, "affine", 8), (4, "symmetric", 8), (8, "affine", 16), (2, "affine", 8), (2, "symmetric", 8)])
def test_weights_on_the_left_beside_codes_run_everywhere(tmp_path, monkeypatch, bits, coding, activations):
    monkeypatch.setitem(MODELS, "left", ("even2", left()))
    monkeypatch.setitem(INPUTS, "even2", RANDOM.standard_normal((32, 16, 32)).astype(np.float32))
    made = Files(tmp_path)
    for granularity in [None, "per-tensor", "block:16"]:
        options = {"bits": [bits], "target_bits": bits, "encoding": "qdq", "granularity": granularity, "coding": coding}
        made.add(f"left {granularity}", "left", activations=activations, **options)
    places = [("onnxruntime-usual", "middle-runtime"), ("openvino-usual", "openvino")]
    if bits > 2:
        places.append(("onnxruntime-usual", "old-runtime"))
    else:
        places.pop(1)  # OpenVINO has no such type
    for runtime, place in places:
        _, messages, errors = made.run(runtime, place)
        assert not messages, messages
        assert max(errors.values()) < 0.1, (runtime, place, errors)
    for case in made.expected:
        session = ort.InferenceSession((tmp_path / f"{case}.onnx").read_bytes(), providers=["CPUExecutionProvider"])
        found = session.run(None, {"even2": INPUTS["even2"]})[0]
        assert np.abs(found - made.expected[case]).max() < 0.1 * np.abs(made.expected[case]).max()


@pytest.mark.parametrize("coding", ["affine", "symmetric"])
def test_two_bits_with_one_scale_are_right_in_releases_between(tmp_path, coding):
    made = Files(tmp_path)
    for kind in ["text", "images", "sequences", "products", "moved"]:
        for granularity in ["per-tensor", None]:
            made.add(f"{kind} {granularity}", kind, bits=[2], target_bits=2, encoding="qdq", granularity=granularity, coding=coding, min_runtime="ort-1.24")
    _, messages, errors = made.run("onnxruntime-usual", "middle-runtime")
    assert not messages, messages
    assert max(errors.values()) < 1e-5, errors


def test_activations_that_openvino_does_not_open_are_refused_for_it():
    name, content = MODELS["images"]
    with pytest.raises(cet.InvalidArgument, match="INFERENCE_PRECISION_HINT f32 alone; those of 'qdq' open"):
        cet.plan(cet.Model(content), cet.Calibration({name: INPUTS[name]}), target_bits=8, rounding="nearest", min_runtime="openvino-2026",
                 encoding="planes", activations=8)
