"""Labels that are no class of the model are refused by whatever reads them; onnxruntime judges the operators."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import cet

BAD = {"beyond": [0, 1, 2, 3], "far beyond": [0, 1, 2, 2**31]}


@pytest.fixture(scope="module")
def classifier():
    weight = numpy_helper.from_array(np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])], [weight])
    return cet.Model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())


def samples(count=4):
    return np.random.default_rng(1).normal(size=(count, 4)).astype(np.float32)


CALLS = {
    "curvature": lambda model, data: cet.Hessian(model, data),
    "curvature with its loss named": lambda model, data: cet.Hessian(model, data, loss="cross-entropy", curvature="gauss-newton"),
    "part of the parameters": lambda model, data: cet.Hessian(model, data, only=["w"]),
    "plan": lambda model, data: cet.plan(model, data, target_bits=4, loss="cross-entropy"),
    **{method: lambda model, data, method=method: cet.plan(model, data, target_bits=4, loss="cross-entropy", method=method)
       for method in ("paper", "hawq-v2", "mckp", "uniform", "clado")},
}


@pytest.mark.parametrize("labels", BAD)
@pytest.mark.parametrize("call", CALLS)
def test_label_outside_the_classes_is_refused(call, labels, classifier):
    data = cet.Calibration({"x": samples()}, labels=np.array(BAD[labels]))
    with pytest.raises(cet.InvalidArgument, match=rf"label of sample 3 is {BAD[labels][3]}, expected a class from 0 to 2"):
        CALLS[call](classifier, data)


def test_label_outside_the_classes_in_a_later_batch_names_the_sample(classifier):
    data = cet.Calibration({"x": samples()}, labels=np.array([0, 1, 2, 0]))
    data.add_batch({"x": samples(3)}, labels=np.array([1, 5, 0]))
    with pytest.raises(cet.InvalidArgument, match="label of sample 5 is 5"):
        cet.Hessian(classifier, data)


def test_quantize_checks_the_labels_of_its_own_samples(classifier):
    plan = cet.plan(classifier, cet.Calibration({"x": samples(20)}, labels=np.arange(20) % 3), target_bits=4, loss="cross-entropy")
    with pytest.raises(cet.InvalidArgument, match="label of sample 3 is 3"):
        cet.quantize(classifier, cet.Calibration({"x": samples()}, labels=np.array(BAD["beyond"])), plan)


def test_negative_labels_are_refused(classifier):
    with pytest.raises(cet.InvalidArgument, match="label -1 of sample 1"):
        cet.Calibration({"x": samples()}, labels=np.array([0, -1, 2, 1]))


def test_labels_that_no_loss_reads_may_be_anything(classifier):
    data = cet.Calibration({"x": samples()}, labels=np.array(BAD["beyond"]))
    assert cet.Hessian(classifier, data, loss="kl").loss() == 0
    cet.plan(classifier, data, target_bits=4)


def test_tool_spectrum_refuses_a_label_outside_the_classes(tool, digits, calibration_arrays, tmp_path):
    labels = calibration_arrays["labels"].copy()
    labels[7] = 10
    np.savez(tmp_path / "bad.npz", input=calibration_arrays["input"], labels=labels)
    for command in (["spectrum", digits / "model.onnx", "-k", 2], ["plan", digits / "model.onnx", "--target-ratio", 11, "--loss", "cross-entropy", "-o", tmp_path / "p.json"]):
        run = tool(*command, "--data", tmp_path / "bad.npz")
        assert run.returncode == 1 and "label of sample 7 is 10, expected a class from 0 to 9" in run.stderr, run.stderr


def loss_model(operator, ignore=None):
    attributes = {} if ignore is None else {"ignore_index": ignore}
    weight = numpy_helper.from_array(np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32), "w")
    info = helper.make_tensor_value_info
    nodes = [helper.make_node("MatMul", ["x", "w"], ["s"])]
    if operator == "NegativeLogLikelihoodLoss":
        nodes += [helper.make_node("LogSoftmax", ["s"], ["p"], axis=1)]
    nodes += [helper.make_node(operator, [nodes[-1].output[0], "target"], ["loss"], name="criterion", **attributes)]
    graph = helper.make_graph(
        nodes, "g", [info("x", TensorProto.FLOAT, ["n", 4]), info("target", TensorProto.INT64, ["n"])],
        [info("loss", TensorProto.FLOAT, [])], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


@pytest.mark.parametrize("operator", ["SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"])
def test_target_of_a_loss_node_is_a_class_or_ignored(operator):
    x = samples()
    for ignore in (-1, 7, 1):
        data = loss_model(operator, ignore)
        feeds = {"x": x, "target": np.array([0, ignore, 2, 1])}
        expected = onnxruntime.InferenceSession(data).run(None, feeds)[0]
        np.testing.assert_allclose(cet.run(cet.Model(data), feeds)["loss"], expected, rtol=1e-5)
        feeds["target"] = np.array([0, 2, 9, 1])
        with pytest.raises(cet.InvalidArgument, match="node 'criterion' .*target at element 2 is 9, expected a class from 0 to 2"):
            cet.run(cet.Model(data), feeds)
    plain = cet.Model(loss_model(operator))
    for bad in (3, -1):
        with pytest.raises(cet.InvalidArgument, match=f"target at element 1 is {bad}"):
            cet.run(plain, {"x": x, "target": np.array([0, bad, 2, 1])})
        # Fed for every batch, it is looked at when the batch runs.
        with pytest.raises(cet.InvalidArgument, match=f"target at element 1 is {bad}"):
            cet.Hessian(plain, cet.Calibration({"x": x, "target": np.array([0, bad, 2, 1])}), loss="output").loss()
