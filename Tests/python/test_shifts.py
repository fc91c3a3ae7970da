"""Moved copies of calibration images: statistics and the choice of bits take them, reported losses do not."""

import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import cet

SIDE = 32


def window_model():
    """One convolution as large as the image: every weight belongs to a pixel."""
    rng = np.random.RandomState(0)
    w = rng.randn(24, 1, SIDE, SIDE).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w", "b"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 24, 1, 1])],
        [numpy_helper.from_array(w, "w"), numpy_helper.from_array(np.zeros(24, np.float32), "b")])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return made.SerializeToString()


def spots(count, seed=1):
    """Smooth spots in the middle, seen through a window: all that varies lies in a few pixels."""
    rng = np.random.RandomState(seed)
    x = np.zeros((count, 1, SIDE, SIDE), np.float32)
    waves = np.cos(np.pi * np.outer(np.arange(3), np.arange(8) + 0.5) / 8)
    x[:, 0, 12:20, 12:20] = np.einsum("nab,ay,bx->nyx", rng.randn(count, 3, 3), waves, waves)
    return x


def outputs(model, x):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(model, options).run(None, {"x": x})[0].reshape(len(x), -1)


def written(model, data, **options):
    plan = cet.plan(model, data, target_bits=3, bits=[3], loss="mse", rounding="gptq", **options)
    return plan, cet.quantize(model, data, plan).to_bytes()


def test_shifts_movedImagesLoseLess():
    source = window_model()
    model = cet.Model(source)
    x = spots(96)
    data = cet.Calibration({"x": x})
    moved = np.roll(x, (2, -2), (2, 3))  # nothing but zeros leaves the image
    reference = outputs(source, moved)
    errors = {}
    for shifts in (0, 8):
        _, small = written(model, data, shifts=shifts)
        difference = outputs(small, moved) - reference
        errors[shifts] = (difference ** 2).mean()
    assert errors[8] < 0.8 * errors[0]


def test_shifts_default_isThatOfTheNumberOfSamples():
    model = cet.Model(window_model())
    few, many = cet.Calibration({"x": spots(64)}), cet.Calibration({"x": spots(300)})
    assert written(model, few)[1] == written(model, few, shifts=3)[1] != written(model, few, shifts=0)[1]
    assert written(model, many)[1] == written(model, many, shifts=0)[1] != written(model, many, shifts=1)[1]


def test_shifts_areThePlansAndTheSameForAnyThreads():
    model = cet.Model(window_model())
    data = cet.Calibration({"x": spots(40)})
    plan, first = written(model, data, shifts=2, threads=1)
    assert json.loads(plan.to_json())["options"]["shifts"] == 2
    assert cet.quantize(model, data, cet.Plan.from_json(plan.to_json()), threads=2).to_bytes() == first
    again = plan.replan(model, target_bits=3)
    assert json.loads(again.to_json())["options"]["shifts"] == 2


def test_shifts_reportedLossesAreOfTheSamplesAlone():
    """The measured loss change is that of the samples as they are: half the squared distance of the outputs."""
    source = window_model()
    model = cet.Model(source)
    x = spots(48)
    data = cet.Calibration({"x": x})
    plan = cet.plan(model, data, target_bits=3, bits=[3], loss="mse", rounding="gptq", shifts=3)
    small = cet.quantize(model, data, plan)
    expected = 0.5 * ((outputs(small.to_bytes(), x) - outputs(source, x)) ** 2).sum(1).mean()
    assert small.plan.summary.measured_loss_change == pytest.approx(expected, rel=1e-4)


def test_shifts_bitsAreChosenByCopies_reportedLossesAreOfTheSamples():
    """Rounding to nearest takes no statistics: what differs is by which losses bits are chosen."""
    model = cet.Model(window_model())
    data = cet.Calibration({"x": spots(48)})
    tables = [
        json.loads(cet.plan(model, data, target_bits=3, loss="mse", rounding="nearest", shifts=n).to_json())["tensors"][0]
        for n in (0, 3)]
    assert tables[0]["measured_loss"] == tables[1]["measured_loss"]
    assert tables[0]["sensitivity"] != tables[1]["sensitivity"]


@pytest.mark.parametrize("shifts", [-2, 65])
def test_shifts_outOfRange_isRefused(shifts):
    with pytest.raises(cet.InvalidArgument, match=f"option shifts: expected 0 to 64, got {shifts}"):
        cet.plan(cet.Model(window_model()), cet.Calibration({"x": spots(8)}), target_bits=3, shifts=shifts)
