"""Files and options that nobody means: each is answered with a status, by a process that goes on."""

import json
import os
import pathlib
import resource
import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import cet

FOLDER = pathlib.Path(__file__).resolve().parent
# Reserved addresses that a process may have: an allocation of terabytes fails in it instead of taking the machine.
ADDRESSES = 4 << 30


def limited():
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def survive(script, *arguments, timeout):
    """The lines that a script of this folder printed; it has to reach its last one, "done"."""
    environment = dict(os.environ, OPENBLAS_NUM_THREADS="1")
    process = subprocess.Popen(
        [sys.executable, str(FOLDER / script), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=limited, env=environment)
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
        pytest.fail(f"{script} hangs at: {output.splitlines()[-1:]}")
    lines = output.splitlines()
    assert process.returncode == 0 and lines[-1:] == ["done"], f"{script} ended ({process.returncode}) at {lines[-1:]}: {errors[-2000:]}"
    return lines[:-1]


def test_sizes_that_a_file_names_are_refused_before_they_are_made():
    """Each node of a terabyte is named with what it needs, at once, and nothing of that size is made."""
    answers = [json.loads(line) for line in survive("size_bombs.py", timeout=200)]
    calls = [answer for answer in answers if "call" in answer]
    assert len(calls) == 4 * len(answers) // 5
    for answer in calls:
        # What inspects has no option for its memory: 60 % of what is available.
        limit = 1 << 30 if answer["call"] != "inspect" else 0.6 * ADDRESSES
        assert answer["seconds"] < 3 and answer["grown"] < limit, answer
        if answer["call"] in ("plan", "curvature"):
            assert answer["said"].split(":")[0] in ("OutOfMemory", "UnsupportedOperator", "ShapeMismatch", "InvalidArgument"), answer
            assert "node '" in answer["said"] and "\n" not in answer["said"], answer
            if answer["said"].startswith("OutOfMemory"):
                assert f"max_memory is {256 << 20}" in answer["said"], answer


def test_work_that_a_file_names_is_bounded_or_stopped():
    """What nobody can stop ends by itself; what somebody can, within a second."""
    answers = [json.loads(line) for line in survive("time_bombs.py", timeout=200)]
    answers = [answer for answer in answers if "said" in answer]
    assert len(answers) > 50
    for answer in answers:
        if answer["call"] in ("load", "inspect"):
            assert answer["seconds"] < 2, answer
        assert answer["stopping"] < 1 and answer["silence"] < 1, answer


def test_matmul_with_one_operand_is_refused_when_it_runs():
    weight = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["w"], ["y"], name="alone")], "g", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 4])], [weight])
    model = cet.Model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    assert model.parameters == []
    with pytest.raises(cet.InvalidModel, match="node 'alone' .*input 1 is missing"):
        cet.run(model, {})


@pytest.mark.parametrize("call", [
    lambda model, data: cet.eigsh(cet.Hessian(model, data), k=-1),
    lambda model, data: cet.eigsh(cet.Hessian(model, data), k=2**32),
    lambda model, data: cet.plan(model, data, target_ratio=11, samples=-1),
    lambda model, data: cet.plan(model, data, target_ratio=11, seed=-1),
    lambda model, data: cet.plan(model, data, target_size=-5),
    lambda model, data: cet.Hessian(model, data, max_memory=-1),
    lambda model, data: cet.Hessian(model, data, batch_size=-8),
    lambda model, data: cet.trace(cet.Hessian(model, data), samples=-3),
    lambda model, data: cet.run(model, {}, threads=-1),
])
def test_python_numbers_outside_their_field_are_refused(call, model, calibration):
    with pytest.raises(cet.InvalidArgument, match=r"^option \w+: expected -?\d+ to \d+, got -?\d+$|^target_size is -5, expected"):
        call(model, calibration)


def test_eigenpairs_of_the_whole_dimension_need_more_memory_than_there_is(tmp_path):
    """A projection of tens of thousands of vectors is refused before it is made."""
    with pytest.raises(cet.OutOfMemory, match="projection"):
        cet.eigsh(lambda v: v, k=78_800, n=78_800, max_memory=8 << 30)
    with pytest.raises(cet.OutOfMemory, match="max_memory is"):
        cet.eigsh(lambda v: v, k=8000, n=1_000_000, max_memory=1 << 30)
    with pytest.raises(cet.OutOfMemory, match="projections of"):
        cet.eigsh(lambda v: v, k=8000, n=1_000_000, max_memory=1 << 30, basis_path=tmp_path)


def test_paper_eigenpairs_beyond_the_dimension_are_refused(model, calibration):
    with pytest.raises(cet.InvalidArgument, match="option eigenpairs: 4000000000 of a parameter vector of"):
        cet.plan(model, calibration, target_ratio=11, method="paper", eigenpairs=4_000_000_000)
