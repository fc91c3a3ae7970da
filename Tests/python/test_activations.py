"""Rounded activations: what onnxruntime's integer kernels make of the files, against what the library says of them."""

import collections
import html
import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

import cet

RANDOM = np.random.default_rng(7)
node = helper.make_node


def weight(name, *shape, scale=0.3):
    """The same for the same name and shape."""
    random = np.random.default_rng([*name.encode(), *shape])
    return numpy_helper.from_array((random.standard_normal(shape) * scale).astype(np.float32), name)


def made(nodes, initializers, inputs, outputs, opset=13):
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(name, 1, shape) for name, shape in inputs],
        [helper.make_tensor_value_info(name, 1, ["N", *[f"d{axis}" for axis in range(1, len(inputs[0][1]) if len(inputs[0][1]) < 4 else 2)]])
         for name in outputs], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return model.SerializeToString()


IMAGES = {"x": RANDOM.standard_normal((64, 3, 12, 12)).astype(np.float32)}
ROWS = {"x": RANDOM.standard_normal((64, 24)).astype(np.float32)}


def residual_network(opset=13):
    """Convolutions with and without Relu and bias, a sum, a pool, a classifier behind a Flatten."""
    return made(
        [node("Conv", ["x", "a", "ab"], ["1"], pads=[1, 1, 1, 1]), node("Relu", ["1"], ["2"]),
         node("Conv", ["2", "b", "bb"], ["3"], pads=[1, 1, 1, 1]), node("Add", ["3", "2"], ["4"]), node("Relu", ["4"], ["5"]),
         node("MaxPool", ["5"], ["6"], kernel_shape=[2, 2], strides=[2, 2]),
         node("Conv", ["6", "c"], ["7"]), node("Relu", ["7"], ["8"]), node("GlobalAveragePool", ["8"], ["9"]),
         node("Flatten", ["9"], ["10"]), node("Gemm", ["10", "d", "db"], ["y"], transB=1)],
        [weight("a", 8, 3, 3, 3), weight("ab", 8), weight("b", 8, 8, 3, 3, scale=0.15), weight("bb", 8), weight("c", 16, 8, 3, 3),
         weight("d", 10, 16), weight("db", 10)],
        [("x", ["N", 3, 12, 12])], ["y"], opset)


def product_network(axes=2):
    return made(
        [node("MatMul", ["x", "a"], ["1"]), node("Add", ["1", "ab"], ["2"]), node("Tanh", ["2"], ["3"]),
         node("MatMul", ["3", "b"], ["y"])],
        [weight("a", 24, 32), weight("ab", 32), weight("b", 32, 10)], [("x", ["N", "S", 24] if axes == 3 else ["N", 24])], ["y"])


def compressed(content, arrays, activations=8, **options):
    model, data = cet.Model(content), cet.Calibration(arrays)
    plan = cet.plan(model, data, **{"target_bits": 4, "activations": activations, **options})
    return cet.quantize(model, data, plan)


def session(content, path=None, level=ort.GraphOptimizationLevel.ORT_ENABLE_ALL):
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 3
    if path is not None:
        options.optimized_model_filepath = str(path)
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def kernels(content, tmp_path):
    """Operators that onnxruntime runs, by type."""
    session(content, tmp_path / "optimized.onnx")
    return collections.Counter(n.op_type for n in onnx.load(tmp_path / "optimized.onnx").graph.node)


def close(found, expected, share=0.02):
    """Rounding flips single codes; nothing moves by more than a few steps, and little on average."""
    scale = np.abs(expected).max()
    assert np.abs(found - expected).max() <= 3 * share * scale
    assert np.sqrt(np.mean((found - expected) ** 2)) <= share * scale / 2


@pytest.mark.parametrize("encoding", ["planes", "float", "qdq"])
def test_convolutions_run_as_integer_kernels(encoding, tmp_path):
    written = compressed(residual_network(), IMAGES, encoding=encoding).to_bytes()
    found = kernels(written, tmp_path)
    assert found["QLinearConv"] == 3 and found["Conv"] == 0 and found["QGemm"] == 1
    assert found["QLinearAdd"] == 1


@pytest.mark.parametrize("opset, expected", [(7, 13), (11, 13), (17, 17)])
def test_operator_set_is_raised_no_higher_than_needed(opset, expected, tmp_path):
    written = compressed(residual_network(opset), IMAGES).to_bytes()
    assert onnx.load_model_from_string(written).opset_import[0].version == expected
    assert kernels(written, tmp_path)["QLinearConv"] == 3


@pytest.mark.parametrize("encoding", ["planes", "qdq"])
def test_integer_kernels_compute_what_the_library_simulates(encoding):
    written = compressed(residual_network(), IMAGES, encoding=encoding).to_bytes()
    simulated = session(written, level=ort.GraphOptimizationLevel.ORT_DISABLE_ALL).run(None, IMAGES)[0]
    library = cet.run(cet.Model(written), IMAGES)["y"]
    close(library, simulated, 0.005)
    close(session(written).run(None, IMAGES)[0], library)


@pytest.mark.parametrize("options", [{}, {"encoding": "float"}, {"coding": "trellis"}, {"coding": "affine", "bits": [3, 8]},
                                     {"encoding": "qdq"}, {"encoding": "qdq", "granularity": "per-tensor"}, {"activations": 16, "encoding": "qdq"},
                                     {"encoding": "qdq", "granularity": "block:16"}, {"granularity": "per-tensor"}, {"granularity": "block:16"}, {"rounding": "nearest"},
                                     {"rounding": "gptq"}], ids=str)
def test_told_losses_are_those_of_the_file(options):
    content = residual_network()
    small = compressed(content, IMAGES, **options)
    reference, found = (session(each).run(None, IMAGES)[0].astype(np.float64) for each in (content, small.to_bytes()))

    def logarithms(x):
        return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))

    p, q = logarithms(reference), logarithms(found)
    divergence = (np.exp(p) * (p - q)).sum(axis=-1).mean()
    assert divergence == pytest.approx(small.plan.measured_loss_change, rel=0.1, abs=2e-5)
    assert small.plan.summary.file_bytes == len(small.to_bytes())


def test_qdq_files_hold_codes_and_nothing_that_must_be_folded():
    small = compressed(residual_network(), IMAGES, encoding="qdq", target_bits=8, bits=8)
    graph = onnx.load_model_from_string(small.to_bytes()).graph
    made = {output: n for n in graph.node for output in n.output}
    tensors = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    layers = [n for n in graph.node if n.op_type in ("Conv", "Gemm")]
    assert len(layers) == 4
    for layer in layers:
        sources = [made[name] for name in layer.input]
        assert [each.op_type for each in sources] == ["DequantizeLinear"] * len(sources)
        codes, scale = (tensors[name] for name in sources[1].input[:2])
        assert codes.dtype == np.int8 and tensors[sources[1].input[2]].any() == np.False_
        if len(sources) == 3:
            bias, step = (tensors[name] for name in sources[2].input)
            assert bias.dtype == np.int32
            np.testing.assert_allclose(step, scale * tensors[sources[0].input[1]], rtol=1e-6)
    # What the layers had is gone: weights and biases of float32 would be larger than all codes.
    assert not {each for each in tensors if tensors[each].dtype == np.float32 and tensors[each].size > 16}
    written = sum(tensors[made[layer.input[1]].input[0]].nbytes for layer in layers)
    assert small.plan.summary.code_bytes == written == sum(int(np.prod(tensor.shape)) for tensor in small.plan.tensors)


def test_qdq_takes_one_byte_a_weight_whatever_its_bits():
    eight, four = (
        compressed(residual_network(), IMAGES, encoding="qdq", target_bits=bits, bits=[bits], rounding="nearest") for bits in (8, 4))
    assert abs(len(eight.to_bytes()) - len(four.to_bytes())) < 64
    assert eight.plan.summary.code_bytes == four.plan.summary.code_bytes
    assert [note for note in four.plan.notes if "4 tensors of fewer than 8 bits take 8 in the file" in note]
    assert not [note for note in eight.plan.notes if "fewer than 8 bits" in note]


@pytest.mark.parametrize("encoding", ["planes", "qdq"])
@pytest.mark.parametrize("axes, expected", [(2, {"QGemm": 2}), (3, {"MatMulIntegerToFloat": 2})])
def test_matrix_products_run_as_integer_kernels(axes, expected, encoding, tmp_path):
    arrays = ROWS if axes == 2 else {"x": ROWS["x"].reshape(16, 4, 24)}
    small = compressed(product_network(axes), arrays, encoding=encoding)
    written = small.to_bytes()
    found = kernels(written, tmp_path)
    assert found["MatMul"] + found["Gemm"] + found["FusedGemm"] == 0 and {name: found[name] for name in expected} == expected
    close(session(written).run(None, arrays)[0], cet.run(cet.Model(written), arrays)["y"])
    assert [a.name for a in small.plan.activations] == ["x", "3"]


def test_activations_of_a_plan_say_what_they_are():
    plan = compressed(residual_network(), IMAGES).plan
    assert [a.name for a in plan.activations] == ["x", "2", "3", "5", "8", "10"]
    by_name = {a.name: a for a in plan.activations}
    assert by_name["x"].elements == 3 * 12 * 12 and by_name["x"].bits == 8
    assert by_name["2"].zero_point == 0  # behind a Relu
    for activation in plan.activations:
        assert activation.scale > 0 and 0 <= activation.zero_point <= 255
        assert activation.range in ("min-max", "percentile", "least-squares")
        assert set(activation.sensitivity) == {8}
    document = json.loads(plan.to_json())
    pooled = next(a for a in document["activations"] if a["name"] == "5")
    assert pooled["copies"] == ["6"]
    assert cet.Plan.from_json(plan.to_json()).activations == plan.activations


def test_least_loss_loses_no_more_than_min_max_in_the_table():
    content = residual_network()
    model, data = cet.Model(content), cet.Calibration(IMAGES)
    least, widest = (
        {a.name: a.sensitivity[4] for a in cet.plan(model, data, target_bits=4, activations=4, activation_range=r).activations}
        for r in ("least-loss", "min-max"))
    assert all(least[name] <= widest[name] for name in least)


def test_several_bits_are_chosen_within_a_mean():
    plan = compressed(residual_network(), IMAGES, "4,8,float", activation_mean_bits=6).plan
    bits = {a.bits for a in plan.activations}
    assert bits <= {4, 8, 32} and len(bits) > 1
    elements = sum(a.elements for a in plan.activations)
    assert sum(a.elements * a.bits for a in plan.activations) <= 6 * elements


def test_several_bits_are_chosen_within_a_loss():
    plan = compressed(residual_network(), IMAGES, "mixed", activation_loss=0.05).plan
    assert sum(a.predicted_loss_change for a in plan.activations) <= 0.05 * (1 + 1e-9)
    assert any(a.bits == 4 for a in plan.activations)
    with pytest.raises(cet.InfeasibleBudget, match="activation_loss"):
        compressed(residual_network(), IMAGES, "mixed", activation_loss=1e-12)


def test_limit_on_the_loss_holds_for_weights_and_activations_together():
    content = residual_network()
    model, data = cet.Model(content), cet.Calibration(IMAGES)
    plain = cet.plan(model, data, max_loss=0.014)
    rounded = cet.plan(model, data, max_loss=0.014, activations=4)
    assert plain.predicted_interval[1] <= 0.014 and rounded.predicted_interval[1] <= 0.014
    # What activations of 4 bits lose, weights have to make up for.
    assert rounded.summary.mean_bits > plain.summary.mean_bits


def test_four_bits_are_simulated_and_said_to_be():
    small = compressed(residual_network(), IMAGES, 4)
    assert any("simulated in float" in note for note in small.plan.notes)
    written = small.to_bytes()
    close(session(written).run(None, IMAGES)[0], cet.run(cet.Model(written), IMAGES)["y"], 0.05)
    model = onnx.load_model_from_string(written)
    onnx.checker.check_model(model)
    name = next(n.input[0] for n in model.graph.node if list(n.output) == ["2"])
    reader = session(_with_outputs(model, [name]).SerializeToString(), level=ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
    codes = reader.run([name], IMAGES)[0]
    assert codes.dtype == np.uint8 and codes.max() <= 15


def _with_outputs(model, names):
    for name in names:
        model.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, None))
    return model


def test_sixteen_bits_open_in_stock_runtimes():
    small = compressed(residual_network(), IMAGES, 16)
    written = small.to_bytes()
    assert onnx.load_model_from_string(written).opset_import[0].version == 21
    close(session(written).run(None, IMAGES)[0], cet.run(cet.Model(written), IMAGES)["y"], 1e-3)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_same_bytes_for_any_number_of_threads(threads):
    one = compressed(residual_network(), IMAGES, "mixed", threads=1).to_bytes()
    assert compressed(residual_network(), IMAGES, "mixed", threads=threads).to_bytes() == one


def test_layers_in_branches_read_rounded_values():
    """A branch reads a value of the main graph; what is made in the branch itself stays float."""
    def branch(name, w):
        return helper.make_graph(
            [node("MatMul", ["h", w], [f"{name}1"]), node("Relu", [f"{name}1"], [f"{name}2"]), node("MatMul", [f"{name}2", w + "2"], [name])],
            name, [], [helper.make_tensor_value_info(name, 1, None)])

    graph = helper.make_graph(
        [node("MatMul", ["x", "a"], ["1"]), node("Relu", ["1"], ["h"]),
         node("If", ["flag"], ["z"], then_branch=branch("t", "b"), else_branch=branch("e", "c")), node("MatMul", ["z", "d"], ["y"])],
        "g", [helper.make_tensor_value_info("x", 1, ["N", 24]), helper.make_tensor_value_info("flag", 9, [])],
        [helper.make_tensor_value_info("y", 1, None)],
        [weight("a", 24, 16), weight("b", 16, 16), weight("b2", 16, 8), weight("c", 16, 16), weight("c2", 16, 8), weight("d", 8, 6)])
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    model = cet.Model(content)
    data = cet.Calibration()
    for flag in (True, False):
        data.add_batch({"x": ROWS["x"][:32], "flag": np.array(flag)})
    small = cet.quantize(model, data, cet.plan(model, data, target_bits=4, activations=8))
    assert {a.name for a in small.plan.activations} == {"x", "h", "z"}
    assert any("stay float" in note for note in small.plan.notes)
    written = small.to_bytes()
    for flag in (True, False):
        feeds = {"x": ROWS["x"], "flag": np.array(flag)}
        close(session(written).run(None, feeds)[0], cet.run(cet.Model(written), feeds)["y"])


def test_values_that_are_constant_or_zero_stay_what_they_are():
    content = made(
        [node("Mul", ["x", "zero"], ["0"]), node("MatMul", ["0", "a"], ["1"]), node("Add", ["0", "half"], ["2"]),
         node("MatMul", ["2", "b"], ["3"]), node("MatMul", ["x", "c"], ["4"]), node("Add", ["1", "3"], ["5"]), node("Add", ["5", "4"], ["y"])],
        [weight("a", 24, 8), weight("b", 24, 8), weight("c", 24, 8), numpy_helper.from_array(np.float32(0), "zero"),
         numpy_helper.from_array(np.float32(0.5), "half")], [("x", ["N", 24])], ["y"])
    small = compressed(content, ROWS, loss="mse")
    grids = {a.name: a for a in small.plan.activations}
    assert grids["0"].scale == 1 and grids["0"].zero_point == 0
    assert grids["2"].scale * 255 == pytest.approx(0.5)
    close(session(small.to_bytes()).run(None, ROWS)[0], session(content).run(None, ROWS)[0], 0.1)


def test_values_that_are_not_finite_are_an_error_that_names_them():
    content = made(
        [node("Log", ["x"], ["1"]), node("MatMul", ["1", "a"], ["2"]), node("Relu", ["2"], ["3"]), node("Clip", ["3", "", "one"], ["y"])],
        [weight("a", 24, 8), numpy_helper.from_array(np.float32(1), "one")], [("x", ["N", 24])], ["y"])
    arrays = {"x": np.abs(ROWS["x"])}
    arrays["x"][3, 5] = 0
    with pytest.raises(cet.NumericError, match="activation '1'|not finite"):
        compressed(content, arrays, loss="mse")


def test_values_that_are_rounded_already_are_left_alone(tmp_path):
    content = made(
        [node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["1"]),
         node("MatMul", ["1", "a"], ["2"]), node("Relu", ["2"], ["3"]), node("MatMul", ["3", "b"], ["y"])],
        [weight("a", 24, 16), weight("b", 16, 8), numpy_helper.from_array(np.float32(0.04), "s"),
         numpy_helper.from_array(np.uint8(128), "z")], [("x", ["N", 24])], ["y"])
    small = compressed(content, ROWS)
    assert [a.name for a in small.plan.activations] == ["3"]
    assert any("codes make them already" in note for note in small.plan.notes)


def test_bits_of_activations_may_be_changed_in_the_document():
    content = residual_network()
    model, data = cet.Model(content), cet.Calibration(IMAGES)
    plan = cet.plan(model, data, target_bits=4, activations="8,float", activation_mean_bits=8)
    document = json.loads(plan.to_json())
    document["activations"][1]["bits"] = 32
    edited = cet.Plan.from_json(json.dumps(document))
    assert edited.activations[1].bits == 32 and edited.activations[1].reason == "set by hand"
    small = cet.quantize(model, data, edited)
    assert small.plan.activations[1].scale is None
    document["activations"][1]["bits"] = 16
    with pytest.raises(cet.InvalidArgument, match=r"activations\[1\].bits.*16"):
        cet.Plan.from_json(json.dumps(document))


def test_plan_for_another_budget_keeps_the_ranges():
    content = residual_network()
    model, data = cet.Model(content), cet.Calibration(IMAGES)
    plan = cet.plan(model, data, target_bits=4, activations=8)
    other = plan.replan(model, target_bits=3)
    assert [(a.name, a.scale) for a in other.activations] == [(a.name, a.scale) for a in plan.activations]
    with pytest.raises(cet.InvalidArgument, match="at 4 bits"):
        plan.replan(model, target_bits=3, activations=4)


def test_session_plans_and_quantizes_with_activations(tmp_path):
    content = residual_network()
    model, data = cet.Model(content), cet.Calibration(IMAGES)
    made_once = cet.Session(model, data, activations=8)
    small = made_once.quantize(made_once.plan(target_bits=4))
    assert kernels(small.to_bytes(), tmp_path)["QLinearConv"] == 3


@pytest.mark.parametrize("options, message", [
    (dict(activations=5), "5"), (dict(activations="eight"), "eight"), (dict(activations=[]), "activation"),
    (dict(activations=8, activation_range="widest"), "widest"), (dict(activations=8, activation_loss=-1), "activation_loss"),
    (dict(activations=8, activation_loss=1, activation_mean_bits=8), "activation_mean_bits"),
    (dict(activations=None, activation_mean_bits=8), "activation_bits"),
    (dict(activations="mixed", encoding="qdq"), "activations of 4 bits with encoding.*planes or float.*qdq"),
    (dict(activations=8, encoding="ort"), "activations with encoding.*planes, qdq or float.*ort")])
def test_bad_values_are_refused_with_a_line(options, message):
    with pytest.raises((cet.InvalidArgument, TypeError), match=message):
        compressed(residual_network(), IMAGES, **options)


def test_mean_below_the_fewest_bits_is_refused():
    with pytest.raises(cet.InfeasibleBudget, match="activation_mean_bits"):
        compressed(residual_network(), IMAGES, "8,float", activation_mean_bits=7)


def test_activation_of_another_model_is_refused():
    content = residual_network()
    model, data = cet.Model(content), cet.Calibration(IMAGES)
    document = json.loads(cet.plan(model, data, target_bits=4, activations=8).to_json())
    document["activations"][0]["name"] = "nobody"
    with pytest.raises(cet.InvalidArgument, match="'nobody'"):
        cet.quantize(model, data, cet.Plan.from_json(json.dumps(document)))


def test_tool_prints_and_checks_rounded_activations(tool, tmp_path, digits):
    done = tool(
        "compress", digits / "model.onnx", tmp_path / "small.onnx", "--data", digits / "calibration.npz", "--target-ratio", "8",
        "--activations", "8", "--samples", "64")
    assert done.returncode == 0, done.stderr
    assert "activations" in done.stdout
    checked = tool(
        "check", tmp_path / "small.onnx", "--against", digits / "model.onnx", "--data", digits / "calibration.npz", "--runtime")
    assert checked.returncode == 0, checked.stderr
    assert "activations are rounded" in checked.stdout
    refused = tool("plan", digits / "model.onnx", "--data", digits / "calibration.npz", "--target-ratio", "8", "--activations", "5")
    assert refused.returncode == 2 and "--activations" in refused.stderr
    refused = tool("plan", digits / "model.onnx", "--data", digits / "calibration.npz", "--target-ratio", "8", "--activation-loss", "1")
    assert refused.returncode == 2 and "needs --activations" in refused.stderr


def test_tool_explains_compares_and_reports_rounded_activations(tool, tmp_path, digits):
    plans = {bits: tmp_path / f"{bits}.json" for bits in ("8", "mixed", "none")}
    for bits, path in plans.items():
        asked = [] if bits == "none" else ["--activations", bits]
        planned = tool(
            "plan", digits / "model.onnx", "-o", path, "--data", digits / "calibration.npz", "--target-ratio", "11", "--samples", "32",
            "--coding", "affine", "--report", path.with_suffix(".html"), *asked)
        assert planned.returncode == 0, planned.stderr
    known = {bits: {a["name"]: a for a in json.loads(path.read_text()).get("activations") or []} for bits, path in plans.items()}

    losses = sorted((a["predicted_loss_change"] for a in known["mixed"].values()), reverse=True)
    for name, activation in known["mixed"].items():
        told = json.loads(tool("why", name, plans["mixed"], "--json").stdout)
        assert told["bits"] == activation["bits"] and told["reason"] == activation["reason"]
        assert told["rank"] == 1 + losses.index(activation["predicted_loss_change"])
        losses_by_bits = {int(bits): choice["sensitivity"] for bits, choice in activation["choices"].items()}
        assert {choice["bits"]: choice["loss"] for choice in told["choices"]} == losses_by_bits
    text = " ".join(tool("why", name, plans["mixed"]).stdout.split())
    assert f"{activation['bits']} bits: {activation['reason']}" in text and "chosen" in text
    wrong = tool("why", name + "x", plans["8"])
    assert wrong.returncode == 2 and f"no activation '{name}x'" in wrong.stderr and f"did you mean '{name}'" in wrong.stderr

    told = json.loads(tool("diff", plans["8"], plans["mixed"], "--json").stdout)
    changed = {name for name, a in known["8"].items() if a["bits"] != known["mixed"][name]["bits"]}
    assert changed and {a["name"] for a in told["activations"]} == changed
    assert {a["after"]["bits"] for a in told["activations"]} == {4}
    told = json.loads(tool("diff", plans["8"], plans["none"], "--json").stdout)
    assert {a["name"] for a in told["activations"]} == set(known["8"]) and all(a["after"] is None for a in told["activations"])
    assert "activations" not in tool("diff", plans["none"], plans["none"]).stdout

    report = plans["mixed"].with_suffix(".html").read_text()
    section = report[report.index('<section id="activations"'):]
    section = section[:section.index("</section>")]
    assert all(f">{html.escape(name)}</th>" in section for name in known["mixed"])
    assert '<section id="activations"' not in plans["none"].with_suffix(".html").read_text()


def test_report_of_a_sweep_has_the_bits_of_activations_in_each_file(tool, tmp_path, digits):
    swept = tool(
        "sweep", digits / "model.onnx", "-o", tmp_path / "files", "--data", digits / "calibration.npz", "--ratios", "8,11", "--samples", "32",
        "--coding", "affine", "--activations", "8", "--report", tmp_path / "sweep.html")
    assert swept.returncode == 0, swept.stderr
    report = (tmp_path / "sweep.html").read_text()
    section = report[report.index('<section id="activations"'):]
    section = section[:section.index("</section>")]
    assert section.count("bits 8×") == 1 and section.count("bits 11×") == 1
    # A loss would be that of one file.
    assert "loss" not in section.lower()


def test_check_of_a_qdq_file_says_what_the_runtime_adds(tool, tmp_path):
    (tmp_path / "model.onnx").write_bytes(product_network())
    np.savez(tmp_path / "data.npz", **ROWS)
    done = tool("compress", "model.onnx", "small.onnx", "--data", "data.npz", "--target-bits", "8", "--encoding", "qdq", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    checked = tool("check", "small.onnx", "--against", "model.onnx", "--data", "data.npz", cwd=tmp_path)
    assert checked.returncode == 0 and "matrix products with 8-bit" in " ".join(checked.stdout.split())
