"""`check` and `run_samples` feed what planning feeds: every input that `compress` accepts, cut along its own sample axis.
onnxruntime judges the outputs."""

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import cet

RANDOM = np.random.default_rng(5)


def floats(*shape, scale=0.4, kind=np.float32):
    return (RANDOM.standard_normal(shape) * scale).astype(kind)


def save(path, nodes, inputs, outputs, opset=17, **weights):
    def values(infos):
        return [helper.make_tensor_value_info(*info) for info in infos]

    graph = helper.make_graph(
        nodes, "g", values(inputs), values(outputs), [numpy_helper.from_array(a, name) for name, a in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


F4, F2, I8 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64
node = helper.make_node
LAYER = [node("MatMul", ["x", "W"], ["a"]), node("Tanh", ["a"], ["t"])]
COUNT = 45  # no multiple of the batch


def float16_input(path):
    save(path, [*LAYER, node("MatMul", ["t", "V"], ["y"])], [("x", F2, ["N", 12])], [("y", F2, ["N", 3])],
         W=floats(12, 16, kind=np.float16), V=floats(16, 3, kind=np.float16))
    return dict(x=floats(COUNT, 12, scale=1, kind=np.float16)), {"x": 0}


def scalar_input(path):
    save(path, [*LAYER, node("Mul", ["t", "s"], ["u"]), node("MatMul", ["u", "V"], ["y"])],
         [("x", F4, ["N", 12]), ("s", F4, [])], [("y", F4, ["N", 3])], W=floats(12, 16), V=floats(16, 3))
    return dict(x=floats(COUNT, 12, scale=1), s=np.array(0.7, np.float32)), {"x": 0}


def state_input(path):
    save(path,
         [node("Transpose", ["x"], ["xt"], perm=[1, 0, 2]),
          node("GRU", ["xt", "W", "R", "", "", "h"], ["", "hn"], hidden_size=8), node("Squeeze", ["hn", "zero"], ["y"])],
         [("x", F4, ["N", 5, 12]), ("h", F4, [1, "N", 8])], [("y", F4, ["N", 8]), ("hn", F4, [1, "N", 8])], opset=14,
         W=floats(1, 24, 12), R=floats(1, 24, 8), zero=np.array([0]))
    return dict(x=floats(COUNT, 5, 12, scale=1), h=floats(1, COUNT, 8, scale=1)), {"x": 0, "h": 1}


def shared_ids(path):
    save(path,
         [node("Gather", ["E", "ids"], ["e"]), node("Gather", ["P", "positions"], ["p"]), node("Add", ["e", "p"], ["x"]),
          *LAYER, node("ReduceMean", ["t"], ["m"], axes=[1], keepdims=0), node("MatMul", ["m", "V"], ["y"])],
         [("ids", I8, ["N", 6]), ("positions", I8, [1, 6])], [("y", F4, ["N", 3])],
         E=floats(20, 12), P=floats(6, 12), W=floats(12, 16), V=floats(16, 3))
    return dict(ids=RANDOM.integers(0, 20, (COUNT, 6)), positions=np.arange(6)[None]), {"ids": 0}


def fixed_batch(path):
    save(path, [*LAYER, node("MatMul", ["t", "V"], ["y"])], [("x", F4, [9, 12])], [("y", F4, [9, 3])],
         W=floats(12, 16), V=floats(16, 3))
    return dict(x=floats(COUNT, 12, scale=1)), {"x": 0}


def integer_output(path):
    save(path, [*LAYER, node("MatMul", ["t", "V"], ["y"]), node("ArgMax", ["y"], ["c"], axis=1)], [("x", F4, ["N", 12])],
         [("y", F4, ["N", 3]), ("c", I8, ["N", 1])], W=floats(12, 16), V=floats(16, 3))
    return dict(x=floats(COUNT, 12, scale=1)), {"x": 0}


KINDS = [float16_input, scalar_input, state_input, shared_ids, fixed_batch, integer_output]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def files(request, tmp_path):
    arrays, axes = request.param(tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", **arrays)
    return tmp_path, arrays, axes, 9 if request.param is fixed_batch else 32


def expected(path, arrays, axes, size):
    """onnxruntime's outputs, slice by slice."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(str(path), options)
    for start in range(0, COUNT, size):
        stop = min(start + size, COUNT)
        feeds = {
            name: np.take(array, range(start, stop), axes[name]) if name in axes else array for name, array in arrays.items()}
        yield dict(zip([output.name for output in session.get_outputs()], session.run(None, feeds)))


def test_run_samples_gives_what_onnxruntime_gives_slice_by_slice(files):
    folder, arrays, axes, size = files
    model = cet.Model(folder / "m.onnx")
    found = list(cet.run_samples(model, cet.Calibration.from_npz(folder / "d.npz")))
    judged = list(expected(folder / "m.onnx", arrays, axes, size))
    assert len(found) == len(judged)
    for ours, theirs in zip(found, judged):
        assert ours.keys() == theirs.keys()
        for name in theirs:
            assert ours[name].dtype == theirs[name].dtype
            tolerance = 4e-3 if theirs[name].dtype == np.float16 else 1e-5
            np.testing.assert_allclose(ours[name], theirs[name], rtol=tolerance, atol=tolerance)


def test_check_takes_what_compress_takes(files, tool):
    folder, arrays, axes, size = files
    data = ["--data", folder / "d.npz"]
    run = tool("compress", folder / "m.onnx", folder / "o.onnx", *data, "--target-bits", 4)
    assert run.returncode == 0, run.stderr
    run = tool("check", folder / "o.onnx", *data)
    assert run.returncode == 0, run.stderr
    run = tool("check", folder / "o.onnx", *data, "--against", folder / "m.onnx", "--json")
    assert run.returncode == 0, run.stderr
    document = json.loads(run.stdout)
    assert document["samples"] == COUNT
    written, original = (list(expected(folder / name, arrays, axes, size)) for name in ("o.onnx", "m.onnx"))
    assert [output["name"] for output in document["outputs"]] == list(original[0])
    for output in document["outputs"]:
        name = output["name"]
        largest = max(
            np.abs(a[name].astype(float) - b[name].astype(float)).max() for a, b in zip(written, original))
        scale = max(np.abs(b[name].astype(float)).max() for b in original)
        assert output["max_abs_difference"] == pytest.approx(largest, abs=4e-3 * scale)
        assert output["max_abs_reference"] == pytest.approx(scale, rel=4e-3)


def test_check_runs_a_fixed_batch_against_a_free_one(tmp_path, tool):
    arrays, _ = fixed_batch(tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    onnx.save(model, tmp_path / "free.onnx")
    np.savez(tmp_path / "d.npz", **arrays)
    for one, other in [("m.onnx", "free.onnx"), ("free.onnx", "m.onnx")]:
        run = tool(
            "check", tmp_path / one, "--against", tmp_path / other, "--data", tmp_path / "d.npz", "--tolerance", 1e-5)
        assert run.returncode == 0, run.stderr
    run = tool("check", tmp_path / "m.onnx", "--data", tmp_path / "d.npz", "--batch-size", 5)
    assert run.returncode == 1 and "9" in run.stderr and "5" in run.stderr


def test_run_samples_that_do_not_fit_are_refused(tmp_path):
    arrays, _ = fixed_batch(tmp_path / "m.onnx")
    model = cet.Model(tmp_path / "m.onnx")
    with pytest.raises(cet.ShapeMismatch, match="9"):
        list(cet.run_samples(model, cet.Calibration({"x": arrays["x"][:12]})))
    with pytest.raises(cet.InvalidArgument, match="'x'"):
        list(cet.run_samples(model, cet.Calibration({"z": arrays["x"]})))


def test_run_uses_the_threads_that_it_is_told(tmp_path, root):
    """Processor time over elapsed time, and the same bits."""
    save(tmp_path / "m.onnx", [node("MatMul", ["x", "W"], ["y"])], [("x", F4, ["N", 1500])], [("y", F4, ["N", 1500])],
         W=floats(1500, 1500))
    program = f"""
import time, numpy as np, cet
model = cet.Model({str(tmp_path / "m.onnx")!r})
x = np.ones((1500, 1500), np.float32)
cet.run(model, dict(x=x), threads=1)
before = time.process_time()
elapsed = time.perf_counter()
for _ in range(8):
    cet.run(model, dict(x=x), threads=1)
print((time.process_time() - before) / (time.perf_counter() - elapsed))
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120,
        env=dict(os.environ, PYTHONPATH=str(root / "bindings" / "python")))
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) < 1.1
    model, x = cet.Model(tmp_path / "m.onnx"), floats(700, 1500, scale=1)
    one, two = (cet.run(model, dict(x=x), threads=threads)["y"] for threads in (1, 2))
    np.testing.assert_array_equal(one, two)
