"""Plan files that people change: what follows from bits is computed anew, what does not fit the model is refused."""

import json
import math

import pytest

import cet


@pytest.fixture(scope="module")
def document(plan):
    return json.loads(plan.to_json())


def changed(document, **bits):
    """The document with other bits for some tensors ("fc1_weight" for "fc1.weight")."""
    copy = json.loads(json.dumps(document))
    for tensor in copy["tensors"]:
        tensor["bits"] = bits.get(tensor["name"].replace(".", "_"), tensor["bits"])
    return copy


def other_bits(tensor):
    return 8 if tensor.bits != 8 else 2


def test_plan_with_changed_bits_is_computed_anew_from_its_table(model, calibration, plan, document):
    old = {tensor.name: tensor for tensor in plan.tensors}
    bits = other_bits(old["fc1.weight"])
    edited = cet.Plan.from_json(json.dumps(changed(document, fc1_weight=bits)))
    tensors = {tensor.name: tensor for tensor in edited.tensors}
    tensor = tensors.pop("fc1.weight")
    before = old.pop("fc1.weight")
    assert (tensor.bits, tensor.decision, tensor.reason) == (bits, "fixed", "set by hand")
    assert tensor.predicted_loss_change == tensor.sensitivity[bits] != before.predicted_loss_change
    assert tensor.code_bytes == math.ceil(tensor.parameter_count * bits / 8)
    # A scale a row, and a zero point where codes are of a grid.
    rows = {name: t.shape[t.axis] for name, t in (("old", before), ("new", tensor))}
    assert before.stored_bytes - before.code_bytes == rows["old"] * (4 if before.coding == "trellis" else 5)
    assert tensor.stored_bytes - tensor.code_bytes == rows["new"] * (4 if tensor.coding == "trellis" else 5)
    assert repr(tensors) == repr(old)  # NaN differs from itself
    summary = edited.summary
    # The plan's loss follows its tensors', as that of a plan for another budget does.
    scale = sum(t.predicted_loss_change for t in edited.tensors) / sum(t.predicted_loss_change for t in plan.tensors)
    assert summary.predicted_loss_change == pytest.approx(plan.predicted_loss_change * scale)
    assert math.isnan(summary.held_out_loss)
    assert summary.code_bytes == sum(t.code_bytes for t in edited.tensors)
    assert math.isnan(summary.measured_loss_change)
    # Read again it is the same plan, and what it says of itself is what is carried out.
    assert cet.Plan.from_json(edited.to_json()).to_json() == edited.to_json()
    quantized = cet.quantize(model, calibration, edited)
    assert quantized["fc1.weight"].bits == bits
    done = quantized.plan
    assert done.summary.file_bytes == len(quantized.to_bytes())
    assert repr(done.tensors) == repr(edited.tensors)


def test_plan_with_a_tensor_kept_by_hand_and_back(model, calibration, document):
    kept = cet.Plan.from_json(json.dumps(changed(document, fc1_weight=32)))
    tensor = {t.name: t for t in kept.tensors}["fc1.weight"]
    assert (tensor.bits, tensor.decision, tensor.reason, tensor.axis) == (32, "kept", "set by hand", None)
    assert (tensor.code_bytes, tensor.stored_bytes) == (0, 4 * tensor.parameter_count)
    assert "fc1.weight" not in cet.quantize(model, calibration, kept)
    again = cet.Plan.from_json(json.dumps(changed(json.loads(kept.to_json()), fc1_weight=4)))
    tensor = {t.name: t for t in again.tensors}["fc1.weight"]
    assert (tensor.bits, tensor.decision, tensor.reason) == (4, "fixed", "set by hand")
    assert tensor.predicted_loss_change == tensor.sensitivity[4]
    assert cet.quantize(model, calibration, again)["fc1.weight"].bits == 4


def test_plan_with_bits_that_its_table_lacks_has_no_prediction(model, calibration, document):
    edited = cet.Plan.from_json(json.dumps(changed(document, fc1_weight=7)))
    assert math.isnan(edited.predicted_loss_change)
    quantized = cet.quantize(model, calibration, edited)
    assert quantized["fc1.weight"].bits == 7 and quantized.plan.measured_loss_change > 0


@pytest.mark.parametrize("encoding", ["planes", "qdq"])
@pytest.mark.parametrize("granularity", ["per-tensor", "per-axis", "block:16"])
def test_plan_with_changed_bits_has_the_bytes_of_one_made_for_them(model, calibration, granularity, encoding):
    options = dict(granularity=granularity, encoding=encoding, rounding="nearest", samples=16, method="uniform")
    four, three = (cet.plan(model, calibration, target_bits=bits, **options) for bits in (4, 3))
    document = json.loads(four.to_json())
    for tensor in document["tensors"]:
        tensor["bits"] = 3
    edited = cet.Plan.from_json(json.dumps(document))
    assert [(t.code_bytes, t.stored_bytes) for t in edited.tensors] == [
        (t.code_bytes, t.stored_bytes) for t in three.tensors]


def broken(document, case):
    copy = json.loads(json.dumps(document))
    if case == "missing":
        copy["tensors"] = [tensor for tensor in copy["tensors"] if tensor["name"] != "fc1.weight"]
    elif case == "unknown":
        copy["tensors"].append(dict(copy["tensors"][0], name="conv99.weight"))
    elif case == "renamed":
        copy["tensors"][0]["name"] = "conv99.weight"
    elif case == "kept and unknown":
        copy["tensors"].append(dict(
            copy["tensors"][0], name="conv99.weight", bits=32, decided_bits=32, decision="kept"))
    elif case == "digest":
        copy["model"]["sha256"] = "0" * 64
    return copy


BROKEN = {
    "missing": "lacks tensor 'fc1.weight'", "unknown": "conv99.weight", "renamed": "lacks tensor",
    "kept and unknown": "conv99.weight", "digest": "0" * 64,
}


@pytest.mark.parametrize("case", BROKEN)
def test_plan_of_other_tensors_or_another_file_is_refused(model, calibration, document, case):
    bad = cet.Plan.from_json(json.dumps(broken(document, case)))
    with pytest.raises(cet.InvalidArgument, match=BROKEN[case]):
        cet.quantize(model, calibration, bad)
    with pytest.raises(cet.InvalidArgument, match=BROKEN[case]):
        bad.replan(model, target_ratio=9)


@pytest.mark.parametrize("case", BROKEN)
def test_tool_plan_of_other_tensors_or_another_file_is_refused(tool, digits, document, tmp_path, case):
    (tmp_path / "p.json").write_text(json.dumps(broken(document, case)))
    data = ["--data", digits / "calibration.npz"]
    for run in (
        tool("compress", digits / "model.onnx", tmp_path / "x.onnx", *data, "--plan", tmp_path / "p.json"),
        tool("plan", digits / "model.onnx", "--from", tmp_path / "p.json", "--target-ratio", 9, "-o", tmp_path / "q.json"),
    ):
        assert run.returncode == 1 and BROKEN[case] in run.stderr and run.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["p.json"]


def test_plan_order_of_tensors_does_not_matter(model, calibration, plan, document):
    copy = json.loads(json.dumps(document))
    copy["tensors"].reverse()
    quantized = cet.quantize(model, calibration, cet.Plan.from_json(json.dumps(copy)))
    assert quantized.plan.bits == plan.bits and list(quantized.plan.bits) == list(plan.bits)


def test_replan_of_a_plan_changed_by_hand_chooses_anew_and_says_so(model, plan, document):
    bits = other_bits({tensor.name: tensor for tensor in plan.tensors}["fc1.weight"])
    edited = cet.Plan.from_json(json.dumps(changed(document, fc1_weight=bits)))
    again = edited.replan(model, target_ratio=11)
    assert again.bits == plan.bits
    assert any("'fc1.weight'" in note for note in json.loads(again.to_json())["notes"])


def test_tool_carries_out_a_changed_plan(tool, digits, plan, document, tmp_path):
    bits = other_bits({tensor.name: tensor for tensor in plan.tensors}["fc1.weight"])
    (tmp_path / "p.json").write_text(json.dumps(changed(document, fc1_weight=bits)))
    run = tool(
        "compress", digits / "model.onnx", tmp_path / "x.onnx", "--data", digits / "calibration.npz", "--plan",
        tmp_path / "p.json", "--json")
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    tensor = {t["name"]: t for t in found["plan"]["tensors"]}["fc1.weight"]
    assert (tensor["bits"], tensor["decision"], tensor["reason"]) == (bits, "fixed", "set by hand")
    assert found["bytes"]["file"] == (tmp_path / "x.onnx").stat().st_size
    scale = sum(t["predicted_loss_change"] for t in found["plan"]["tensors"]) / sum(
        t.predicted_loss_change for t in plan.tensors)
    assert found["predicted_loss_change"] == pytest.approx(plan.predicted_loss_change * scale)
    assert found["held_out_loss"] > 0


# Options that a plan has settled.
SETTLED = {
    "--target-ratio": 8, "--target-bits": 4, "--target-size": "60kB", "--max-loss": 0.1, "--bits": "2,4",
    "--method": "cet", "--loss": "kl", "--curvature": "hessian", "--granularity": "per-axis", "--keep": "fc*",
    "--fix": "fc*=4", "--shifts": 1, "--loss-output": "logits", "--seed": 0,
}


@pytest.mark.parametrize("option", SETTLED)
def test_tool_plan_refuses_an_option_that_it_would_ignore(tool, digits, plan, tmp_path, option):
    plan.save(tmp_path / "p.json")
    run = tool(
        "compress", digits / "model.onnx", tmp_path / "x.onnx", "--data", digits / "calibration.npz", "--plan",
        tmp_path / "p.json", option, SETTLED[option])
    assert run.returncode == 2 and option in run.stderr and "--plan" in run.stderr
    assert not (tmp_path / "x.onnx").exists()


@pytest.mark.parametrize("option", ["--seed", "--threads", "--samples", "--batch-size", "--max-memory", "--shifts", "--loss-output"])
def test_tool_plan_from_refuses_an_option_that_it_would_ignore(tool, digits, plan, tmp_path, option):
    plan.save(tmp_path / "p.json")
    run = tool(
        "plan", digits / "model.onnx", "--from", tmp_path / "p.json", "--target-ratio", 9, "-o", tmp_path / "q.json", option,
        "logits" if option == "--loss-output" else 64)
    assert run.returncode == 2 and option in run.stderr and "--from" in run.stderr
    assert not (tmp_path / "q.json").exists()


@pytest.mark.parametrize("encoding", ["planes", "qdq", "float"])
def test_tool_plan_takes_another_encoding_and_says_its_size(tool, digits, plan, tmp_path, encoding):
    plan.save(tmp_path / "p.json")
    run = tool(
        "compress", digits / "model.onnx", tmp_path / "x.onnx", "--data", digits / "calibration.npz", "--plan",
        tmp_path / "p.json", "--encoding", encoding, "--json")
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["plan"]["options"]["encoding"] == encoding
    assert found["bytes"]["file"] == (tmp_path / "x.onnx").stat().st_size


def test_quantize_for_another_encoding_says_its_size(model, calibration):
    plan = cet.plan(model, calibration, target_ratio=11, coding="affine")
    quantized = cet.quantize(model, calibration, plan, encoding="qdq")
    assert quantized.plan.summary.encoding == "qdq"
    assert quantized.plan.summary.file_bytes == len(quantized.to_bytes())
    # The same as a plan with these bits that was made for it.
    document = json.loads(plan.to_json())
    document["options"]["encoding"] = "qdq"
    document["judgement"] = None
    other = cet.quantize(model, calibration, cet.Plan.from_json(json.dumps(document)))
    assert quantized.to_bytes() == other.to_bytes()


@pytest.mark.parametrize("target", ["target_bits", "target_ratio"])
def test_what_a_plan_tells_of_itself_as_a_target_gives_it_again(model, plan, target):
    """Mean bits are quotients of whole numbers: their last digit must not cost a bit of the budget."""
    for bits in [2.328125, 2.5, 2.796875, 2.953125, 3.5, 5.0625]:
        first = plan.replan(model, target_bits=bits)
        mean = first.summary.mean_bits
        again = plan.replan(model, **{target: mean if target == "target_bits" else 32 / mean})
        assert [tensor.bits for tensor in again.tensors] == [tensor.bits for tensor in first.tensors], bits
