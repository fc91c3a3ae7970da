"""Predicted, held-out and fitted losses, the loss limit, and steps that held-out samples speak against. ONNX Runtime judges."""

import json

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import cet


def outputs(model, x):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(model, options).run(None, x)[0]


def kl(reference, output):
    """Mean over samples."""
    log = []
    for y in (reference, output):
        shifted = y.astype(np.float64) - y.max(-1, keepdims=True)
        log.append(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))
    return (np.exp(log[0]) * (log[0] - log[1])).sum(-1).mean()


def normalized(operator, samples=256, seed=1, zero=8, **attributes):
    """x·W, a normalisation without regularisation to speak of, ·V; every `zero`th row of x is exactly zero."""
    rng = np.random.RandomState(seed)
    x = rng.randn(samples, 32).astype(np.float32)
    x[::zero] = 0
    weights = {"W": 0.2 * rng.randn(32, 24), "V": 0.4 * rng.randn(24, 6), "g": np.ones(24), "e": np.array(1e-9)}
    middle = {
        "LayerNormalization": [helper.make_node("LayerNormalization", ["a", "g"], ["t"], epsilon=1e-12)],
        "Div": [
            helper.make_node("ReduceL2", ["a"], ["n"], axes=[1]), helper.make_node("Max", ["n", "e"], ["m"]),
            helper.make_node("Div", ["a", "m"], ["t"])],
    }[operator]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "W"], ["a"]), *middle, helper.make_node("MatMul", ["t", "V"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 6])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return made.SerializeToString(), x


@pytest.mark.parametrize("operator", ["LayerNormalization", "Div"])
@pytest.mark.parametrize("rounding", ["gptq", "compensated"])
@pytest.mark.parametrize("bits", [8, 4])
def test_addedBias_movesRowsThatAreZero_isLeftOut(operator, rounding, bits):
    model, x = normalized(operator)
    fit, new = x[:192], x[192:]
    reference = outputs(model, {"x": new})
    lost = {}
    for kind in ("nearest", rounding):
        loaded, data = cet.Model(model), cet.Calibration({"x": fit})
        plan = cet.plan(loaded, data, target_bits=bits, bits=[bits], rounding=kind)
        small = cet.quantize(loaded, data, plan)
        lost[kind] = kl(reference, outputs(small.to_bytes(), {"x": new}))
        low, high = small.plan.summary.held_out_interval
        assert 0.5 * low <= lost[kind] <= 2 * high
    assert lost[rounding] <= 1.2 * lost["nearest"]


def test_bias_absorbsTheMean_stays():
    """Where the bias helps it is added as ever: inputs of large mean, no normalisation."""
    rng = np.random.RandomState(0)
    x = (3 + rng.randn(256, 32)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "W"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 12])],
        [numpy_helper.from_array(rng.randn(32, 12).astype(np.float32), "W")])
    model = cet.Model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    data = cet.Calibration({"x": x})
    small = cet.quantize(model, data, cet.plan(model, data, target_bits=3, bits=[3]))
    assert [c.added for c in small.corrections] == [True]


def test_heldOutLoss_nearestRounding_isTheLossOfAllSamples(model, digits, calibration, calibration_arrays):
    plan = cet.plan(model, calibration, target_ratio=11, rounding="nearest")
    small = cet.quantize(model, calibration, plan)
    x = {"input": calibration_arrays["input"]}
    expected = kl(outputs(str(digits / "model.onnx"), x), outputs(small.to_bytes(), x))
    summary = small.plan.summary
    assert summary.held_out_samples == len(x["input"])
    assert summary.held_out_loss == pytest.approx(expected, rel=1e-3)
    assert summary.held_out_interval[0] <= expected <= summary.held_out_interval[1]


@pytest.mark.long
def test_prediction_ofThePlanAsItIsRounded_coversNewSamples(model, digits, calibration_arrays):
    """Fitted to a half of the samples, judged by ONNX Runtime on the other half."""
    half = {"input": calibration_arrays["input"][:128]}
    rest = {"input": calibration_arrays["input"][128:]}
    reference = outputs(str(digits / "model.onnx"), rest)
    data = cet.Calibration(half)
    covered = 0
    for ratio in (8, 11, 12.8, 16):
        plan = cet.plan(model, data, target_ratio=ratio)
        small = cet.quantize(model, data, plan)
        low, high = plan.predicted_interval
        assert low <= plan.predicted_loss_change <= high
        assert low <= small.plan.held_out_loss <= high
        covered += low <= kl(reference, outputs(small.to_bytes(), rest)) <= high
    assert covered >= 3


def test_prediction_ofAnotherBudget_isScaledFromTheJudgedPlan(model, calibration, plan):
    other = plan.replan(model, target_ratio=15)
    low, high = other.predicted_interval
    assert plan.predicted_loss_change < other.predicted_loss_change
    found = cet.quantize(model, calibration, other).plan
    assert low <= found.held_out_loss <= high


@pytest.mark.long
def test_maxLoss_isMetOnNewSamples(model, digits, calibration):
    images = np.load(digits / "test.npz")["x"].astype(np.float32) / 16 - np.float32(0.3)
    x = {"input": images[:, None]}
    reference = outputs(str(digits / "model.onnx"), x)
    sizes = []
    for limit in (0.01, 0.0005):
        plan = cet.plan(model, calibration, max_loss=limit)
        small = cet.quantize(model, calibration, plan)
        assert plan.predicted_interval[1] <= limit
        assert kl(reference, outputs(small.to_bytes(), x)) <= limit
        sizes.append(plan.summary.stored_bytes)
    assert sizes[0] < sizes[1]


def test_maxLoss_outOfReach_saysWhatCanBeReached(model, calibration):
    with pytest.raises(cet.InfeasibleBudget, match=r"max_loss 1e-12 cannot be reached.* lose up to [0-9.e-]+ on held-out samples"):
        cet.plan(model, calibration, max_loss=1e-12)


def test_maxLoss_planWithOtherSamples_isVerified(model, calibration, calibration_arrays):
    """A plan for a limit is not carried out where its rounding exceeds it."""
    plan = cet.plan(model, calibration, max_loss=0.02)
    document = json.loads(plan.to_json())
    document["options"]["max_loss"] = 1e-9
    few = cet.Calibration({"input": calibration_arrays["input"][:64]})
    with pytest.raises(cet.InfeasibleBudget, match="held-out samples"):
        cet.quantize(model, few, cet.Plan.from_json(json.dumps(document)))


def test_tableOfLosses_shownFigures_areTheOnesThatChose(plan):
    document = json.loads(plan.to_json())
    for tensor, entry in zip(plan.tensors, document["tensors"]):
        if tensor.decision == "kept":
            continue
        table = {int(bits): value for bits, value in entry["sensitivity"].items()}
        assert tensor.sensitivity == table
        assert tensor.predicted_loss_change == table[tensor.bits]
        values = [table[bits] for bits in sorted(table)]
        assert values == sorted(values, reverse=True)
    assert any("temperature 4" in note and "held-out samples" in note for note in document["notes"])


def test_judgement_savedPlan_quantizesToTheSameBytes(model, calibration, plan, quantized):
    again = cet.quantize(model, calibration, cet.Plan.from_json(plan.to_json()))
    assert again.to_bytes() == quantized.to_bytes()
    assert again.plan.held_out_loss == quantized.plan.held_out_loss


@pytest.mark.parametrize("encoding,expected", [("qdq", True), ("planes", False)])
def test_qdq_matrixProducts_noteSaysWhatTheRuntimeDoes(encoding, expected):
    model, x = normalized("LayerNormalization")
    model, data = cet.Model(model), cet.Calibration({"x": x})
    plan = cet.plan(model, data, target_bits=8, bits=[8], encoding=encoding)
    assert any("8-bit activations" in note and "2 matrix products" in note for note in plan.notes) == expected


def test_fewSamples_nothingHeldOut_lossesAreUnknown(model, calibration_arrays):
    data = cet.Calibration({"input": calibration_arrays["input"][:2]})
    plan = cet.plan(model, data, target_ratio=8)
    small = cet.quantize(model, data, plan)
    assert np.isnan(plan.predicted_loss_change) and np.isnan(small.plan.held_out_loss)
    assert small.plan.summary.held_out_samples == 0
    assert np.isfinite(small.plan.measured_loss_change)
