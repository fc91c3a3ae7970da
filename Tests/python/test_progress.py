"""Long calls: the host hears from them at least once a second and can end them in every phase."""

import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import cet

RANDOM = np.random.default_rng(4)


def weight(*shape):
    return (RANDOM.uniform(-1, 1, shape) / np.sqrt(shape[-1])).astype(np.float32)


def encoded(nodes, shape, width, **weights):
    graph = helper.make_graph(
        [helper.make_node(kind, ins, outs, **attributes) for kind, ins, outs, attributes in nodes], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", width])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    return made.SerializeToString()


def recurrent_nodes():
    nodes = [
        ("Transpose", ["x"], ["t"], dict(perm=[1, 0, 2])), ("LSTM", ["t", "W", "R"], ["", "h"], dict(hidden_size=256)),
        ("Squeeze", ["h", "zero"], ["s"], {}), ("MatMul", ["s", "V"], ["y"], {})]
    return encoded(
        nodes, (100, 64), 8, W=weight(1, 1024, 64), R=weight(1, 1024, 256), V=weight(256, 8), zero=np.array([0], np.int64))


def recurrent():
    """An LSTM over 100 steps, and 16 samples."""
    return cet.Model(recurrent_nodes()), RANDOM.standard_normal((16, 100, 64)).astype(np.float32)


def wide():
    """A product with 4096 inputs: covariances and their factors take most of the time."""
    nodes = [("MatMul", ["x", "W"], ["a"], {}), ("Relu", ["a"], ["r"], {}), ("MatMul", ["r", "V"], ["y"], {})]
    return cet.Model(encoded(nodes, (4096,), 8, W=weight(4096, 256), V=weight(256, 8))), RANDOM.standard_normal((64, 4096)).astype(np.float32)


class Silence:
    """Measures the longest time between two calls of a progress callback."""

    def __init__(self):
        self.last, self.longest = time.monotonic(), 0.0

    def __call__(self, phase, done, total):
        now = time.monotonic()
        self.longest, self.last = max(self.longest, now - self.last), now


@pytest.mark.parametrize("build", [recurrent, wide])
def test_progress_of_planning_and_quantizing_is_never_silent_for_a_second(build):
    network, samples = build()
    data = cet.Calibration({"x": samples})
    silence = Silence()
    plan = cet.plan(network, data, target_bits=4, bits=(3, 4), progress=silence)
    silence(None, 0, 0)
    planned, silence = silence.longest, Silence()
    cet.quantize(network, data, plan, progress=silence)
    silence(None, 0, 0)
    assert planned < 1 and silence.longest < 1


def test_progress_of_eigenpairs_is_never_silent_for_a_second():
    network, samples = recurrent()
    hessian = cet.Hessian(network, cet.Calibration({"x": np.tile(samples, (8, 1, 1))}))
    silence = Silence()
    cet.eigsh(hessian, k=1, max_applies=4, progress=silence)
    silence(None, 0, 0)
    assert silence.longest < 1


class Stop(Exception):
    pass


@pytest.mark.parametrize("build", [recurrent, wide])
@pytest.mark.parametrize("after", [0.3, 1.0, 2.0, 4.0])
def test_planning_that_is_stopped_ends_within_two_seconds(build, after):
    network, samples = build()
    begun = time.monotonic()
    asked = None

    def progress(phase, done, total):
        nonlocal asked
        if time.monotonic() - begun > after:
            asked = asked or time.process_time()
            raise Stop

    try:
        cet.plan(network, cet.Calibration({"x": samples}), target_bits=4, threads=1, progress=progress)
    except Stop:
        # Of the processor, which other programs may use as well.
        assert time.process_time() - asked < 2


def dense():
    """Products of 4096 x 4096 matrices, each of which takes most of a second on one thread."""
    nodes = [("MatMul", ["x", "W"], ["a"], {}), ("MatMul", ["a", "W"], ["b"], {}), ("MatMul", ["b", "W"], ["c"], {}), ("MatMul", ["c", "V"], ["y"], {})]
    return cet.Model(encoded(nodes, (4096,), 8, W=weight(4096, 4096), V=weight(4096, 8))), RANDOM.standard_normal((4096, 4096)).astype(np.float32)


def test_run_is_heard_of_and_stopped_within_a_second():
    network, samples = dense()
    silence, phases = Silence(), set()
    outputs = cet.run(network, {"x": samples}, threads=1, progress=lambda *report: (phases.add(report[0]), silence(*report)))
    silence(None, 0, 0)
    assert silence.longest < 1 and phases == {"run"} and outputs["y"].shape == (4096, 8)
    begun, asked = time.monotonic(), []

    def progress(phase, done, total):
        if time.monotonic() - begun > 0.3:
            asked.append(time.process_time())
            raise Stop

    with pytest.raises(Stop):
        cet.run(network, {"x": samples}, threads=1, progress=progress)
    assert time.process_time() - asked[0] < 1
    data = cet.Calibration({"x": samples})
    with pytest.raises(Stop):
        next(cet.run_samples(network, data, batch_size=4096, threads=1, progress=progress))


def test_run_beyond_its_memory_is_refused_with_the_bytes():
    network, samples = dense()
    with pytest.raises(cet.OutOfMemory, match="a result of float32 .4096×4096. needs 67108864 bytes.*max_memory is 100000000"):
        cet.run(network, {"x": samples}, max_memory=100_000_000)
    with pytest.raises(cet.OutOfMemory, match="max_memory is 1000"):
        next(cet.run_samples(network, cet.Calibration({"x": samples[:8]}), max_memory=1000))
    small = cet.run(network, {"x": samples[:8]}, max_memory=100_000_000)
    assert np.allclose(small["y"], cet.run(network, {"x": samples[:8]})["y"])


def test_save_reports_its_phase_and_leaves_nothing_when_it_is_stopped(tmp_path):
    network, samples = wide()
    data = cet.Calibration({"x": samples})
    small = cet.quantize(network, data, cet.plan(network, data, target_bits=4, method="uniform", rounding="nearest"))
    silence, phases = Silence(), []
    small.save(tmp_path / "m.onnx", progress=lambda *report: (phases.append(report), silence(*report)))
    silence(None, 0, 0)
    assert silence.longest < 1 and {phase for phase, _, _ in phases} == {"write"} and phases[-1] == ("write", 1, 1)

    def stop(phase, done, total):
        raise Stop

    with pytest.raises(Stop):
        small.save(tmp_path / "n.onnx", progress=stop)
    # The last question comes before the file takes its place.
    seen = []

    def last(phase, done, total):
        seen.append(done)
        if done == total:
            raise Stop

    with pytest.raises(Stop):
        small.save(tmp_path / "n.onnx", progress=last)
    assert seen[-1] == 1 and [file.name for file in tmp_path.iterdir()] == ["m.onnx"]


def test_curvature_of_one_thread_is_never_silent_for_a_second():
    network, samples = recurrent()
    silence = Silence()
    hessian = cet.Hessian(network, cet.Calibration({"x": samples}), threads=1, progress=silence)
    hessian.gradient()
    silence(None, 0, 0)
    assert silence.longest < 1
    silence = Silence()
    cet.trace(hessian, samples=4, progress=silence)
    silence(None, 0, 0)
    assert silence.longest < 1


def test_callbacks_run_on_the_thread_that_called():
    import threading

    network, samples = wide()
    threads = set()
    seen = lambda *_: threads.add(threading.get_ident()) and None
    cet.plan(network, cet.Calibration({"x": samples[:16]}), target_bits=4, rounding="nearest", progress=seen, log=seen)
    assert threads == {threading.get_ident()}


@pytest.mark.parametrize("after", [0.5, 1.5, 3.0])
def test_tool_that_is_terminated_ends_within_two_seconds_and_leaves_nothing(after, tmp_path, build):
    import signal
    import subprocess

    nodes, samples = recurrent_nodes(), RANDOM.standard_normal((16, 100, 64)).astype(np.float32)
    (tmp_path / "m.onnx").write_bytes(nodes)
    np.savez(tmp_path / "d.npz", x=samples)
    process = subprocess.Popen(
        [build / "bin" / "cet-onnx", "compress", tmp_path / "m.onnx", tmp_path / "o.onnx", "--data", tmp_path / "d.npz", "--target-bits", "4"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(after)
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert time.monotonic() - begun < 2
    assert process.returncode == 0 or not (tmp_path / "o.onnx").exists()


def test_inspection_that_computes_constants_is_heard_and_stopped():
    import time_bombs
    from cet.library import lib
    from cet.structs import ProgressFn

    model = cet.Model(dict(time_bombs.bombs())["suppression of boxes"])
    begun, calls = time.monotonic(), []

    def hear(phase, done, total, data):
        calls.append(time.monotonic())
        return calls[-1] - begun > 0.2

    function = ProgressFn(hear)
    assert lib.cet_set_progress(function, None) == 0
    try:
        with pytest.raises(cet.Cancelled):
            cet.inspect(model)
    finally:
        lib.cet_set_progress(ProgressFn(), None)
    assert len(calls) > 2 and time.monotonic() - calls[-1] < 1
    assert max(b - a for a, b in zip(calls, calls[1:])) < 1
