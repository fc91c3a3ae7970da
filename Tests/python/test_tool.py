"""The tool's commands: what they print where, what they write, and what Ctrl-C leaves behind."""

import json
import os
import pty
import re
import signal
import subprocess
import time

import numpy as np
import onnx
import pytest

import cet

# For what depends neither on how many samples there are nor on what codes stand for: two seconds in place of ten.
QUICK = ["--samples", 64, "--coding", "affine"]


@pytest.fixture(scope="module")
def compressed(tmp_path_factory, tool, digits):
    """A run with everything that can be written, for a person."""
    folder = tmp_path_factory.mktemp("compressed")
    run = tool(
        "compress", digits / "model.onnx", folder / "small.onnx", "--data", digits / "calibration.npz",
        "--target-ratio", 11, "--report", folder / "report.html")
    assert run.returncode == 0, run.stderr
    return folder, run


def test_compress_prints_table_and_summary(compressed, plan):
    folder, run = compressed
    assert run.stderr == "", "no progress in a pipe"
    lines = run.stdout.splitlines()
    assert re.split(r"  +", lines[0]) == ["tensor", "node", "op", "bits", "coding", "bytes", "loss change"]
    rows = {line.split()[0]: line.split() for line in lines[2:2 + len(plan.tensors)]}
    for tensor in plan.tensors:
        row = rows[tensor.name]
        assert row[2] in ("Conv", "Gemm", "MatMul", "Gather")
        assert int(row[3]) == tensor.bits and row[4] == tensor.coding
        assert int(row[5].replace(",", "")) == tensor.stored_bytes
    for title in ("initializers", "whole file", "ratio", "loss change", "agreement", "time", "written"):
        assert any(line.startswith(title) for line in lines)
    assert f"{(folder / 'small.onnx').stat().st_size:,} B" in run.stdout


def test_compress_json_is_one_document(tool, digits, tmp_path):
    run = tool(
        "compress", digits / "model.onnx", tmp_path / "x.onnx", "--data", digits / "calibration.npz", "--target-bits", 3,
        *QUICK, "--json")
    document = json.loads(run.stdout)
    assert run.stderr == ""
    assert document["command"] == "compress"
    assert document["bytes"]["file"] == (tmp_path / "x.onnx").stat().st_size
    assert document["plan"]["format"] == "cet-plan"
    assert document["measured_loss_change"] > 0


def test_compress_quiet_prints_nothing(tool, digits, tmp_path):
    run = tool(
        "compress", digits / "model.onnx", tmp_path / "x.onnx", "--data", digits / "calibration.npz", "--target-ratio",
        8, *QUICK, "--quiet")
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert (tmp_path / "x.onnx").exists()


def test_compress_target_size_is_never_exceeded(tool, digits, tmp_path):
    for text, limit, how in [("45kB", 45_000, ["--samples", 64]), ("50KiB", 51_200, QUICK), ("60000", 60_000, QUICK)]:
        run = tool(
            "compress", digits / "model.onnx", tmp_path / "x.onnx", "--data", digits / "calibration.npz",
            "--target-size", text, *how, "--json")
        assert run.returncode == 0, run.stderr
        assert (tmp_path / "x.onnx").stat().st_size <= limit


def test_compress_keep_and_fix_are_obeyed(tool, digits, tmp_path):
    run = tool(
        "compress", digits / "model.onnx", tmp_path / "x.onnx", "--data", digits / "calibration.npz", "--target-ratio",
        9, "--keep", "fc2*", "--fix", "fc1.weight=8", *QUICK, "--json")
    assert run.returncode == 0, run.stderr
    tensors = {tensor["name"]: tensor for tensor in json.loads(run.stdout)["plan"]["tensors"]}
    assert tensors["fc1.weight"]["bits"] == 8 and tensors["fc1.weight"]["decision"] == "fixed"
    assert tensors["fc2.weight"]["decision"] == "kept"


def test_plan_then_compress_equals_compress(tool, digits, tmp_path, compressed):
    folder, _ = compressed
    run = tool(
        "plan", digits / "model.onnx", "--data", digits / "calibration.npz", "--target-ratio", 11, "-o",
        tmp_path / "plan.json")
    assert run.returncode == 0, run.stderr
    run = tool(
        "compress", digits / "model.onnx", tmp_path / "x.onnx", "--data", digits / "calibration.npz", "--plan",
        tmp_path / "plan.json")
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "x.onnx").read_bytes() == (folder / "small.onnx").read_bytes()


def test_plan_from_another_plan_needs_no_data(tool, digits, tmp_path, model, plan):
    plan.save(tmp_path / "eleven.json")
    run = tool(
        "plan", digits / "model.onnx", "--from", tmp_path / "eleven.json", "--target-ratio", 13, "-o",
        tmp_path / "thirteen.json")
    assert run.returncode == 0, run.stderr
    assert cet.Plan.load(tmp_path / "thirteen.json").bits == plan.replan(model, target_ratio=13).bits


@pytest.mark.long
def test_sweep_writes_a_file_and_a_plan_per_ratio(tool, digits, tmp_path, compressed):
    folder, _ = compressed
    run = tool(
        "sweep", digits / "model.onnx", "--data", digits / "calibration.npz", "--ratios", "8,11,12.8", "-o",
        tmp_path / "out")
    assert run.returncode == 0, run.stderr
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"sweep.json"} | {f"model.{r}x{end}" for r in ("8", "11", "12.8") for end in (".onnx", ".plan.json")}
    results = json.loads((tmp_path / "out" / "sweep.json").read_text())["results"]
    assert [result["ratio"]["codes"] >= asked for result, asked in zip(results, (8, 11, 12.8))] == [True] * 3
    sizes = [(tmp_path / "out" / f"model.{r}x.onnx").stat().st_size for r in ("8", "11", "12.8")]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes == [result["bytes"]["file"] for result in results]
    lines = run.stdout.splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["8x", "11x", "12.8x"]
    shares = [result["agreement"]["outputs"][0]["top1_agreement"] for result in results]
    assert [line.split()[-1] for line in lines[2:5]] == [f"{100 * share:.2f}%" for share in shares]
    curve = lines[lines.index("loss") + 1:]
    assert sum(line.count("o") for line in curve if "|" in line) == 3 and max(map(len, curve[:11])) <= 80
    # From the same table: the same plan as a run for this ratio alone.
    alone = onnx.load(folder / "small.onnx")
    swept = onnx.load(tmp_path / "out" / "model.11x.onnx")
    assert [t.raw_data for t in swept.graph.initializer] == [t.raw_data for t in alone.graph.initializer]


@pytest.mark.parametrize("method", ["mckp", "hawq-v2", "paper", "uniform", "clado"])
def test_sweep_works_with_every_method(tool, digits, tmp_path, method):
    run = tool(
        "sweep", digits / "model.onnx", "--data", digits / "calibration.npz", "--ratios", "7,10", "--method", method,
        *QUICK, "-o", tmp_path / "out", "--json")
    assert run.returncode == 0, run.stderr
    for result, asked in zip(json.loads(run.stdout)["results"], (7, 10)):
        assert result["ratio"]["codes"] >= asked


def test_sweep_with_a_ratio_out_of_reach_writes_nothing(tool, digits, tmp_path):
    run = tool(
        "sweep", digits / "model.onnx", "--data", digits / "calibration.npz", "--ratios", "8,99", "-o", tmp_path / "out")
    assert run.returncode == 1 and "99" in run.stderr
    assert not (tmp_path / "out").exists()


def test_inspect_lists_operators_and_parameters(tool, digits, model):
    run = tool("inspect", digits / "model.onnx")
    assert run.returncode == 0
    for parameter in model.parameters:
        assert parameter.name in run.stdout
    document = json.loads(tool("inspect", digits / "model.onnx", "--json").stdout)
    assert document == cet.inspect(model)
    assert {entry["operator"]: entry["count"] for entry in document["operators"]}["Conv"] == 9


def test_inspect_smallest_size_can_be_reached(tool, digits, tmp_path):
    smallest = json.loads(tool("inspect", digits / "model.onnx", "--json").stdout)["smallest_file_bytes"]
    run = tool(
        "compress", digits / "model.onnx", tmp_path / "x.onnx", "--data", digits / "calibration.npz", "--target-size",
        smallest, "--samples", 64, "--json")
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "x.onnx").stat().st_size <= smallest


def test_spectrum_prints_pairs(tool, digits, model, calibration):
    run = tool("spectrum", digits / "model.onnx", "--data", digits / "calibration.npz", "-k", 3, "--json")
    assert run.returncode == 0, run.stderr
    document = json.loads(run.stdout)
    assert len(document["pairs"]) == 3 and document["dimension"] == 78800
    expected = cet.eigsh(cet.Hessian(model, calibration), k=3)
    np.testing.assert_array_equal([pair["eigenvalue"] for pair in document["pairs"]], expected.eigenvalues)
    run = tool("spectrum", digits / "model.onnx", "--data", digits / "calibration.npz", "-k", 3)
    assert run.returncode == 0 and "residual norm" in run.stdout


def test_spectrum_keeps_memory_for_the_basis_first(tool, digits, model, calibration):
    """What does not fit beside a basis of 8 vectors, the next one and two to work with is computed in every product."""
    info = cet.Hessian(model, calibration).info
    need = (info.least_bytes + info.dimension * 4 * (8 + 1 + 2)) * 32 // 31 + 1  # and a 32nd for the program
    assert info.predicted_bytes > need - info.least_bytes
    arguments = ["spectrum", digits / "model.onnx", "--data", digits / "calibration.npz", "-k", 3, "--json"]
    small, large = (json.loads(tool(*arguments, *more).stdout) for more in (["--max-memory", need], []))
    assert (small["krylov_dimension"], large["krylov_dimension"]) == (8, 20)
    for few, many in zip(small["pairs"], large["pairs"]):
        assert few["converged"] and abs(few["eigenvalue"] / many["eigenvalue"] - 1) < 1e-5
    run = tool(*arguments, "--max-memory", info.least_bytes)
    assert run.returncode == 1 and "max_memory is" in run.stderr and run.stderr.count("\n") == 1


def test_spectrum_of_tensors_and_estimates(tool, digits, model, calibration, tmp_path):
    arguments = ["spectrum", digits / "model.onnx", "--data", digits / "calibration.npz", "--samples", 64, "--json"]
    run = tool(*arguments, "--per-tensor", "-k", 1)
    assert run.returncode == 0, run.stderr
    tensors = json.loads(run.stdout)["tensors"]
    assert [tensor["name"] for tensor in tensors] == [p.name for p in model.parameters]
    name = tensors[1]["name"]
    run = tool(*arguments, "--tensor", name, "-k", 2, "--trace", "--density", "--save", tmp_path / "pairs")
    assert run.returncode == 0, run.stderr
    document = json.loads(run.stdout)
    block = cet.Hessian(model, calibration, samples=64, only=name)
    assert document["dimension"] == block.shape[0]
    assert document["pairs"][0]["eigenvalue"] == pytest.approx(tensors[1]["eigenvalues"][0], rel=1e-3)
    assert (document["trace"], document["trace_standard_error"]) == cet.trace(block, samples=32)
    density = document["density"]
    assert np.trapezoid(density["density"], density["points"]) == pytest.approx(1, abs=0.02)
    saved = cet.Spectrum.load(tmp_path / "pairs")
    saved.check(block)
    np.testing.assert_array_equal(saved.eigenvalues, [pair["eigenvalue"] for pair in document["pairs"]])
    run = tool(*arguments, "--tensor", name, "-k", 2, "--initial", tmp_path / "pairs", "--block-size", 2)
    assert run.returncode == 0, run.stderr
    run = tool(*arguments, "--tensor", "nothing")
    assert run.returncode == 1 and "only pattern 'nothing'" in run.stderr


def test_check_compares_with_the_original(tool, digits, compressed):
    folder, _ = compressed
    arguments = ["--against", digits / "model.onnx", "--data", digits / "calibration.npz"]
    document = json.loads(tool("check", folder / "small.onnx", *arguments, "--json").stdout)
    (output,) = document["outputs"]
    images = {"input": np.load(digits / "calibration.npz")["input"]}
    small = cet.run(cet.Model(folder / "small.onnx"), images)["logits"]
    whole = cet.run(cet.Model(digits / "model.onnx"), images)["logits"]
    assert output["max_abs_difference"] == pytest.approx(float(np.abs(small - whole).max()), rel=1e-3)
    assert output["top1_agreement"] == pytest.approx(float((small.argmax(1) == whole.argmax(1)).mean()))
    run = tool("check", folder / "small.onnx", *arguments, "--tolerance", 1e-6)
    assert run.returncode == 1 and "logits" in run.stderr
    run = tool("check", digits / "model.onnx", *arguments, "--tolerance", 0)
    assert run.returncode == 0, run.stderr


def test_check_feeds_a_fixed_batch(tool, digits, tmp_path):
    model = onnx.load(digits / "model.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 8
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 8
    onnx.save(model, tmp_path / "eight.onnx")
    run = tool(
        "check", tmp_path / "eight.onnx", "--against", digits / "model.onnx", "--data", digits / "calibration.npz",
        "--tolerance", 1e-4)
    assert run.returncode == 0, run.stderr


def test_check_alone_loads_the_file(tool, compressed):
    folder, _ = compressed
    run = tool("check", folder / "small.onnx")
    assert run.returncode == 0 and "opset" in run.stdout


def test_calibration_folder_of_npy_equals_npz(tool, digits, tmp_path, compressed):
    folder, _ = compressed
    (tmp_path / "data").mkdir()
    for name, array in np.load(digits / "calibration.npz").items():
        np.save(tmp_path / "data" / f"{name}.npy", array)
    run = tool(
        "compress", digits / "model.onnx", tmp_path / "x.onnx", "--data", tmp_path / "data", "--target-ratio", 11)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "x.onnx").read_bytes() == (folder / "small.onnx").read_bytes()


def on_terminal(build, arguments, interrupt=False):
    """Runs the tool with standard error on a terminal; optionally presses Ctrl-C once it shows progress."""
    parent, child = pty.openpty()
    environment = dict(os.environ, TERM="xterm")
    process = subprocess.Popen(
        [str(build / "bin" / "cet-onnx"), *map(str, arguments)], stdout=subprocess.PIPE, stderr=child, env=environment)
    os.close(child)
    shown = b""
    try:
        while chunk := os.read(parent, 4096):
            shown += chunk
            if interrupt:
                process.send_signal(signal.SIGINT)
                interrupt = False
    except OSError:
        pass  # Linux's way of saying that the other side is closed.
    os.close(parent)
    output = process.communicate(timeout=60)[0]
    return process.returncode, output.decode(), shown.decode()


def test_progress_is_drawn_on_a_terminal(build, digits, tmp_path):
    status, output, shown = on_terminal(build, [
        "compress", digits / "model.onnx", tmp_path / "x.onnx", "--data", digits / "calibration.npz", "--target-ratio",
        11, *QUICK])
    assert status == 0
    assert "sensitivity" in shown and "%" in shown and "#" in shown
    assert shown.endswith("\r\x1b[K"), "the bar is gone at the end"
    assert "\x1b" not in output


def test_progress_quiet_is_silent_on_a_terminal(build, digits, tmp_path):
    status, output, shown = on_terminal(build, [
        "compress", digits / "model.onnx", tmp_path / "x.onnx", "--data", digits / "calibration.npz", "--target-ratio",
        11, *QUICK, "--quiet"])
    assert (status, output, shown) == (0, "", "")


def test_interrupt_cancels_and_leaves_no_file(build, digits, tmp_path):
    status, output, shown = on_terminal(build, [
        "compress", digits / "model.onnx", tmp_path / "x.onnx", "--data", digits / "calibration.npz", "--target-ratio",
        11, "--report", tmp_path / "r.html"], interrupt=True)
    assert status == 130
    assert output == ""
    assert re.search(r"cet-onnx: interrupted\r?\n$", shown)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_in_a_pipe_is_one_line(build, digits, tmp_path, number):
    process = subprocess.Popen(
        [str(build / "bin" / "cet-onnx"), "sweep", str(digits / "model.onnx"), "--data", str(digits / "calibration.npz"),
         "--ratios", ",".join(str(4 + k / 10) for k in range(100)), "-o", str(tmp_path / "out")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(1.0)
    process.send_signal(number)
    output, error = process.communicate(timeout=60)
    assert process.returncode == 128 + number, "a hundred ratios take longer than a second"
    assert (output, error) == ("", "cet-onnx: interrupted\n")
    assert not (tmp_path / "out").exists()


def test_interrupt_with_json_prints_a_document(build, digits, tmp_path):
    process = subprocess.Popen(
        [str(build / "bin" / "cet-onnx"), "spectrum", str(digits / "model.onnx"), "--data", str(digits / "calibration.npz"),
         "-k", "200", "--tolerance", "1e-7", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(1.0)
    process.send_signal(signal.SIGTERM)
    output, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (143, "cet-onnx: interrupted\n")
    assert json.loads(output) == {"command": "spectrum", "error": "interrupted", "status": None, "exit_code": 143}


def test_a_reader_of_tables_that_goes_away_is_no_error(build, digits):
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(
        [str(build / "bin" / "cet-onnx"), "inspect", str(digits / "model.onnx")], stdout=writing,
        stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writing)
    assert (process.returncode, process.stderr) == (0, "")


def test_a_full_disk_behind_standard_output_is_a_failure(build, digits):
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [str(build / "bin" / "cet-onnx"), "inspect", str(digits / "model.onnx")], stdout=full,
            stderr=subprocess.PIPE, text=True, timeout=60)
    assert process.returncode == 1 and process.stderr.startswith("cet-onnx: cannot write to standard output")
