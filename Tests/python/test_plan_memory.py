"""What planning and quantizing hold is what they say they need."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import cet

FOLDER = pathlib.Path(__file__).resolve().parent


def measured(model, data, samples, *more):
    run = subprocess.run(
        [sys.executable, str(FOLDER / "plan_memory.py"), str(model), str(data), str(samples), *more], capture_output=True, text=True,
        timeout=400, env=dict(os.environ, OPENBLAS_NUM_THREADS="1", MALLOC_ARENA_MAX="2"))
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """One product of 1500 inputs, whose statistics are most of what is held."""
    folder = tmp_path_factory.mktemp("wide")
    generator = np.random.default_rng(0)
    weight = numpy_helper.from_array((generator.normal(size=(1500, 64)) / 40).astype(np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1500])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 64])], [weight])
    (folder / "wide.onnx").write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    np.savez(folder / "wide.npz", x=generator.normal(size=(256, 1500)).astype(np.float32))
    return folder / "wide.onnx", folder / "wide.npz"


def check(found):
    for call, enough in found["enough"].items():
        # Less than the system counts in is nothing.
        assert found["grown"][call] <= enough + (4 << 20), found
    assert found["same"], found


@pytest.mark.long
def test_digits_memory_is_what_was_predicted(digits):
    check(measured(digits / "model.onnx", digits / "calibration.npz", 64))


def test_wide_layer_memory_is_what_was_predicted(wide):
    found = measured(*wide, 256)
    check(found)
    # K x K doubles of the sums, for one thread, and the factors.
    assert found["enough"]["plan"] > 4 * 8 * 1500**2


@pytest.mark.parametrize("call", ["plan", "quantize"])
def test_too_little_memory_is_refused_with_what_is_enough(call, model, calibration, plan):
    with pytest.raises(cet.OutOfMemory, match=r"ing needs at least \d+ bytes with one thread \(.*statistics \d+.*\), max_memory is 1000$"):
        if call == "plan":
            cet.plan(model, calibration, target_ratio=11, max_memory=1000)
        else:
            cet.quantize(model, calibration, plan, max_memory=1000)


def test_tool_max_memory_is_refused_with_what_is_enough_and_leaves_no_file(tool, digits, tmp_path):
    output = tmp_path / "small.onnx"
    run = tool(
        "compress", digits / "model.onnx", output, "--data", digits / "calibration.npz", "--target-ratio", 11, "--max-memory", "100kB")
    assert run.returncode == 1 and "planning needs at least" in run.stderr and run.stderr.count("\n") == 1
    assert not output.exists()


def test_saving_keeps_to_a_limit_or_says_what_it_needs(tmp_path, digits):
    model, data = cet.Model(digits / "model.onnx"), cet.Calibration.from_npz(digits / "calibration.npz")
    small = cet.quantize(model, data, cet.plan(model, data, target_bits=4, samples=16, coding="affine"), samples=16)
    expected = small.to_bytes()
    for save in (lambda limit: small.save(tmp_path / "m.onnx", max_memory=limit), lambda limit: small.to_bytes(max_memory=limit)):
        limit, refused, before = 1, 0, sorted(tmp_path.iterdir())
        while True:
            try:
                save(limit)
                break
            except cet.OutOfMemory as error:
                refused += 1
                assert sorted(tmp_path.iterdir()) == before
                assert "\n" not in str(error)
                # The file alone is told exactly; what its check takes is found value by value.
                assert error.bytes_needed > max(limit, 2 * len(expected)) and f"max_memory is {limit} bytes" in str(error)
                limit = error.bytes_needed
        assert 1 < refused < 12 and limit < 64 << 20
    assert (tmp_path / "m.onnx").read_bytes() == expected
