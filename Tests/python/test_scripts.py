"""Scripts answer wrong arguments with one line and exit code 2."""

import os
import subprocess
import sys

import numpy as np
import pytest

# Script and arguments (M and D stand for the bundled model and its data, T for a file that is neither), words of the answer.
WRONG = {
    "hvp nothing": ("Benchmarks/hvp.py", [], ["models"]),
    "hvp unknown model": ("Benchmarks/hvp.py", ["resnet19"], ["'resnet19'", "resnet18"]),
    "hvp missing file": ("Benchmarks/hvp.py", ["nowhere.onnx:D"], ["'nowhere.onnx'"]),
    "hvp negative batch": ("Benchmarks/hvp.py", ["resnet18", "--batch", "-8"], ["--batch", "'-8'"]),
    "hvp unknown loss": ("Benchmarks/hvp.py", ["resnet18", "--loss", "hinge"], ["--loss", "hinge"]),
    "session nothing": ("Benchmarks/session.py", [], ["model"]),
    "session unknown model": ("Benchmarks/session.py", ["vgg"], ["'vgg'", "resnet18"]),
    "session missing file": ("Benchmarks/session.py", ["nowhere.onnx:D"], ["'nowhere.onnx'"]),
    "session other data": ("Benchmarks/session.py", ["M:X"], ["'input'", "other"]),
    "session one budget": ("Benchmarks/session.py", ["M:D", "--ratios", "8"], ["--ratios", "'8'"]),
    "session unknown coding": ("Benchmarks/session.py", ["M:D", "--coding", "magic"], ["--coding", "magic"]),
    "spectrum nothing": ("Benchmarks/spectrum.py", [], ["model"]),
    "spectrum unknown model": ("Benchmarks/spectrum.py", ["vgg"], ["'vgg'", "bert_tiny"]),
    "spectrum negative pairs": ("Benchmarks/spectrum.py", ["bert_tiny", "--pairs", "-1"], ["--pairs", "'-1'"]),
    "models nothing": ("Benchmarks/models.py", [], ["name"]),
    "models unknown": ("Benchmarks/models.py", ["vgg", "x.onnx"], ["'vgg'"]),
    "models folder missing": ("Benchmarks/models.py", ["bert_tiny", "nowhere/x.onnx"], ["'nowhere/x.onnx'"]),
    "draws nothing": ("Benchmarks/draws.py", [], ["model"]),
    "draws missing model": ("Benchmarks/draws.py", ["nowhere.onnx", "D"], ["'nowhere.onnx'"]),
    "draws no model": ("Benchmarks/draws.py", ["T", "D"], ["ONNX"]),
    "draws missing data": ("Benchmarks/draws.py", ["M", "nowhere.npz"], ["'nowhere.npz'"]),
    "draws no data": ("Benchmarks/draws.py", ["M", "T"], [".npz"]),
    "draws negative ratio": ("Benchmarks/draws.py", ["M", "D", "--ratios", "8,-3"], ["--ratios", "'-3'"]),
    "draws too many samples": ("Benchmarks/draws.py", ["M", "D", "--samples", "100000"], ["--samples", "100000"]),
    "methods nothing": ("Benchmarks/compare_methods.py", [], ["model"]),
    "methods unknown": ("Benchmarks/compare_methods.py", ["M", "D", "--methods", "cet,magic"], ["'magic'", "hawq-v2"]),
    "methods ratio no number": ("Benchmarks/compare_methods.py", ["M", "D", "--ratios", "many"], ["--ratios", "'many'"]),
    "methods other data": ("Benchmarks/compare_methods.py", ["M", "X"], ["'input'", "other"]),
    "predictions nothing": ("Benchmarks/predictions.py", [], ["model"]),
    "predictions unknown method": ("Benchmarks/predictions.py", ["M", "D", "--method", "magic"], ["--method", "magic"]),
    "encodings nothing": ("Benchmarks/encodings.py", [], ["model"]),
    "encodings zero rounds": ("Benchmarks/encodings.py", ["M", "D", "--rounds", "0"], ["--rounds", "'0'"]),
    "encodings unknown option": ("Benchmarks/encodings.py", ["M", "D", "--colour"], ["--colour"]),
    "peers unknown": ("Benchmarks/peers/run.py", ["--peers", "magic"], ["'magic'", "nncf"]),
    "peers missing packs": ("Benchmarks/peers/run.py", ["--packs", "nowhere"], ["'nowhere'"]),
    "peers negative samples": ("Benchmarks/peers/run.py", ["--samples", "-1"], ["--samples", "'-1'"]),
    "peers efficientnet nothing": ("Benchmarks/peers/make_efficientnet.py", [], ["folder"]),
    "compress nothing": ("examples/python/compress.py", [], ["4 arguments", "RATIO"]),
    "compress missing model": ("examples/python/compress.py", ["nowhere.onnx", "D", "11", "o.onnx"], ["'nowhere.onnx'"]),
    "compress negative ratio": ("examples/python/compress.py", ["M", "D", "-3", "o.onnx"], ["RATIO", "'-3'"]),
    "compress ratio no number": ("examples/python/compress.py", ["M", "D", "many", "o.onnx"], ["RATIO", "'many'"]),
    "accuracy nothing": ("examples/python/accuracy.py", [], ["TEST.npz"]),
    "accuracy missing model": ("examples/python/accuracy.py", ["D", "M", "nowhere.onnx"], ["'nowhere.onnx'"]),
    "mpi nothing": ("examples/mpi/spectrum.py", [], ["COUNT", "BATCH"]),
    "mpi negative count": ("examples/mpi/spectrum.py", ["M", "D", "-5", "16"], ["COUNT", "'-5'"]),
    "cases nothing": ("tools/make_node_cases.py", [], ["folder"]),
    "rate missing folder": ("tools/conformance_rate.py", ["nowhere"], ["'nowhere'"]),
    "compare nothing": ("tools/compare_builds.py", [], ["old", "new"]),
    "compare no build": ("tools/compare_builds.py", ["nowhere", "nowhere"], ["'nowhere/bin/cet-onnx'"]),
    "dump nothing": ("tools/dump_model.py", [], ["model"]),
    "dump missing model": ("tools/dump_model.py", ["nowhere.onnx"], ["'nowhere.onnx'"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_answered_in_one_line(root, digits, tmp_path, case):
    script, arguments, words = WRONG[case]
    if script.endswith("hvp.py"):
        pytest.importorskip("torch")
    (tmp_path / "text").write_text("neither\n")
    np.savez(tmp_path / "other.npz", other=np.zeros(3))
    before = sorted(tmp_path.iterdir())
    places = {
        "M": digits / "model.onnx", "D": digits / "calibration.npz", "T": tmp_path / "text", "X": tmp_path / "other.npz"}
    arguments = [":".join(str(places.get(part, part)) for part in argument.split(":")) for argument in arguments]
    run = subprocess.run(
        [sys.executable, str(root / script), *arguments],
        capture_output=True, text=True, timeout=120, cwd=tmp_path,
        env=dict(os.environ, PYTHONPATH=str(root / "bindings" / "python")))
    assert (run.returncode, run.stdout) == (2, ""), run.stderr
    assert len(run.stderr.splitlines()) == 1, run.stderr
    for word in words:
        assert word in run.stderr
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("arguments", [[], ["M", "D", "-3", "o.onnx"], ["M", "D", "many", "o.onnx"], ["M", "D", "11"]], ids=str)
def test_c_example_answers_wrong_arguments_in_one_line(compile_c, root, digits, tmp_path, arguments):
    places = {"M": digits / "model.onnx", "D": digits / "calibration.npz"}
    program = compile_c(root / "examples" / "c" / "compress.c")
    run = subprocess.run(
        [program, *[places.get(argument, argument) for argument in arguments]], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 2 and run.stderr.startswith("usage: ") and len(run.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_example_says_the_librarys_error_in_one_line(root, digits, tmp_path):
    run = subprocess.run(
        [sys.executable, str(root / "examples/python/compress.py"), digits / "model.onnx", digits / "calibration.npz", "99",
         tmp_path / "o.onnx"], capture_output=True, text=True, timeout=120,
        env=dict(os.environ, PYTHONPATH=str(root / "bindings" / "python")))
    assert run.returncode == 1 and len(run.stderr.splitlines()) == 1 and "ratio 99" in run.stderr
