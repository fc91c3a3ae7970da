"""What the tool says and decides about plans: dry runs, rules of bits, groups, going on after a kill, why and diff, tables, the bar."""

import hashlib
import json
import os
import re
import signal
import subprocess
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_tool import on_terminal

import cet


@pytest.fixture(scope="module")
def run(tool, digits):
    """Runs a command on the bundled model with few samples and little effort."""

    def call(command, *arguments, **options):
        found = tool(command, digits / "model.onnx", *arguments, "--data", digits / "calibration.npz", "--samples", 48, "--effort", "low", **options)
        assert found.returncode == 0, found.stderr
        return found

    return call


@pytest.fixture(scope="module")
def plans(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plans")
    for ratio in (8, 12):
        run("plan", "--target-ratio", ratio, "-o", folder / f"{ratio}.json", "--quiet")
    return folder


def tensors(found):
    return {tensor["name"]: tensor for tensor in json.loads(found.stdout)["plan"]["tensors"]}


# ---- Dry runs ----


RATIO, SIZE = ["--target-ratio", 9], ["--target-size", "60kB"]


@pytest.mark.parametrize("options", [
    [*RATIO, "--encoding", "planes"], [*SIZE, "--encoding", "planes", "--coding", "affine"], [*RATIO, "--coding", "affine"], [*RATIO, "--encoding", "qdq"],
    [*SIZE, "--encoding", "qdq"], [*RATIO, "--encoding", "float", "--coding", "affine"],
    [*RATIO, "--encoding", "ort", "--min-runtime", "ort-1.24"], [*RATIO, "--rounding", "nearest"], [*SIZE, "--rounding", "nearest"],
    [*RATIO, "--rounding", "gptq", "--granularity", "block:32", "--coding", "affine"]], ids=lambda options: " ".join(map(str, options)))
def test_dryRun_size_isThatOfTheWrittenFile(run, tmp_path, options):
    output = tmp_path / "o.onnx"
    told = json.loads(run("compress", output, *options, "--dry-run", "--json").stdout)
    assert list(tmp_path.iterdir()) == []
    assert told["dry_run"]["exact"] and told["dry_run"]["file_bytes"] == told["bytes"]["file"]
    run("compress", output, *options, "--quiet")
    assert output.stat().st_size == told["dry_run"]["file_bytes"]
    if "60kB" in options:
        assert output.stat().st_size <= 60_000


def test_dryRun_ofAPlan_saysItsSizeAndMemory(run, tool, digits, plans, tmp_path):
    told = json.loads(run("compress", tmp_path / "o.onnx", "--plan", plans / "12.json", "--dry-run", "--json").stdout)["dry_run"]
    run("compress", tmp_path / "o.onnx", "--plan", plans / "12.json", "--quiet")
    assert told["exact"] and told["file_bytes"] == (tmp_path / "o.onnx").stat().st_size
    assert 1e5 < told["memory_bytes"] < 4e9 and told["seconds_left"] is None
    again = json.loads((plans / "12.json").read_text())
    again["tensors"][0]["bits"] = 5 if again["tensors"][0]["bits"] != 5 else 4
    (tmp_path / "edited.json").write_text(json.dumps(again))
    told = json.loads(run("compress", tmp_path / "o.onnx", "--plan", tmp_path / "edited.json", "--dry-run", "--json").stdout)["dry_run"]
    assert told["file_bytes"] is None and not told["exact"]


def test_dryRun_time_isOfTheRightOrder(run, tmp_path):
    told = json.loads(run("compress", tmp_path / "o.onnx", "--target-ratio", 11, "--dry-run", "--json").stdout)["dry_run"]
    begun = time.monotonic()
    run("compress", tmp_path / "o.onnx", "--target-ratio", 11, "--quiet")
    rest = time.monotonic() - begun - told["seconds"]
    assert told["seconds_left"] > 0
    assert told["seconds_left"] < 10 * max(rest, 0.5)


# ---- Patterns, rules, groups ----


def test_patterns_ofNodesAndOperators_keepWhatTheyName(run, digits, tmp_path):
    found = tensors(run("plan", "--target-ratio", 6, "--keep", "/l1/*", "--keep-op", "Gemm", "-o", tmp_path / "p", "--json"))
    graph = onnx.load(digits / "model.onnx").graph
    kept = {node.input[1] for node in graph.node if node.name.startswith("/l1/") and len(node.input) > 1 and node.op_type == "Conv"}
    kept |= {node.input[1] for node in graph.node if node.op_type == "Gemm"}
    assert {name for name, tensor in found.items() if tensor["bits"] == 32} == kept
    assert found["fc1.weight"]["reason"] == "keep pattern 'op:Gemm'"


def test_minAndMaxBits_boundWhatIsChosen(run, tmp_path):
    found = tensors(
        run("plan", "--target-ratio", 9, "--min-bits", 3, "--max-bits", "op:Conv=5", "--min-bits", "node:/fc2/*=6", "-o", tmp_path / "p", "--json"))
    assert min(tensor["bits"] for tensor in found.values()) >= 3 and found["fc2.weight"]["bits"] >= 6
    assert max(tensor["bits"] for name, tensor in found.items() if "Conv" in name) <= 5
    again = json.loads((tmp_path / "p").read_text())["options"]
    assert again["min_bits"] == [{"pattern": "*", "bits": 3}, {"pattern": "node:/fc2/*", "bits": 6}]


def attention(width=32):
    random = np.random.default_rng(0)
    weights = {name: random.standard_normal((width, width)).astype(np.float32) / width**0.5 * scale for name, scale in
               (("q", 1), ("k", 0.2), ("v", 3), ("o", 1))}
    nodes = [helper.make_node("MatMul", ["x", name], ["x" + name], name=f"/attention/{name}/MatMul") for name in "qkv"]
    nodes += [
        helper.make_node("Transpose", ["xk"], ["kt"], perm=[0, 2, 1]), helper.make_node("MatMul", ["xq", "kt"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["p"], axis=-1), helper.make_node("MatMul", ["p", "xv"], ["h"]),
        helper.make_node("MatMul", ["h", "o"], ["y"], name="/attention/o/MatMul")]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 8, width])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def test_groupAuto_givesQueryKeyAndValueTheSameBits(tool, tmp_path):
    onnx.save(attention(), tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(1).standard_normal((48, 8, 32)).astype(np.float32))
    bits = {}
    for group in ([], ["--group", "auto"], ["--group", "/attention/*"]):
        found = tool("plan", tmp_path / "m.onnx", "--data", tmp_path / "d.npz", "--target-bits", 3.6, *group, "-o", tmp_path / "p", "--json")
        assert found.returncode == 0, found.stderr
        bits[tuple(group)] = {name: tensor["bits"] for name, tensor in tensors(found).items()}
    alone, siblings, all_of_them = bits.values()
    assert len({alone[name] for name in "qkv"}) > 1, "the test would show nothing"
    assert len({siblings[name] for name in "qkv"}) == 1 and len(set(all_of_them.values())) == 1
    assert sum(siblings.values()) / 4 <= 3.6
    again = tool("plan", tmp_path / "m.onnx", "--from", tmp_path / "p", "--target-bits", 3, "-o", tmp_path / "q", "--json")
    assert len({tensor["bits"] for tensor in tensors(again).values()}) == 1, "a group holds for plans from the table"


# ---- Going on after a kill ----


def test_resume_afterAKill_writesTheSameFileWithoutPlanningAgain(build, run, digits, tmp_path):
    whole, state = tmp_path / "whole.onnx", tmp_path / "s.cet-session"
    run("compress", whole, "--target-ratio", 11, "--quiet")
    command = [
        build / "bin" / "cet-onnx", "compress", digits / "model.onnx", tmp_path / "o.onnx", "--data", digits / "calibration.npz",
        "--samples", "48", "--effort", "low", "--target-ratio", "11", "--resume", state]
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    while process.poll() is None and not state.exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if (tmp_path / "o.onnx").exists():
        pytest.skip("the run was over before the signal")
    assert state.exists()
    done = json.loads(run("compress", tmp_path / "o.onnx", "--target-ratio", 11, "--resume", state, "--json").stdout)
    assert (tmp_path / "o.onnx").read_bytes() == whole.read_bytes()
    assert not state.exists() and done["held_out_loss"] is not None


def test_resume_ofOtherWork_isRefusedWithTheDifference(build, run, tool, digits, tmp_path):
    model, data, state = digits / "model.onnx", digits / "calibration.npz", tmp_path / "s"
    session = cet.Session(cet.Model(model), cet.Calibration.from_npz(data), target_ratio=11, samples=48, rounding="nearest", method="mckp")
    session.save(state)
    before = state.read_bytes()
    common = ["compress", model, tmp_path / "o.onnx", "--data", data, "--target-ratio", 11, "--resume", state]
    for options, word in {
            ("--samples", 48, "--method", "mckp"): "rounding", ("--samples", 48, "--rounding", "nearest"): "method",
            ("--samples", 47, "--rounding", "nearest", "--method", "mckp"): "other samples",
            ("--samples", 48, "--rounding", "nearest", "--method", "mckp", "--min-bits", "2"): "min_bits"}.items():
        found = tool(*common, *options)
        assert found.returncode == 1 and word in found.stderr and len(found.stderr.splitlines()) == 1, found.stderr
    assert state.read_bytes() == before and not (tmp_path / "o.onnx").exists()
    found = tool(*common, "--samples", 48, "--rounding", "nearest", "--method", "mckp", "--quiet")
    assert found.returncode == 0, found.stderr


# ---- why and diff ----


def test_why_saysReasonRankAndOtherBits(tool, plans):
    plan = json.loads((plans / "12.json").read_text())
    tensor = next(tensor for tensor in plan["tensors"] if tensor["name"] == "fc1.weight")
    text = tool("why", "fc1.weight", plans / "12.json").stdout
    assert tensor["reason"] in " ".join(text.split()) and "chosen" in text and "rank" in text
    told = json.loads(tool("why", "fc1.weight", plans / "12.json", "--json").stdout)
    losses = sorted((t["predicted_loss_change"] for t in plan["tensors"]), reverse=True)
    assert told["rank"] == 1 + losses.index(tensor["predicted_loss_change"]) and told["planned_tensors"] == len(losses)
    assert {str(choice["bits"]): choice["loss"] for choice in told["choices"]} == tensor["sensitivity"]
    for choice in told["choices"]:
        count = np.prod(tensor["shape"])
        assert abs(choice["byte_change"] - count * (choice["bits"] - tensor["bits"]) / 8) <= 1
        assert (choice["loss_change"] == 0) == (choice["bits"] == tensor["bits"]) or choice["loss"] == tensor["predicted_loss_change"]
    wrong = tool("why", "fc1.wieght", plans / "12.json")
    assert wrong.returncode == 2 and "did you mean 'fc1.weight'" in wrong.stderr


def test_diff_listsWhatDiffers(tool, plans):
    plan = {ratio: {t["name"]: t for t in json.loads((plans / f"{ratio}.json").read_text())["tensors"]} for ratio in (8, 12)}
    told = json.loads(tool("diff", plans / "8.json", plans / "12.json", "--json").stdout)
    changed = {name for name in plan[8] if any(plan[8][name][key] != plan[12][name][key] for key in ("bits", "coding"))}
    assert {tensor["name"] for tensor in told["tensors"]} == changed and told["same"] == len(plan[8]) - len(changed)
    for tensor in told["tensors"]:
        assert (tensor["before"]["bits"], tensor["after"]["bits"]) == (plan[8][tensor["name"]]["bits"], plan[12][tensor["name"]]["bits"])
    assert told["before"]["file_bytes"] > told["after"]["file_bytes"]
    assert all((tensor["node"], tensor["operator"]) == (plan[8][tensor["name"]]["node"], plan[8][tensor["name"]]["operator"]) for tensor in told["tensors"])
    shown = tool("diff", plans / "8.json", plans / "12.json").stdout
    assert shown.splitlines()[0].split()[:3] == ["tensor", "node", "op"] and shown.splitlines()[2].split()[2] == told["tensors"][0]["operator"]
    same = tool("diff", plans / "8.json", plans / "8.json").stdout
    assert f"0 differ, {len(plan[8])} are the same" in same


# ---- What a person sees ----


def test_tables_fitAPageWithLongNames(tool, tmp_path):
    model = attention()
    names = {name: f"transformer.encoder.layers.11.attention.self_attention.{name}.projection.weight" for name in "qkvo"}
    for initializer in model.graph.initializer:
        initializer.name = names[initializer.name]
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.name = node.name and f"/transformer/encoder/layers.11{node.name}"
    onnx.save(model, tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(1).standard_normal((16, 8, 32)).astype(np.float32))
    common = ["--data", "d.npz", "--method", "uniform", "--rounding", "nearest"]
    texts = [
        tool("inspect", "m.onnx", cwd=tmp_path), tool("inspect", "m.onnx", "--runtimes", cwd=tmp_path),
        tool("compress", "m.onnx", "o.onnx", *common, "--target-bits", 4, cwd=tmp_path),
        tool("plan", "m.onnx", *common, "--target-bits", 4, "-o", "p.json", cwd=tmp_path),
        tool("plan", "m.onnx", *common, "--target-bits", 6, "-o", "q.json", cwd=tmp_path), tool("why", names["q"], "p.json", cwd=tmp_path),
        tool("diff", "p.json", "q.json", cwd=tmp_path),
        tool("sweep", "m.onnx", *common, "--ratios", "4,8,16", "-o", "out", cwd=tmp_path),
        tool("check", "o.onnx", "--data", "d.npz", "--against", "m.onnx", cwd=tmp_path)]
    for found in texts:
        assert found.returncode == 0, found.stderr
        for line in found.stdout.splitlines():
            assert len(line) <= 80 or line.startswith("note: ") or names["q"] in line, line
    assert "…" in texts[0].stdout


def test_summary_hasHeldOutLossAndAgreement(run, digits, tmp_path):
    document = json.loads(run("compress", tmp_path / "o.onnx", "--target-ratio", 11, "--json").stdout)
    output = document["agreement"]["outputs"][0]
    with np.load(digits / "calibration.npz") as data:
        # Planning used the first 48.
        inputs = {"input": data["input"][48:]}
    a, b = (cet.run(cet.Model(path), inputs)["logits"] for path in (digits / "model.onnx", tmp_path / "o.onnx"))
    assert document["agreement"]["samples"] == len(inputs["input"]) and document["agreement"]["held_out"] is True
    assert document["sha256"] == hashlib.sha256((tmp_path / "o.onnx").read_bytes()).hexdigest()
    assert output["top1_agreement"] == np.mean(a.argmax(-1) == b.argmax(-1))
    np.testing.assert_allclose(output["max_abs_difference"], np.abs(a - b).max(), rtol=1e-3)
    assert document["held_out_loss"] > 0


def test_bar_neverGoesBackAndItsTimeComesLate(build, digits, tmp_path):
    begun = time.monotonic()
    status, _, shown = on_terminal(build, [
        "compress", digits / "model.onnx", tmp_path / "x.onnx", "--data", digits / "calibration.npz", "--target-ratio", 11, "--threads", 1])
    assert status == 0
    lines = [line for line in re.split(r"\r", shown) if "%" in line]
    shares = [int(re.search(r"(\d+)%", line).group(1)) for line in lines]
    assert len(shares) > 10 and shares == sorted(shares) and shares[-1] >= 90
    timed = [share for share, line in zip(shares, lines) if "ETA" in line]
    assert not timed or min(timed) >= 20
    assert timed or time.monotonic() - begun < 5


def test_checkRuntime_measuresInOnnxruntime(tool, digits, tmp_path):
    pytest.importorskip("onnxruntime")
    import sys

    environment = dict(os.environ, PATH=f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}")
    common = ["check", digits / "model_opset21.onnx", "--data", digits / "calibration.npz", "--runtime", "--json"]
    found = tool(*common, "--against", digits / "model.onnx", env=environment)
    assert found.returncode == 0, found.stderr
    told = json.loads(found.stdout)["runtime"]
    assert told["latency_ms"] > 0 and told["max_abs_difference"] < 1e-3 and told["top1_agreement"] == 1
    text = tool(*common[:-1], env=environment).stdout
    assert "latency" in text and "onnxruntime" in text
    (tmp_path / "python3").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python3").chmod(0o755)
    found = tool(*common[:-1], env=dict(os.environ, PATH=str(tmp_path)))
    assert found.returncode == 0 and "not run" in found.stdout
