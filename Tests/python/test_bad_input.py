"""What a user gets wrong: each has its status, one line that names the place, and no output file."""

import pathlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import cet


@pytest.fixture
def files(tmp_path, digits, calibration_arrays):
    """Paths of bad models and calibration files."""
    good = (digits / "model.onnx").read_bytes()
    paths = {"missing.onnx": tmp_path / "missing.onnx"}

    def put(name, data):
        paths[name] = tmp_path / name
        paths[name].write_bytes(data)

    put("empty.onnx", b"")
    put("truncated.onnx", good[: len(good) // 2])
    put("random.onnx", np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8).tobytes())
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4, 4], np.arange(16, dtype=np.float32))
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["input", "w"], ["m"]), helper.make_node("Wobble", ["m"], ["y"], name="odd_node")],
        "g", [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])], [weight])
    unknown = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    put("unknown.onnx", unknown.SerializeToString())

    def arrays(name, **values):
        paths[name] = tmp_path / name
        np.savez(paths[name], **values)

    images, labels = calibration_arrays["input"][:8], calibration_arrays["labels"][:8]
    arrays("wrong_name.npz", picture=images)
    arrays("wrong_shape.npz", input=images[:, :, :7])
    arrays("wrong_rank.npz", input=images[:, 0])
    arrays("wrong_dtype.npz", input=images.astype(np.int32))
    arrays("no_labels.npz", input=images)
    arrays("wrong_labels.npz", input=images, labels=labels + 100)
    arrays("too_few_labels.npz", input=images, labels=labels[:4])
    bad = images.copy()
    bad[3, 0, 2, 2] = np.nan
    arrays("nan.npz", input=bad)
    arrays("small.npz", input=np.zeros((3, 4), np.float32))
    put("damaged.npz", pathlib.Path(paths["no_labels.npz"]).read_bytes()[:400])
    paths["missing.npz"] = tmp_path / "missing.npz"
    paths["good.npz"] = digits / "calibration.npz"
    paths["good.onnx"] = digits / "model.onnx"
    return paths


# Model, calibration, options: exception, words of the message.
CASES = {
    "model missing": ("missing.onnx", "good.npz", {}, cet.IOFailure, ["missing.onnx"]),
    "model empty": ("empty.onnx", "good.npz", {}, cet.InvalidModel, []),
    "model truncated": ("truncated.onnx", "good.npz", {}, cet.InvalidModel, []),
    "model random bytes": ("random.onnx", "good.npz", {}, cet.InvalidModel, []),
    "operator unknown": ("unknown.onnx", "small.npz", {}, cet.UnsupportedOperator, ["odd_node", "Wobble"]),
    "calibration missing": ("good.onnx", "missing.npz", {}, cet.IOFailure, ["missing.npz"]),
    "calibration damaged": ("good.onnx", "damaged.npz", {}, cet.IOFailure, ["damaged.npz"]),
    "calibration wrong name": ("good.onnx", "wrong_name.npz", {}, cet.InvalidArgument, ["input", "picture"]),
    "calibration wrong shape": ("good.onnx", "wrong_shape.npz", {}, cet.ShapeMismatch, ["input", "7", "8"]),
    "calibration wrong rank": ("good.onnx", "wrong_rank.npz", {}, cet.ShapeMismatch, ["input"]),
    "calibration wrong dtype": ("good.onnx", "wrong_dtype.npz", {}, cet.InvalidArgument, ["input", "int32", "float32"]),
    "calibration with NaN": ("good.onnx", "nan.npz", {}, cet.NumericError, ["input", "3"]),
    "labels missing": ("good.onnx", "no_labels.npz", {"loss": "cross-entropy"}, cet.InvalidArgument, ["label"]),
    "labels out of range": ("good.onnx", "wrong_labels.npz", {"loss": "cross-entropy"}, cet.InvalidArgument, ["label", "10"]),
    "labels too few": ("good.onnx", "too_few_labels.npz", {"loss": "cross-entropy"}, cet.ShapeMismatch, ["labels", "4", "8"]),
    "ratio out of reach": ("good.onnx", "good.npz", {"target_ratio": 40}, cet.InfeasibleBudget, ["40", "4", "32"]),
    "size out of reach": ("good.onnx", "good.npz", {"target_size": 1000}, cet.InfeasibleBudget, ["1000", "24"]),
    "keep matches nothing": ("good.onnx", "good.npz", {"keep": ["nothing*"]}, cet.InvalidArgument, ["nothing*"]),
    "fix matches nothing": ("good.onnx", "good.npz", {"fix": {"nothing*": 4}}, cet.InvalidArgument, ["nothing*"]),
    "output unknown": ("good.onnx", "good.npz", {"output": "nowhere"}, cet.InvalidArgument, ["nowhere"]),
}


def python_options(options):
    result = dict(options)
    if not any(name in result for name in ("target_ratio", "target_size")):
        result["target_ratio"] = 11
    return result


def tool_options(options):
    result = []
    for name, value in python_options(options).items():
        flag = "--loss-output" if name == "output" else "--" + name.replace("_", "-")
        values = [f"{key}={bits}" for key, bits in value.items()] if isinstance(value, dict) else value
        for entry in values if isinstance(values, list) else [values]:
            result += [flag, entry]
    return result


@pytest.mark.parametrize("case", CASES)
def test_python_bad_input_raises_the_statuses_class(case, files):
    model, data, options, kind, words = CASES[case]
    with pytest.raises(cet.CetError) as caught:
        cet.plan(cet.Model(files[model]), cet.Calibration.from_npz(files[data]), **python_options(options))
    assert type(caught.value) is kind, caught.value
    assert caught.value.status == kind.status
    message = str(caught.value)
    assert message and "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("case", CASES)
def test_tool_bad_input_one_line_and_no_file(case, files, tool, tmp_path):
    model, data, options, _, words = CASES[case]
    output = tmp_path / "out" / "small.onnx"
    output.parent.mkdir()
    run = tool("compress", files[model], output, "--data", files[data], *tool_options(options))
    assert run.returncode == 1, run.stderr
    assert run.stdout == ""
    lines = run.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("cet-onnx: "), run.stderr
    for word in words:
        assert word in lines[0]
    assert list(output.parent.iterdir()) == []


BAD_USAGE = {
    "no target": [],
    "two targets": ["--target-ratio", "11", "--target-bits", "3"],
    "unknown method": ["--target-ratio", "11", "--method", "magic"],
    "unknown loss": ["--target-ratio", "11", "--loss", "hinge"],
    "unknown rounding": ["--target-ratio", "11", "--rounding", "up"],
    "unknown encoding": ["--target-ratio", "11", "--encoding", "zip"],
    "bad granularity": ["--target-ratio", "11", "--granularity", "block:0"],
    "bad bits": ["--target-ratio", "11", "--bits", "2,9"],
    "bad fix": ["--target-ratio", "11", "--fix", "fc*=0"],
    "negative ratio": ["--target-ratio=-3"],
    "ratio no number": ["--target-ratio", "many"],
    "bad size": ["--target-size", "12parsecs"],
    "unknown option": ["--target-ratio", "11", "--colour"],
    "plan and target": ["--target-ratio", "11", "--plan", "p.json"],
}


@pytest.mark.parametrize("case", BAD_USAGE)
def test_tool_bad_usage_exits_2(case, files, tool, tmp_path):
    output = tmp_path / "out.onnx"
    run = tool("compress", files["good.onnx"], output, "--data", files["good.npz"], *BAD_USAGE[case])
    assert run.returncode == 2, run.stderr
    assert run.stdout == "" and run.stderr.startswith("cet-onnx: ") and len(run.stderr.splitlines()) == 2
    assert not output.exists()


@pytest.mark.parametrize("arguments", [[], ["compress"], ["nonsense"], ["check", "a.onnx", "--against", "b.onnx"]], ids=str)
def test_tool_incomplete_command_exits_2(arguments, tool):
    run = tool(*arguments)
    assert run.returncode == 2
    assert run.stdout == "" and run.stderr


def test_tool_output_folder_missing_fails_before_the_work(files, tool, tmp_path):
    run = tool(
        "compress", files["good.onnx"], tmp_path / "nowhere" / "x.onnx", "--data", files["good.npz"], "--target-ratio", 11)
    assert run.returncode == 1
    assert run.stderr.startswith("cet-onnx: cannot write") and "nowhere" in run.stderr


def test_tool_report_folder_missing_leaves_no_model(files, tool, tmp_path):
    output = tmp_path / "x.onnx"
    run = tool(
        "compress", files["good.onnx"], output, "--data", files["good.npz"], "--target-ratio", 11, "--report",
        tmp_path / "nowhere" / "r.html")
    assert run.returncode == 1 and not output.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "cet-plan"}', "\x00", '{"format": "cet-plan", "version": 99}'])
def test_plan_json_bad_document_is_refused(text):
    with pytest.raises(cet.InvalidArgument):
        cet.Plan.from_json(text)


def test_plan_of_another_model_is_refused(plan, calibration_arrays, tmp_path):
    weight = helper.make_tensor("w", TensorProto.FLOAT, [64, 10], np.ones(640, np.float32))
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["input"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])],
        "g", [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])], [weight])
    model = cet.Model(helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    data = cet.Calibration({"input": calibration_arrays["input"][:8]})
    with pytest.raises(cet.InvalidArgument):
        cet.quantize(model, data, plan)


def test_hidden_values_that_are_no_numbers_name_the_layer_that_reads_them():
    random = np.random.default_rng(0)
    first, second = (helper.make_tensor(name, TensorProto.FLOAT, [16, 16], random.normal(size=256).astype(np.float32)) for name in "ab")
    zero = helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0])
    graph = helper.make_graph(
        [helper.make_node("Log", ["x"], ["log"]), helper.make_node("MatMul", ["log", "a"], ["h"], name="reader"),
         helper.make_node("IsNaN", ["h"], ["wrong"]), helper.make_node("Where", ["wrong", "zero", "h"], ["clean"]),
         helper.make_node("MatMul", ["clean", "b"], ["y"])],
        "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 16])], [first, second, zero])
    model = cet.Model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    inputs = random.uniform(1, 2, size=(64, 16)).astype(np.float32)
    inputs[5, 3] = -1
    with pytest.raises(cet.NumericError, match="initializer 'a': .*not finite in column") as caught:
        cet.quantize(model, cet.Calibration({"x": inputs}), cet.plan(model, cet.Calibration({"x": inputs}), target_ratio=4))
    assert "\n" not in str(caught.value)


def test_calibration_arrays_of_unknown_type_are_refused():
    with pytest.raises(cet.InvalidArgument, match="complex128"):
        cet.Calibration({"input": np.zeros((2, 2), complex)})


def test_calibration_batches_must_agree():
    data = cet.Calibration({"input": np.zeros((2, 3), np.float32)})
    with pytest.raises(cet.InvalidArgument):
        data.add_batch({"other": np.zeros((2, 3), np.float32)})
    with pytest.raises(cet.ShapeMismatch):
        data.add_batch({"input": np.zeros((2, 3, 4), np.float32)})
    data.add_batch({"input": np.zeros((5, 4), np.float32)})
    assert len(data) == 7
