"""Samples of a batch that influence each other: found before any work, and then run one by one or refused."""

import re
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import cet

SAMPLES, CHANNELS, SIZE = 24, 3, 6
IMAGES = np.random.default_rng(5).standard_normal((SAMPLES, CHANNELS, SIZE, SIZE)).astype(np.float32)
ROWS = np.random.default_rng(6).standard_normal((SAMPLES, 5, 8)).astype(np.float32)


def model(nodes, x, y, weights, opset=17):
    """ONNX bytes; nodes as (operator, inputs, outputs, attributes)."""
    random = np.random.default_rng(7)
    arrays = {
        name: value if isinstance(value, np.ndarray) else (random.standard_normal(value) * 0.4).astype(np.float32)
        for name, value in weights.items()}
    kinds = [kind for kind, *_ in nodes]
    names = [f"the {kind}" if kinds.index(kind) == index else f"{kind} {index}" for index, kind in enumerate(kinds)]
    graph = helper.make_graph(
        [helper.make_node(node[0], node[1], node[2], name=name, **node[3]) for name, node in zip(names, nodes)], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = 8
    return made.SerializeToString()


def image_model(*middle, y=("N", 5), end=(), n="N", **weights):
    """A convolution, what stands in the middle (a -> z), and a linear layer behind pooling."""
    tail = [
        ("Tanh", ["z"], ["t"], {}), ("GlobalAveragePool", ["t"], ["p"], {}), ("Flatten", ["p"], ["f"], {}),
        ("MatMul", ["f", "V"], ["y0" if end else "y"], {})]
    return model(
        [("Conv", ["x", "W"], ["a"], dict(pads=[1] * 4)), *middle, *tail, *end], [n, CHANNELS, SIZE, SIZE], list(y),
        dict(W=(4, CHANNELS, 3, 3), V=(4, 5), **weights))


def row_model(*middle, y=("N", 3), n="N", **weights):
    """A linear layer on [N, 5, 8], what stands in the middle (t -> z, [N, 5, 6]), and a linear layer behind a mean."""
    return model(
        [("MatMul", ["x", "W"], ["a"], {}), ("Tanh", ["a"], ["t"], {}), *middle, ("ReduceMean", ["z"], ["m"], dict(axes=[1], keepdims=0)),
         ("MatMul", ["m", "V"], ["y"], {})], [n, 5, 8], list(y), dict(W=(8, 6), V=(6, 3), **weights))


ones = np.ones(4, np.float32)
integers = lambda *values: np.array(values, np.int64)

INDEPENDENT = {
    "plain": (IMAGES, lambda: image_model(("Identity", ["a"], ["z"], {}))),
    "resize_by_scales": (IMAGES, lambda: image_model(
        ("Resize", ["a", "", "s"], ["z"], dict(mode="nearest")), s=np.array([1, 1, 2, 2], np.float32))),
    "batch_normalization_in_inference": (IMAGES, lambda: image_model(
        ("BatchNormalization", ["a", "s", "s", "b", "s"], ["z"], {}), s=ones, b=ones * 0)),
    "folded_positions": (ROWS, lambda: row_model(
        ("Reshape", ["t", "f"], ["u"], {}), ("Softmax", ["u"], ["v"], dict(axis=-1)), ("Reshape", ["v", "g"], ["z"], {}),
        f=integers(-1, 6), g=integers(-1, 5, 6))),
    "folded_under_one_batch": (ROWS, lambda: row_model(
        ("Reshape", ["t", "f"], ["u"], {}), ("Reshape", ["u", "g"], ["z"], {}), f=integers(1, -1, 6), g=integers(-1, 5, 6))),
    "shape_arithmetic": (ROWS, lambda: row_model(
        ("Shape", ["t"], ["s"], {}), ("Reshape", ["t", "s"], ["z"], {}))),
    "time_major_output": (ROWS, lambda: model(
        [("MatMul", ["x", "W"], ["a"], {}), ("Transpose", ["a"], ["t"], dict(perm=[1, 0, 2])), ("GRU", ["t", "G", "R"], ["s"], dict(hidden_size=4)),
         ("Squeeze", ["s", "one"], ["y"], {})], ["N", 5, 8], [5, "N", 4], dict(W=(8, 6), G=(1, 12, 6), R=(1, 12, 4), one=integers(1)))),
    "last_state": (ROWS, lambda: model(
        [("MatMul", ["x", "W"], ["a"], {}), ("Transpose", ["a"], ["t"], dict(perm=[1, 0, 2])), ("RNN", ["t", "G", "R"], ["", "y"], dict(hidden_size=4))],
        ["N", 5, 8], [1, "N", 4], dict(W=(8, 6), G=(1, 4, 6), R=(1, 4, 4)))),
    "positions_as_rows": (ROWS, lambda: model(
        [("MatMul", ["x", "W"], ["a"], {}), ("Tanh", ["a"], ["t"], {}), ("Reshape", ["t", "f"], ["u"], {}), ("MatMul", ["u", "V"], ["y"], {})],
        ["N", 5, 8], ["M", 3], dict(W=(8, 6), V=(6, 3), f=integers(-1, 6)))),
}

MIXING = {
    "BatchNormalization": (IMAGES, lambda: image_model(
        ("BatchNormalization", ["a", "s", "b", "b", "s"], ["z", "m2", "v2"], dict(training_mode=1)), s=ones, b=ones * 0)),
    "ReduceMean": (IMAGES, lambda: image_model(
        ("Identity", ["a"], ["z"], {}), end=[("ReduceMean", ["y0"], ["y"], dict(axes=[0], keepdims=1))], y=(1, 5))),
    "ReduceMax": (IMAGES, lambda: image_model(
        ("ReduceMax", ["a"], ["m"], dict(axes=[0], keepdims=1)), ("Sub", ["a", "m"], ["z"], {}))),
    "ReduceSumSquare": (IMAGES, lambda: image_model(
        ("ReduceSumSquare", ["a"], ["m"], dict(axes=[0, 2, 3], keepdims=1)), ("Add", ["m", "k"], ["q"], {}), ("Div", ["a", "q"], ["z"], {}),
        k=np.ones(1, np.float32))),
    "Softmax": (ROWS, lambda: row_model(("Softmax", ["t"], ["z"], dict(axis=0)))),
    "CumSum": (ROWS, lambda: row_model(("CumSum", ["t", "k"], ["z"], {}), k=np.array(0, np.int64))),
    "Gather": (ROWS, lambda: row_model(
        ("Gather", ["t", "k"], ["u"], dict(axis=0)), ("Add", ["t", "u"], ["z"], {}), k=integers(0))),
    "Slice": (ROWS, lambda: row_model(
        ("Slice", ["t", "k", "one", "k"], ["u"], {}), ("Sub", ["t", "u"], ["z"], {}), k=integers(0), one=integers(1))),
    "Softmax behind a Transpose": (ROWS, lambda: row_model(
        ("Transpose", ["t"], ["u"], dict(perm=[1, 2, 0])), ("Softmax", ["u"], ["v"], dict(axis=2)),
        ("Transpose", ["v"], ["z"], dict(perm=[2, 0, 1])))),
    "Reshape": (ROWS, lambda: row_model(
        ("Shape", ["t"], ["s"], {}), ("Gather", ["s", "order"], ["o"], {}), ("Reshape", ["t", "o"], ["u"], {}),
        ("Softmax", ["u"], ["v"], dict(axis=0)), ("Reshape", ["v", "s"], ["z"], {}), order=integers(1, 0, 2))),
    "MatMul": (ROWS, lambda: model(
        [("Flatten", ["x"], ["f"], {}), ("MatMul", ["f", "W"], ["a"], {}), ("Transpose", ["a"], ["b"], {}), ("MatMul", ["a", "b"], ["c"], {}),
         ("MatMul", ["c", "a"], ["d"], {}), ("MatMul", ["d", "V"], ["y"], {})], ["N", 5, 8], ["N", 3], dict(W=(40, 6), V=(6, 3)))),
}
"""By the operator that mixes samples. Each sample alone has a loss."""


def products(data, sizes, **options):
    """Products of the Hessian with one vector for several batch sizes, with what was noted."""
    result = []
    for size in sizes:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            hessian = cet.Hessian(cet.Model(data[1]()), cet.Calibration({"x": data[0]}), batch_size=size, **options)
        assert [str(warning.message) for warning in caught] == hessian.notes
        vector = np.random.default_rng(8).standard_normal(hessian.shape[0]).astype(np.float32)
        result.append((hessian @ vector, hessian.notes, hessian.gradient(), hessian.loss()))
    return vector, result


def moved(data, parameters, vector, sign, step):
    """The model with its weights moved along a vector."""
    changed = onnx.load_from_string(data)
    for parameter in parameters:
        part = vector[parameter.offset:parameter.offset + parameter.count].reshape(parameter.shape)
        for tensor in changed.graph.initializer:
            if tensor.name == parameter.name:
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + np.float32(sign * step) * part, tensor.name))
    return onnxruntime.InferenceSession(changed.SerializeToString(), providers=["CPUExecutionProvider"])


def quadratic_form(data, vector, step=2e-3):
    """v'Hv of the loss mse, mean over samples that onnxruntime runs one by one, from central differences."""
    parameters = cet.Model(data[1]()).parameters
    there, back = (moved(data[1](), parameters, vector, sign, step) for sign in (1, -1))
    values = []
    for sample in data[0]:
        difference = there.run(["y"], {"x": sample[None]})[0] - back.run(["y"], {"x": sample[None]})[0]
        values.append(np.sum((difference.astype(np.float64) / (2 * step)) ** 2))
    return np.mean(values)


def assert_same(result):
    first = result[0]
    for other in result[1:]:
        assert np.linalg.norm(other[0] - first[0]) <= 1e-4 * np.linalg.norm(first[0])
        assert other[1] == first[1]
        assert np.linalg.norm(other[2] - first[2]) <= 1e-4 * np.linalg.norm(first[2])
        assert other[3] == pytest.approx(first[3], rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("name", INDEPENDENT)
def test_curvature_of_independent_samples_is_the_same_for_every_batch_size(name):
    vector, result = products(INDEPENDENT[name], (None, 1, 3, SAMPLES), loss="mse")
    assert_same(result)
    assert result[0][1] == []
    assert vector @ result[0][0] == pytest.approx(quadratic_form(INDEPENDENT[name], vector), rel=0.01)


@pytest.mark.parametrize("name", MIXING)
def test_curvature_of_samples_that_influence_each_other_is_that_of_samples_alone(name):
    vector, result = products(MIXING[name], (None, 1, 3, SAMPLES), loss="mse")
    assert_same(result)
    (note,) = result[0][1]
    assert re.fullmatch(rf"node '.*' \({name.split()[0]}\): samples of a batch influence each other there: .* \(batch_size 1\)", note)
    if name != "BatchNormalization":  # onnxruntime takes it for inference; PyTorch judges it below
        assert vector @ result[0][0] == pytest.approx(quadratic_form(MIXING[name], vector), rel=0.01)


def test_curvature_of_batch_normalization_in_training_is_that_of_pytorch():
    torch = pytest.importorskip("torch")
    vector, result = products(MIXING["BatchNormalization"], (None,), loss="mse")
    weights = {
        tensor.name: torch.tensor(numpy_helper.to_array(tensor), dtype=torch.float64)
        for tensor in onnx.load_from_string(MIXING["BatchNormalization"][1]()).graph.initializer}

    def output(flat, sample):
        w, v = flat[:108].reshape(4, CHANNELS, 3, 3), flat[108:].reshape(4, 5)
        a = torch.nn.functional.conv2d(sample[None], w, padding=1)
        z = torch.nn.functional.batch_norm(a, None, None, training=True, eps=1e-5)
        return torch.tanh(z).mean((2, 3)) @ v

    flat = torch.cat([weights["W"].flatten(), weights["V"].flatten()])
    total = torch.zeros_like(flat)
    for sample in torch.tensor(IMAGES, dtype=torch.float64):
        jacobian = torch.autograd.functional.jacobian(lambda w: output(w, sample).flatten(), flat)
        total += jacobian.T @ (jacobian @ torch.tensor(vector, dtype=torch.float64))
    expected = (total / SAMPLES).numpy()
    assert np.linalg.norm(result[0][0] - expected) <= 1e-4 * np.linalg.norm(expected)


@pytest.mark.parametrize("reduction", ["ReduceMean", "ReduceSum"])
def test_loss_that_the_model_computes_is_the_same_for_every_batch_size(reduction):
    bytes = model(
        [("Flatten", ["x"], ["f"], {}), ("MatMul", ["f", "W"], ["a"], {}), ("Tanh", ["a"], ["t"], {}), ("Mul", ["t", "t"], ["q"], {}),
         (reduction, ["q"], ["y"], dict(keepdims=0))], ["N", 5, 8], [], dict(W=(40, 6)))
    _, result = products((ROWS, lambda: bytes), (None, 1, 3, SAMPLES), loss="output")
    assert_same(result)
    assert len(result[0][1]) == (1 if reduction == "ReduceMean" else 0)
    session = onnxruntime.InferenceSession(bytes, providers=["CPUExecutionProvider"])
    alone = [session.run(["y"], {"x": sample[None]})[0] for sample in ROWS]
    assert result[0][3] == pytest.approx(np.mean(alone), rel=1e-5)


def resize_by_sizes():
    return image_model(
        ("Resize", ["a", "", "", "k"], ["z"], dict(mode="nearest")), k=np.array([SAMPLES, 4, 12, 12], np.int64))


@pytest.mark.parametrize("size", [None, 1, 3, 12])
def test_curvature_of_a_model_for_one_batch_size_is_refused_for_others_with_the_node(size):
    with pytest.raises(cet.ShapeMismatch, match=r"node 'the Resize' \(Resize\): .*"):
        cet.Hessian(cet.Model(resize_by_sizes()), cet.Calibration({"x": IMAGES}), loss="mse", batch_size=size)


def test_curvature_of_a_model_for_one_batch_size_is_that_of_scales():
    scales = image_model(("Resize", ["a", "", "s"], ["z"], dict(mode="nearest")), s=np.array([1, 1, 2, 2], np.float32))
    _, sizes = products((IMAGES, resize_by_sizes), (SAMPLES,), loss="mse")
    _, expected = products((IMAGES, lambda: scales), (SAMPLES,), loss="mse")
    assert_same(sizes + expected)


def test_curvature_with_a_fixed_batch_of_samples_that_influence_each_other_says_so():
    """The model takes one size of batch, so that no figure can depend on it."""
    mixing = row_model(("Softmax", ["t"], ["z"], dict(axis=0)), n=4, y=(4, 3))
    hessian = cet.Hessian(cet.Model(mixing), cet.Calibration({"x": ROWS}), loss="mse")
    found = [note for note in hessian.notes if "node 'the Softmax' (Softmax)" in note]
    assert len(found) == 1 and "run in batches of 4, which is all it takes" in found[0]


def test_curvature_with_a_fixed_batch_of_independent_samples_is_that_of_a_free_one():
    fixed = row_model(("Softmax", ["t"], ["z"], dict(axis=1)), n=4, y=(4, 3))
    free = row_model(("Softmax", ["t"], ["z"], dict(axis=1)))
    _, result = products((ROWS, lambda: fixed), (None, 4), loss="mse")
    _, expected = products((ROWS, lambda: free), (4,), loss="mse")
    assert_same(result + expected)


def test_curvature_of_one_sample_needs_no_other():
    data = (ROWS[:1], MIXING["Softmax"][1])
    _, result = products(data, (None, 1, 5), loss="mse")
    assert_same(result)


def test_plan_of_samples_that_influence_each_other_says_so_once(tmp_path, tool):
    arrays, build = MIXING["BatchNormalization"]
    lines = []
    log = lambda level, message: lines.append(message) if level == "warning" else None
    network, data = cet.Model(build()), cet.Calibration({"x": arrays})
    plan = cet.plan(network, data, target_bits=4, log=log)
    small = cet.quantize(network, data, plan, log=log)
    wanted = [line for line in lines if "influence each other" in line]
    assert len(wanted) == 1
    assert plan.notes.count(wanted[0]) == small.plan.notes.count(wanted[0]) == 1
    assert cet.Plan.from_json(plan.to_json()).notes == plan.notes
    same = cet.plan(network, data, target_bits=4, batch_size=1)
    assert [t.measured_loss for t in same.tensors] == [t.measured_loss for t in plan.tensors]


def test_tool_says_that_samples_influence_each_other(tmp_path, tool):
    import json

    arrays, build = MIXING["BatchNormalization"]
    (tmp_path / "m.onnx").write_bytes(build())
    np.savez(tmp_path / "d.npz", x=arrays)
    arguments = ("compress", tmp_path / "m.onnx", tmp_path / "o.onnx", "--data", tmp_path / "d.npz", "--target-bits", "4")
    done = tool(*arguments, "--json", "--report", tmp_path / "r.html")
    assert done.returncode == 0, done.stderr
    (note,) = [note for note in json.loads(done.stdout)["notes"] if "influence each other" in note]
    assert note.replace("'", "&#39;") in (tmp_path / "r.html").read_text() or note in (tmp_path / "r.html").read_text()
    (tmp_path / "o.onnx").unlink()
    assert f"note: {note}" in tool(*arguments).stdout
    spectrum = tool("spectrum", tmp_path / "m.onnx", "--data", tmp_path / "d.npz", "-k", "2", "--json")
    assert note in json.loads(spectrum.stdout)["notes"]
