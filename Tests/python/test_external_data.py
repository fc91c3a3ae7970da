"""Tensors in a file beside the model, on request, below the 2 GiB that ask for them."""

import json
import subprocess

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import cet


@pytest.fixture(scope="module")
def model(digits):
    return cet.Model(digits / "model.onnx")


@pytest.fixture(scope="module")
def data(digits):
    return cet.Calibration.from_npz(digits / "calibration.npz")


def outputs(path, digits):
    inputs = dict(np.load(digits / "calibration.npz"))
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return session.run(None, {name: inputs[name] for name in names})[0]


@pytest.mark.parametrize("encoding", ["planes", "qdq", "float"])
def test_large_tensors_go_beside_the_model(tmp_path, digits, model, data, encoding):
    options = {"target_bits": 8, "bits": [8], "encoding": encoding, "rounding": "nearest", "samples": 32}
    whole, beside = cet.plan(model, data, **options), cet.plan(model, data, external_data=True, **options)
    cet.quantize(model, None, whole, rounding="nearest").save(tmp_path / "whole.onnx")
    small = cet.quantize(model, None, beside, rounding="nearest")
    small.save(tmp_path / "beside.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["beside.onnx", "beside.onnx.data", "whole.onnx"]
    # Both say the same to the onnx package and to onnxruntime.
    found, expected = (onnx.load(tmp_path / f"{name}.onnx") for name in ("beside", "whole"))
    assert {t.name: onnx.numpy_helper.to_array(t).tobytes() for t in found.graph.initializer} == {
        t.name: onnx.numpy_helper.to_array(t).tobytes() for t in expected.graph.initializer}
    onnx.checker.check_model(str(tmp_path / "beside.onnx"))
    np.testing.assert_array_equal(outputs(tmp_path / "beside.onnx", digits), outputs(tmp_path / "whole.onnx", digits))
    # Large tensors lie outside, small ones do not; the plan's bytes are both files' at most.
    tensors = onnx.load(tmp_path / "beside.onnx", load_external_data=False).graph.initializer
    outside = [t for t in tensors if t.data_location == onnx.TensorProto.EXTERNAL]
    assert outside and all(t.data_location != onnx.TensorProto.EXTERNAL for t in tensors if len(t.raw_data) > 0)
    size = sum((tmp_path / name).stat().st_size for name in ("beside.onnx", "beside.onnx.data"))
    assert size <= small.plan.summary.file_bytes <= size + 256 * len(outside)
    # It is read like any other.
    again = cet.Model(tmp_path / "beside.onnx")
    assert cet.inspect(again)["quantized"] is not None or encoding == "float"
    with pytest.raises(cet.InvalidArgument, match="was loaded from this file"):
        cet.quantize(again, None, cet.plan(again, data, **options), rounding="nearest").save(tmp_path / "beside.onnx")


def test_a_source_with_external_data_becomes_one_file_unless_asked(tmp_path, digits, data):
    source = onnx.load(digits / "model.onnx")
    onnx.save(source, tmp_path / "source.onnx", save_as_external_data=True, location="weights", size_threshold=1024)
    model = cet.Model(tmp_path / "source.onnx")
    for external, expected in [(False, []), (True, ["out.onnx.data"])]:
        plan = cet.plan(model, data, target_bits=6, rounding="nearest", samples=32, encoding="float", external_data=external)
        cet.quantize(model, None, plan, rounding="nearest").save(tmp_path / "out.onnx")
        assert [path.name for path in tmp_path.glob("out.onnx.*")] == expected
        outputs(tmp_path / "out.onnx", digits)


def test_the_wish_is_the_plans(tmp_path, model, data):
    plan = cet.plan(model, data, target_bits=8, rounding="nearest", samples=32, external_data=True)
    assert json.loads(plan.to_json())["options"]["external_data"] is True
    again = cet.Plan.from_json(plan.to_json())
    # In memory there is nothing beside.
    whole = cet.plan(model, data, target_bits=8, rounding="nearest", samples=32)
    assert cet.quantize(model, None, again, rounding="nearest").to_bytes() == cet.quantize(model, None, whole, rounding="nearest").to_bytes()
    # Another budget from the table is asked anew; budgets hold for both files.
    assert json.loads(again.replan(model, target_bits=7).to_json())["options"]["external_data"] is False
    limit = plan.summary.file_bytes - 1
    other = again.replan(model, target_size=limit, external_data=True)
    cet.quantize(model, None, other, rounding="nearest").save(tmp_path / "m.onnx")
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= other.summary.file_bytes <= limit


@pytest.mark.parametrize("is_there", [False, True])
def test_both_files_appear_or_neither(tmp_path, model, data, is_there):
    """Something takes the model's name in the last moment: data that stood there are there again."""
    plan = cet.plan(model, data, target_bits=8, bits=[8], rounding="nearest", samples=32, external_data=True)
    small = cet.quantize(model, None, plan, rounding="nearest")
    path = tmp_path / "m.onnx"
    if is_there:
        (tmp_path / "m.onnx.data").write_text("former data")

    def progress(phase, done, total):
        if done == total:
            path.mkdir()

    with pytest.raises(cet.CetError, match="cannot write"):
        small.save(path, progress=progress)
    path.rmdir()
    assert [p.name for p in tmp_path.iterdir()] == (["m.onnx.data"] if is_there else [])
    assert not is_there or (tmp_path / "m.onnx.data").read_text() == "former data"
    small.save(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]


def test_the_tool_puts_them_beside(tmp_path, build, digits):
    command = [build / "bin/cet-onnx", "compress", digits / "model.onnx", "m.onnx", "--data", digits / "calibration.npz", "--samples", "32",
               "--target-bits", "8", "--rounding", "nearest", "--external-data"]
    foretold = subprocess.run([*command, "--dry-run"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert "at most" in foretold and not list(tmp_path.iterdir())
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]
    # Data of others are not replaced unasked: the model beside tells whose they are.
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "m.onnx.data").write_text("somebody's weights")
    (tmp_path / "m.onnx").unlink()
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode == 1 and "'m.onnx.data' exists and is no data that libcet wrote: --force replaces it" in refused.stderr
    assert (tmp_path / "m.onnx.data").read_text() == "somebody's weights" and not (tmp_path / "m.onnx").exists()
    # Nor by a plan that puts data beside, over its own inputs either; a file that names no such data tells nothing.
    plan = cet.plan(cet.Model(digits / "model.onnx"), cet.Calibration.from_npz(digits / "calibration.npz"), target_bits=8, bits=[8],
                    rounding="nearest", samples=32, external_data=True)
    (tmp_path / "p.json").write_text(plan.to_json())
    by_plan = [build / "bin/cet-onnx", "compress", digits / "model.onnx", "m.onnx", "--rounding", "nearest", "--plan"]
    for extra, words in ((["p.json"], "is no data that libcet wrote"), (["m.onnx.data"], "is the same file as --plan"),
                         (["p.json", "--report", "m.onnx.data", "--force"], "is the same file as --report")):
        (tmp_path / "m.onnx.data").write_text(plan.to_json())
        refused = subprocess.run([*by_plan, *extra], cwd=tmp_path, capture_output=True, text=True)
        assert refused.returncode and words in refused.stderr, refused.stderr
        assert (tmp_path / "m.onnx.data").read_text() == plan.to_json()
    refused = subprocess.run([*command[:3], "n.onnx", "--plan", "p.json", "--external-data"], cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode and "--external-data" in refused.stderr
