"""What the tool reads is never lost, what is not libcet's own is not replaced unasked, and `-` stands for a pipe."""

import json
import os
import subprocess

import numpy as np
import onnx
import pytest

import cet


@pytest.fixture
def inputs(tmp_path, digits, plan):
    """A folder with a model, its data (as a file and as a folder) and a plan."""
    for name in ("model.onnx", "calibration.npz"):
        (tmp_path / name).write_bytes((digits / name).read_bytes())
    (tmp_path / "arrays").mkdir()
    for name, array in np.load(digits / "calibration.npz").items():
        np.save(tmp_path / "arrays" / f"{name}.npy", array)
    plan.save(tmp_path / "plan.json")
    return tmp_path


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()}


# What files become of: few samples and grids do as well as others.
COMPRESS = [
    "compress", "model.onnx", "--data", "calibration.npz", "--samples", "64", "--coding", "affine", "--target-ratio", "11"]


@pytest.fixture(scope="module")
def plan(model, calibration):
    """That of COMPRESS."""
    return cet.plan(model, calibration, target_ratio=11, samples=64, coding="affine")


@pytest.fixture(scope="module")
def quantized(model, calibration, plan):
    return cet.quantize(model, calibration, plan)


# Command lines whose output, the last word, is one of their inputs.
CLASHES = {
    "compress to the model": [*COMPRESS, "model.onnx"],
    "compress to the model by another path": [*COMPRESS, "./arrays/../model.onnx"],
    "compress to the data": [*COMPRESS, "calibration.npz"],
    "compress to an array": ["compress", "model.onnx", "--data", "arrays", "--target-ratio", "11", "arrays/input.npy"],
    "compress to the plan": ["compress", "model.onnx", "--data", "calibration.npz", "--plan", "plan.json", "plan.json"],
    "report to the model": [*COMPRESS, "o.onnx", "--report", "model.onnx"],
    "report to the data": [*COMPRESS, "o.onnx", "--report", "calibration.npz"],
    "plan to the model": ["plan", *COMPRESS[1:], "-o", "model.onnx"],
    "plan to the data": ["plan", *COMPRESS[1:], "-o", "calibration.npz"],
    "plan to the former plan": ["plan", "model.onnx", "--from", "plan.json", "--target-ratio", "9", "-o", "plan.json"],
    "plan's report to the former plan": [
        "plan", "model.onnx", "--from", "plan.json", "--target-ratio", "9", "-o", "q.json", "--report", "plan.json"],
    "spectrum to the model": ["spectrum", *COMPRESS[1:4], "-k", "1", "--save", "model.onnx"],
    "spectrum's state to the model": ["spectrum", *COMPRESS[1:4], "-k", "1", "--state", "model.onnx"],
    "spectrum to the data": ["spectrum", *COMPRESS[1:4], "-k", "1", "--save", "calibration.npz"],
}


@pytest.mark.parametrize("force", [False, True], ids=["", "force"])
@pytest.mark.parametrize("through", ["name", "symbolic link", "hard link"])
@pytest.mark.parametrize("case", CLASHES)
def test_output_that_is_an_input_is_refused(tool, inputs, case, through, force):
    *arguments, output = CLASHES[case]
    if through != "name":
        (os.symlink if through == "symbolic link" else os.link)(inputs / output, inputs / "link")
        output = "link"
    before = contents(inputs)
    run = tool(*arguments, output, *["--force"] * force, cwd=inputs)
    assert run.returncode == 2 and "same file" in run.stderr and output in run.stderr, run.stderr
    assert contents(inputs) == before


@pytest.mark.parametrize("arguments", [
    [*COMPRESS, "o.onnx", "--report", "o.onnx"],
    [*COMPRESS, "o.onnx", "--report", "./arrays/../o.onnx"],
    ["plan", *COMPRESS[1:], "-o", "o.json", "--report", "o.json"],
    ["spectrum", *COMPRESS[1:4], "-k", "1", "--save", "o", "--state", "o"],
    ["sweep", "model.onnx", "--data", "calibration.npz", "--ratios", "8,8.0", "-o", "out"],
], ids=["compress", "by another path", "plan", "spectrum", "sweep"])
def test_two_outputs_in_one_file_are_refused(tool, inputs, arguments):
    before = contents(inputs)
    run = tool(*arguments, cwd=inputs)
    assert run.returncode == 2, run.stderr
    assert contents(inputs) == before


def test_sweep_over_its_own_input_is_refused(tool, inputs):
    (inputs / "out").mkdir()
    (inputs / "out" / "model.8x.onnx").symlink_to(inputs / "model.onnx")
    before = contents(inputs)
    run = tool("sweep", "model.onnx", "--data", "calibration.npz", "--ratios", "8", "-o", "out", "--force", cwd=inputs)
    assert run.returncode == 2 and "same file" in run.stderr
    assert contents(inputs) == before


@pytest.fixture
def external(inputs):
    """The model with its tensors in a file beside it."""
    model = onnx.load(inputs / "model.onnx")
    onnx.save(
        model, inputs / "model.onnx", save_as_external_data=True, all_tensors_to_one_file=True, location="weights.bin",
        size_threshold=0)
    return inputs


@pytest.mark.parametrize("arguments", [[*COMPRESS], [*COMPRESS, "o.onnx", "--report"], ["plan", *COMPRESS[1:], "-o"]], ids=str)
def test_output_that_is_external_data_of_the_model_is_refused(tool, external, arguments):
    before = contents(external)
    run = tool(*arguments, "weights.bin", "--force", cwd=external)
    assert run.returncode == 2 and "weights.bin" in run.stderr
    assert contents(external) == before


def test_save_over_the_model_or_its_external_data_is_refused(external):
    model = cet.Model(external / "model.onnx")
    data = cet.Calibration.from_npz(external / "calibration.npz")
    quantized = cet.quantize(model, data, cet.plan(model, data, target_bits=4, method="uniform", samples=16))
    os.symlink(external / "model.onnx", external / "link")
    os.link(external / "weights.bin", external / "hard")
    before = contents(external)
    for name in ("model.onnx", "link", "weights.bin", "hard", "arrays/../model.onnx"):
        with pytest.raises(cet.InvalidArgument, match="loaded from"):
            quantized.save(external / name)
        assert model.reads(external / name)
    assert not model.reads(external / "calibration.npz") and not model.reads(external / "nowhere")
    assert contents(external) == before
    # A copy is another file.
    (external / "copy").write_bytes((external / "model.onnx").read_bytes())
    quantized.save(external / "copy")
    assert (external / "copy").read_bytes() == quantized.to_bytes()


def test_save_of_a_model_from_memory_replaces_any_file(inputs, quantized, digits, calibration, plan):
    loaded = cet.Model((inputs / "model.onnx").read_bytes())
    small = cet.quantize(loaded, calibration, plan)
    small.save(inputs / "model.onnx")
    assert (inputs / "model.onnx").read_bytes() == quantized.to_bytes()


# Option that names an output, and a command line without it.
WRITERS = {
    "compress": (COMPRESS, []),
    "report": ([*COMPRESS, "o.onnx"], ["--report"]),
    "plan": (["plan", *COMPRESS[1:]], ["-o"]),
    "spectrum": (["spectrum", *COMPRESS[1:4], "-k", "1"], ["--save"]),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_existing_file_is_replaced_only_when_it_is_ours_or_with_force(tool, inputs, writer):
    arguments, option = WRITERS[writer]
    foreign = inputs / "notes.txt"
    foreign.write_text("not libcet's")
    before = contents(inputs)
    run = tool(*arguments, *option, foreign, cwd=inputs)
    assert run.returncode == 1 and "notes.txt" in run.stderr and "--force" in run.stderr
    assert contents(inputs) == before
    run = tool(*arguments, *option, foreign, "--force", cwd=inputs)
    assert run.returncode == 0, run.stderr
    assert foreign.read_bytes() != before["notes.txt"]
    # Now it is ours: replaced without a word.
    (inputs / "o.onnx").unlink(missing_ok=True)
    run = tool(*arguments, *option, foreign, cwd=inputs)
    assert run.returncode == 0, run.stderr
    # An empty file holds nothing that could be lost.
    foreign.write_text("")
    assert tool(*arguments, *option, foreign, cwd=inputs).returncode == 0


@pytest.mark.parametrize("kind", ["compress", "plan"])
def test_existing_file_of_another_kind_is_not_replaced(tool, inputs, quantized, plan, kind):
    quantized.save(inputs / "ours.onnx")
    arguments, option = WRITERS["plan" if kind == "compress" else "compress"]
    target = "ours.onnx" if kind == "compress" else "other.json"
    plan.save(inputs / "other.json")
    before = contents(inputs)
    run = tool(*arguments, *option, target, cwd=inputs)
    assert run.returncode == 1 and "--force" in run.stderr
    assert contents(inputs) == before


def test_a_models_link_is_followed_and_kept(tool, inputs, quantized):
    quantized.save(inputs / "real.onnx")
    (inputs / "link.onnx").symlink_to("real.onnx")
    assert tool(*COMPRESS, "link.onnx", cwd=inputs).returncode == 0
    assert (inputs / "link.onnx").is_symlink()
    assert tool("plan", *COMPRESS[1:], "-o", "first.json", cwd=inputs).returncode == 0
    (inputs / "link.json").symlink_to("first.json")
    first = (inputs / "first.json").read_bytes()
    assert tool("plan", *COMPRESS[1:-1], "8", "-o", "link.json", cwd=inputs).returncode == 0
    assert (inputs / "link.json").is_symlink() and (inputs / "first.json").read_bytes() != first


def test_failed_run_leaves_old_outputs_as_they_were(tool, inputs):
    run = tool(*COMPRESS, "o.onnx", "--report", "r.html", cwd=inputs)
    assert run.returncode == 0, run.stderr
    before = contents(inputs)
    run = tool(*COMPRESS[:-1], "99", "o.onnx", "--report", "r.html", cwd=inputs)
    assert run.returncode == 1 and contents(inputs) == before


def test_failure_while_files_appear_puts_old_ones_back(build, inputs):
    """Standard output that breaks is the last thing that can fail: by then the report has its new contents."""
    assert subprocess.run(
        [build / "bin" / "cet-onnx", *COMPRESS, "o.onnx", "--report", "r.html"], cwd=inputs, capture_output=True).returncode == 0
    before = contents(inputs)
    with open("/dev/full", "wb") as full:
        run = subprocess.run(
            [build / "bin" / "cet-onnx", *COMPRESS[:-1], "8", "-", "--report", "r.html"], cwd=inputs, stdout=full,
            stderr=subprocess.PIPE, text=True)
    assert run.returncode == 1 and run.stderr.startswith("cet-onnx: cannot write to standard output")
    assert contents(inputs) == before


def piped(build, inputs, *arguments, given=b""):
    return subprocess.run([build / "bin" / "cet-onnx", *arguments], cwd=inputs, input=given, capture_output=True, timeout=120)


def test_model_on_standard_output_is_the_file(build, inputs, quantized):
    run = piped(build, inputs, *COMPRESS, "-", "--quiet")
    assert (run.returncode, run.stderr) == (0, b"")
    assert run.stdout == quantized.to_bytes()
    # Tables go where a person reads them.
    run = piped(build, inputs, *COMPRESS, "-")
    assert run.stdout == quantized.to_bytes() and b"whole file" in run.stderr


def test_plan_and_report_on_standard_output(build, inputs, plan):
    run = piped(build, inputs, "plan", *COMPRESS[1:], "-o", "-", "--quiet")
    assert run.stderr == b"" and cet.Plan.from_json(run.stdout.decode()).bits == plan.bits
    run = piped(build, inputs, *COMPRESS, "o.onnx", "--report", "-", "--quiet")
    assert run.returncode == 0 and run.stdout.startswith(b"<!DOCTYPE html>") and (inputs / "o.onnx").exists()


def test_model_plan_and_data_from_standard_input(build, inputs, quantized):
    model = (inputs / "model.onnx").read_bytes()
    run = piped(build, inputs, "compress", "-", "-", *COMPRESS[2:], "--quiet", given=model)
    assert run.stdout == quantized.to_bytes(), run.stderr
    run = piped(
        build, inputs, "compress", "model.onnx", "-", "--data", "calibration.npz", "--plan", "-", "--quiet",
        given=(inputs / "plan.json").read_bytes())
    assert run.stdout == quantized.to_bytes(), run.stderr
    run = piped(
        build, inputs, "compress", "model.onnx", "-", "--data", "-", *COMPRESS[4:], "--quiet",
        given=(inputs / "calibration.npz").read_bytes())
    assert run.stdout == quantized.to_bytes(), run.stderr
    assert json.loads(piped(build, inputs, "inspect", "-", "--json", given=model).stdout)["sha256"]
    run = piped(build, inputs, "check", "-", "--against", "model.onnx", "--data", "calibration.npz", "--json", given=model)
    assert json.loads(run.stdout)["outputs"][0]["max_abs_difference"] == 0
    run = piped(build, inputs, "inspect", "-", given=b"")
    assert run.returncode == 1 and run.stderr.count(b"\n") == 1


def test_redirected_input_is_safe_from_the_output(build, inputs):
    before = contents(inputs)
    with open(inputs / "model.onnx", "rb") as source:
        run = subprocess.run(
            [build / "bin" / "cet-onnx", "compress", "-", "model.onnx", *COMPRESS[2:], "--force"], cwd=inputs, stdin=source,
            capture_output=True, text=True)
    assert run.returncode == 2 and "same file" in run.stderr
    with open(inputs / "model.onnx", "ab") as target:
        run = subprocess.run(
            [build / "bin" / "cet-onnx", *COMPRESS, "-"], cwd=inputs, stdout=target, stderr=subprocess.PIPE, text=True)
    assert run.returncode == 2 and "same file" in run.stderr
    assert contents(inputs) == before


def test_a_reader_of_the_model_that_goes_away_is_a_silent_failure(build, inputs):
    reading, writing = os.pipe()
    os.close(reading)
    run = subprocess.run(
        [build / "bin" / "cet-onnx", *COMPRESS, "-", "--report", "r.html", "--quiet"], cwd=inputs, stdout=writing,
        stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (run.returncode, run.stderr) == (141, "")
    assert not (inputs / "r.html").exists()
