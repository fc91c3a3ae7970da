"""The commands and snippets of the README and of docs/activations.md work as they are written, on a model that has what they name."""

import os
import re
import subprocess

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper


def small_model(has_table=True):
    """conv1.weight, fc1.weight and a table that Gather reads by what the images are, or without it."""
    random = np.random.default_rng(0)

    def weight(name, *shape):
        return numpy_helper.from_array((random.standard_normal(shape) * 0.2).astype(np.float32), name)

    node = helper.make_node
    nodes = [
        node("Conv", ["input", "conv1.weight", "conv1.bias"], ["c"], name="conv1", pads=[1, 1, 1, 1]), node("Relu", ["c"], ["r"]),
        node("GlobalAveragePool", ["r"], ["p"]), node("Flatten", ["p"], ["f"]),
        *([node("ArgMax", ["f"], ["index"], axis=1, keepdims=0), node("Gather", ["table", "index"], ["row"], name="lookup"),
           node("Add", ["f", "row"], ["s"])] if has_table else []),
        node("Gemm", ["s" if has_table else "f", "fc1.weight", "fc1.bias"], ["h"], name="fc1", transB=1),
        node("Relu", ["h"], ["a"]), node("Gemm", ["a", "fc2.weight", "fc2.bias"], ["logits"], name="fc2", transB=1)]
    weights = [
        weight("conv1.weight", 32, 1, 3, 3), weight("conv1.bias", 32), *([weight("table", 32, 32)] if has_table else []),
        weight("fc1.weight", 64, 32),
        weight("fc1.bias", 64), weight("fc2.weight", 10, 64), weight("fc2.bias", 10)]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("input", 1, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", 1, ["N", 10])], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def place(tmp_path):
    onnx.save(small_model(), tmp_path / "model.onnx")
    images = np.random.default_rng(1).standard_normal((96, 1, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "calibration.npz", input=images)
    np.save(tmp_path / "images.npy", images)
    return tmp_path


def run(command, place, build, root):
    environment = {**os.environ, "PATH": f"{build / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(root / "bindings" / "python")}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, (command, done.stdout[-1000:], done.stderr[-2000:])
    return done


@pytest.mark.parametrize("document, count", [("README.md", 6), ("docs/activations.md", 2)])
def test_commands_work_as_they_are_written(document, count, place, build, root):
    # Each begins a line of its own; a file that is written again is libcet's own.
    commands = re.findall(r"^    (cet-onnx .*)$", (root / document).read_text(), re.M)
    assert len(commands) == count
    for command in commands:
        run(["bash", "-c", command.replace("--samples 512", "--samples 64")], place, build, root)


def snippet(root, language):
    found = re.findall(rf"^```{language}\n(.*?)^```$", (root / "README.md").read_text(), re.M | re.S)
    assert len(found) == 1
    return found[0]


def test_python_snippet_works_as_it_is_written(place, build, root):
    import sys

    run([sys.executable, "-c", snippet(root, "python")], place, build, root)
    assert {"small.onnx", "report.html"} <= {path.name for path in place.iterdir()}


def test_c_snippet_works_as_it_is_written(place, build, root):
    include, body = snippet(root, "c").split("\n", 1)
    (place / "snippet.c").write_text(f"{include}\n#include <stdio.h>\nint main(void) {{\n{body}return 0;\n}}\n")
    run(["cc", "-std=c99", "-Wall", "-Werror", "snippet.c", "-o", "snippet", f"-I{root / 'include'}", f"-L{build / 'lib'}", "-lcet",
         f"-Wl,-rpath,{build / 'lib'}"], place, build, root)
    done = run(["./snippet"], place, build, root)
    assert done.stderr == "" and (place / "small.onnx").exists()
