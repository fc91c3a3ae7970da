"""libonnx as the outside judge, in a process of its own (examples/onnx-judge): every file that is written, and `cet-onnx check`."""

import json
import os
import shutil
import subprocess
import zlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import cet
import corpus

BITS = (2, 3, 4, 8)


@pytest.fixture(scope="module")
def judge(build):
    program = os.environ.get("CET_ONNX_JUDGE") or build / "libexec" / "cet" / "onnx-judge"
    if not os.path.exists(program):
        pytest.skip("onnx-judge is not built: libonnx-dev is not installed")

    def verdicts(mode, paths):
        paths = [str(path) for path in paths]
        run = subprocess.run([str(program), mode, *paths], capture_output=True, text=True, timeout=120)
        lines = [line.split("\t") for line in run.stdout.splitlines() if "\t" in line]
        found = {fields[1]: (fields[0], fields[2] if len(fields) > 2 else "") for fields in lines}
        assert list(found) == paths
        words = {word for word, _ in found.values()}
        assert run.returncode == (1 if "invalid" in words else 3 if "beyond" in words else 0)
        return [found[path] for path in paths]

    return verdicts


def opset(model):
    return max([o.version for o in model.opset_import if o.domain in ("", "ai.onnx")], default=0)


@pytest.mark.long
@pytest.mark.parametrize("encoding", ["planes", "qdq"])
def test_written_files_are_valid_where_their_models_are(judge, tmp_path, encoding):
    cases = [case for case in corpus.CASES if case.quantizable and not case.refused]
    sources, written = [], []
    for index, case in enumerate(cases):
        model, data, turn = cet.Model(case.model), cet.Calibration(case.inputs), zlib.crc32(case.name.encode())
        fix = {parameter.name: BITS[(turn + k) % 4] for k, parameter in enumerate(model.parameters)}
        plan = cet.plan(
            model, data, method="uniform", target_bits=8, bits=BITS, fix=fix, encoding=encoding, rounding="nearest",
            granularity=("per-axis", "per-tensor", "block:4")[turn % 3])
        sources.append(tmp_path / f"{index}.onnx")
        written.append(tmp_path / f"{index}.small.onnx")
        sources[-1].write_bytes(case.model)
        cet.quantize(model, data, plan).save(written[-1])
    counts = {"valid": 0, "beyond": 0, "invalid": 0}
    for case, path, (before, reason), (word, why) in zip(cases, written, judge("check", sources), judge("check", written)):
        counts[word] += 1
        if word == "beyond":
            model = onnx.load(path)
            assert model.ir_version > 8 or opset(model) > 17 or "function" in why or "ai.onnx" in why, f"{case}: {why}"
        else:  # what the judge has against the file it has against the model
            assert word == before, f"{case}: {why}"
    # DequantizeLinear with blocks and few bits raises nearly every file beyond libonnx 1.12.
    assert counts["valid"] > (350 if encoding == "planes" else 0), counts
    assert all(word == "valid" for word, _ in judge("dump", written))


def test_judge_tells_valid_invalid_and_beyond_apart(judge, tmp_path, root):
    info = helper.make_tensor_value_info
    def model(op, ir=8, version=17):
        graph = helper.make_graph(
            [helper.make_node(op, ["x"], ["y"])], "g", [info("x", TensorProto.FLOAT, [2])], [info("y", TensorProto.FLOAT, [2])])
        return helper.make_model(graph, ir_version=ir, opset_imports=[helper.make_opsetid("", version)])

    wrong = model("Relu")
    wrong.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 3  # found by shape inference alone
    files = {
        "valid": model("Relu").SerializeToString(), "unknown operator": model("Nonsense").SerializeToString(),
        "wrong shape": wrong.SerializeToString(), "no model": b"\x0a\xff", "later": model("Relu", ir=10).SerializeToString(),
        "later operators": model("Relu", version=18).SerializeToString(),
    }
    for name, contents in files.items():
        (tmp_path / name).write_bytes(contents)
    found = [word for word, _ in judge("check", [tmp_path / name for name in files])]
    assert found == ["valid", "invalid", "invalid", "invalid", "beyond", "beyond"]


# MARK: cet-onnx check

@pytest.fixture
def small(tmp_path):
    random = np.random.default_rng(1)
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [info("x", TensorProto.FLOAT, ["n", 4])],
        [info("y", TensorProto.FLOAT, ["n", 3])], [numpy_helper.from_array(random.standard_normal((4, 3)).astype(np.float32), "w")])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(model, tmp_path / "m.onnx")
    return model, tmp_path / "m.onnx"


def said(tool, path, **options):
    run = tool("check", path, "--json", **options)
    assert run.returncode == 0, run.stderr
    text = tool("check", path, **options)
    assert text.returncode == 0
    # Lines are broken at 80 columns.
    words = " ".join(text.stdout.split())
    return json.loads(run.stdout)["libonnx"], words[words.index("libonnx "):]


def test_check_tells_libonnx_word(judge, tool, small):
    model, path = small
    assert said(tool, path)[0] == {"verdict": "valid", "detail": None}
    model.opset_import[0].version = 18
    onnx.save(model, path)
    document, line = said(tool, path)
    assert document == {"verdict": "beyond", "detail": "operator set 18, known up to 17"} and "beyond its versions" in line
    model.opset_import[0].version = 17
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 5
    onnx.save(model, path)
    document, line = said(tool, path)
    assert document["verdict"] == "invalid" and "inferred" in document["detail"].lower() and " ".join(document["detail"].split()) in line
    with open(path, "rb") as file:
        run = tool("check", "-", "--json", stdin=file)
    assert json.loads(run.stdout)["libonnx"]["verdict"] is None, run.stderr


def test_check_says_when_nobody_was_asked(small, build, tmp_path):
    _, path = small
    prefix = tmp_path / "prefix"
    for folder in ("bin", "lib"):
        shutil.copytree(build / folder, prefix / folder, symlinks=True, ignore=shutil.ignore_patterns("debug"))

    def check(**environment):
        run = subprocess.run(
            [prefix / "bin" / "cet-onnx", "check", path, "--json"], capture_output=True, text=True, env={**os.environ, **environment})
        assert run.returncode == 0, run.stderr
        return json.loads(run.stdout)["libonnx"]

    assert check(PATH="/nonexistent") == {"verdict": None, "detail": "onnx-judge is not installed"}
    # A program that does not start for want of its libraries ends with 127.
    (prefix / "libexec" / "cet").mkdir(parents=True)
    helper_program = prefix / "libexec" / "cet" / "onnx-judge"
    helper_program.write_text("#!/bin/sh\nexit 127\n")
    helper_program.chmod(0o755)
    assert check(PATH="/usr/bin:/bin")["verdict"] is None
    helper_program.unlink()
    (prefix / "more").mkdir()
    (prefix / "more" / "onnx-judge").write_text("#!/bin/sh\nprintf 'invalid\\t%s\\tfor a reason\\n' \"$2\"\n")
    (prefix / "more" / "onnx-judge").chmod(0o755)
    assert check(PATH=f"{prefix}/more:/usr/bin:/bin") == {"verdict": "invalid", "detail": "for a reason"}


def test_library_and_tool_are_linked_with_no_protobuf(build):
    for file in (build / "lib" / "libcet.so", build / "bin" / "cet-onnx"):
        needed = subprocess.run(["readelf", "-d", file], capture_output=True, text=True, check=True).stdout
        assert "onnx" not in "".join(line for line in needed.splitlines() if "NEEDED" in line)
        assert "protobuf" not in needed
