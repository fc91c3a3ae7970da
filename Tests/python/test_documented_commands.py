"""Command lines of the documents that no other test runs: they run on a small model, or what they name exists."""

import os
import pathlib
import re
import shlex
import subprocess
import sys

import numpy as np
import onnx
import pytest
from test_readme import small_model

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# The tool's command lines of the others are run by test_readme and test_tutorials.
DOCUMENTS = ["README.md", "CONTRIBUTING.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))]
RUN_ELSEWHERE = ["README.md", "docs/activations.md"]
COMMAND = re.compile(r"^    ((?:[A-Z_]+=\S+ )*(?:cet-onnx|python3?|\.venv/bin/python|make|tools/\S+) .*|tools/\S+|make \S+)$", re.M)


def command_lines():
    for document in DOCUMENTS:
        for line in COMMAND.findall((ROOT / document).read_text()):
            if not (document in RUN_ELSEWHERE and line.startswith("cet-onnx")):
                for command in line.split("#")[0].split("&&"):
                    yield pytest.param(command.strip(), id=f"{document}: {command.strip()}")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Models and arrays under the names that the documents use: MODEL.onnx is for tools that know few operators."""
    folder = tmp_path_factory.mktemp("commands")
    images = np.random.default_rng(1).standard_normal((96, 1, 8, 8)).astype(np.float32)
    for name in ["model.onnx", "bert_base.onnx", "MODEL.onnx"]:
        onnx.save(small_model(has_table=name != "MODEL.onnx"), folder / name)
    for name in ["calibration.npz", "tokens.npz", "CALIBRATION.npz", "DATA.npz"]:
        np.savez(folder / name, input=images)
    np.savez(folder / "TEST.npz", input=images, labels=np.random.default_rng(2).integers(0, 10, 96))
    return folder


@pytest.mark.parametrize("command", list(command_lines()))
def test_command_works_as_it_is_written(command, place, build):
    words = shlex.split(command.replace("--samples 512", "--samples 64"))
    while "=" in words[0]:
        words.pop(0)
    if words[0] == "make":
        # Its recipe can be told, with the variables that the line sets.
        done = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout, done.stderr
        return
    if words[0].startswith("tools/"):
        assert os.access(ROOT / words[0], os.X_OK)
        return
    if words[1:3] == ["-m", "pytest"]:
        assert any((ROOT / word).exists() for word in words[3:])
        return
    if words[0] != "cet-onnx":
        words[:2] = [sys.executable, str(ROOT / words[1])]
        if not any(word.split(":")[0].endswith(".onnx") for word in words):
            words[2:] = ["--help"]  # a model of hundreds of megabytes
    environment = {
        **os.environ, "PATH": f"{build / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "bindings/python"),
        "CET_LIBRARY": str(build / "lib/libcet.so")}
    done = subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, (words, done.stdout[-1000:], done.stderr[-2000:])
