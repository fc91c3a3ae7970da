"""Notes: what is unusual about samples and model, one line each, in every place where a result is read."""

import html
import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import cet

RANDOM = np.random.default_rng(3)
ROWS = RANDOM.standard_normal((24, 5, 8)).astype(np.float32)


def weight(*shape):
    return (RANDOM.standard_normal(shape) * 0.4).astype(np.float32)


def save(path, nodes, x, outputs, **weights):
    graph = helper.make_graph(
        [helper.make_node(kind, ins, outs, name=f"{kind} of {outs[-1]}", **attributes) for kind, ins, outs, attributes in nodes], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    onnx.save(made, path)
    return path


def mlp(path, x=("N", 5, 8), outputs=(("y", ["N", 5, 3]),)):
    nodes = [("MatMul", ["x", "W"], ["a"], {}), ("Tanh", ["a"], ["t"], {}), ("MatMul", ["t", "V"], ["y"], {})]
    if len(outputs) > 1:
        nodes.append(("MatMul", ["t", "U"], ["z"], {}))
    return save(path, nodes, list(x), outputs, W=weight(8, 12), V=weight(12, 3), **(dict(U=weight(12, 2)) if len(outputs) > 1 else {}))


def recurrent(path):
    nodes = [
        ("Identity", ["x"], ["i"], {}), ("LSTM", ["i", "G", "R"], ["s"], dict(hidden_size=4)), ("Squeeze", ["s", "one"], ["q"], {}),
        ("MatMul", ["q", "V"], ["y"], {})]
    return save(
        path, nodes, ["N", 5, 8], [("y", ["N", 5, 3])], G=weight(1, 16, 8), R=weight(1, 16, 4), V=weight(4, 3), one=np.array([1], np.int64))


CASES = {
    "axis_0_named_like_time": (
        lambda path: mlp(path, ("seq_len", 5, 8)), ROWS, {},
        "input 'x' [seq_len×5×8]: axis 0 is named 'seq_len': its 24 entries are taken for samples, expected samples on axis 0"),
    "axis_0_is_the_time_of_a_recurrent_node": (
        recurrent, ROWS, {},
        "input 'x' [N×5×8]: axis 0 is the time axis of node 'LSTM of s' (LSTM): its 24 entries are taken for samples, expected samples on axis 0"),
    "batch_axis_is_another": (
        lambda path: mlp(path, (4, "batch", 8), (("y", [4, "batch", 3]),)), ROWS, {},
        "input 'x' [4×batch×8]: the axis named 'batch' is not axis 0: its 24 entries are taken for samples, expected samples on axis 0"),
    "outputs_that_the_loss_does_not_read": (
        lambda path: mlp(path, outputs=(("y", ["N", 5, 3]), ("z", ["N", 5, 2]))), ROWS, {},
        "the model has 2 outputs, the loss reads the first, 'y': 'z' may change without being seen (option output chooses another)"),
    "one_sample": (
        mlp, ROWS[:1], {}, "1 calibration sample, expected a few hundred: the loss on new data will be larger than the one reported"),
    "eight_samples": (
        mlp, ROWS[:8], {}, "8 calibration samples, expected a few hundred: the loss on new data will be larger than the one reported"),
    "few_samples_asked_for": (
        mlp, ROWS, {"samples": 3}, "3 calibration samples, expected a few hundred: the loss on new data will be larger than the one reported"),
    "more_samples_asked_for_than_there_are": (
        mlp, ROWS, {"samples": 1000}, "option samples: 1000 asked for, the calibration has 24: all of them are used"),
}


@pytest.mark.parametrize("case", CASES)
def test_note_is_in_plan_and_result_and_log_once(case, tmp_path):
    build, rows, options, expected = CASES[case]
    model, data = cet.Model(build(tmp_path / "m.onnx")), cet.Calibration({"x": rows})
    lines = []
    log = lambda level, message: lines.append(message) if level == "warning" else None
    plan = cet.plan(model, data, target_bits=4, log=log, **options)
    quantized = cet.quantize(model, data, plan, log=log, **options)
    assert lines.count(expected) == plan.notes.count(expected) == quantized.plan.notes.count(expected) == 1
    assert all(plan.notes.count(line) == quantized.plan.notes.count(line) == 1 for line in lines)


@pytest.mark.parametrize("case", CASES)
def test_note_is_in_summary_and_json_and_report_once(case, tmp_path, tool):
    build, rows, options, expected = CASES[case]
    build(tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", x=rows)
    arguments = ["compress", tmp_path / "m.onnx", tmp_path / "o.onnx", "--data", tmp_path / "d.npz", "--target-bits", "4"]
    arguments += [text for name, value in options.items() for text in (f"--{name}", str(value))]
    done = tool(*arguments, "--report", tmp_path / "r.html")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"note: {expected}\n") == 1
    assert html.unescape((tmp_path / "r.html").read_text()).count(expected) == 1
    (tmp_path / "o.onnx").unlink()
    document = json.loads(tool(*arguments, "--json").stdout)
    assert document["notes"].count(expected) == document["plan"]["notes"].count(expected) == 1


def test_plan_of_usual_samples_warns_of_nothing(tmp_path):
    model, data = cet.Model(mlp(tmp_path / "m.onnx")), cet.Calibration({"x": ROWS})
    lines = []
    log = lambda level, message: lines.append(message) if level == "warning" else None
    cet.quantize(model, data, cet.plan(model, data, target_bits=4, log=log), log=log)
    assert lines == []


def test_plan_with_a_chosen_output_says_nothing_of_others(tmp_path):
    build = lambda path: mlp(path, outputs=(("y", ["N", 5, 3]), ("z", ["N", 5, 2])))
    plan = cet.plan(cet.Model(build(tmp_path / "m.onnx")), cet.Calibration({"x": ROWS}), target_bits=4, output="z")
    assert not any("the loss reads" in note for note in plan.notes)


def test_notes_of_other_samples_are_added_when_a_plan_is_carried_out(tmp_path):
    model = cet.Model(mlp(tmp_path / "m.onnx"))
    plan = cet.plan(model, cet.Calibration({"x": ROWS}), target_bits=4)
    few = cet.quantize(model, cet.Calibration({"x": ROWS[:5]}), plan)
    assert any(note.startswith("5 calibration samples") for note in few.plan.notes)


def test_curvature_of_time_taken_for_samples_warns(tmp_path):
    model = cet.Model(mlp(tmp_path / "m.onnx", ("T", 5, 8)))
    with pytest.warns(UserWarning, match="axis 0 is named 'T'"):
        hessian = cet.Hessian(model, cet.Calibration({"x": ROWS}))
    assert len(hessian.notes) == 1
